"""The stored events of a time are found without reading those before, wherever they lie in a log of any length."""

import pytest

from organism.amounts import NS_PER_S
from organism.usage.event_log import events_between, first_number
from organism.usage.events import AnyEvent, ThreadResumed

pytestmark = pytest.mark.anyio

HOUR_NS = 3600 * NS_PER_S


class CountedLog:
    """A log whose oldest event has the number 4; one asked more often than any search needs fails."""

    def __init__(self, events: int) -> None:
        self._events = [ThreadResumed(id=f"{number:016d}", time_ns=number) for number in range(4, 4 + events)]
        self._asked = 0

    async def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        self._asked += 1
        assert self._asked < 100, "the search does not end"
        assert not after or int(after) >= 4, "what is forgotten was asked for"
        return [event for event in self._events if int(event.id) > int(after or 0)][:limit]


@pytest.mark.parametrize("events", range(1, 12))
async def test_first_event_of_a_life_is_found_wherever_it_is(events: int) -> None:
    """A thread's timeline is found in a log of any length, and the search for its beginning ends."""
    last = 3 + events
    for since in range(last + 3):
        found = await first_number(CountedLog(events), 4, last, since)
        assert found == min(max(4, since), last)


class HourlyLog:
    """A log with an event each hour, numbered from the oldest that is kept; counts the events that are read."""

    def __init__(self, oldest: int, events: int) -> None:
        numbers = range(oldest, oldest + events)
        self._events: list[AnyEvent] = [ThreadResumed(id=f"{each:016d}", time_ns=each * HOUR_NS) for each in numbers]
        self.read = 0

    async def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        found: list[AnyEvent] = [event for event in self._events if int(event.id) > int(after or 0)][:limit]
        self.read += len(found)
        return found


@pytest.mark.parametrize("oldest", [1, 5000])
async def test_events_of_a_time_are_read_without_those_before_and_long_after(oldest: int) -> None:
    """Of years of events a day takes about a page; it is said whether older ones are kept."""
    log = HourlyLog(oldest, 20_000)
    begin = oldest + 15_000
    found = await events_between(log, begin * HOUR_NS, (begin + 24) * HOUR_NS)
    numbers = [int(event.id) for page in [page async for page in found.pages] for event in page]
    assert set(range(begin, begin + 24)) <= set(numbers)
    assert begin - 1 <= numbers[0] <= begin
    assert log.read < 2_000
    assert found.kept_from_ns == (0 if oldest == 1 else oldest * HOUR_NS)


async def test_all_events_and_none() -> None:
    """Without a period everything is read, once; an empty log has no pages."""
    found = await events_between(HourlyLog(1, 2_500), None, None)
    assert [len(page) async for page in found.pages] == [1000, 1000, 500]
    none = await events_between(HourlyLog(1, 0), HOUR_NS, None)
    assert [page async for page in none.pages] == []
    assert none.kept_from_ns == 0
