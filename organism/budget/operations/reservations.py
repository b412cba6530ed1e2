"""What calls hold, from their asking to their leaving: in line where others have the room, on the windows of the day.

A call keeps its hold while it waits for its provider. When its day or month ends meanwhile, the hold is given back and
taken anew on the window that begins: in one step, in the order in which all these calls came, and before any later call
is decided there. So nothing is held twice, no call leaves on the account of a day that is over, and none loses its
place to a later one. One that finds no room on the new window waits in line there, wherever else it waits.
"""

import math
from collections.abc import Callable
from functools import partial

from organism.amounts import NS_PER_S, ZERO, Amounts
from organism.budget.account_book import AccountBook
from organism.budget.engine import BudgetEngine
from organism.budget.holds import GrantedHold, Spender
from organism.budget.operations.budget_operation import BudgetOperation
from organism.budget.policy import Ask, Loop
from organism.budget.reserve_queue import ReserveQueue, Waiter
from organism.clock import Clock
from organism.errors import Refusal, UnknownAccountError
from organism.ledger.entries import CallRecord
from organism.ledger.ledger import Ledger
from organism.ledger.windows import CALENDAR, is_over, period, rolling

_MINUTE_NS = 60 * NS_PER_S


class _Reservation:
    """A call that holds, or waits to hold again.

    Attributes:
        spender: On whose behalf.
        ask: Its worst case.
        record: What the ledger notes about it.
        ticket: Its place in line.
        held: Its first hold; out of date while there is a waiter.
        waiter: Its new decision, made or awaited, once its window has ended.
    """

    __slots__ = ("ask", "held", "record", "spender", "ticket", "waiter")

    def __init__(self, spender: Spender, ask: Ask, record: CallRecord, ticket: int, held: GrantedHold) -> None:
        self.spender = spender
        self.ask = ask
        self.record = record
        self.ticket = ticket
        self.held = held
        self.waiter: Waiter[GrantedHold] | None = None

    @property
    def present(self) -> GrantedHold | None:
        """Its hold as it is now; ``None`` while it waits for one, or if it was refused."""
        if self.waiter is None:
            return self.held
        return self.waiter.answer if isinstance(self.waiter.answer, GrantedHold) else None


class Reservations(BudgetOperation):
    """Holds for calls, knows them until they leave, and moves their holds when a window ends."""

    def __init__(
        self, engine: BudgetEngine, book: AccountBook, queue: ReserveQueue, ledger: Ledger, clock: Clock
    ) -> None:
        super().__init__(engine, book, queue, ledger, clock)
        self._calls: dict[str, _Reservation] = {}
        self._last_calls, self.loops = book.last_calls, book.last_calls.loops
        self._minute = -1
        self._periods: tuple[str, ...] = ()

    async def reserve(
        self, spender: Spender, ask: Ask, record: CallRecord | None, wait_s: float, until_s: float
    ) -> GrantedHold | Refusal | None:
        """Hold a call; see :meth:`~organism.budget.registry.ThreadBudgetRegistry.reserve`."""
        self.catch_up()
        accounts, ticket = self._book.accounts(spender), self._queue.next_ticket()
        admit = partial(self._admit, spender, ask, record, ticket)
        if (shared := self._book.shared) is not None:
            wait_s = shared.wait_s(accounts, wait_s)
        if not self._queue or not self._engine.enforces(accounts):
            answer = admit()
            if isinstance(answer, GrantedHold) or not answer.held:
                return answer
        elif (stopped := self._engine.stopped(spender.thread_id)) is not None:
            return stopped  # it must not stand in line behind those that are not stopped
        return await self._queue.in_turn(
            spender.thread_id, accounts, admit, wait_s=wait_s, until_s=until_s, undo=self.give_up, ticket=ticket
        )

    async def take(
        self, spender: Spender, ask: Ask, record: CallRecord | None = None, *, wait_s: float
    ) -> GrantedHold | Refusal:
        """Hold what leaves at once: on the windows of the moment at which it leaves, and marked as having left."""
        answer = await self.reserve(spender, ask, record, wait_s, math.inf)
        if not isinstance(answer, GrantedHold):
            assert answer is not None, "what has no deadline waits for its answer"  # noqa: S101
            return answer
        held = answer
        try:
            while (present := self.present_hold(held)) is not held:
                again = present or await self.hold_again(held, wait_s)
                if not isinstance(again, GrantedHold):
                    assert again is not None, "what has no deadline waits for its answer"  # noqa: S101
                    self.give_up(held)
                    return again
                held = again
        except BaseException:
            self.give_up(held)
            raise
        self.forget(held.hold_id)
        self._ledger.dispatch(held.hold_id, self._clock.now_ns())
        return held

    def hold_spent(self, spender: Spender, spent: Amounts, record: CallRecord) -> GrantedHold:
        """Hold what has been spent already, in the step in which it is settled; it is refused nothing."""
        self.catch_up()
        held = self._engine.hold_spent(spent, record, self._book.accounts(spender))
        self._ledger.dispatch(held.hold_id, self._clock.now_ns())
        return held

    def reserve_now(self, spender: Spender, ask: Ask, record: CallRecord | None) -> GrantedHold | None:
        """Hold what may as well not be done: only if there is room at once, nobody waits and no last call is due."""
        self.catch_up()
        accounts = self._book.accounts(spender)
        waits = self._queue.first_queue(accounts) is not None
        if self._engine.enforces(accounts) and (waits or self._book.final_reserve_of(spender)):
            return None
        answer = self._admit(spender, ask, record, self._queue.next_ticket())
        return answer if isinstance(answer, GrantedHold) else None

    def would_fit(self, spender: Spender, ask: Ask) -> bool:
        """Whether a call would be admitted now; nothing is held."""
        return self._engine.would_fit(spender, ask, self._book.accounts(spender))

    def _admit(self, spender: Spender, ask: Ask, record: CallRecord | None, ticket: int) -> GrantedHold | Refusal:
        """Hold a call on the accounts of this moment, or say which of them has no room."""
        answer = self._engine.admit(spender, ask, record, self._book.accounts(spender))
        # What is held without a record leaves in the same step, and its holder knows it by the first hold's id.
        if isinstance(answer, GrantedHold) and record is not None and self._book.plan.scoped:
            self._calls[answer.hold_id] = _Reservation(spender, ask, record, ticket, answer)
        return answer

    def give_back(self, hold_id: str) -> tuple[str, ...]:
        """Give a hold back untouched, serve the line, and return its accounts.

        Raises:
            LedgerStateError: If the hold is resolved already.
        """
        hold = self._ledger.release(hold_id, self._clock.now_ns())
        self.forget(hold_id)
        if (shared := self._book.shared) is not None:
            shared.touched.update(hold.accounts)
        self._queue.serve(*hold.accounts)
        return hold.accounts

    def end_loop(self, loop: Loop) -> None:
        """Let others have what a loop of tools has left for its last call: it is over, or its last call is made."""
        if accounts := self._last_calls.drop(loop):
            self._queue.serve(*accounts)

    def forget(self, hold_id: str) -> None:
        """Forget a call that leaves, or whose hold is given back."""
        self._calls.pop(hold_id, None)

    def present_hold(self, held: GrantedHold) -> GrantedHold | None:
        """Return the hold with which a call may leave now: not the one it was given, if that was on a window now over.

        Returns:
            The hold; ``None`` if there is none: see :meth:`hold_again`.
        """
        self.catch_up()
        call = self._calls.get(held.hold_id)
        return held if call is None else self._taken(call, call.present)

    async def hold_again(
        self, held: GrantedHold, wait_s: float, until_s: float = math.inf
    ) -> GrantedHold | Refusal | None:
        """Wait in a call's place in line for its hold on the window that has begun.

        Answers as :meth:`~organism.budget.registry.ThreadBudgetRegistry.reserve`; what was refused holds nothing.
        """
        call = self._calls[held.hold_id]
        if call.waiter is None:
            return held
        answer = await self._queue.answer_to(call.waiter, wait_s=wait_s, until_s=until_s)
        return self._taken(call, answer) if isinstance(answer, GrantedHold) else answer

    def give_up(self, held: GrantedHold) -> None:
        """Give back what a call that has not left holds or waits for, on whichever window that is."""
        call = self._calls.pop(held.hold_id, None)
        present = held if call is None else call.present
        # Out of line before it is given back: that serves the line, and would grant room to a call that is gone.
        if call is not None and call.waiter is not None:
            self._queue.quit(call.waiter)
        if present is not None:
            self.give_back(present.hold_id)

    def gives_back(self, account: str, is_stuck: Callable[[str], bool]) -> bool:
        """Whether room that is held on an account comes back by itself.

        Every call ends, and gives back what it has not used. So does a child whose limit is carved out, unless it is
        stuck itself. What a loop of tools has left for its last call comes back when it is over.

        Args:
            account: Whose room.
            is_stuck: Whether a thread waits for an order.
        """
        carved = {budget.carve: thread_id for thread_id, budget in self._book.threads.items() if budget.carve}
        return self._last_calls.on(account) != ZERO or any(
            hold.hold_id not in carved or not is_stuck(carved[hold.hold_id])
            for hold in self._ledger.open_holds
            if account in hold.accounts
        )

    def replanned(self) -> None:
        """Check at once what every call holds on: other limits apply."""
        self._minute, self._periods = -1, ()

    def catch_up(self) -> None:
        """Move the holds that are on windows now over; to be done before anything is decided."""
        now_ns = self._clock.now_ns()
        if now_ns // _MINUTE_NS == self._minute:
            return  # hours and days begin with a minute, wherever one is
        self._minute, zone = now_ns // _MINUTE_NS, self._book.plan.time_zone
        periods = tuple(period(per, now_ns, zone) for per in CALENDAR)
        if periods == self._periods:
            self._queue.serve(*filter(rolling, self._queue.accounts))
            return
        # Only what holds elsewhere than it would now: a call of a thread without windows keeps its hold and its place.
        self._periods = periods
        moved = [call for call in self._calls.values() if self._is_elsewhere(call)]
        freed: dict[str, None] = {}
        # All give back before one is decided anew: on a thread's own account, which is not over, a call would else be
        # refused for what another, or it itself, is about to give back.
        for call in moved:
            if (held := call.present) is not None:
                freed.update(dict.fromkeys(self._ledger.release(held.hold_id, now_ns).accounts))
            call.waiter = Waiter(call.spender.thread_id, partial(self._decide, call), call.ticket)
        waiters = [call.waiter for call in moved if call.waiter is not None]
        self._queue.decide_anew(partial(is_over, now_ns=now_ns, time_zone=zone), waiters)
        self._queue.serve(*freed, *filter(rolling, self._queue.accounts))

    def _decide(self, call: _Reservation) -> GrantedHold | Refusal:
        return self._engine.admit(call.spender, call.ask, call.record, self._book.accounts(call.spender))

    def _is_elsewhere(self, call: _Reservation) -> bool:
        """Whether a call holds on other accounts than those of this moment."""
        held = call.present
        try:
            return held is not None and held.accounts != self._book.accounts(call.spender)
        except UnknownAccountError:
            return False  # its thread has ended, and its caller gets the error

    def _taken(self, call: _Reservation, present: GrantedHold | None) -> GrantedHold | None:
        """Know a call by the hold that it has now."""
        if present is not None and present is not call.held:
            del self._calls[call.held.hold_id]
            call.held, call.waiter = present, None
            self._calls[present.hold_id] = call
        return present
