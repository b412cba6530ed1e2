"""The events of all partitions as one stream. Any node reads them from the database, so a follower may change nodes.

A place in the stream is the number of the last event seen of each partition. Within a partition, and so within a
source, events come in order and once; partitions are merged by time.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from heapq import merge
from itertools import islice

import anyio
import msgspec

from organism.api.problems import Problem, ProblemError
from organism.api.streams import EventFilter, EventPage, Followed, name_of, refuse_beyond_bound
from organism.concurrency.loop_time import loop_time
from organism.concurrency.own_threads import OwnThreads
from organism.journal import JournalError
from organism.stores.postgres.cluster_events import ClusterEvents
from organism.usage.cloudevents import CloudEvent
from organism.usage.event_log import EventsGoneError, EventsOfTime, events_between
from organism.usage.events import AnyEvent

POLL_S = 0.2
"""So often it is looked for new events while somebody follows."""

_PAGE = 500
_HEARTBEAT_S = 15.0
_BEGIN = "c"
_PARTS_MAX = 257
EventPlace = Mapping[int, int]


def written(place: EventPlace) -> str:
    """Write a place: ``c-3.1a-c.2``, partitions and numbers in hexadecimal digits, without those that are empty."""
    parts = (f"{partition:x}.{number:x}" for partition, number in sorted(place.items()) if number)
    return "-".join((_BEGIN, *parts))


def read_place(text: str, partitions: Iterable[int]) -> dict[int, int]:
    """Read a place; empty, ``0`` and ``c`` are the beginning.

    Raises:
        ProblemError: If it is none of a cluster with these partitions.
    """
    place = dict.fromkeys(partitions, 0)
    begin, *parts = text.split("-")
    try:
        if text.strip("0") == "":
            return place
        if begin != _BEGIN or len(parts) >= _PARTS_MAX:
            raise ValueError(text)
        for part in parts:
            partition, dot, number = part.partition(".")
            if not dot or int(partition, 16) not in place or len(number) > 15:  # noqa: PLR2004 - 60 bits
                raise ValueError(text)
            place[int(partition, 16)] = int(number, 16)
    except ValueError:
        detail = "give the id of an event of this stream, such as c-3.1a, or 0 for the very first"
        raise ProblemError(Problem(status=400, code="bad_id", title="no id of an event", detail=detail)) from None
    return place


class ClusterReader:
    """Reads the events of a cluster for those outside; asked as :class:`organism.api.streams.Reader` is.

    Args:
        url: The database.
        partitions: Tells which journals it holds.
        name: The organism.
    """

    def __init__(self, url: str, partitions: Callable[[], Iterable[int]], name: str) -> None:
        self._events = ClusterEvents(url)
        self._partitions = partitions
        self._name = name
        self._threads = OwnThreads(1)
        self._sources: dict[int, str] = {}
        self._newest: dict[int, int] = {}
        self._looked_s = float("-inf")
        self._turn = anyio.Lock()
        self.followers = 0
        self.one_period = anyio.Lock()

    async def aclose(self) -> None:
        """Let go of the database."""
        await self._threads.run(self._events.close)

    async def page(self, after: str, limit: int, wait_s: float, wanted: EventFilter) -> EventPage:
        """Return events behind a place; if there are none yet, wait for some so long.

        Raises:
            EventsGoneError: If some after that one are not kept any more.
            ProblemError: If the place is none of this cluster.
        """
        place = read_place(after, self._partitions())
        deadline_s = anyio.current_time() + wait_s
        while True:
            found = await self._next(place, limit)
            kept = tuple(self._shown(partition, event, wanted) for partition, event in found if wanted.covers(event))
            place.update((partition, int(event.id)) for partition, event in found)
            full = len(found) == limit
            if kept or full or anyio.current_time() >= deadline_s:
                return EventPage(kept, written(place), full)
            await anyio.sleep(min(POLL_S, max(0.0, deadline_s - anyio.current_time())))

    async def follow(self, after: str | None, wanted: EventFilter) -> Followed:
        """Return events as server-sent events: those behind a place first, if there is one, and then as they happen.

        Raises:
            EventsGoneError: If some after that one are not kept any more.
            ProblemError: If the place is none of this cluster, or too many follow already.
        """
        refuse_beyond_bound(self.followers)
        self.followers += 1
        try:
            place = dict(await self._latest()) if after is None else read_place(after, self._partitions())
            await self._next(place, 1)
        except BaseException:
            self._leave()
            raise
        return Followed(self._follow(place, wanted), self._leave)

    async def between(self, since_ns: int | None, until_ns: int | None) -> EventsOfTime:
        """Return all stored events of a time, of one partition after the other."""
        found = [
            await events_between(_PartitionLog(self, partition), since_ns, until_ns)
            for partition in await self._latest()
        ]
        return EventsOfTime(_one_after_another(found), max((each.kept_from_ns for each in found), default=0))

    async def of_partition(self, partition: int, after: str, limit: int) -> list[AnyEvent]:
        """Return events of one partition after the one of an id.

        Raises:
            EventsGoneError: If some after that one are not kept any more.
        """
        async with self._turn:
            found = await self._threads.run(self._events.after, {partition: int(after or 0)}, limit)
        return found[partition]

    def _leave(self) -> None:
        self.followers -= 1

    async def _follow(self, place: dict[int, int], wanted: EventFilter) -> AsyncGenerator[bytes]:
        yield b": listening\n\n"
        told_s = loop_time()
        try:
            while True:
                found = await self._next(place, _PAGE)
                for partition, event in found:
                    place[partition] = int(event.id)
                    if wanted.covers(event):
                        told_s = loop_time()
                        yield self._frame(partition, event, place, wanted)
                if not found:
                    if loop_time() - told_s >= _HEARTBEAT_S:
                        told_s = loop_time()
                        # Also where it is: what is not wanted need not be read again after a break.
                        yield f"id: {written(place)}\n: still here\n\n".encode()
                    await anyio.sleep(POLL_S)
        except (JournalError, EventsGoneError) as error:
            # The reader comes back with the id of the last event it has seen and goes on from there.
            yield b": %b\n\n" % str(error).encode()

    def _frame(self, partition: int, event: AnyEvent, place: EventPlace, wanted: EventFilter) -> bytes:
        data = msgspec.json.encode(self._shown(partition, event, wanted))
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (written(place).encode(), name_of(event).encode(), data)

    def _shown(self, partition: int, event: AnyEvent, wanted: EventFilter) -> CloudEvent:
        return wanted.shown(event, f"urn:organism:{self._name}:{self._sources.get(partition, partition)}")

    async def _next(self, place: dict[int, int], limit: int) -> list[tuple[int, AnyEvent]]:
        """Return what comes next, by time; of one partition always in its order."""
        newest = await self._latest()
        behind = {
            partition: place.get(partition, 0) for partition in newest if newest[partition] > place.get(partition, 0)
        }
        if not behind:
            return []
        async with self._turn:
            found = await self._threads.run(self._events.after, behind, limit)
            if not found.keys() <= self._sources.keys():
                self._sources = await self._threads.run(self._events.names)
        return list(islice(_merged(found), limit))

    async def _latest(self) -> dict[int, int]:
        """Return the newest event of each partition, as they were a moment ago: followers share the look."""
        async with self._turn:
            if loop_time() - self._looked_s >= POLL_S / 2:
                self._newest = await self._threads.run(self._events.newest)
                self._looked_s = loop_time()
        return self._newest


class _PartitionLog:
    """The events of one partition, read as those of a daemon alone are."""

    def __init__(self, reader: ClusterReader, partition: int) -> None:
        self._reader = reader
        self._partition = partition

    async def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        """Return those after an id."""
        return await self._reader.of_partition(self._partition, after, limit)


async def _one_after_another(found: Iterable[EventsOfTime]) -> AsyncGenerator[list[AnyEvent]]:
    for each in found:
        async for page in each.pages:
            yield page


def _merged(found: Mapping[int, list[AnyEvent]]) -> Iterable[tuple[int, AnyEvent]]:
    lines = ([(partition, event) for event in events] for partition, events in found.items())
    return merge(*lines, key=lambda line: line[1].time_ns)
