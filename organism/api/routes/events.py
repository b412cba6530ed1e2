"""Events: a live stream, and pages for billing."""

from typing import Annotated, Any

from litestar import Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, QueryParameter, SkipValidation
from litestar.response import Stream

from organism.api.dependencies import ControlOf, ReaderOf
from organism.api.problems import Problem, ProblemError
from organism.api.routes.period_usage import unknown_thread
from organism.api.scopes import caller_of, may_read_content, needs
from organism.api.streams import EVENT_NAMES, EventFilter, EventPage

_TypeNames = Annotated[list[str] | None, QueryParameter(name="type", max_items=32)]
_WantedOf = NamedDependency[SkipValidation[EventFilter]]


async def _wanted(
    request: Request[Any, Any, Any],
    control: ControlOf,
    types: _TypeNames = None,
    thread: FromQuery[str | None] = None,
    content: FromQuery[bool] = False,
) -> EventFilter:
    """Return which events are wanted.

    Raises:
        ProblemError: If there is no such kind of event or no such thread: nobody would ever get one.
    """
    if unknown := sorted(set(types or ()) - EVENT_NAMES):
        detail = f"{unknown[0][:80]!r} is no kind of event; there are {', '.join(sorted(EVENT_NAMES))}"
        raise ProblemError(
            Problem(status=422, code="unknown_event_type", title="the query does not fit", detail=detail)
        )
    if thread is not None and not await control.queries.knows_thread(thread):
        raise ProblemError(unknown_thread(thread))
    errors = "operate" in caller_of(request).scopes
    return EventFilter(frozenset(types or ()), thread, may_read_content(request, asked=content), errors)


_WANTED = {"wanted": Provide(_wanted)}


@get("/v1/events", opt=needs("read"), media_type="text/event-stream", dependencies=_WANTED)
async def follow_events(
    request: Request[Any, Any, Any], reader: ReaderOf, wanted: _WantedOf, after: FromQuery[str | None] = None
) -> Stream:
    """Follow events as server-sent events; ``Last-Event-ID`` or ``after`` goes on where a reader has stopped.

    What agents say only with ``content=true``; what errors say only for who may operate.
    """
    lines = await reader.follow(request.headers.get("last-event-id", after), wanted)
    return Stream(lines, media_type="text/event-stream")


@get("/v1/events/page", opt=needs("read"), dependencies=_WANTED)
async def read_events(
    reader: ReaderOf,
    wanted: _WantedOf,
    after: FromQuery[str] = "",
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=1000)] = 100,
    wait_seconds: Annotated[int, QueryParameter(name="wait_seconds", ge=0, le=60)] = 0,
) -> EventPage:
    """Read stored events after an id; without any, wait for one for so many seconds.

    What errors say only for who may operate.
    """
    return await reader.page(after, limit, wait_seconds, wanted)


ROUTES = (follow_events, read_events)
