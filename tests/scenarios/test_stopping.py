"""A program that is told to stop in the middle of its work."""

import asyncio
from pathlib import Path

import anyio
import pytest

from organism import Context, Limits, Organism, Text, agent
from organism.ledger.entries import Settled, decode_entry
from organism.ledger.ledger import Ledger
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderSink
from organism.llm.requests import CompletionRequest
from organism.stores.sqlite import SqliteJournal
from organism.stores.sqlite_file import SqliteFile
from organism.testing import ScriptedProvider, VirtualClock, run


@agent()
async def caller(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete("a question", max_output_tokens=5)).text)


def organism_on(path: Path, provider: ScriptedProvider) -> Organism:
    return Organism(
        [caller],
        models={"main": "scripted/m"},
        providers={"scripted": provider},
        provider_kinds={"scripted": "local"},
        limits=Limits(tokens=1000),
        clock=VirtualClock(),
        journal=SqliteJournal(path),
    )


@pytest.mark.parametrize("latency_s", [2.0, 60.0], ids=["in time", "too late"])
def test_a_cancelled_program_settles_its_calls_before_it_ends(latency_s: float, tmp_path: Path) -> None:
    """Ctrl-C while a model answers: the call is charged before the process ends, and the next start goes on with it."""
    path = tmp_path / "j.db"
    provider = ScriptedProvider(["an answer"], latency_s=latency_s)

    async def interrupted() -> None:
        with anyio.CancelScope() as scope:
            async with organism_on(path, provider) as organism:
                await organism.open_thread("go", thread_id="th")
                await anyio.sleep(1)
                assert len(provider.bill) == 1
                scope.cancel()
                await anyio.sleep(1)

    run(interrupted)
    file = SqliteFile(path)
    settled = [entry for entry in map(decode_entry, file.load().entries) if isinstance(entry, Settled)]
    file.close()
    assert len(settled) == 1
    assert settled[0].amounts.tokens >= provider.billed.total

    async def goes_on() -> None:
        async with organism_on(path, provider) as organism:
            result = await organism.wait("th")
            assert result.outputs == (Text("an answer"),)
            assert result.budget.spent.tokens >= provider.billed.total

    run(goes_on)


class CutProvider(ScriptedProvider):
    """A provider whose library ends the task that calls it, after the work was done and billed."""

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        await super().complete(request, on_text)
        raise asyncio.CancelledError


def test_a_call_whose_task_is_killed_is_charged(tmp_path: Path) -> None:
    """Even what no error handling sees, a task ended from below, costs its own call and nothing else: it is settled."""
    path = tmp_path / "j.db"
    provider = CutProvider(["an answer"])

    async def main() -> None:
        async with organism_on(path, provider) as organism:
            await organism.open_thread("go", thread_id="th")
            assert (await organism.wait("th")).outputs == ()

    run(main)
    file = SqliteFile(path)
    entries = [decode_entry(entry) for entry in file.load().entries]
    file.close()
    assert Ledger.replay(entries).open_holds == ()
    (settled,) = (entry for entry in entries if isinstance(entry, Settled))
    assert settled.amounts.tokens >= provider.billed.total > 0
