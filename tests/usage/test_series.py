"""Usage over time: each step holds what happened in it, however long ago, and memory is bounded."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest

from organism.amounts import NS_PER_S, TokenUsage
from organism.errors import Refusal
from organism.journal import Pieces
from organism.stores.memory import MemoryJournal
from organism.usage import series
from organism.usage.events import AnyEvent, BudgetExceeded, UsageEvent
from organism.usage.series import OTHERS, Measure, SeriesStep, UsageOverTime
from tests.usage.test_tracker import used

HOUR_S = 3600
BEGIN = int(datetime(2026, 11, 24, tzinfo=UTC).timestamp())


def history(zone: tzinfo = UTC) -> UsageOverTime:
    return UsageOverTime(lambda: zone, lambda thread: {"tenant": f"of {thread}"}, lambda thread: f"key of {thread}")


def at(hour: float, agent: str = "writer", **fields: object) -> UsageEvent:
    return used(agent, time_ns=int((BEGIN + hour * HOUR_S) * NS_PER_S), **fields)


def refused(hour: float, *, enforced: bool = True) -> BudgetExceeded:
    refusal = Refusal("thread:t", "calls", 1, 1, 0, 1)
    time_ns = int((BEGIN + hour * HOUR_S) * NS_PER_S)
    about = {"thread_id": "t", "root_thread_id": "t", "agent": "writer", "model": "main"}
    return BudgetExceeded(time_ns=time_ns, shortfall=refusal, enforced=enforced, **about)


def shown(
    over_time: UsageOverTime, measure: Measure = "cost", by: str = "agent", step: SeriesStep = "hour", hours: int = 3
) -> dict[str, tuple[int, ...]]:
    since, until = BEGIN * NS_PER_S, (BEGIN + hours * HOUR_S) * NS_PER_S
    return {line.name: line.values for line in over_time.series(measure, by, step, since, until).series}


EVENTS: tuple[AnyEvent, ...] = (
    at(0, cost_nanousd=5, labels={"tenant": "a"}),
    at(0.9, cost_nanousd=7, labels={"tenant": "b"}, latency_ms=300),
    at(1, cost_nanousd=11, agent="critic", model="large", labels={"tenant": "a"}),
    at(1.5, cost_nanousd=2, tool="search", model="", usage=TokenUsage(), labels={"tenant": "a"}),
    at(1.6, cost_nanousd=99, outcome="released"),
    at(2.99, cost_nanousd=None, labels={"tenant": "a"}),
    refused(2.5),
    refused(2.6, enforced=False),
)


@pytest.mark.parametrize(
    ("measure", "by", "expected"),
    [
        ("cost", "agent", {"writer": (12, 2, 0), "critic": (0, 11, 0)}),
        ("cost", "model", {"main": (12, 0, 0), "large": (0, 11, 0)}),
        ("cost", "label:tenant", {"a": (5, 13, 0), "b": (7, 0, 0)}),
        ("cost", "label:nobody", {}),
        ("cost", "key", {"key of t": (12, 13, 0)}),
        ("calls", "agent", {"writer": (2, 0, 1), "critic": (0, 1, 0)}),
        ("tokens", "model", {"main": (40, 0, 20), "large": (0, 20, 0)}),
        ("latency", "agent", {"writer": (200_000_000, 0, 100_000_000), "critic": (0, 100_000_000, 0)}),
        ("refusals", "agent", {"writer": (0, 0, 1)}),
        ("refusals", "model", {"main": (0, 0, 1)}),
        ("refusals", "label:tenant", {"of t": (0, 0, 1)}),
    ],
)
def test_each_measure_is_counted_in_its_step(measure: Measure, by: str, expected: dict[str, tuple[int, ...]]) -> None:
    """Cost, calls, tokens, refusals and latency stand in the hour in which they happened, under each name they have."""
    over_time = history()
    for event in EVENTS:
        over_time.on_event(event)
    assert shown(over_time, measure, by) == expected


@pytest.mark.parametrize(
    ("zone", "hours", "values"),
    [("UTC", 48, (7, 4)), ("Europe/Berlin", 48, (3, 8, 0)), ("America/New_York", 48, (1, 10, 0))],
)
def test_days_begin_where_the_configuration_says(zone: str, hours: int, values: tuple[int, ...]) -> None:
    """A day of a chart is a day of the organism's limits, not of Greenwich."""
    over_time = history(ZoneInfo(zone))
    for hour, cost in ((4, 1), (22.5, 2), (23.5, 4), (24.5, 4)):
        over_time.on_event(at(hour, cost_nanousd=cost))
    assert shown(over_time, step="day", hours=hours)["writer"][: len(values)] == values


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia"])
def test_a_year_of_days_has_each_day_once(zone: str) -> None:
    """Days of 23 and 25 hours are one step each, none is left out and none is there twice."""
    over_time = history(ZoneInfo(zone))
    made = over_time.series("cost", "agent", "day", BEGIN * NS_PER_S, (BEGIN + 366 * 24 * HOUR_S) * NS_PER_S)
    dates = [datetime.fromtimestamp(start / NS_PER_S, ZoneInfo(zone)) for start in made.starts_ns]
    assert len({day.date() for day in dates}) == len(dates) >= 366
    assert {(day.hour, day.minute) for day in dates} == {(0, 0)}


def test_names_beyond_those_shown_are_one_line_and_nothing_is_lost() -> None:
    """With hundreds of tenants the largest are shown and the others together, so that the lines add up to the whole."""
    over_time = history()
    for number in range(700):
        over_time.on_event(at(number % 3, cost_nanousd=number, labels={"tenant": f"t{number}"}))
    lines = shown(over_time, by="label:tenant")
    assert len(lines) == series.SHOWN_MAX
    assert list(lines)[-1] == OTHERS
    assert sum(sum(line) for line in lines.values()) == sum(range(700))


def test_memory_is_bounded_and_the_oldest_hours_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it runs and however many names there are, a bounded number of sums is kept, the newest."""
    monkeypatch.setattr(series, "_NAMES_MAX", 5)
    monkeypatch.setattr(series, "_SIZE_MAX", 60)
    monkeypatch.setattr(series, "_MINUTES_SIZE_MAX", 40)
    over_time = history()
    for number in range(2_000):
        over_time.on_event(at(number / 4, agent=f"a{number}"))
    assert sum(map(len, over_time._cells.values())) <= 100 + 4 * (5 + 4)
    assert max(len(cell) for cell in over_time._cells.values()) <= 5 + 4
    assert max(start for step, start in over_time._cells if step == "hour") == BEGIN + 499 * HOUR_S
    by_hour = over_time.series("calls", "agent", "hour", 0, (BEGIN + 500 * HOUR_S) * NS_PER_S)
    assert len(by_hour.starts_ns) <= 770


def test_minutes_are_a_fine_look_at_the_last_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each minute has its own sums, those of the one under way too; many names never push out an hour."""
    monkeypatch.setattr(series, "_MINUTES_SIZE_MAX", 12)
    over_time = history()
    for second, cost in ((0, 1), (59.9, 2), (60, 4), (3 * 60 + 1, 8), (2 * 60, 16)):
        over_time.on_event(at(second / HOUR_S, cost_nanousd=cost))
    since, until = BEGIN * NS_PER_S, (BEGIN + 4 * 60) * NS_PER_S
    made = over_time.series("cost", "agent", "minute", since, until)
    assert (made.step_s, [line.values for line in made.series]) == (60, [(0, 4, 16, 8)]), "the oldest has gone"
    assert shown(over_time)["writer"] == (31, 0, 0), "and is in its hour all the same"


async def kept_pieces(journal: MemoryJournal) -> Pieces:
    await journal.commit()
    return Pieces(journal.load().pieces)


@pytest.mark.anyio
async def test_history_outlives_the_process_and_what_is_forgotten_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart shows the same chart, and an hour that was forgotten does not come back."""
    monkeypatch.setattr(series, "_CELLS_MAX", {"minute": 60, "hour": 2, "day": 2})
    journal, over_time = MemoryJournal(), history()
    for event in EVENTS[:4]:
        over_time.on_event(event)
    over_time.keep(journal)
    over_time.on_event(EVENTS[5])
    over_time.keep(journal)
    again = history()
    assert again.restore(await kept_pieces(journal))
    assert shown(again) == shown(over_time) == {"writer": (0, 2, 0), "critic": (0, 11, 0)}
    assert shown(again, "tokens")["writer"] == (0, 0, 20)
    assert not history().restore(Pieces())
