"""Links that answer a question to a person, each in one way: for the receivers of webhooks, who need no token.

A link is signed for one question, one answer and one exporter, and is dead with the answer: the same question asked
again later, after a new window, has other links. The events that the journal keeps hold none, so that who may read
events may not answer; they are added to what a webhook is sent.
"""

import hmac
import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from urllib.parse import quote, urlencode

import msgspec
from msgspec.structs import replace

from organism.amounts import NS_PER_S
from organism.threads.approvals import Approval
from organism.usage.cloudevents import CloudEvent
from organism.usage.events import ApprovalRequested

PATH = "/answer"
"""Where they lead on the daemon."""

SIGNATURE = re.compile(r"signature=[0-9a-f]*")
"""What makes a link one of ours, wherever it is repeated."""

_HOUR_NS = 3600 * NS_PER_S


class AnswerLink(msgspec.Struct, frozen=True, kw_only=True):
    """What a link is for.

    Attributes:
        approval_id: The question.
        answer: ``allow`` or ``deny``.
        exporter: Whose events carried it.
        asked: When it was asked, nanoseconds since the Unix epoch, as written in the link.
    """

    approval_id: str
    answer: str
    exporter: str
    asked: str


class AnswerLinks:
    """Makes links, and says what one is good for.

    Args:
        secret: What the key that signs them is made of.
        url: Where people reach the daemon, such as ``https://agents.example``.
        waiting: Returns what is asked at present.
        now_ns: The present instant.
    """

    def __init__(
        self, secret: str, url: str, waiting: Callable[[], Iterable[Approval]], now_ns: Callable[[], int]
    ) -> None:
        self._key = hmac.digest(secret.encode(), b"organism answer links", sha256)
        self._url = url.rstrip("/")
        self._waiting = waiting
        self._now_ns = now_ns
        self._valid_ns: dict[str, int] = {}

    def for_exporter(self, name: str, hours: int) -> Callable[[CloudEvent], CloudEvent]:
        """Return what adds links to an exporter's events; each works for so many hours after the question."""
        self._valid_ns[name] = hours * _HOUR_NS

        def add(event: CloudEvent) -> CloudEvent:
            data = event.data
            asked = self._asked(data.approval_id) if isinstance(data, ApprovalRequested) else None
            if not isinstance(data, ApprovalRequested) or asked is None:
                return event
            allow, deny = (self._link(asked, answer, name) for answer in ("allow", "deny"))
            return replace(event, data=replace(data, allow_url=allow, deny_url=deny))

        return add

    def is_signed(self, link: AnswerLink, signature: str) -> bool:
        """Whether a link is one of ours."""
        return hmac.compare_digest(self._signature(link).encode(), signature.encode())

    def approval(self, link: AnswerLink) -> Approval | None:
        """Return the question that a signed link answers now; ``None`` once it is answered, over, or too old."""
        approval = self._asked(link.approval_id)
        if approval is None or str(approval.asked_ns) != link.asked or self.ends_ns(link) <= self._now_ns():
            return None
        return approval

    def ends_ns(self, link: AnswerLink) -> int:
        """Return when a signed link stops working: at once, where its exporter has no links any more."""
        valid_ns = self._valid_ns.get(link.exporter)
        return 0 if valid_ns is None else int(link.asked) + valid_ns

    def _asked(self, approval_id: str) -> Approval | None:
        return next((each for each in self._waiting() if each.id == approval_id), None)

    def _link(self, asked: Approval, answer: str, exporter: str) -> str:
        link = AnswerLink(approval_id=asked.id, answer=answer, exporter=exporter, asked=str(asked.asked_ns))
        query = urlencode({"exporter": exporter, "asked": link.asked, "signature": self._signature(link)})
        return f"{self._url}{PATH}/{quote(asked.id, safe='')}/{answer}?{query}"

    def _signature(self, link: AnswerLink) -> str:
        # As JSON, whose quotes keep one field from reaching into the next.
        said = msgspec.json.encode((link.approval_id, link.answer, link.exporter, link.asked))
        return hmac.new(self._key, said, sha256).hexdigest()
