"""Hands stored events to another system, in order, at least once, however long that system is away.

Each exporter reads the event log by itself and keeps its own place in it, only after its sink has taken the events.
What is sent twice after a crash carries the same ids both times. An event that the other system will never take is set
aside, where people see it and can have it offered again; those behind it do not wait for it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import anyio
import msgspec

from organism.concurrency.foreign_code import ForeignTasks
from organism.concurrency.safe_log import safe_logger
from organism.errors import OrganismError
from organism.text.error_text import with_type
from organism.usage.cloudevents import CloudEvent, envelope
from organism.usage.cursors import Cursors, SetAside
from organism.usage.event_log import EventLog, EventsGoneError
from organism.usage.events import STORED, AnyEvent
from organism.usage.headlines import with_headline
from organism.usage.tracker import UsageTracker

_PAGE = 100
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_CLOSE_S = 5.0
_END_S = 1.0

_log = safe_logger("organism.exporters")


class Rejected(msgspec.Struct, frozen=True):
    """An event that the other system will never take.

    Attributes:
        event: The event.
        reason: What the system has answered.
        place: Where the event stands among those that were offered with it.
    """

    event: CloudEvent
    reason: str
    place: int


class UndeliveredError(OrganismError):
    """The other system has not taken the events; they are sent again.

    Attributes:
        settled: So many events from the first on are done with all the same.
        rejected: Those among them that it will never take.
        after_s: Seconds after which it wants to be asked again, if it said so.
    """

    retryable = True

    def __init__(
        self, reason: str, *, settled: int = 0, rejected: Sequence[Rejected] = (), after_s: float | None = None
    ) -> None:
        self.settled = settled
        self.rejected = tuple(rejected)
        self.after_s = after_s
        super().__init__(reason)


class Sink(Protocol):
    """Where events go."""

    async def deliver(self, events: Sequence[CloudEvent]) -> Sequence[Rejected] | None:
        """Return when all of them are taken, or known never to be: those are returned.

        Raises:
            UndeliveredError: If some are not, for now.
        """
        ...

    async def aclose(self) -> None:
        """Free what it holds."""
        ...


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported, and to where.

    Attributes:
        name: Its own; its place in the events is kept under it.
        sink: Where to.
        types: Kinds of events by name; all when there are none.
        prepare: Adds to an event what only this sink is sent.
    """

    name: str
    sink: Sink
    types: frozenset[str] = frozenset()
    prepare: Callable[[CloudEvent], CloudEvent] = lambda event: event

    def offered(self, event: AnyEvent, source: str) -> CloudEvent:
        """Return an event as the sink is sent it."""
        return self.prepare(envelope(with_headline(event), source))


class EventSource(msgspec.Struct, frozen=True):
    """Where events come from.

    Attributes:
        log: The stored ones.
        usage: Tells of new ones.
        cursors: Keeps how far each exporter has come.
        source: What events call the organism.
    """

    log: EventLog
    usage: UsageTracker
    cursors: Cursors
    source: Callable[[], str]


@asynccontextmanager
async def exporting(exports: Sequence[Export], origin: EventSource) -> AsyncIterator[None]:
    """Export while inside; what is not delivered at the end is delivered by the next process.

    Sinks run in tasks of their own: one that fails in any way, or does not end, harms neither the others nor the rest.
    """
    sinks = ForeignTasks()
    async with anyio.create_task_group() as tasks:
        for export in exports:
            tasks.start_soon(run_export, export, origin, sinks)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                for export in exports:
                    await _close(export, sinks)
                await sinks.end(_END_S)


async def _close(export: Export, sinks: ForeignTasks) -> None:
    end = await sinks.finish(partial(_end_of, export.sink), f"the end of exporter {export.name!r}", _CLOSE_S)
    if end.error is not None or not end.done:
        failure = "it takes too long" if end.error is None else with_type(end.error)
        _log.warning("exporter_not_closed", exporter=export.name, error=failure)


async def run_export(export: Export, origin: EventSource, sinks: ForeignTasks) -> None:
    """Deliver events until cancelled.

    Args:
        export: What, and to where.
        origin: Where from.
        sinks: Where the sink runs.
    """
    news = [anyio.Event()]
    end = origin.usage.subscribe(lambda _event: news[0].set(), *STORED)

    def wake() -> None:
        news[0].set()

    origin.cursors.on_retry(export.name, wake)
    wait_s = _FIRST_WAIT_S
    try:
        while True:
            news[0] = anyio.Event()
            try:
                await _offer_again(export, origin, sinks)
                more = await _deliver_page(export, origin, sinks)
            except EventsGoneError as error:
                _log.error("events_missed", exporter=export.name, oldest=error.oldest)
                await origin.cursors.keep(export.name, "")
            except OrganismError as error:
                asked_s = error.after_s if isinstance(error, UndeliveredError) else None
                pause_s = max(wait_s, asked_s or 0.0)
                _log.warning("not_delivered", exporter=export.name, error=str(error), again_in_s=pause_s)
                await anyio.sleep(pause_s)
                wait_s = min(_LONGEST_WAIT_S, wait_s * 2)
            else:
                wait_s = _FIRST_WAIT_S
                if not more:
                    await news[0].wait()
    finally:
        end()


async def _deliver_page(export: Export, origin: EventSource, sinks: ForeignTasks) -> bool:
    """Deliver what comes next; whether there was anything."""
    found = await origin.log.events_after(origin.cursors.of(export.name), _PAGE)
    if not found:
        return False
    wanted = [export.offered(event, origin.source()) for event in found if _wants(export, event)]
    rejected: Sequence[Rejected] = ()
    if wanted:
        try:
            rejected = await _deliver(export, wanted, sinks)
        except UndeliveredError as error:
            # What is settled is kept at once: it would else be offered again for as long as one behind it is refused.
            if error.settled:
                await _keep(export, origin, wanted[error.settled - 1].id, error.rejected)
            raise
    await _keep(export, origin, found[-1].id, rejected)
    return True


async def _deliver(export: Export, events: Sequence[CloudEvent], sinks: ForeignTasks) -> Sequence[Rejected]:
    """Hand events to the sink, and return those that it will never take.

    Raises:
        OrganismError: If they are not taken, for whatever reason.
    """
    work = sinks.start(partial(export.sink.deliver, events), f"a delivery of exporter {export.name!r}")
    try:
        await work.wait()
    finally:
        if not work.done:
            await work.stop()
    if isinstance(work.error, OrganismError):
        raise work.error
    if work.error is not None:
        raise UndeliveredError(f"it failed with {with_type(work.error)}")
    found = work.value if isinstance(work.value, list | tuple) else ()
    return [one for one in found if isinstance(one, Rejected)]


def _end_of(sink: Sink) -> Awaitable[None]:
    return sink.aclose()


async def _keep(export: Export, origin: EventSource, after: str, rejected: Sequence[Rejected]) -> None:
    asides = [SetAside(export.name, one.event.id, one.reason, one.event.data.time_ns) for one in rejected]
    for aside in asides:
        _log.error("event_set_aside", exporter=export.name, event_id=aside.event_id, reason=aside.reason)
    await origin.cursors.keep(export.name, after, asides)


async def _offer_again(export: Export, origin: EventSource, sinks: ForeignTasks) -> None:
    """Offer what was set aside, one by one, when somebody has asked for it; what is refused again stays where it is."""
    for aside in origin.cursors.wanted(export.name):
        event = await _event_of(aside, origin.log)
        if event is None:
            _log.error("set_aside_event_gone", exporter=export.name, event_id=aside.event_id)
            continue
        try:
            rejected = await _deliver(export, [export.offered(event, origin.source())], sinks)
        except UndeliveredError as error:
            _log.warning("not_delivered", exporter=export.name, event_id=aside.event_id, error=str(error))
            continue
        if not rejected:
            await origin.cursors.taken([aside])
            _log.info("set_aside_event_taken", exporter=export.name, event_id=aside.event_id)


async def _event_of(aside: SetAside, log: EventLog) -> AnyEvent | None:
    """Read an event by its id: ids are numbers of one width that ascend."""
    before = str(int(aside.event_id) - 1).zfill(len(aside.event_id))
    try:
        found = await log.events_after(before, 1)
    except EventsGoneError:
        return None
    return found[0] if found and found[0].id == aside.event_id else None


def _wants(export: Export, event: AnyEvent) -> bool:
    return not export.types or str(type(event).__struct_config__.tag) in export.types
