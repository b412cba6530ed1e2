"""The page behind an answer link: it says what is asked, and only its button answers.

Programs open links too, to show a preview or to look for harm, and they only ever GET: that has no effect.
"""

from datetime import UTC, datetime
from html import escape

from litestar import Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, SkipValidation

from organism.amounts import NS_PER_S
from organism.api.auth_middleware import AccessRule
from organism.api.dependencies import ControlOf
from organism.api.mounts import Mount
from organism.api.scopes import OPEN
from organism.billing.answer_links import PATH, AnswerLink, AnswerLinks
from organism.control.idempotency import Order
from organism.threads.approvals import Approval, Decision, UnknownApprovalError, asking

_STYLE = """\
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 40rem; margin: 3rem auto; padding: 0 1rem }
dt { font-weight: 600; margin-top: .75rem }
dd { margin: 0; overflow-wrap: anywhere }
pre { white-space: pre-wrap; margin: 0; font: inherit }
button { font: inherit; font-weight: 600; padding: .6rem 2rem; margin-top: 1.5rem; cursor: pointer }
"""
_GONE = "This question has been answered, is over, or was asked too long ago. Nothing was changed."
_ANSWERS = {"allow": "Allow", "deny": "Deny"}


async def _link(
    approval_id: FromPath[str], answer: FromPath[str], exporter: FromQuery[str] = "", asked: FromQuery[str] = ""
) -> AnswerLink:
    return AnswerLink(approval_id=approval_id, answer=answer, exporter=exporter, asked=asked)


_LinkOf = NamedDependency[SkipValidation[AnswerLink]]
_FOLLOWED = {"link": Provide(_link)}


def answer_group(links: AnswerLinks) -> Mount:
    """Return the routes of the pages that links lead to."""
    path = f"{PATH}/{{approval_id:str}}/{{answer:str}}"

    @get(path, opt=OPEN, include_in_schema=False, dependencies=_FOLLOWED)
    async def show(link: _LinkOf, signature: FromQuery[str] = "") -> Response[str]:
        """Say what is asked, with the button that answers it."""
        approval, refusal = _found(links, link, signature)
        return refusal if approval is None else _page(200, "A question for you", _question(approval, link, links))

    @post(path, opt=OPEN, include_in_schema=False, status_code=200, dependencies=_FOLLOWED)
    async def give(link: _LinkOf, control: ControlOf, signature: FromQuery[str] = "") -> Response[str]:
        """Answer what is asked, once."""
        approval, refusal = _found(links, link, signature)
        if approval is None:
            return refusal
        allowed = link.answer == "allow"
        try:
            await control.decide(approval.id, Decision(allowed), order=Order(by=f"link:{link.exporter}"))
        except UnknownApprovalError:  # answered meanwhile
            return _page(410, "Too late", f"<p>{_GONE}</p>")
        done = f"{approval.agent} {asking(approval.what)}: {'allowed' if allowed else 'denied'}."
        return _page(200, "Allowed" if allowed else "Denied", f"<p>{escape(done)}</p>")

    @get(f"{PATH}/style.css", opt=OPEN, include_in_schema=False)
    async def style() -> Response[str]:
        """Give out how the pages look."""
        return Response(_STYLE, headers={"content-type": "text/css; charset=utf-8"})

    return Mount((show, give, style), (AccessRule(f"{PATH}/*", None, form=True),))


def _found(links: AnswerLinks, link: AnswerLink, signature: str) -> tuple[Approval | None, Response[str]]:
    """Return the question that a link answers, and what is said if there is none."""
    if not links.is_signed(link, signature):
        return None, _page(404, "No such link", "<p>Copy the whole link, to its last letter.</p>")
    return links.approval(link), _page(410, "Too late", f"<p>{_GONE}</p>")


def _question(approval: Approval, link: AnswerLink, links: AnswerLinks) -> str:
    facts = {
        "Who": f"{approval.agent}, in {approval.thread_id}",
        "Asks": asking(approval.what).removeprefix("asks "),
        "Amount": "" if approval.budget is None else str(approval.budget),
        "Account": f"{approval.account}, at {approval.threshold} % of its limit" if approval.account else "",
        "In full": approval.detail,
        "Asked": _date(approval.asked_ns),
        "This link works until": _date(links.ends_ns(link)),
    }
    rows = "".join(f"<dt>{name}</dt><dd><pre>{escape(said)}</pre></dd>" for name, said in facts.items() if said)
    return f'<dl>{rows}</dl><form method="post"><button>{_ANSWERS[link.answer]}</button></form>'


def _date(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M} UTC"


def _page(status: int, title: str, body: str) -> Response[str]:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        f'<title>{title}</title><link rel="stylesheet" href="../style.css"></head>'
        f"<body><main><h1>{title}</h1>{body}</main></body></html>"
    )
    return Response(text, status_code=status, headers={"content-type": "text/html; charset=utf-8"})
