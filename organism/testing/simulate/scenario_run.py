"""Runs a story: lives of an organism, each ended by a crash or a stop, the last one by the end of all threads."""

import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import anyio
import anyio.lowlevel
import msgspec
import structlog
from anyio.abc import TaskGroup

from organism.amounts import NS_PER_S
from organism.app import Organism
from organism.journal import JournalBrokenError
from organism.stores.memory import MemoryJournal
from organism.testing.simulate.checks import CheckedJournal, Trace, check_end
from organism.testing.simulate.coverage import counting_moves
from organism.testing.simulate.operations import Operator
from organism.testing.simulate.scenario import STOPS, Scenario, ScenarioStep
from organism.testing.simulate.subject import Subject
from organism.testing.simulate.world import World
from organism.testing.virtual_time import run

MakeSubject = Callable[[World, int], Subject]
"""Makes what is simulated of the run's surroundings and its seed."""

_PATIENCE_S = 1000.0
"""Virtual seconds after which all that was under way has come to an end, time-outs included."""

_ROUNDS = 12

_HOUR_NS = 3600 * NS_PER_S

_TURNS_TO_STOP = 6
"""An order comes up to so many turns of the event loop after the organism was told to stop."""

_TURNS = 20_000
"""Turns of the event loop at one instant: a run of all its handlers takes some hundred."""


class ScenarioResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went.

    Attributes:
        story: What happened.
        failures: What was not right, each in a sentence; empty when all was.
        trace: A hash over every record, in order.
        records: How many.
        lives: How many processes there were.
        seen: What happened how often.
    """

    story: Scenario
    failures: tuple[str, ...]
    trace: str
    records: int
    lives: int
    seen: Counter[str]

    def __str__(self) -> str:
        """Show the story and what was wrong with its run."""
        return "\n".join([str(self.story), *(f"  -> {failure}" for failure in self.failures)])


class _Run:
    def __init__(self, story: Scenario, make: MakeSubject) -> None:
        self.world = World(story.seed)
        self.subject = make(self.world, story.seed)
        self.trace = Trace()
        self.lives = 0
        self._kept = MemoryJournal(capacity=1_000_000)
        self._left = deque(story.operations)
        self._unanswered: list[ScenarioStep] = []

    async def all_lives(self) -> None:
        slow = self.world.draw.choice((True, False))
        while True:
            self.lives += 1
            scope = anyio.CancelScope()
            journal = CheckedJournal(
                self._kept,
                self.subject,
                self.trace,
                on_crash=scope.cancel,
                latency_s=lambda: self.world.chance() * 0.05 if slow else 0.0,
            )
            self.world.journal = journal
            ended = False
            with scope, suppress(JournalBrokenError):
                ended = await self._life(journal)
            if ended and not journal.crashed:
                return

    async def _life(self, journal: CheckedJournal) -> bool:
        """Live until the next stop; return whether all has come to its end."""
        organism = self.subject.organism()
        self._unanswered.clear()  # what a process that died was asked nobody can answer
        journal.checks.watch(organism)
        operator = Operator(self.subject, organism)
        async with anyio.create_task_group() as late:
            async with organism:
                if ended := await self._until_stop(operator, journal, late):
                    await self._to_the_end(organism, operator, journal)
            if self._unanswered:
                await anyio.sleep(_PATIENCE_S)
            self.subject.failures += [f"an order was not answered: {order}" for order in self._unanswered]
            late.cancel_scope.cancel()
        return ended

    async def _until_stop(self, operator: Operator, journal: CheckedJournal, late: TaskGroup) -> bool:
        """Carry operations out up to one that ends the process; return whether there are none left instead.

        Args:
            late: Outlasts the organism: an order that comes while it stops is done or refused, never left without word.
        """
        clock = self.world.clock
        async with anyio.create_task_group() as orders:
            while self._left:
                operation = self._left.popleft()
                await anyio.sleep(operation.after_s)
                if operation.kind == "hour":
                    await anyio.sleep(_to_the_hour_s(clock.now_ns(), operation.number))
                if operation.kind == "crash":
                    self.subject.saw("operation crash")
                    journal.crash_after(operation.number % 12)
                elif operation.kind in STOPS:
                    self.subject.saw(f"operation {operation.kind}")
                    self._before_stop(operation, operator, late)
                    orders.cancel_scope.cancel()
                    return False
                else:
                    orders.start_soon(operator.carry_out, operation)
            await anyio.sleep(_PATIENCE_S)
            orders.cancel_scope.cancel()
        return True

    def _before_stop(self, operation: ScenarioStep, operator: Operator, late: TaskGroup) -> None:
        if operation.kind == "rename":
            self.subject.rename(operation.number)
        if operation.kind == "late":
            late.start_soon(self._order_late, ScenarioStep("terminate", 0.0, operation.number), operator)

    async def _order_late(self, order: ScenarioStep, operator: Operator) -> None:
        """Order something that begins once the organism has begun to stop."""
        self._unanswered.append(order)
        for _ in range(order.number % _TURNS_TO_STOP):
            await anyio.lowlevel.checkpoint()
        await operator.carry_out(order)
        self._unanswered.remove(order)

    async def _to_the_end(self, organism: Organism, operator: Operator, journal: CheckedJournal) -> None:
        """Take away what holds threads up until all have ended, and check what must hold then."""
        for _ in range(_ROUNDS):
            await operator.lift_everything()
            await anyio.sleep(_PATIENCE_S)
            if not organism.threads():
                await organism.journal.commit()
                journal.check_guards_at_end()
                check_end(self._kept, self.subject, organism)
                return
        self.subject.failures += [
            f"thread {view.thread_id} is {view.status} with {view.queued} queued, though nothing holds it up"
            for view in organism.threads()
        ]


def _to_the_hour_s(now_ns: int, number: int) -> float:
    """Return how long it is until about the next hour: windows end there, and the next process begins there."""
    left_ns = _HOUR_NS - now_ns % _HOUR_NS
    return max(0.0, (left_ns + (-1_000_000, 0, 1_000_000)[number % 3]) / NS_PER_S)


def play(story: Scenario, make: MakeSubject) -> ScenarioResult:
    """Run a story in virtual time.

    Args:
        story: The story.
        make: Makes what it is about.
    """
    it = _Run(story, make)
    with quiet(), counting_moves(it.subject.seen):
        try:
            run(it.all_lives, seed=story.seed, turns=_TURNS)
        except Exception as error:  # noqa: BLE001 - whatever comes out of a run is what it was made to find
            it.subject.failures += [f"it ended with {line}" for line in described(error)]
    return ScenarioResult(
        story=story,
        failures=tuple(dict.fromkeys(it.subject.failures)),
        trace=it.trace.hexdigest(),
        records=it.trace.records,
        lives=it.lives,
        seen=it.subject.seen,
    )


Play = Callable[[Scenario, MakeSubject], ScenarioResult]
"""Runs a story; :func:`play`, or that of a cluster."""


def _drop(_logger: object, _method: str, _line: object) -> NoReturn:
    raise structlog.DropEvent


def described(error: BaseException) -> list[str]:
    """Return what failed and where, for each error of a group."""
    if isinstance(error, BaseExceptionGroup):
        return [line for each in error.exceptions for line in described(each)]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return [f"{type(error).__name__}: {error}{place}"]


@contextmanager
def quiet() -> Iterator[None]:
    """Log nothing: there is a line for every mistake that is made on purpose."""
    before = structlog.get_config()
    structlog.configure(processors=[_drop])
    try:
        yield
    finally:
        structlog.configure(**before)


def shorten(story: Scenario, make: MakeSubject, *, runs: int = 200, play: Play = play) -> ScenarioResult:
    """Drop operations from a story whose run fails, as long as it still fails.

    Args:
        story: The story.
        make: Makes what it is about.
        runs: How many runs that may take.
        play: Runs a story.

    Returns:
        The run of the shortest story that was found.
    """
    best, size = play(story, make), max(1, len(story.operations) // 2)
    while runs and best.failures:
        shorter = _first_failing(best.story, lambda shorter: play(shorter, make), size, runs)
        runs -= max(1, len(best.story.operations) // size)
        if shorter is not None:
            best = shorter
        elif size == 1:
            break
        else:
            size //= 2
        runs = max(runs, 0)
    return best


def _first_failing(
    story: Scenario, play: Callable[[Scenario], ScenarioResult], size: int, runs: int
) -> ScenarioResult | None:
    for first in range(0, len(story.operations), size)[:runs]:
        kept: tuple[ScenarioStep, ...] = story.operations[:first] + story.operations[first + size :]
        result = play(Scenario(story.seed, kept))
        if result.failures:
            return result
    return None
