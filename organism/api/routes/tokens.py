"""Tokens and sessions. A secret is shown once and is in no receipt, no log and no event."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, JSONBody

from organism.api.bodies import TokenBody
from organism.api.dependencies import ControlOf, OrderOf, TokensOf
from organism.api.problems import Problem, ProblemError
from organism.api.scopes import caller_of, needs
from organism.api.tokens import NewToken, TokenView
from organism.control.views import OrderDone


@get("/v1/tokens", opt=needs("admin"))
async def list_tokens(token_book: TokensOf) -> tuple[TokenView, ...]:
    """List tokens, without their secrets."""
    return token_book.list()


@post("/v1/tokens", status_code=201, opt=needs("admin"))
async def make_token(data: JSONBody[TokenBody], token_book: TokensOf, control: ControlOf, order: OrderOf) -> NewToken:
    """Make a token. Its secret is in this answer and nowhere else; sent again, the name is taken."""
    limits = None if data.limits is None else data.limits.limits()
    made = token_book.make(data.name, data.scopes, days=data.days, limits=limits, labels=data.labels)
    bound = {name: value for name, value in (("limits", limits), ("labels", data.labels)) if value}
    after = {"scopes": data.scopes, **bound} if bound else data.scopes
    await control.note("token.make", data.name, after=after, order=order)
    return made


@delete("/v1/tokens/{name:str}", status_code=200, opt=needs("admin"))
async def revoke_token(name: FromPath[str], token_book: TokensOf, control: ControlOf, order: OrderOf) -> OrderDone:
    """Revoke a token and its sessions, from this instant on."""
    if not token_book.revoke(name):
        detail = "look at the list; the first token lies in the state folder and is replaced by removing its file"
        raise ProblemError(Problem(status=404, code="unknown_token", title="no token to revoke", detail=detail))
    await control.note("token.revoke", name, order=order)
    return OrderDone((name,))


@post("/v1/sessions", status_code=201, opt=needs("read"))
async def begin_session(request: Request[Any, Any, Any], token_book: TokensOf, order: OrderOf) -> NewToken:
    """Get a token of the same scopes that lives in the daemon's memory for some hours, for a browser."""
    del order  # a secret is no answer to be given again, so a key changes nothing here
    return token_book.begin_session(caller_of(request))


ROUTES = (list_tokens, make_token, revoke_token, begin_session)
