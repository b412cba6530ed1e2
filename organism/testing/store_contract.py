"""What every store must do: subclass :class:`StoreContract` in a test module, and pytest runs it against yours.

::

    class TestMyStore(StoreContract):
        def store(self, place):
            return MyStore(place / "journal")
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import anyio

from organism.amounts import Amounts, Limits
from organism.amounts.account import thread_account
from organism.journal import Drop, DropThread, Journal, Keep, Remember, Stored
from organism.ledger.entries import decode_entry
from organism.ledger.ledger import Cost, Ledger
from organism.messages import Text
from organism.testing.virtual_time import run
from organism.usage.event_log import EventLog
from organism.usage.events import AnyEvent, ThreadOpened

_ACCOUNT = thread_account("t")


class StoreUnderTest(Journal, EventLog, Protocol):
    """A journal whose events can be read again."""


def event(number: int, entry: str = "a") -> AnyEvent:
    """Make the event of that number."""
    return ThreadOpened(id=f"{number:016d}", time_ns=number, thread_id="t", root_thread_id="t", entry=entry)


def keep(key: str, text: str = "", thread_id: str = "t") -> Keep:
    """Make a piece that holds a text."""
    return Keep(key, thread_id, Text(text))


def live_a_little(ledger: Ledger) -> None:
    """Let a ledger write an entry of most kinds."""
    ledger.open(_ACCOUNT, Limits(tokens=100), 1)
    for number, hold in enumerate(("settled", "released", "overrun", "open")):
        ledger.reserve(hold, (_ACCOUNT,), Amounts(tokens=10, cost_nanousd=5, calls=1), 2 + number)
    ledger.dispatch("settled", 10)
    ledger.settle("settled", Amounts(tokens=7, cost_nanousd=3, calls=1), Cost(), 11)
    ledger.release("released", 12)
    ledger.settle("overrun", Amounts(tokens=17, cost_nanousd=9, calls=1), Cost(source="estimated", priced=False), 13)
    ledger.dispatch("open", 14)
    ledger.fire(_ACCOUNT, "tokens", 75, 15, agent="a", final=True)
    ledger.set_limits(_ACCOUNT, Limits(tokens=200), [("tokens", 75)], 16)


class StoreContract:
    """The promises of the port; every method is one of them."""

    def store(self, place: Path) -> StoreUnderTest:
        """Return a store that is not open yet; a later one of the same place finds what this one has committed."""
        raise NotImplementedError

    def write(self, place: Path, body: Callable[[StoreUnderTest], Awaitable[None]]) -> None:
        """Open a store in virtual time, do something with it, and close it."""

        async def main() -> None:
            async with self.store(place) as store:
                await body(store)

        run(main)

    def read(self, place: Path) -> Stored:
        """Return what a store holds when it is opened."""

        async def main() -> Stored:
            async with self.store(place) as store:
                found = store.load()
                entries, pieces = tuple(found.entries), found.pieces
                return Stored(
                    entries=entries, pieces=pieces, last_event=found.last_event, last_time_ns=found.last_time_ns
                )

        return run(main)

    def keys(self, place: Path) -> dict[str, list[tuple[str, bytes]]]:
        """Return the stored pieces of each thread, in order."""
        found: dict[str, list[tuple[str, bytes]]] = {}
        for piece in self.read(place).pieces:
            found.setdefault(piece.thread_id, []).append((piece.key, piece.body))
        return found

    def test_a_new_store_is_empty(self, tmp_path: Path) -> None:
        """A new store reads as empty."""
        found = self.read(tmp_path)
        assert found.empty
        assert (tuple(found.entries), found.pieces, found.last_event) == ((), (), 0)

    def test_pieces_keep_the_place_in_which_they_were_first_kept(self, tmp_path: Path) -> None:
        """A piece that is replaced stays where it was; one that was dropped and kept again goes to the end."""

        async def write(store: StoreUnderTest) -> None:
            for key in ("a", "b", "c"):
                store.append(keep(key, "old"))
            store.append(keep("a", "new"))
            await store.commit()
            store.append(keep("b", "new"))
            store.append(Drop("a", "t"))
            store.append(keep("a", "newest"))
            store.append(Drop("not there", "t"))

        self.write(tmp_path, write)
        assert [(key, b"newest" in body, b"new" in body) for key, body in self.keys(tmp_path)["t"]] == [
            ("b", False, True),
            ("c", False, False),
            ("a", True, True),
        ]

    def test_pieces_dropped_in_the_group_that_kept_them_are_not_there(self, tmp_path: Path) -> None:
        """What comes and goes between two commits leaves nothing behind."""

        async def write(store: StoreUnderTest) -> None:
            store.append(keep("a"))
            store.append(Drop("a", "t"))
            store.append(keep("b"))

        self.write(tmp_path, write)
        assert [key for key, _ in self.keys(tmp_path)["t"]] == ["b"]

    def test_dropping_a_thread_takes_all_its_pieces_and_no_other(self, tmp_path: Path) -> None:
        """A thread that has ended leaves nothing, and what is kept of it after that is there."""

        async def write(store: StoreUnderTest) -> None:
            store.append(keep("a"))
            store.append(keep("other", thread_id="u"))
            await store.commit()
            store.append(keep("b"))
            store.append(DropThread("t"))
            store.append(keep("a", "again"))

        self.write(tmp_path, write)
        found = self.keys(tmp_path)
        assert [key for key, _ in found["t"]] == ["a"]
        assert b"again" in found["t"][0][1]
        assert [key for key, _ in found["u"]] == ["other"]

    def test_then_is_called_once_in_order_before_the_commit_returns(self, tmp_path: Path) -> None:
        """The callback of a record runs after its commit, once, in the order of appending."""
        told: list[int] = []

        async def write(store: StoreUnderTest) -> None:
            for number in range(1, 50):
                store.append(event(number), lambda number=number: told.append(number))  # type: ignore[misc]
                if number % 7 == 0:
                    await store.commit()
                    assert told == list(range(1, number + 1))

        self.write(tmp_path, write)
        assert told == list(range(1, 50))

    def test_everyone_who_commits_gets_an_answer(self, tmp_path: Path) -> None:
        """Many that commit at once are all answered, each after what it had appended is kept."""
        told: set[int] = set()

        async def write(store: StoreUnderTest) -> None:
            await store.commit()  # nothing to do is no reason to wait

            async def one(number: int) -> None:
                store.append(keep(str(number)), lambda: told.add(number))
                await store.commit()
                assert number in told

            async with anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(one, number)

        self.write(tmp_path, write)
        assert len(self.keys(tmp_path)["t"]) == 100

    def test_what_was_appended_is_kept_when_the_store_is_closed(self, tmp_path: Path) -> None:
        """Closing commits what is left, so that stopping in good order loses nothing."""

        async def write(store: StoreUnderTest) -> None:
            store.append(keep("last"))

        self.write(tmp_path, write)
        assert [key for key, _ in self.keys(tmp_path)["t"]] == ["last"]

    def test_what_is_remembered_is_found_by_its_key_and_by_no_start(self, tmp_path: Path) -> None:
        """What is asked for long after is there across restarts, the newest of a key, and a start does not read it."""

        async def write(store: StoreUnderTest) -> None:
            for value in ("old", "new"):
                store.append(Remember(key="receipt:a", value=value, time_ns=1, until_ns=100))
            store.append(Remember(key="closed:a", time_ns=1))
            await store.commit()
            await look(store)

        async def look(store: StoreUnderTest) -> None:
            assert store.has_room
            assert await store.remembered("receipt:a") == "new"
            assert await store.remembered("closed:a") == ""
            assert await store.remembered("closed:b") is None

        self.write(tmp_path, write)
        assert self.read(tmp_path).pieces == ()
        self.write(tmp_path, look)

    def test_what_is_remembered_is_forgotten_when_its_time_is_up(self, tmp_path: Path) -> None:
        """A value is found up to its last instant and not after it; what has no end stays."""

        async def write(store: StoreUnderTest) -> None:
            store.append(Remember(key="receipt:a", value="a", time_ns=1, until_ns=100))
            store.append(Remember(key="closed:a", time_ns=1))
            store.append(event(100))
            await store.commit()
            assert await store.remembered("receipt:a") == "a"
            store.append(event(101))
            await store.commit()
            assert await store.remembered("receipt:a") is None
            assert await store.remembered("closed:a") == ""

        self.write(tmp_path, write)

    def test_entries_replay_to_the_same_ledger(self, tmp_path: Path) -> None:
        """Balances and holds after a restart are those from before it."""
        ledger = Ledger()

        async def write(store: StoreUnderTest) -> None:
            ledger.__init__(store.append)  # type: ignore[misc]
            live_a_little(ledger)
            await store.commit()

        self.write(tmp_path, write)
        again = Ledger.replay(map(decode_entry, self.read(tmp_path).entries))
        assert again.balance(_ACCOUNT) == ledger.balance(_ACCOUNT)
        assert again.open_holds == ledger.open_holds
        assert self.read(tmp_path).last_time_ns == 16

    def test_events_are_read_in_pages_without_gap_or_repeat(self, tmp_path: Path) -> None:
        """A consumer that goes on after the last event it has seen sees every event once, across restarts."""

        async def first(store: StoreUnderTest) -> None:
            for number in range(1, 8):
                store.append(event(number))

        async def second(store: StoreUnderTest) -> None:
            for number in range(8, 12):
                store.append(event(number))
            await store.commit()
            seen: list[AnyEvent] = []
            while page := await store.events_after(seen[-1].id if seen else "", 3):
                assert len(page) <= 3
                seen += page
            assert seen == [event(number) for number in range(1, 12)]
            assert await store.events_after("11", 3) == []
            assert await store.events_after("9", 3) == [event(10), event(11)]

        self.write(tmp_path, first)
        assert self.read(tmp_path).last_event == 7
        self.write(tmp_path, second)
        assert (self.read(tmp_path).last_event, self.read(tmp_path).last_time_ns) == (11, 11)

    def test_odd_text_is_kept(self, tmp_path: Path) -> None:
        """Half a surrogate pair, a zero character or a line separator from a model stops nobody."""
        texts = ("half \ud83d", "\udc00 half", "zero \x00", "line \u2028", "pair \U0001f600", '"quoted" \\')

        async def write(store: StoreUnderTest) -> None:
            for number, text in enumerate(texts):
                store.append(keep(str(number), text))
            store.append(event(1, "odd \ud83d"))

        self.write(tmp_path, write)
        bodies = [body.decode() for _, body in self.keys(tmp_path)["t"]]
        assert len(bodies) == len(texts)
        assert "half ?" in bodies[0]
        assert "\U0001f600" in bodies[4]
