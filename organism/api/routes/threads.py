"""Threads: open, look, write into, pause, end."""

from typing import Annotated, Any, Literal

from litestar import Request, delete, get, post, put
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter, SkipValidation

from organism.amounts import BudgetState, Limits
from organism.amounts.account import thread_account
from organism.api.bodies import LimitsBody, OpenThreadBody, ReplayBody, SendBody, StateFilter, WaitingFilter
from organism.api.dependencies import ControlOf, OrderOf
from organism.api.scopes import caller_of, may_read_content, needs
from organism.budget.requests import LimitsRequest, grant_limits
from organism.control.listing.thread_list import PageRequest, ThreadFilter, ThreadOrder
from organism.control.listing.timeline import Timeline
from organism.control.listing.timeline_reader import ITEMS_MAX
from organism.control.queries import PAGE_MAX
from organism.control.views import Accepted, OrderDone, ThreadDetail, ThreadPage
from organism.whatif.outcome import Replay

_STATE = "In one of these states; repeat it for several. Those that are open unless one is named."
_SEARCH = "Words that each stand in the thread's id, its labels or the names of its agents, in any case."
_AGENT = "An agent that the thread began with, or that has worked for it."
_LABEL = "A label of the thread, as name=value or only name; repeat it for several."
_WAITING = "What the thread waits for."
_SORT = "By when it was opened, by what it has cost, or by when something happened in it last."
_ORDER = "desc begins with the newest or dearest."
_CURSOR = "The next_cursor of a page in the same order: goes on behind it."
_AFTER = "Goes on behind this thread, while it is in the list; cursor is right although threads come and go."


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


async def _wanted_threads(
    states: Annotated[list[StateFilter] | None, QueryParameter(name="state", description=_STATE)] = None,
    search: Annotated[str, QueryParameter(name="search", max_length=200, description=_SEARCH)] = "",
    agent: Annotated[str | None, QueryParameter(name="agent", description=_AGENT)] = None,
    labels: Annotated[list[str] | None, QueryParameter(name="label", max_items=16, description=_LABEL)] = None,
    waiting: Annotated[WaitingFilter | None, QueryParameter(name="waiting", description=_WAITING)] = None,
) -> ThreadFilter:
    return ThreadFilter(
        states=frozenset(states or ()), search=search, agent=agent, labels=tuple(labels or ()), waiting=waiting
    )


async def _page_of_threads(
    sort: Annotated[ThreadOrder, QueryParameter(name="sort", description=_SORT)] = "opened",
    direction: Annotated[Literal["asc", "desc"], QueryParameter(name="order", description=_ORDER)] = "desc",
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=PAGE_MAX)] = 100,
    cursor: Annotated[str | None, QueryParameter(name="cursor", max_length=500, description=_CURSOR)] = None,
    after: Annotated[str | None, QueryParameter(name="after", description=_AFTER)] = None,
) -> PageRequest:
    return PageRequest(sort=sort, ascending=direction == "asc", limit=limit, cursor=cursor, after=after)


@get(
    "/v1/threads",
    opt=needs("read"),
    dependencies={"wanted": Provide(_wanted_threads), "page": Provide(_page_of_threads)},
)
async def list_threads(
    control: ControlOf,
    wanted: NamedDependency[SkipValidation[ThreadFilter]],
    page: NamedDependency[SkipValidation[PageRequest]],
) -> ThreadPage:
    """List threads: those that are open, or those in the states that are named; the newest first unless asked for."""
    return control.queries.find_threads(wanted, page)


@get("/v1/threads/{thread_id:str}", opt=needs("read"))
async def show_thread(
    thread_id: FromPath[str], request: Request[Any, Any, Any], control: ControlOf, content: FromQuery[bool] = False
) -> ThreadDetail:
    """Show a thread, its budgets, its descendants and its messages; what is said only with ``content=true``."""
    return await control.queries.thread(thread_id, content=may_read_content(request, asked=content))


@get("/v1/threads/{thread_id:str}/timeline", opt=needs("read"))
async def thread_timeline(
    thread_id: FromPath[str],
    request: Request[Any, Any, Any],
    control: ControlOf,
    content: FromQuery[bool] = False,
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=ITEMS_MAX)] = ITEMS_MAX,
) -> Timeline:
    """List what has happened in a thread and its descendants, oldest first: messages, calls, charges, warnings, orders.

    The last ``limit`` items; what was said and what errors say only with ``content=true``.
    """
    content = may_read_content(request, asked=content)
    return await control.queries.timeline(thread_id, content=content, limit=limit)


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
    return await control.set_limits(thread_account(thread_id), data.limits(), order=order)


@post("/v1/threads/{thread_id:str}/pause", status_code=200, opt=needs("operate"))
async def pause_thread(thread_id: FromPath[str], control: ControlOf, order: OrderOf) -> OrderDone:
    """Let a thread and its descendants finish what runs and start nothing more."""
    return await control.pause_thread(thread_id, order=order)


@post(
    ["/v1/threads/{thread_id:str}/resume", "/v1/threads/{thread_id:str}/unpause"], status_code=200, opt=needs("operate")
)
async def resume_thread(thread_id: FromPath[str], control: ControlOf, order: OrderOf) -> OrderDone:
    """Let a paused thread and its descendants go on; ``unpause``, the name of the command, is the same."""
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
    thread_timeline,
    replay_thread,
    send,
    set_thread_limits,
    pause_thread,
    resume_thread,
    terminate,
)
