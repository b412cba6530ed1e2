"""What one run of a handler pays for beside model calls: each thing once, however often the handler is run.

A charge, and a block that has come to its own end, leave a step with the message, in the commit that takes the money. A
second run finds it under the same name: what is paid for, how much that is, and which of several alike it is. What was
cut short leaves none: it is bought again, and charged again.
"""

from asyncio import AbstractEventLoop, get_running_loop
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from typing import Any, NoReturn, Protocol, TypeVar, cast

import anyio.from_thread
import msgspec

from organism.amounts import Amounts
from organism.budget.budget_hold import BudgetHold, PaidBefore
from organism.budget.holds import GrantedHold, Settlement, Spender
from organism.budget.policy import Ask
from organism.errors import BudgetExhaustedError, ConfigError
from organism.ledger.ledger import Cost
from organism.router.spending.expense import Expense, ExpensePayer
from organism.router.spending.expenses import Expenses, HeldExpense
from organism.threads.records import PAID_STEP
from organism.threads.thread import Thread
from organism.usage.attempts import Outcome

T = TypeVar("T")

_DONE = b"true"


class Run(Protocol):
    """What the run of a handler does for its expenses; each raises ``ContextClosedError`` once it is over."""

    def check(self) -> None:
        """Do nothing else."""
        ...

    def kept(self, key: str) -> bytes | None:
        """Return what an earlier run has kept."""
        ...

    def keep(self, key: str, value: bytes) -> None:
        """Keep a value until the message is done."""
        ...

    def inside(self, call: str) -> AbstractContextManager[None]:
        """Mark the task as being inside a call of the context, which is cut short with the run."""
        ...

    async def exhausted(self, error: BudgetExhaustedError) -> NoReturn:
        """Let the message wait for what was refused, or raise it where the organism is set to fail then."""
        ...


class Committed:
    """Awaiting it waits until all that was charged so far is durable; not awaiting it is no mistake."""

    __slots__ = ("_commit",)

    def __init__(self, commit: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._commit = commit

    def __await__(self) -> Generator[Any, None, None]:
        return self._commit().__await__()


def payer_of(thread: Thread, agent: str, message_id: str, *, raises: bool) -> ExpensePayer:
    """Return who pays for what the handling of a message spends."""
    return ExpensePayer(
        spender=Spender(thread.id, agent, ""),
        root_thread_id=thread.root,
        labels=thread.labels,
        message_id=message_id,
        raises=raises,
    )


class RunExpenses:
    """The expenses of one run.

    Args:
        loop: The event loop that the ledger belongs to.
    """

    def __init__(self, run: Run, payer: ExpensePayer, expenses: Expenses, loop: AbstractEventLoop) -> None:
        self.run = run
        self.payer = payer
        self.expenses = expenses
        self.blocks: dict[BudgetHold, None] = {}
        self._loop = loop
        self._alike: Counter[str] = Counter()

    def charge(self, expense: Expense) -> Awaitable[None]:
        """Charge what has been spent, unless an earlier run has; a plain function may do so from its worker thread."""
        self.in_loop(partial(self._charge, expense))
        return Committed(self.expenses.commit)

    def in_loop(self, step: Callable[[], T]) -> T:
        """Do a step in the event loop that the ledger belongs to: also for a plain function on its worker thread."""
        return step() if self._is_here() else anyio.from_thread.run_sync(step)

    def enter(self, take: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Wait, on the worker thread of a plain function, for what the event loop does meanwhile.

        Raises:
            ConfigError: In the event loop, which would wait for itself.
        """
        if self._is_here():
            raise ConfigError("a coroutine enters a hold with 'async with'; 'with' is for plain functions")
        anyio.from_thread.run(take)

    def _is_here(self) -> bool:
        try:
            return get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _charge(self, expense: Expense) -> None:
        self.run.check()
        key = self._key("charge", expense)
        if self.run.kept(key) is None:
            self.run.keep(key, _DONE)
            self.expenses.charge(expense, self.payer)

    def hold(self, expense: Expense, *, parks: bool) -> BudgetHold:
        """Make a block that holds; see :meth:`organism.agents.context.Context.hold`."""
        steps = _BlockSteps(self, expense, self._key("hold", expense), parks=parks)
        steps.block = BudgetHold(expense.ask, steps)
        return steps.block

    def close(self) -> None:
        """Charge what blocks that are still open hold: what a handler leaves behind is nobody's to settle."""
        for block in tuple(self.blocks):
            block.abandon()

    def _key(self, kind: str, expense: Expense) -> str:
        digest = sha256(msgspec.json.encode((kind, expense))).hexdigest()[:16]
        self._alike[digest] += 1
        return f"{PAID_STEP}{digest}:{self._alike[digest]}"


class _BlockSteps:
    """The steps of one block."""

    block: BudgetHold

    def __init__(self, owner: RunExpenses, expense: Expense, key: str, *, parks: bool) -> None:
        self._owner, self._run = owner, owner.run
        self._expenses = owner.expenses
        self._expense = expense
        self._key = key
        self._parks = parks
        self._held: HeldExpense | None = None

    async def take(self, worst: Ask) -> GrantedHold | PaidBefore:  # noqa: ARG002 - the expense's own
        """Hold, unless an earlier run has paid."""
        owner = self._owner
        if self._run.kept(self._key) is not None:
            return PaidBefore()
        with self._run.inside("ctx.hold"):
            try:
                self._held = await self._expenses.hold(self._expense, owner.payer)
            except BudgetExhaustedError as error:
                if not self._parks:
                    raise
                await self._run.exhausted(error)
        owner.blocks[self.block] = None
        return self._held.held

    def enter(self, take: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Wait for the hold in a plain function."""
        self._owner.enter(take)

    def in_loop(self, step: Callable[[], T]) -> T:
        """Do a step in the event loop, so that nothing comes between its parts."""
        return self._owner.in_loop(step)

    def check(self) -> None:
        """Refuse it once the run is over."""
        self._run.check()

    def settle(self, held: GrantedHold, actual: Amounts, cost: Cost, *, done: bool) -> Settlement:  # noqa: ARG002
        """Charge, and note that it is paid for if the block has come to its own end."""
        if done:
            self._run.keep(self._key, _DONE)
        outcome = cast("Outcome", cost.source)
        return self._expenses.settle(self._take_out(), actual, outcome, cost.usage, self.block.note)

    def release(self, held: GrantedHold) -> None:  # noqa: ARG002
        """Give it back."""
        self._expenses.release(self._take_out())

    def _take_out(self) -> HeldExpense:
        held = self._held
        assert held is not None, "a block is resolved only after it was held"  # noqa: S101
        self._owner.blocks.pop(self.block, None)
        return held
