"""Everything that a stranger runs inside misbehaves at once, by a seed, and costs nobody but itself."""

import gc
import logging
import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import structlog

from organism import Bounds, Context, Limits, Organism, Text, agent
from organism.amounts import ZERO
from organism.errors import BudgetExhaustedError, OrganismError
from organism.messages import ThreadResult
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider, SequentialIds, VirtualClock, run
from organism.testing.audit import audit_journal
from organism.usage.events import DeadLetterEvent
from tests.scenarios.misbehaving import Job, WildProvider, listen_badly, meddle, plain, wild

STEP_S = 0.01
"""How long a well-behaved handler works."""

ANSWER_S = 0.2
"""How long the reliable provider takes."""

OWN_WORK_S = 3 * STEP_S + ANSWER_S
"""How long a well-behaved thread takes when it has the organism to itself."""


@agent(next="second")
async def first(message: Text, ctx: Context) -> Text:
    """Work, and pass it on."""
    await anyio.sleep(STEP_S)
    return Text(f"{message.text} first")


@agent(next="third")
async def second(message: Text, ctx: Context) -> Text:
    """Work, ask the model, and pass it on."""
    await anyio.sleep(STEP_S)
    answer = await ctx.llm.complete(message.text, model="steady", max_output_tokens=20)
    return Text(f"{message.text} {answer.text}")


@agent()
async def third(message: Text, ctx: Context) -> Text:
    """Work, and answer."""
    await anyio.sleep(STEP_S)
    return Text(f"{message.text} third")


class Chaos:
    """An organism in which nearly everything goes wrong, and well-behaved threads beside it.

    Args:
        path: Where its journal is.
        seed: Decides what goes wrong, and the order of events.
        messages: How many messages are sent in all.
    """

    def __init__(self, path: Path, seed: int, messages: int) -> None:
        self.path = path
        self.chance = random.Random(seed)
        self.messages = messages
        self.provider = WildProvider(self.chance)
        self.late: list[float] = []
        self.wrong: list[object] = []
        self.opened = 0

    def organism(self) -> Organism:
        """Make the organism anew on the same journal."""
        return Organism(
            [
                first,
                second,
                third,
                agent("wild", peers=["wild", "plain"], timeout_s=20)(wild),
                agent("plain", peers=["plain"], timeout_s=20)(plain),
            ],
            models={"wild": "wild/m", "steady": "steady/m", "instant": "instant/m"},
            providers={
                "wild": self.provider,
                "steady": ScriptedProvider(["fine"], latency_s=ANSWER_S),
                # A worker thread that waits for the event loop holds up virtual time, so its answers take none.
                "instant": ScriptedProvider(["fine"]),
            },
            limits=Limits(tokens=400),
            bounds=Bounds(attempts=2, restarts=1 << 40),
            journal=SqliteJournal(self.path),
            clock=VirtualClock(),
            ids=SequentialIds(),
            chance=self.chance.random,
            wait_s=5.0,
        )

    async def run(self) -> None:
        """Send all messages, let all threads come to their end, and stop."""
        async with self.organism() as organism:
            listen_badly(organism)
            async with anyio.create_task_group() as clients:
                for _ in range(8):
                    clients.start_soon(self._misbehave, organism)
                clients.start_soon(self._behave, organism)
            while open_threads := organism.threads():
                for view in open_threads:
                    await _end(organism, view.root_thread_id)

    async def _misbehave(self, organism: Organism) -> None:
        while self.opened < self.messages:
            self.opened += 1
            job = Job(self.chance.randrange(1 << 20))
            thread_id = await organism.open_thread(job, to=self.chance.choice(["wild", "wild", "wild", "plain"]))
            if self.chance.random() < 0.3:
                await meddle(organism, thread_id, self.chance)
            if self.chance.random() < 0.1:
                await anyio.sleep(self.chance.random())
            if self.opened % 200 == 0:  # so that what waits for ever does not pile up
                for view in organism.threads():
                    await _end(organism, view.root_thread_id)

    async def _behave(self, organism: Organism) -> None:
        """Open well-behaved threads one after another, as long as others misbehave, and see that they are in time."""
        number = 0
        while self.opened < self.messages:
            began = anyio.current_time()
            result = await organism.run(f"t{number}", to="first")
            self.late.append(anyio.current_time() - began - OWN_WORK_S)
            if _text(result) != f"t{number} first fine third":
                self.wrong.append(result)
            number += 1


async def _end(organism: Organism, thread_id: str) -> None:
    """Give a thread a moment to end by itself, then end it."""
    with anyio.move_on_after(100):
        try:
            await organism.wait(thread_id)
        except BudgetExhaustedError:
            pass
        except OrganismError:
            return  # it has ended meanwhile
        else:
            return
    try:
        await organism.terminate(thread_id)
    except OrganismError:
        return


def _text(result: ThreadResult) -> str:
    return " ".join(output.text for output in result.outputs if isinstance(output, Text))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Log next to nothing: there is a line for every mistake, and writing it takes longer than making it."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("quiet")
def test_what_misbehaves_costs_itself_and_nobody_else(tmp_path: Path, seed: int, chaos_messages: int) -> None:
    """Whatever handlers, providers, listeners and clients do, the books are right and other threads are in time."""
    chaos = Chaos(tmp_path / "journal.db", seed, chaos_messages)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tasks and coroutines that mistakes leave behind are theirs
        run(chaos.run, seed=seed)
        gc.collect()
    print(f"\n{chaos.opened} messages from outside, {len(chaos.late)} well-behaved threads beside them")  # noqa: T201
    assert chaos.wrong == []
    assert chaos.late
    assert max(chaos.late) < STEP_S

    audit = audit_journal(chaos.path)
    assert audit.findings == []
    assert audit.unresolved == ()
    assert audit.alive == set()
    recorded = audit.recorded()
    below = {key: billed for key, billed in chaos.provider.bill.items() if recorded.get(key, ZERO).tokens < billed}
    assert below == {}
    assert any(isinstance(event, DeadLetterEvent) for event in audit.events)
    run(_opens_again, chaos, seed=seed)


async def _opens_again(chaos: Chaos) -> None:
    async with chaos.organism() as organism:
        result = await organism.run("again", to="first")
        assert _text(result) == "again first fine third"
