"""A start reads what is open and what can be shown, not all that has ever happened; and what it shows is the same."""

from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from organism import Limits, Organism, Text, agent
from organism.agents.context import Context
from organism.control.observed import restored_history
from organism.journal import Stored
from organism.stores.sqlite import SqliteJournal
from organism.testing import CrashingJournal, ScriptedProvider, run
from organism.usage import sums
from organism.usage.event_log import Store
from organism.usage.events import AnyEvent


@agent()
async def clerk(message: Text, ctx: Context) -> Text:
    """Ask the model once."""
    return Text((await ctx.llm.complete(message.text, max_output_tokens=20)).text)


class CountingJournal(SqliteJournal):
    """The journal in a file, which counts what is read of it."""

    events = 0
    entries = 0

    def load(self) -> Stored:
        stored = super().load()
        self.entries = len(list(stored.entries))
        return stored

    async def events_after(self, after: str, limit: int) -> list[AnyEvent]:
        page = await super().events_after(after, limit)
        self.events += len(page)
        return page


def organism(journal: Store) -> Organism:
    return Organism(
        [clerk],
        models={"m": "s/x"},
        providers={"s": ScriptedProvider(["x"])},
        limits=Limits(tokens=1000),
        journal=journal,
    )


def shown(one: Organism) -> list[object]:
    """Return all that people see of the past; what flows between agents is counted by each process anew."""
    kinds = ("agent", "model", "day", "label")
    agents = [replace(agent, flows=()) for agent in one.control.queries.agents()]
    return [one.usage.total, *(one.control.queries.usage(kind) for kind in kinds), agents]  # type: ignore[arg-type]


async def live(one: Organism, threads: int) -> None:
    for number in range(threads):
        await one.wait(await one.open_thread("x", labels={"tenant": str(number % 3)}))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "_EVERY", 40)
    monkeypatch.setattr(restored_history, "_LOOKED_AT", 60)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("threads", [30, 150])
def test_a_start_reads_no_more_however_much_has_happened(threads: int, tmp_path: Path) -> None:
    """Five times the past, no more events and entries to read; and the sums by every name are what they were."""

    async def first() -> list[object]:
        async with organism(SqliteJournal(tmp_path / "j.db")) as one:
            await live(one, threads)
            return shown(one)

    async def again() -> list[object]:
        async with organism(journal := CountingJournal(tmp_path / "j.db")) as one:
            assert journal.events <= 61
            assert journal.entries <= 600
            assert [agent.flows for agent in one.control.queries.agents()] == [()]
            assert len(one.control.queries.threads(states=frozenset({"completed"}), limit=500).threads) >= 15
            return shown(one)

    was = run(first)
    assert run(again) == was
    assert run(again) == was


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("groups", [7, 45, 60, 61, 62, 200])
def test_sums_are_right_whenever_the_process_died(groups: int) -> None:
    """Sums after a crash are those of the events that were kept: none is counted twice or left out."""

    async def dies() -> CrashingJournal:
        with anyio.CancelScope() as scope:
            journal = CrashingJournal(groups=groups, on_crash=scope.cancel)
            async with organism(journal) as one:
                await live(one, 40)
        return journal

    async def again() -> None:
        kept = run_until_dead.kept
        async with organism(CrashingJournal(kept)) as one:
            used = [event for event in await one.events_after("", 10_000) if type(event).__name__ == "UsageEvent"]
            assert one.usage.total.attempts == len(used)
            by_label = one.control.queries.usage("label").groups
            assert sum(group.attempts for group in by_label.values()) == one.usage.total.attempts

    run_until_dead = run(dies)
    run(again)
