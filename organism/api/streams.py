"""Event streams and pages. A reader that reconnects misses no event, or gets an error that says so."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import get_args
from weakref import finalize

import anyio
import msgspec

from organism.api.problems import Problem, ProblemError
from organism.control.control import Control
from organism.usage.cloudevents import CloudEvent, envelope
from organism.usage.event_log import EventsGoneError, EventsOfTime, events_between
from organism.usage.events import AgentSaid, AnyEvent
from organism.usage.headlines import with_headline
from organism.usage.tracker import SlowConsumerError

FOLLOWERS_MAX = 32
_PAGE = 500
_HEARTBEAT_S = 15.0
_ID_DIGITS = 16


def refuse_beyond_bound(followers: int) -> None:
    """Refuse one more follower where so many follow already.

    Raises:
        ProblemError: If they are too many.
    """
    if followers >= FOLLOWERS_MAX:
        detail = "end a stream first, or read pages"
        raise ProblemError(Problem(status=429, code="too_many_followers", title="too many follow", detail=detail))


class EventFilter(msgspec.Struct, frozen=True):
    """Which events a reader wants.

    Attributes:
        types: Names of kinds; all when there are none.
        thread: Only of this thread and its descendants.
        content: Also what agents say, which exists only live.
        errors: Also what errors say, which may quote it: the words of a provider are for its operator.
    """

    types: frozenset[str]
    thread: str | None
    content: bool = False
    errors: bool = False

    def shown(self, event: AnyEvent, source: str) -> CloudEvent:
        """Return an event as the reader may see it."""
        return envelope(event if self.errors else with_headline(event), source)

    def covers(self, event: AnyEvent) -> bool:
        """Whether the reader wants this one."""
        if isinstance(event, AgentSaid) and not self.content:
            return False
        if self.types and name_of(event) not in self.types:
            return False
        return self.thread is None or self.thread in (event.thread_id, event.root_thread_id)


class EventPage(msgspec.Struct, frozen=True):
    """Some events, oldest first.

    Attributes:
        next: Give this as ``after`` for the next page: everything up to it has been looked at.
        more: Whether the next page can be had at once.
    """

    events: tuple[CloudEvent, ...]
    next: str
    more: bool


class Reader:
    """Reads an organism's events for those outside.

    Args:
        control: The organism.

    Attributes:
        followers: How many follow.
        one_period: Held by who adds a period up: many at once would each read the whole log.
    """

    def __init__(self, control: Control) -> None:
        components = control.components
        self._control = control
        self._log = components.journal
        self._usage = components.usage
        self.followers = 0
        self.one_period = anyio.Lock()

    async def page(self, after: str, limit: int, wait_s: float, wanted: EventFilter) -> EventPage:
        """Return events after an id; if there are none yet, wait for some so long.

        Raises:
            EventsGoneError: If some after that one are not kept any more.
            ProblemError: If the id is none of this journal.
        """
        after = await self._checked(after)
        async with self._usage.subscribe(capacity=1) as live:
            deadline = anyio.current_time() + wait_s
            while True:
                found = await self._log.events_after(after, limit)
                kept = tuple(wanted.shown(event, self._control.source) for event in found if wanted.covers(event))
                after = found[-1].id if found else after
                full = len(found) == limit
                if kept or full or anyio.current_time() >= deadline:
                    return EventPage(kept, after, full)
                with anyio.move_on_after(deadline - anyio.current_time()):
                    if not await _something_new(live):
                        return EventPage((), after, more=False)

    async def follow(self, after: str | None, wanted: EventFilter) -> "Followed":
        """Return events as server-sent events: those after an id first, if there is one, and then as they happen.

        Raises:
            EventsGoneError: If some after that one are not kept any more.
            ProblemError: If the id is none of this journal, or too many follow already.
        """
        refuse_beyond_bound(self.followers)
        # The place is taken before anything is waited for: of many who ask at once, each sees those before it.
        self.followers += 1
        try:
            if after is not None:
                after = await self._checked(after)
                await self._log.events_after(after, 1)
        except BaseException:
            self._leave()
            raise
        return Followed(self._follow(after, wanted), self._leave)

    async def between(self, since_ns: int | None, until_ns: int | None) -> EventsOfTime:
        """Return all stored events of a time."""
        return await events_between(self._log, since_ns, until_ns)

    def _leave(self) -> None:
        self.followers -= 1

    async def _follow(self, after: str | None, wanted: EventFilter) -> AsyncGenerator[bytes]:
        try:
            async with self._usage.subscribe(thread_id=wanted.thread) as live:
                yield b": listening\n\n"
                seen = after or ""
                while after is not None and (found := await self._log.events_after(seen, _PAGE)):
                    for event in found:
                        seen = event.id
                        if wanted.covers(event):
                            yield self._frame(event, wanted)
                while True:
                    upcoming: AnyEvent | None = None
                    with anyio.move_on_after(_HEARTBEAT_S) as heartbeat:
                        upcoming = await anext(live)
                    if heartbeat.cancelled_caught or upcoming is None:
                        yield b": still here\n\n"
                    elif wanted.covers(upcoming) and not (upcoming.id and upcoming.id <= seen):
                        yield self._frame(upcoming, wanted)
        except StopAsyncIteration:
            return
        except (SlowConsumerError, EventsGoneError) as error:
            # The reader comes back with the id of the last event it has seen and goes on from there.
            yield b": %b\n\n" % str(error).encode()

    def _frame(self, event: AnyEvent, wanted: EventFilter) -> bytes:
        """Write a server-sent event: JSON has no line breaks, so each is one ``data`` line."""
        numbered = b"id: %b\n" % event.id.encode() if event.id else b""
        data = msgspec.json.encode(wanted.shown(event, self._control.source))
        return b"%bevent: %b\ndata: %b\n\n" % (numbered, name_of(event).encode(), data)

    async def _checked(self, after: str) -> str:
        """Return an id as the journal writes it, and refuse one that the journal has not come to.

        A daemon whose journal is in memory counts anew after a restart. A reader that came back with an old id would
        otherwise wait for it, and miss everything until then.
        """
        if not after:
            return ""
        if not after.isdecimal() or not after.isascii() or len(after) > _ID_DIGITS:
            detail = "give the id of an event, such as 0000000000000042, or 0 for the very first"
            raise ProblemError(Problem(status=400, code="bad_id", title="no id of an event", detail=detail))
        number = int(after)
        padded = f"{number:0{_ID_DIGITS}d}"
        if number and not await self._log.events_after(padded, 1):
            try:
                known = await self._log.events_after(f"{number - 1:0{_ID_DIGITS}d}", 1)
            except EventsGoneError:
                return padded  # it is the last of those that were forgotten, and there are none after it
            if not known:
                detail = f"this journal has not come to event {padded}: it is another one; begin anew with after=0"
                raise ProblemError(Problem(status=410, code="events_gone", title="another journal", detail=detail))
        return padded


class Followed:
    """Events on their way to one reader, whose place is free again when they end, or when nobody holds them any more.

    A generator alone would not do: one that was never begun, because its reader had gone before, runs none of its code.
    """

    def __init__(self, frames: AsyncGenerator[bytes], leave: Callable[[], None]) -> None:
        self._frames = frames
        self._leave = finalize(self, leave)

    def __aiter__(self) -> "Followed":
        return self

    async def aclose(self) -> None:
        """End them."""
        self._leave()
        await self._frames.aclose()

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._frames)
        except BaseException:
            self._leave()
            raise


def name_of(event: AnyEvent) -> str:
    """Return the name of a kind of event, as filters and ``data.type`` have it."""
    return name_of_kind(type(event))


def name_of_kind(kind: type[AnyEvent]) -> str:
    """Return the name of a kind of event."""
    return str(kind.__struct_config__.tag)


EVENT_NAMES = frozenset(map(name_of_kind, get_args(AnyEvent)))
"""The names of all kinds of events."""


async def _something_new(live: AsyncIterator[AnyEvent]) -> bool:
    """Wait for something to happen; ``False`` if nothing will. What it was is read from the log."""
    try:
        event = await anext(live)
        while not event.id:
            event = await anext(live)
    except SlowConsumerError:
        return True
    except StopAsyncIteration:
        return False
    return True
