"""Holds, dispatches, settles and reports expenses beside model calls, as the router does calls."""

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
    """A held expense.

    Attributes:
        expense: What it is.
        payer: Who pays.
        record: What the ledger has noted.
        held: The hold.
        began_ns: When it began, on the monotonic clock.
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
        journal: Committed before anything that costs money begins.
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
        """Wait until all charges so far are durable."""
        await self._journal.commit()

    async def hold(self, expense: Expense, payer: ExpensePayer) -> HeldExpense:
        """Hold an expense's worst case on every account of its thread, waiting for room, and commit the hold.

        Raises:
            BudgetExhaustedError: A limit refuses it; nothing is held.
            UnknownAccountError: The thread has no budget, because it is closed.
            JournalError: It cannot be kept; nothing is held.
        """
        record = payer.record(expense, self._ids.next("cost"))
        ask: Ask = expense.ask
        loop = (payer.spender.thread_id, payer.spender.agent, payer.message_id)
        if self._last_calls.of(loop) != ZERO:  # a tool must leave room for the loop's last call
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
        """Charge the actual cost of an expense, in one step with its event; more than was held is an overrun.

        Args:
            outcome: How the cost was determined.
            usage: Its tokens by kind, where they are known.
            note: How the cost is made up.
        """
        charge = _charge(held.expense, actual, outcome, usage, note)
        agent = held.payer.spender.agent
        settled = self._registry.settle(held.held, actual, charge.cost, agent)
        self._tell(held.record, held.payer, charge, settled, self._clock.monotonic_ns() - held.began_ns)
        return settled

    def release(self, held: HeldExpense) -> None:
        """Release a hold of which nothing was spent."""
        states = self._registry.release(held.held.hold_id)
        charge = Charge(outcome="released", price_source=held.expense.price_source)
        latency_ns = self._clock.monotonic_ns() - held.began_ns
        self._call_events.emit_usage(
            held.record, charge, states, latency_ns=latency_ns, labels=held.payer.labels, abandoned=False
        )

    def charge(self, expense: Expense, payer: ExpensePayer) -> Settlement:
        """Charge money that has been spent already, in one step with its event; no limit refuses it."""
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
