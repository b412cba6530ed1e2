"""The door for money that is spent beside model calls: held, let out, settled and told as a call of a model is."""

import msgspec
from msgspec.structs import replace

from organism.amounts import ZERO, Amounts, TokenUsage
from organism.budget.holds import GrantedHold, Settlement
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock
from organism.errors import BudgetExhaustedError
from organism.ids import IdSource
from organism.journal import Journal
from organism.ledger.entries import CallRecord
from organism.router.answers.charge import Charge
from organism.router.call_events import CallEvents
from organism.router.spending.budget_answers import BudgetAnswers
from organism.router.spending.expense import Expense, ExpensePayer
from organism.usage.attempts import Outcome


class HeldExpense(msgspec.Struct, frozen=True, kw_only=True):
    """An expense that is held and may have cost money.

    Attributes:
        expense: What it is.
        payer: Who pays.
        record: What the ledger has noted.
        held: The hold.
        began_ns: When it was let out, on the monotonic clock.
    """

    expense: Expense
    payer: ExpensePayer
    record: CallRecord
    held: GrantedHold
    began_ns: int


class Expenses:
    """Holds and charges expenses.

    Args:
        call_events: Takes the events, and delivers warnings to agents.
        journal: Committed before anything is let out that costs money.
        clock: Measures how long a hold was open.
        ids: Makes the ids of expenses.
    """

    def __init__(
        self,
        registry: ThreadBudgetRegistry,
        call_events: CallEvents,
        journal: Journal,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._registry, self._last_calls = registry, registry.accounts.last_calls
        self._answers = BudgetAnswers(registry, call_events)
        self._call_events = call_events
        self._journal = journal
        self._clock = clock
        self._ids = ids

    async def commit(self) -> None:
        """Return when all that was charged so far is durable."""
        await self._journal.commit()

    async def hold(self, expense: Expense, payer: ExpensePayer) -> HeldExpense:
        """Hold an expense's worst case on every account of its thread, wait in line for room, and commit that.

        Raises:
            BudgetExhaustedError: A limit refuses it; nothing is held.
            UnknownAccountError: The thread has no budget, because it is closed.
            JournalError: It cannot be kept; nothing is held.
        """
        record = payer.record(expense, self._ids.next("cost"))
        ask: Ask = expense.ask
        loop = (payer.spender.thread_id, payer.spender.agent, payer.message_id)
        if self._last_calls.of(loop) != ZERO:  # what its last call needs no tool takes
            ask = replace(ask, loop=loop)
        self._answers.warn_before(payer.spender, ask, record)
        registry = self._registry
        answer = await registry.reservations.take(payer.spender, ask, record, wait_s=registry.wait_s)
        held = self._answers.granted(answer, payer.spender, ask, record, raises=payer.raises)
        try:
            await self._journal.commit()
            if (frozen := registry.stops.stopped(payer.spender.thread_id)) is not None:
                raise BudgetExhaustedError(frozen, payer.spender.thread_id)
        except BaseException:
            # Nothing has been bought: its caller has gone, spending was frozen, or the hold could not be kept.
            registry.release(held.hold_id)
            raise
        return HeldExpense(expense=expense, payer=payer, record=record, held=held, began_ns=self._clock.monotonic_ns())

    def settle(
        self, held: HeldExpense, actual: Amounts, outcome: Outcome, usage: TokenUsage | None = None, note: str = ""
    ) -> Settlement:
        """Charge what an expense has cost, in one step with its event; more than was held is an overrun.

        Args:
            outcome: How that is known.
            usage: Its tokens by kind, where they are known.
            note: What the cost is made of.
        """
        charge = _charge(held.expense, actual, outcome, usage, note)
        agent = held.payer.spender.agent
        settled = self._registry.settle(held.held, actual, charge.cost, agent)
        self._tell(held.record, held.payer, charge, settled, self._clock.monotonic_ns() - held.began_ns)
        return settled

    def release(self, held: HeldExpense) -> None:
        """Give a hold back: nothing was bought."""
        states = self._registry.release(held.held.hold_id)
        charge = Charge(outcome="released", price_source=held.expense.price_source)
        latency_ns = self._clock.monotonic_ns() - held.began_ns
        self._call_events.emit_usage(
            held.record, charge, states, latency_ns=latency_ns, labels=held.payer.labels, abandoned=False
        )

    def charge(self, expense: Expense, payer: ExpensePayer) -> Settlement:
        """Charge what has been spent already, in one step with its event; no limit refuses what has happened."""
        record = payer.record(expense, self._ids.next("cost"))
        spent = expense.ask.amounts(0)
        charge = _charge(expense, spent, "settled", None, "")
        settled = self._registry.charge(payer.spender, spent, record, charge.cost)
        self._tell(record, payer, charge, settled, 0)
        return settled

    def _tell(
        self, record: CallRecord, payer: ExpensePayer, charge: Charge, settled: Settlement, latency_ns: int
    ) -> None:
        self._call_events.emit_usage(
            record, charge, settled, latency_ns=latency_ns, labels=payer.labels, abandoned=False
        )
        for warning in settled.warnings:
            self._call_events.emit_warning(record, warning)


def _charge(expense: Expense, actual: Amounts, outcome: Outcome, usage: TokenUsage | None, note: str) -> Charge:
    return Charge(
        outcome=outcome,
        usage=TokenUsage(input=actual.tokens) if usage is None else usage,
        cost_nanousd=actual.cost_nanousd,
        price_source=expense.price_source,
        usage_note=note,
    )
