"""Threads: open, look, write into, pause, end."""

from typing import Annotated, Any

from litestar import Request, delete, get, post, put
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter

from organism.amounts import BudgetState, Limits
from organism.api.bodies import LimitsBody, OpenThreadBody, ReplayBody, SendBody, StateFilter
from organism.api.dependencies import ControlOf, OrderOf
from organism.api.scopes import caller_of, may_read_content, needs
from organism.budget.requests import LimitsRequest, grant_limits
from organism.control.views import Accepted, OrderDone, ThreadDetail, ThreadPage
from organism.whatif.outcome import Replay


@post("/v1/threads", status_code=202, opt=needs("send"))
async def open_thread(
    data: JSONBody[OpenThreadBody],
    request: Request[Any, Any, Any],
    control: ControlOf,
    order: OrderOf,
    traceparent: Annotated[str | None, HeaderParameter(name="traceparent")] = None,
) -> Accepted:
    """Open a thread with a message."""
    active = control.components.active
    limits: LimitsRequest | Limits | None = data.limits.request() if data.limits is not None else None
    caller = caller_of(request)
    if caller.limits is not None:
        limits = grant_limits(limits, caller.limits, may_raise=False)
    return await control.open_thread(
        data.payload(active.messages),
        to=data.to,
        thread_id=data.thread_id,
        limits=limits,
        labels=caller.labelled(data.labels),
        trace=traceparent,
        order=order,
    )


@get("/v1/threads", opt=needs("read"))
async def list_threads(
    control: ControlOf,
    states: Annotated[list[StateFilter] | None, QueryParameter(name="state")] = None,
    label: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=500)] = 100,
) -> ThreadPage:
    """List threads, newest first: those that are open, or those in the states that are named."""
    return control.queries.threads(states=frozenset(states or ()), label=label, after=after, limit=limit)


@get("/v1/threads/{thread_id:str}", opt=needs("read"))
async def show_thread(
    thread_id: FromPath[str], request: Request[Any, Any, Any], control: ControlOf, content: FromQuery[bool] = False
) -> ThreadDetail:
    """Show a thread, its budgets, its descendants and its messages; what is said only with ``content=true``."""
    return await control.queries.thread(thread_id, content=may_read_content(request, asked=content))


@post("/v1/threads/{thread_id:str}/replay", status_code=200, opt=needs("read"))
async def replay_thread(thread_id: FromPath[str], data: JSONBody[ReplayBody], control: ControlOf) -> Replay:
    """Decide a thread's recorded calls anew under other limits, prices or models; changes nothing."""
    return await control.queries.replay(thread_id, data.changes())


@post("/v1/threads/{thread_id:str}/messages", status_code=202, opt=needs("send"))
async def send(thread_id: FromPath[str], data: JSONBody[SendBody], control: ControlOf, order: OrderOf) -> Accepted:
    """Send a message into an open thread."""
    active = control.components.active
    return await control.send(thread_id, data.payload(active.messages), to=data.to, order=order)


@put("/v1/threads/{thread_id:str}/limits", opt=needs("operate"))
async def set_thread_limits(
    thread_id: FromPath[str], data: JSONBody[LimitsBody], control: ControlOf, order: OrderOf
) -> BudgetState:
    """Give a thread new limits; what waited for budget goes on."""
    return await control.set_limits(f"thread:{thread_id}", data.limits(), order=order)


@post("/v1/threads/{thread_id:str}/pause", status_code=200, opt=needs("operate"))
async def pause_thread(thread_id: FromPath[str], control: ControlOf, order: OrderOf) -> OrderDone:
    """Let a thread and its descendants finish what runs and start nothing more."""
    return await control.pause_thread(thread_id, order=order)


@post("/v1/threads/{thread_id:str}/resume", status_code=200, opt=needs("operate"))
async def resume_thread(thread_id: FromPath[str], control: ControlOf, order: OrderOf) -> OrderDone:
    """Let a paused thread and its descendants go on."""
    return await control.resume_thread(thread_id, order=order)


@delete("/v1/threads/{thread_id:str}", status_code=200, opt=needs("operate"))
async def terminate(
    thread_id: FromPath[str],
    control: ControlOf,
    order: OrderOf,
    reason: Annotated[str, QueryParameter(name="reason", min_length=1, max_length=200)] = "terminated by order",
) -> BudgetState:
    """End a thread and its children now and return its final budget."""
    return await control.terminate(thread_id, reason, order=order)


ROUTES = (
    open_thread,
    list_threads,
    show_thread,
    replay_thread,
    send,
    set_thread_limits,
    pause_thread,
    resume_thread,
    terminate,
)
