"""Another organism in the same folder: it neither gives up nor changes what waits for the first."""

from pathlib import Path

import anyio
import pytest

from organism import BudgetExhaustedError, Limits, Organism, Text, agent
from organism.agents.context import Context
from organism.control.identity import ForeignJournalError, Instance
from organism.journal import Keep
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider, run
from organism.threads.approvals import ApprovalNeededError, Decision


@agent(peers=["worker"])
async def worker(message: Text, ctx: Context) -> Text | None:
    """Do what the message says."""
    match message.text:
        case "call":
            await ctx.llm.complete("x", max_output_tokens=20)
        case "ask a person":
            await ctx.approval("send it", "all of it")
        case "later":
            ctx.send("worker", Text("done"), delay_s=3600)
            return None
        case "long" | "paused":
            await anyio.sleep(30)
    return Text("done")


@agent()
async def stranger(message: Text, ctx: Context) -> Text:
    """Belongs to the other organism."""
    return Text("hello")


def first(place: Path, limits: Limits | None = None) -> Organism:
    return Organism(
        [worker],
        name="first",
        models={"m": "s/x"},
        providers={"s": ScriptedProvider(["x"])},
        limits=limits or Limits(tokens=5),
        journal=SqliteJournal(place / "j.db"),
    )


def other(place: Path, name: str, only: tuple[str, ...] | None) -> Organism:
    return Organism([stranger], name=name, limits=Limits(calls=1), journal=SqliteJournal(place / "j.db"), only=only)


async def waits(one: Organism, what: str) -> None:
    await one.open_thread(what, thread_id="waits")
    if what == "paused":
        await one.control.pause_thread("waits")
    if what in ("call", "ask a person"):
        with pytest.raises((BudgetExhaustedError, ApprovalNeededError), match=r"waits for a person|budget exhausted"):
            await one.wait("waits")
    await anyio.sleep(0.1)


async def goes_on(one: Organism, what: str) -> None:
    if what == "paused":
        await one.control.resume_thread("waits")
    if what == "call":
        await one.set_limits("waits", Limits(tokens=1000))
    if what == "ask a person":
        with pytest.raises(ApprovalNeededError, match="waits for a person"):
            await one.wait("waits")
        await one.approvals.decide(one.approvals.waiting()[0].id, Decision(allowed=True))
    assert (await one.wait("waits")).outputs == (Text("done"),)
    assert one.dead_letters() == ()


WAITING = ("call", "ask a person", "later", "paused", "long")


@pytest.mark.parametrize("what", WAITING)
@pytest.mark.parametrize("only", [None, ()], ids=["daemon", "run"])
def test_another_organism_is_refused_while_one_waits(what: str, only: tuple[str, ...] | None, tmp_path: Path) -> None:
    """An organism of another name changes nothing and says whose work it is; the first goes on afterwards."""

    async def live() -> None:
        async with first(tmp_path) as one:
            await waits(one, what)
        with pytest.raises(ForeignJournalError, match=r"1 open threads of the organism 'first'.*another --state"):
            async with other(tmp_path, "second", only):
                pass
        async with first(tmp_path) as one:
            await goes_on(one, what)
        async with other(tmp_path, "second", only) as two:  # nothing waits any more
            assert (await two.run("hi")).outputs == (Text("hello"),)

    run(live)


@pytest.mark.parametrize("what", WAITING)
def test_a_run_touches_only_its_own_thread(what: str, tmp_path: Path) -> None:
    """A run of a file with the same name but other agents leaves what waits as it is."""

    async def live() -> None:
        async with first(tmp_path) as one:
            await waits(one, what)
            (before,) = one.threads()
        async with other(tmp_path, "first", ()) as two:
            assert (await two.run("hi")).outputs == (Text("hello"),)
            assert two.dead_letters() == ()
        async with first(tmp_path) as one:
            (after,) = one.threads()
            assert (after.thread_id, after.approvals) == (before.thread_id, before.approvals)
            await goes_on(one, what)

    run(live)


def test_journals_of_before_names_were_kept_are_taken_up(tmp_path: Path) -> None:
    """A journal that does not say whose it is belongs to whoever opens it, and from then on to that one."""

    async def live() -> None:
        async with first(tmp_path) as one:
            await waits(one, "call")
        async with SqliteJournal(tmp_path / "j.db") as journal:
            journal.append(Keep("instance", "", Instance("in_1")))
        async with other(tmp_path, "second", ()):
            pass
        with pytest.raises(ForeignJournalError, match="'second'"):
            async with first(tmp_path):
                pass

    run(live)
