"""What people are asked, and their answers."""

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from organism.api.bodies import DecisionBody
from organism.api.dependencies import ControlOf, OrderOf
from organism.api.scopes import may_read_content, needs
from organism.control.views import OrderDone
from organism.threads.approvals import Approval, Decision

_THREADS = "Only what is asked in this thread; repeat it for several. In any unless one is named."
_LIMIT = "At most so many, the oldest; all of them unless given."


@get("/v1/approvals", opt=needs("read"))
async def list_approvals(
    request: Request[Any, Any, Any],
    control: ControlOf,
    content: FromQuery[bool] = False,
    threads: Annotated[list[str] | None, QueryParameter(name="thread", description=_THREADS)] = None,
    limit: Annotated[int | None, QueryParameter(name="limit", ge=1, description=_LIMIT)] = None,
) -> tuple[Approval, ...]:
    """List what people are asked, oldest first; what exactly, only with ``content=true``."""
    may = may_read_content(request, asked=content)
    return control.queries.approvals(content=may, threads=frozenset(threads or ()), limit=limit)


@post("/v1/approvals/{approval_id:str}", status_code=200, opt=needs("operate"))
async def decide(
    approval_id: FromPath[str], data: JSONBody[DecisionBody], control: ControlOf, order: OrderOf
) -> OrderDone:
    """Answer what a person is asked; the message that waits for it goes on."""
    return await control.decide(
        approval_id, Decision(data.allowed, data.note, data.tokens, data.usd, data.seconds), order=order
    )


ROUTES = (list_approvals, decide)
