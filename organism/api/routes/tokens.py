"""Tokens and sessions. A secret is shown once and is in no receipt, no log and no event."""

from typing import Any

from litestar import Request, delete, get, patch, post
from litestar.params import FromPath, JSONBody
from msgspec.structs import replace

from organism.api.auth_middleware import bearer_of
from organism.api.bodies import TokenBody, TokenLimitsBody
from organism.api.dependencies import ControlOf, OrderOf, TokensOf
from organism.api.problems import Problem, ProblemError
from organism.api.scopes import needs
from organism.api.tokens.token_book import NewToken, TokenView
from organism.api.tokens.token_errors import OlderNodesError
from organism.control.views import OrderDone


@get("/v1/tokens", opt=needs("admin"))
async def list_tokens(token_book: TokensOf) -> tuple[TokenView, ...]:
    """List tokens and the keys of the configuration, without their secrets."""
    return await token_book.list()


@post("/v1/tokens", status_code=201, opt=needs("admin"))
async def make_token(data: JSONBody[TokenBody], token_book: TokensOf, control: ControlOf, order: OrderOf) -> NewToken:
    """Make a token. Its secret is in this answer and nowhere else; sent again, the name is taken."""
    limits = None if data.limits is None else data.limits.limits()
    made = await token_book.make(data.name, data.scopes, days=data.days, limits=limits, labels=data.labels)
    bound = {name: value for name, value in (("limits", limits), ("labels", data.labels)) if value}
    after = {"scopes": data.scopes, **bound} if bound else data.scopes
    await control.note("token.make", data.name, after=after, order=order)
    return made


@patch("/v1/tokens/{name:str}", opt=needs("admin"))
async def limit_token(
    name: FromPath[str], data: JSONBody[TokenLimitsBody], token_book: TokensOf, control: ControlOf, order: OrderOf
) -> TokenView:
    """Give a token other limits, for threads that it opens from now on; those that are open keep theirs."""
    limits = None if data.limits is None else data.limits.limits()
    before = await token_book.limit(name, limits)
    if before is None:
        raise _unknown(name, "a key of the configuration is limited there, and the first token by nothing")
    await control.note("token.limit", name, before={"limits": before.limits}, after={"limits": limits}, order=order)
    return replace(before, limits=limits)


@delete("/v1/tokens/{name:str}", status_code=200, opt=needs("admin"))
async def revoke_token(name: FromPath[str], token_book: TokensOf, control: ControlOf, order: OrderOf) -> OrderDone:
    """Revoke a token and its sessions, from this instant on; at the other nodes of a cluster some seconds later."""
    unreached = await token_book.revoke(name)
    if unreached is None:
        raise _unknown(
            name,
            "the first token lies in the state folder and is replaced by removing its file, "
            "and a key of the configuration by removing it there",
        )
    await control.note("token.revoke", name, after={"unreached": unreached} if unreached else None, order=order)
    if unreached:
        raise OlderNodesError(unreached, f"{name[:80]!r} is revoked, but may be good at some nodes still")
    return OrderDone((name,))


@post("/v1/sessions", status_code=201, opt=needs("read"))
async def begin_session(request: Request[Any, Any, Any], token_book: TokensOf, order: OrderOf) -> NewToken:
    """Get a token of the same scopes that lives in the daemon's memory for some hours, for a browser."""
    del order  # a secret is no answer to be given again, so a key changes nothing here
    begun = token_book.begin_session(bearer_of(request.headers))
    if begun is None:
        detail = "the token was revoked, or has expired, while the request was on its way"
        raise ProblemError(Problem(status=401, code="unauthorized", title="no valid token", detail=detail))
    return begun


def _unknown(name: str, else_: str) -> ProblemError:
    detail = f"there is no token {name[:80]!r} to change here, look at the list: {else_}"
    return ProblemError(Problem(status=404, code="unknown_token", title="no such token", detail=detail))


ROUTES = (list_tokens, make_token, limit_token, revoke_token, begin_session)
