"""Lists of threads: which are in it, in which order, and page by page."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from organism import Bounds, Limits, Text
from organism.app import Organism
from organism.control.listing.thread_list import ENDED_STATES, OPEN_STATES, PageRequest, ThreadFilter, ThreadOrder
from organism.control.views import ThreadPage, ThreadSummary
from organism.errors import ConfigError
from organism.pricing.book import PriceBook
from organism.pricing.rates import flat_rates
from tests.api.conftest import make

RATES = flat_rates(input=3_000_000_000, output=7_000_000_000, source="test")

pytestmark = pytest.mark.anyio


async def some_threads(organism: Organism, count: int, text: str = "wait") -> None:
    for number in range(count):
        labels = {"tenant": f"T{number % 3}"}
        await organism.control.open_thread(Text(text), thread_id=f"th_{number}", labels=labels)


def ids(page: ThreadPage) -> list[str]:
    return [thread.thread_id for thread in page.threads]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ThreadFilter(), 6),
        (ThreadFilter(search="TH_4"), 1),
        (ThreadFilter(search="t1"), 2),
        (ThreadFilter(search="writer t1"), 2),
        (ThreadFilter(search="writer nobody"), 0),
        (ThreadFilter(agent="writer"), 6),
        (ThreadFilter(agent="user"), 0),
        (ThreadFilter(labels=("tenant=T2",)), 2),
        (ThreadFilter(labels=("tenant",)), 6),
        (ThreadFilter(labels=("tenant=T2", "team")), 0),
        (ThreadFilter(labels=("tenant=T2",), search="th_5"), 1),
        (ThreadFilter(waiting="budget"), 0),
        (ThreadFilter(states=ENDED_STATES), 0),
    ],
)
async def test_each_condition_narrows_a_list(wanted: ThreadFilter, found: int) -> None:
    """A list holds the threads that meet every condition, and says how many they are."""
    async with make() as organism:
        await some_threads(organism, 6)
        page = organism.control.queries.find_threads(wanted, PageRequest())
        assert (len(page.threads), page.total) == (found, found)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("sort", ["opened", "spent", "activity"])
async def test_pages_hold_each_thread_once_in_order(sort: ThreadOrder, *, ascending: bool) -> None:
    """Page by page, each thread comes once and in the order asked for, although the one that ended a page has gone."""
    async with make() as organism:
        await some_threads(organism, 7)
        find = organism.control.queries.find_threads
        seen: list[ThreadSummary] = []
        cursor: str | None = None
        while True:
            page = find(ThreadFilter(), PageRequest(sort=sort, ascending=ascending, limit=3, cursor=cursor))
            seen += page.threads
            if (cursor := page.next_cursor) is None:
                break
            await organism.control.terminate(page.threads[-1].thread_id, "gone")
        assert {thread.thread_id for thread in seen} == {f"th_{number}" for number in range(7)}
        keys = {"opened": "opened_ns", "activity": "active_ns"}
        places = [getattr(thread, keys[sort]) if sort in keys else thread.budget.spent.cost_nanousd for thread in seen]
        assert all((first <= then) if ascending else (first >= then) for first, then in pairwise(places))


async def test_dearest_thread_comes_first_among_open_and_ended_ones() -> None:
    """Sorted by what they cost, threads that have ended stand among those that are open."""
    async with make(prices=PriceBook({"scripted/m": RATES}, now=lambda: datetime.now(UTC))) as organism:
        await organism.control.open_thread(Text("go"), thread_id="paid")
        await organism.wait("paid")
        await organism.control.open_thread(Text("wait"), thread_id="free")
        every = ThreadFilter(states=OPEN_STATES | ENDED_STATES)
        assert ids(organism.control.queries.find_threads(every, PageRequest(sort="spent"))) == ["paid", "free"]
        assert ids(organism.control.queries.find_threads(every, PageRequest())) == ["free", "paid"]


async def test_what_a_thread_waits_for_is_found_and_shown() -> None:
    """A thread without budget waits for it, a paused one for its operator; each is found by that."""
    async with make(limits=Limits(calls=0)) as organism:
        await organism.control.open_thread(Text("go"), thread_id="poor")
        await organism.pump.wait_rest("poor")
        await organism.control.open_thread(Text("wait"), thread_id="held")
        await organism.control.pause_thread("held")
        find = organism.control.queries.find_threads
        assert ids(find(ThreadFilter(waiting="budget"), PageRequest())) == ["poor"]
        assert ids(find(ThreadFilter(waiting="operator"), PageRequest())) == ["held"]
        assert {thread.thread_id: thread.waiting for thread in find(ThreadFilter(), PageRequest()).threads} == {
            "poor": "budget",
            "held": "operator",
        }
        assert find(ThreadFilter(waiting="budget"), PageRequest()).threads[0].agents == ("writer",)


@pytest.mark.parametrize("cursor", ["", "!", "bm9uZQ", "WyJzcGVudCIsZmFsc2UsMSwxLCJ4Il0", "é"])
async def test_what_is_no_cursor_of_the_list_is_refused(cursor: str) -> None:
    """A page that would begin anywhere is refused: of a list in another order, or of none."""
    async with make() as organism:
        with pytest.raises(ConfigError, match="no cursor of a list in this order"):
            organism.control.queries.find_threads(ThreadFilter(), PageRequest(cursor=cursor))


async def test_threads_that_are_not_on_the_page_are_not_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of many threads makes as many descriptions as it has lines, so that the loop does not wait for it."""
    async with make(bounds=Bounds(mailbox_messages=500)) as organism:
        await some_threads(organism, 300)
        described = []
        index = organism.control.queries._index
        real = index._describe
        monkeypatch.setattr(index, "_describe", lambda view: described.append(view) or real(view))
        assert organism.control.queries.find_threads(ThreadFilter(), PageRequest(limit=5)).total == 300
        assert len(described) == 5
