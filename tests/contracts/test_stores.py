"""Every store of the package keeps what the port promises."""

from pathlib import Path

import pytest

from organism.journal import JournalError
from organism.ledger.ledger import Ledger
from organism.stores.group_storage import Retention
from organism.stores.memory import MemoryJournal
from organism.stores.sqlite import SqliteJournal
from organism.testing import CrashingJournal, run
from organism.testing.store_contract import StoreContract, StoreUnderTest, event, live_a_little
from organism.usage.event_log import EventsGoneError


class TestSqlite(StoreContract):
    """The durable journal."""

    def store(self, place: Path) -> StoreUnderTest:
        return SqliteJournal(place / "state" / "journal.db")


class TestMemory(StoreContract):
    """The journal for embedding, which an organism can be closed and opened on."""

    def store(self, place: Path) -> StoreUnderTest:
        self.__dict__.setdefault("stores", {})
        return self.__dict__["stores"].setdefault(place, MemoryJournal())  # type: ignore[no-any-return]


class TestCrashing(StoreContract):
    """The double that dies, while it lives."""

    def store(self, place: Path) -> StoreUnderTest:
        self.__dict__.setdefault("kept", {})
        return CrashingJournal(self.__dict__["kept"].setdefault(place, MemoryJournal()))


async def three_events_of_which_one_is_forgotten(store: StoreUnderTest) -> None:
    async with store:
        for number in (1, 2, 3):
            store.append(event(number))
            await store.commit()
        if isinstance(store, SqliteJournal):
            store._opened.forget(Retention(events_ns=1))
        assert [found.id[-1] for found in await store.events_after("", 10)] == ["2", "3"]
        assert [found.id[-1] for found in await store.events_after("1", 10)] == ["2", "3"]
        with pytest.raises(EventsGoneError) as gone:
            await store.events_after("0", 10)
        assert gone.value.oldest == event(2).id


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_a_consumer_is_told_that_events_are_missing(kind: str, tmp_path: Path) -> None:
    """Whoever asks for events from before the oldest kept is told so, and from where on there are some."""
    store = SqliteJournal(tmp_path / "j.db") if kind == "sqlite" else MemoryJournal(capacity=2)
    run(three_events_of_which_one_is_forgotten, store)


def test_a_memory_that_has_forgotten_entries_says_so() -> None:
    """Balances that cannot be told any more are refused, not told wrongly."""
    journal = MemoryJournal(capacity=5)
    live_a_little(Ledger(journal.append))
    with pytest.raises(JournalError, match="larger capacity"):
        journal.load()
