"""Hands stored events to another system, in order, at least once, however long that system is away.

Each exporter reads the event log by itself and keeps its own place in it, only after its sink has taken the events.
What is sent twice after a crash carries the same ids both times.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import anyio
import msgspec
import structlog

from organism.error_text import with_type
from organism.errors import OrganismError
from organism.foreign import ForeignTasks
from organism.usage.cloudevents import CloudEvent, envelope
from organism.usage.cursors import Cursors
from organism.usage.event_log import EventLog, EventsGoneError
from organism.usage.events import STORED, AnyEvent
from organism.usage.headlines import with_headline
from organism.usage.tracker import UsageTracker

_PAGE = 100
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_CLOSE_S = 5.0
_END_S = 1.0

_log = structlog.get_logger("organism.exporters")


class UndeliveredError(OrganismError):
    """The other system has not taken the events; they are sent again."""

    retryable = True


class Sink(Protocol):
    """Where events go."""

    async def deliver(self, events: Sequence[CloudEvent]) -> None:
        """Return when all of them are taken.

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
    """

    name: str
    sink: Sink
    types: frozenset[str] = frozenset()


class Origin(msgspec.Struct, frozen=True):
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
async def exporting(exports: Sequence[Export], origin: Origin) -> AsyncIterator[None]:
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


async def run_export(export: Export, origin: Origin, sinks: ForeignTasks) -> None:
    """Deliver events until cancelled.

    Args:
        export: What, and to where.
        origin: Where from.
        sinks: Where the sink runs.
    """
    news = [anyio.Event()]
    end = origin.usage.on_event(lambda _event: news[0].set(), *STORED)
    wait_s = _FIRST_WAIT_S
    try:
        while True:
            news[0] = anyio.Event()
            try:
                more = await _deliver_page(export, origin, sinks)
            except EventsGoneError as error:
                _log.error("events_missed", exporter=export.name, oldest=error.oldest)
                await origin.cursors.keep(export.name, "")
            except OrganismError as error:
                _log.warning("not_delivered", exporter=export.name, error=str(error), again_in_s=wait_s)
                await anyio.sleep(wait_s)
                wait_s = min(_LONGEST_WAIT_S, wait_s * 2)
            else:
                wait_s = _FIRST_WAIT_S
                if not more:
                    await news[0].wait()
    finally:
        end()


async def _deliver_page(export: Export, origin: Origin, sinks: ForeignTasks) -> bool:
    """Deliver what comes next; whether there was anything."""
    found = await origin.log.events_after(origin.cursors.of(export.name), _PAGE)
    if not found:
        return False
    wanted = [envelope(with_headline(event), origin.source()) for event in found if _wants(export, event)]
    if wanted:
        await _deliver(export, wanted, sinks)
    await origin.cursors.keep(export.name, found[-1].id)
    return True


async def _deliver(export: Export, events: Sequence[CloudEvent], sinks: ForeignTasks) -> None:
    """Hand events to the sink.

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


def _end_of(sink: Sink) -> Awaitable[None]:
    return sink.aclose()


def _wants(export: Export, event: AnyEvent) -> bool:
    return not export.types or str(type(event).__struct_config__.tag) in export.types
