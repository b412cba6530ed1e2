"""Names that were used are not used again: ids of threads that ended, and idempotency keys for their time."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from organism import ConfigError, Limits, Organism, Text, agent
from organism.agents.context import Context
from organism.budget.guards.freezes import scope_of
from organism.control.idempotency import (
    PYTHON,
    RECEIPT_DAYS,
    AlreadyDoneError,
    Order,
    Receipt,
    Receipts,
    TooManyKeysError,
    audit_row,
)
from organism.errors import OrganismError, ThreadClosedError
from organism.journal import Journal, Keep, Pieces
from organism.stores import memory
from organism.stores.memory import MemoryJournal
from organism.stores.sqlite import SqliteJournal
from organism.testing import run
from organism.threads import ended_threads
from organism.usage.event_log import Store
from organism.usage.events import ThreadClosed

DAY_NS = 86_400 * 10**9


@agent()
async def clerk(message: Text, ctx: Context) -> Text | None:
    """Do what the message says."""
    if message.text == "fail":
        raise ConfigError("as it was told to")
    if message.text == "answer":
        return Text("done")
    return None


async def completed(one: Organism) -> None:
    await one.open_thread("answer", thread_id="job")
    await one.wait("job")


async def ended_silently(one: Organism) -> None:
    await one.open_thread("nothing", thread_id="job")
    await one.wait("job")


async def failed(one: Organism) -> None:
    await one.open_thread("fail", thread_id="job")
    await one.wait("job")


async def terminated(one: Organism) -> None:
    await one.open_thread("answer", thread_id="job")
    await one.terminate("job")


async def stood(one: Organism) -> None:
    one.control.external_threads.open("job", "key")
    await one.terminate("job")


async def idle(one: Organism) -> None:
    one.control.external_threads.open("job", "key")
    assert one.control.external_threads.end_idle("job")


ENDINGS: tuple[Callable[[Organism], Awaitable[None]], ...] = (
    completed,
    ended_silently,
    failed,
    terminated,
    stood,
    idle,
)


async def open_by_program(one: Organism) -> None:
    await one.open_thread("again", thread_id="job")


async def open_by_order(one: Organism) -> None:
    await one.control.open_thread("again", thread_id="job", order=Order(by="ci"))


async def open_standing(one: Organism) -> None:
    await one.control.external_threads.look_up("job")
    one.control.external_threads.open("job", "key")


@pytest.mark.parametrize("kind", ["file", "memory"])
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
@pytest.mark.parametrize(
    "opening", [open_by_program, open_by_order, open_standing], ids=lambda opening: opening.__name__
)
def test_the_id_of_a_thread_that_ended_is_never_opened_again(
    kind: str,
    ending: Callable[[Organism], Awaitable[None]],
    opening: Callable[[Organism], Awaitable[None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However it ended, however many have ended since, and after any number of restarts."""
    monkeypatch.setattr(ended_threads, "_CLOSED_IDS_KEPT", 3)
    monkeypatch.setattr(ended_threads, "_RESULTS_KEPT", 3)
    in_memory = MemoryJournal()

    def organism() -> Organism:
        journal: Store = SqliteJournal(tmp_path / "j.db") if kind == "file" else in_memory
        return Organism([clerk], limits=Limits(tokens=10), journal=journal)

    async def live() -> None:
        async with organism() as first:
            await ending(first)
            for number in range(8):
                await first.open_thread("answer", thread_id=f"since-{number}")
                await first.wait(f"since-{number}")
            await refused(first)
        for _ in range(2):
            async with organism() as later:
                await refused(later)
        async with organism() as last:
            closed = [event for event in await last.events_after("", 1000) if isinstance(event, ThreadClosed)]
            assert [event.thread_id for event in closed].count("job") == 1

    async def refused(one: Organism) -> None:
        with pytest.raises((ConfigError, ThreadClosedError), match="job"):
            await opening(one)

    run(live)


def orders(journal: Journal, now: list[int]) -> Receipts:
    return Receipts(journal, lambda: now[0])


async def again(receipts: Receipts, order: Order) -> object:
    await receipts.look_up(order)
    try:
        return receipts.once(order, lambda: "second")
    except AlreadyDoneError as done:
        return msgspec.json.decode(done.answer)


@pytest.mark.parametrize("kind", ["file", "memory"])
@pytest.mark.parametrize("since", [0, 5, 12_000])
@pytest.mark.parametrize("restarts", [0, 1])
def test_a_key_is_honoured_for_its_whole_time(kind: str, since: int, restarts: int, tmp_path: Path) -> None:
    """The first answer is given again up to the last second of seven days, whatever number of orders came since."""
    journal: Store = SqliteJournal(tmp_path / "j.db") if kind == "file" else MemoryJournal()
    now, order = [DAY_NS], Order(by="ci", key="k", fingerprint="f")

    async def live() -> None:
        async with journal:
            receipts = orders(journal, now)
            assert receipts.once(order, lambda: "first") == "first"
            for number in range(since):
                receipts.keep(Order(by="ci", key=str(number)), "other")
            await journal.commit()
            if restarts:
                receipts = orders(journal, now)
            now[0] += RECEIPT_DAYS * DAY_NS
            assert await again(receipts, order) == "first"
            assert await again(receipts, Order(by="other", key="k", fingerprint="f")) == "second"
            now[0] += 1
            assert await again(receipts, order) == "second"

    run(live)


def test_a_key_that_could_not_be_honoured_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal in memory that is full of keys takes no more, and honours those it has; orders without one go on."""
    monkeypatch.setattr(memory, "_VALUES_MAX", 5)

    async def live() -> None:
        receipts = orders(MemoryJournal(), [DAY_NS])
        for number in range(5):
            assert await again(receipts, Order(key=str(number))) == "second"
        with pytest.raises(TooManyKeysError, match="without a key"):
            await again(receipts, Order(key="one more"))
        assert await again(receipts, Order(key="0")) == "second"
        assert await again(receipts, Order()) == "second"

    run(live)


def test_receipts_of_an_earlier_version_are_honoured(tmp_path: Path) -> None:
    """What an earlier version has kept among the live state is taken over, and leaves it."""

    async def live() -> None:
        order = Order(by="ci", key="k", fingerprint="f")
        async with SqliteJournal(tmp_path / "j.db") as journal:
            receipts = orders(journal, [DAY_NS])
            receipts.once(order, lambda: "elsewhere")
            (place,) = receipts._receipts
            other = place[:-1] + ("0" if place[-1] != "0" else "1")
            journal.append(Keep(other, "", Receipt("f", '"first"', DAY_NS)))
        async with SqliteJournal(tmp_path / "j.db") as journal:
            receipts = orders(journal, [DAY_NS])
            receipts.restore(Pieces(journal.load().pieces))
        async with SqliteJournal(tmp_path / "j.db") as journal:
            assert journal.load().pieces == ()
            assert await journal.remembered(other) is not None

    run(live)


def test_errors_of_keys_are_the_journals() -> None:
    """A key that cannot be remembered is the journal's refusal: 503 over HTTP, to be tried again."""
    assert issubclass(TooManyKeysError, OrganismError)
    assert TooManyKeysError.retryable


@pytest.mark.parametrize(
    ("action", "target", "thread_id"),
    [
        ("thread.pause", "t", "t"),
        ("budget.limits", "thread:t", "t"),
        ("budget.limits", "agent:clerk@thread:t", "t"),
        ("budget.limits", "organism@day:2026-11-24", ""),
        ("freeze", scope_of({"tenant": "thread:t"}), ""),
    ],
)
def test_the_row_of_an_order_is_its_thread_s(action: str, target: str, thread_id: str) -> None:
    """Who reads a thread's history finds the orders about it and its accounts, and no other's."""
    assert audit_row(PYTHON, action, target, None, None).thread_id == thread_id
