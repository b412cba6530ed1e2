"""The control API: routes of the daemon, thin calls into a running organism.

Everything a route can do, ``Organism`` can do in Python; nothing here decides anything about money or messages.
"""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, delete, get, post, put
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter, SkipValidation
from litestar.response import Stream

from organism.amounts import BudgetState, Limits, nanousd
from organism.api.auth import Problem
from organism.api.port import Controlled
from organism.bus.threads import ThreadView
from organism.errors import (
    BoundExceededError,
    ConfigError,
    MailboxFullError,
    OrganismError,
    StoppedError,
    ThreadClosedError,
    UnknownAccountError,
    UnknownRecipientError,
)
from organism.messages import Message, PayloadError, Text
from organism.usage.events import AgentSaid, AnyEvent
from organism.usage.totals import UsageTotals

_NS_PER_S = 1_000_000_000
_LABELS_MAX = 32

Render = Callable[[str], tuple[str, bytes]]
"""From an ``Accept`` header to the content type and the body of all metrics."""

Injected = NamedDependency[SkipValidation[Controlled]]
"""The organism, handed to each route."""


class LimitsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits as people write them; what is left out is not limited.

    Attributes:
        tokens: All tokens.
        usd: Dollars, as text so that no digit is lost.
        seconds: Seconds the thread may be open.
        calls: Model calls.
    """

    tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    usd: str | None = None
    seconds: Annotated[int, msgspec.Meta(ge=0)] | None = None
    calls: Annotated[int, msgspec.Meta(ge=0)] | None = None

    def limits(self) -> Limits:
        """Return them in integer units.

        Raises:
            ConfigError: If the dollars are no amount.
        """
        try:
            cost = None if self.usd is None else nanousd(self.usd)
        except ValueError as error:
            raise ConfigError(str(error), path="usd") from None
        elapsed = None if self.seconds is None else self.seconds * _NS_PER_S
        return Limits(tokens=self.tokens, cost_nanousd=cost, elapsed_ns=elapsed, calls=self.calls)


class OpenThreadBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A first message, and what its thread may use.

    Attributes:
        text: The message as plain text, or
        message: any message with its ``type``.
        to: The agent it is for; the entry agent unless given.
        thread_id: A name for the thread.
        limits: Its own limits.
        labels: Kept on every usage event.
    """

    text: str | None = None
    message: dict[str, Any] | None = None
    to: str | None = None
    thread_id: str | None = None
    limits: LimitsBody | None = None
    labels: dict[str, str] = {}


class SendBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message into an open thread; the fields are those of :class:`OpenThreadBody`."""

    text: str | None = None
    message: dict[str, Any] | None = None
    to: str | None = None


class Accepted(msgspec.Struct, frozen=True):
    """What was accepted."""

    thread_id: str
    message_id: str | None = None


class ThreadDetail(msgspec.Struct, frozen=True):
    """A look at a thread and every account that limits it."""

    thread: ThreadView
    budgets: tuple[BudgetState, ...]


class Usage(msgspec.Struct, frozen=True):
    """Sums since the start."""

    total: UsageTotals
    by_agent: dict[str, UsageTotals]
    by_model: dict[str, UsageTotals]


@get("/healthz", media_type=MediaType.TEXT)
async def healthz() -> str:
    """Say that the daemon is up."""
    return "ok"


@post("/v1/threads", status_code=202)
async def open_thread(
    data: JSONBody[OpenThreadBody],
    organism: Injected,
    traceparent: Annotated[str | None, HeaderParameter(name="traceparent")] = None,
) -> Accepted:
    """Open a thread with a message."""
    if len(data.labels) > _LABELS_MAX:
        raise ConfigError(f"at most {_LABELS_MAX} labels", path="labels")
    thread_id = await organism.open_thread(
        _message(organism, data),
        to=data.to,
        thread_id=data.thread_id,
        limits=data.limits.limits() if data.limits is not None else None,
        labels=data.labels,
        trace=traceparent,
    )
    return Accepted(thread_id)


@get("/v1/threads")
async def list_threads(organism: Injected) -> tuple[ThreadView, ...]:
    """List the open threads, oldest first."""
    return organism.threads()


@get("/v1/threads/{thread_id:str}")
async def show_thread(thread_id: FromPath[str], organism: Injected) -> ThreadDetail:
    """Show a thread and its budgets."""
    return ThreadDetail(organism.thread(thread_id), organism.thread_budgets(thread_id))


@post("/v1/threads/{thread_id:str}/messages", status_code=202)
async def send(thread_id: FromPath[str], data: JSONBody[SendBody], organism: Injected) -> Accepted:
    """Send a message into an open thread."""
    return Accepted(thread_id, await organism.send(thread_id, _message(organism, data), to=data.to))


@put("/v1/threads/{thread_id:str}/limits")
async def set_limits(thread_id: FromPath[str], data: JSONBody[LimitsBody], organism: Injected) -> BudgetState:
    """Give a thread new limits; what waited for budget goes on."""
    return await organism.set_limits(thread_id, data.limits())


@delete("/v1/threads/{thread_id:str}", status_code=200)
async def terminate(thread_id: FromPath[str], organism: Injected) -> BudgetState:
    """End a thread now and return its final budget."""
    return (await organism.terminate(thread_id)).budget


@get("/v1/usage")
async def usage(organism: Injected) -> Usage:
    """Sum up since the start."""
    tracker = organism.usage
    return Usage(tracker.total, tracker.by_agent(), tracker.by_model())


@get("/v1/events")
async def events(
    organism: Injected,
    types: Annotated[list[str] | None, QueryParameter(name="type")] = None,
    thread: FromQuery[str | None] = None,
    content: FromQuery[bool] = False,
) -> Stream:
    """Follow events as they happen; what agents say only with ``content=true``."""
    lines = _stream(organism, frozenset(types or ()), thread, content=content)
    return Stream(lines, media_type="text/event-stream", headers={"cache-control": "no-store"})


@get("/metrics")
async def metrics(request: Request[Any, Any, Any], render: NamedDependency[SkipValidation[Render]]) -> Response[bytes]:
    """Answer a scraper."""
    content_type, body = render(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})


def build_application(organism: Controlled, render: Render) -> Litestar:
    """Make the application over a running organism.

    Args:
        organism: What it controls.
        render: Answers ``/metrics``.
    """
    return Litestar(
        route_handlers=[
            healthz,
            open_thread,
            list_threads,
            show_thread,
            send,
            set_limits,
            terminate,
            usage,
            events,
            metrics,
        ],
        dependencies={
            "organism": Provide(lambda: organism, sync_to_thread=False),
            "render": Provide(lambda: render, sync_to_thread=False),
        },
        exception_handlers={
            OrganismError: _say_organism_error,
            ValidationException: _say_http_error,
            HTTPException: _say_http_error,
        },
        openapi_config=None,
        logging_config=None,
        request_max_body_size=1_048_576,
    )


def _message(organism: Controlled, body: OpenThreadBody | SendBody) -> Message:
    if (body.text is None) == (body.message is None):
        raise PayloadError("give either 'text' or 'message'")
    return Text(body.text) if body.text is not None else organism.messages.decode(msgspec.json.encode(body.message))


async def _stream(
    organism: Controlled, types: frozenset[str], thread: str | None, *, content: bool
) -> AsyncIterator[bytes]:
    """Yield events in the format of server-sent events: JSON has no line breaks, so each is one ``data`` line."""
    async with organism.usage.subscribe(thread_id=thread) as subscription:
        yield b": listening\n\n"
        async for event in subscription:
            if _wanted(event, types, content=content):
                name = str(type(event).__struct_config__.tag)
                numbered = b"id: %b\n" % event.id.encode() if event.id else b""
                yield b"%bevent: %b\ndata: %b\n\n" % (numbered, name.encode(), msgspec.json.encode(event))


def _wanted(event: AnyEvent, types: frozenset[str], *, content: bool) -> bool:
    if isinstance(event, AgentSaid) and not content:
        return False
    return not types or str(type(event).__struct_config__.tag) in types


def _problem(problem: Problem) -> Response[Problem]:
    return Response(problem, status_code=problem.status, media_type="application/problem+json")


_STATUS: dict[type[OrganismError], tuple[int, str]] = {
    ThreadClosedError: (404, "thread_not_open"),
    UnknownAccountError: (404, "thread_not_open"),
    UnknownRecipientError: (404, "unknown_recipient"),
    MailboxFullError: (429, "mailbox_full"),
    BoundExceededError: (413, "bound_exceeded"),
    StoppedError: (503, "stopping"),
}


def _say_organism_error(_request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    status, code = next(
        (answer for kind, answer in _STATUS.items() if isinstance(error, kind)), (400, "invalid_request")
    )
    return _problem(Problem(status=status, code=code, title=type(error).__name__, detail=str(error)))


def _say_http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    extra = error.extra if isinstance(error.extra, list) else []
    faults = "; ".join(
        f"{fault.get('key', '')}: {fault.get('message', '')}".strip(": ") for fault in extra if isinstance(fault, dict)
    )
    detail = faults or error.detail
    return _problem(Problem(status=error.status_code, code="http_error", title="request refused", detail=detail))
