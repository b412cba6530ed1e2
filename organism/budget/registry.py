"""The budgets of all open threads: reserve before a call, settle after it, never more than the limit in between.

Everything that decides about money runs between two awaits: look at the balances, decide, write the entries. The only
thing that waits is :meth:`ThreadBudgetRegistry.reserve`, in line, when siblings' open holds may still give room back.
"""

from collections.abc import Iterator

import anyio

from organism.amounts import Amounts, BudgetState, Limits
from organism.budget.holds import ChildBudget, HeldCall, Mode, RegistryStatistics, Settlement, Spender
from organism.budget.line import WaitingLines
from organism.budget.policy import Ask, Grant, Room, carve, decide
from organism.budget.scopes import BudgetPlan, scoped_accounts, thread_account
from organism.budget.thread_budget import ThreadBudget
from organism.budget.thresholds import DEFAULT_THRESHOLDS, amount_of, level_of, limit_of, reached
from organism.clock import Clock
from organism.errors import LedgerStateError, Shortfall, UnknownAccountError
from organism.ids import IdSource
from organism.ledger.ledger import Ledger
from organism.messages import BudgetWarning
from organism.usage.events import Outcome


class ThreadBudgetRegistry:
    """Grants and settles the calls of all threads against their limits.

    Args:
        plan: All limits.
        ledger: Where holds and spend are kept.
        clock: For instants and elapsed time.
        ids: Makes hold ids.
        mode: What to do where a limit is reached; takes effect with the next reserve.
        thresholds: Per cent of a limit at which to warn, ascending.
        wait_s: Seconds a call waits in line for its siblings' holds.
    """

    def __init__(
        self,
        plan: BudgetPlan,
        ledger: Ledger,
        clock: Clock,
        ids: IdSource,
        *,
        mode: Mode = "enforce",
        thresholds: tuple[int, ...] = DEFAULT_THRESHOLDS,
        wait_s: float = 30.0,
    ) -> None:
        self.plan = plan
        self.mode: Mode = mode
        self.thresholds = thresholds
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._wait_s = wait_s
        self._threads: dict[str, ThreadBudget] = {}
        self._lines = WaitingLines()
        self._reported_over: set[tuple[str, int]] = set()

    # -- threads --------------------------------------------------------------------------------------------------

    def open_thread(
        self,
        thread_id: str,
        *,
        limits: Limits | None = None,
        parent: str | None = None,
        child_budget: ChildBudget = "shared",
    ) -> Shortfall | None:
        """Give a thread its budget.

        Args:
            thread_id: The new thread.
            limits: Its own limits; a root thread without any gets the plan's.
            parent: The thread that spawned it.
            child_budget: How a child's spend relates to its parent's.

        Returns:
            Why its parent cannot give a carved child its limit; ``None`` when the budget is open.

        Raises:
            UnknownAccountError: If the parent has no budget.
            ValueError: If the thread has a budget already.
        """
        if thread_id in self._threads:
            raise ValueError(f"thread {thread_id!r} has a budget already")
        own = thread_account(thread_id)
        now = self._clock.monotonic_ns()
        if parent is None:
            budget = ThreadBudget(thread_id, None, (own,), now)
            limits = self.plan.thread if limits is None else limits
        else:
            above = self._thread(parent)
            limits = Limits() if limits is None else limits
            carved = self._carve(above, limits) if child_budget == "carved" else None
            if isinstance(carved, Shortfall):
                return carved
            chain = (own,) if carved is not None else (own, *above.accounts)
            budget = ThreadBudget(above.root, parent, chain, now)
            budget.carve = carved
        self._threads[thread_id] = budget
        self._ledger.open(own, limits, self._clock.now_ns())
        return None

    def has_budget(self, thread_id: str) -> bool:
        """Whether the thread has an open budget. Asking never creates one."""
        return thread_id in self._threads

    def budget(self, thread_id: str) -> BudgetState:
        """Return the thread's own account as it is now.

        Raises:
            UnknownAccountError: If it has none.
        """
        return self.state(self._thread(thread_id).accounts[0])

    def budgets(self, thread_id: str) -> tuple[BudgetState, ...]:
        """Return every account that limits the thread: its own, its ancestors', its agents' and models', the windows'.

        Raises:
            UnknownAccountError: If the thread has no budget.
        """
        budget = self._thread(thread_id)
        return tuple(self.state(account) for account in (*budget.accounts, *sorted(budget.scoped)))

    def scopes_of(self, spender: Spender) -> tuple[BudgetState, ...]:
        """Return every account that a call of this spender would hold on.

        Raises:
            UnknownAccountError: If the thread has no budget.
        """
        return tuple(self.state(account) for account in self._accounts(spender))

    def pause_time(self, thread_id: str) -> None:
        """Stop the thread's wall time: it is parked."""
        budget = self._thread(thread_id)
        now = self._clock.monotonic_ns()
        budget.open_ns = budget.elapsed_ns(now)
        budget.running_since_ns = None

    def resume_time(self, thread_id: str) -> None:
        """Let the thread's wall time run on."""
        budget = self._thread(thread_id)
        if budget.running_since_ns is None:
            budget.running_since_ns = self._clock.monotonic_ns()

    def set_limits(self, account: str, limits: Limits) -> tuple[BudgetWarning, ...]:
        """Give an account new limits; calls in line are looked at again at once.

        Thresholds already reached under the new limits are carried over in silence if they were reported before, and
        reported now if lowering the limit is what reached them.

        Raises:
            UnknownAccountError: If the account is not open.
        """
        balance = self._ledger.balance(account)
        before = set(balance.fired)
        elapsed = self._elapsed_of(account)
        at_once = set(reached(limits, balance.spent, elapsed, self.thresholds))
        self._ledger.set_limits(account, limits, at_once & before, self._clock.now_ns())
        warnings = self._fire_reached(account)
        self._serve_line(account)
        return warnings

    def cleanup_thread(self, thread_id: str) -> BudgetState:
        """Close the thread's budget, free everything kept for it, and return its final state.

        Raises:
            UnknownAccountError: If it has none, because it was never opened or is closed already.
            LedgerStateError: If a call of it is still open.
        """
        budget = self._thread(thread_id)
        now_ns = self._clock.now_ns()
        final = self.state(budget.accounts[0])
        self._ledger.close(budget.accounts[0], now_ns)
        del self._threads[thread_id]
        self._reported_over = {key for key in self._reported_over if key[0] != budget.accounts[0]}
        if budget.parent is None:
            for account in budget.scoped:
                if account.endswith(f"@{budget.accounts[0]}"):
                    self._ledger.close(account, now_ns)
        elif budget.carve is not None:
            self._return_carve(budget.carve, final, now_ns)
        return final

    # -- calls ----------------------------------------------------------------------------------------------------

    async def reserve(self, spender: Spender, ask: Ask) -> HeldCall | Shortfall:
        """Hold a call's worst case on all its scopes, or say which scope has no room.

        Where the room is only taken by siblings' open holds, the call waits its turn for them to settle. Calls are
        served in the order in which they came, so that small ones cannot keep a large one waiting for ever.

        Raises:
            UnknownAccountError: If the thread has no budget.
        """
        accounts = self._accounts(spender)
        account = self._lines.first_line(accounts) if self.mode == "enforce" else None
        if account is None:
            answer = self._attempt(spender, ask, accounts)
            if isinstance(answer, HeldCall) or not answer.held:
                return answer
            account = answer.account
        waiter = self._lines.join(spender, ask, account)
        try:
            with anyio.move_on_after(self._wait_s):
                await waiter.answered.wait()
        except BaseException:
            # A grant may have come in the same instant as the cancellation; nobody else would give it back.
            if isinstance(waiter.answer, HeldCall):
                self.release(waiter.answer.hold_id)
            raise
        finally:
            if (next_up := self._lines.leave(waiter)) is not None:
                self._serve_line(next_up)
        return waiter.answer if waiter.answer is not None else self._attempt(spender, ask, accounts)

    def dispatch(self, hold_id: str) -> None:
        """Mark that the call leaves; see :meth:`Ledger.dispatch`."""
        self._ledger.dispatch(hold_id, self._clock.now_ns())

    def settle(self, held: HeldCall, actual: Amounts, *, outcome: Outcome, priced: bool = True) -> Settlement:
        """Charge a call's real cost to all its scopes, report thresholds it crossed, and serve the line.

        Raises:
            LedgerStateError: If the hold is resolved already.
        """
        overrun = self._ledger.settle(held.hold_id, actual, source=outcome, priced=priced, time_ns=self._clock.now_ns())
        warnings = tuple(warning for account in held.accounts for warning in self._fire_reached(account))
        for account in held.accounts:
            self._serve_line(account)
        return Settlement(overrun, warnings, tuple(self.state(account) for account in held.accounts))

    def release(self, hold_id: str) -> tuple[BudgetState, ...]:
        """Give a hold back untouched, serve the line, and return the accounts afterwards.

        Raises:
            LedgerStateError: If the hold is resolved already.
        """
        hold = self._ledger.hold(hold_id)
        self._ledger.release(hold_id, self._clock.now_ns())
        accounts = hold.accounts if hold is not None else ()
        for account in accounts:
            self._serve_line(account)
        return tuple(self.state(account) for account in accounts)

    def first_report(self, shortfall: Shortfall) -> bool:
        """Whether this account runs short for the first time under its present limits; asking counts as reporting."""
        key = (shortfall.account, self._ledger.balance(shortfall.account).revision)
        if key in self._reported_over:
            return False
        self._reported_over.add(key)
        return True

    def statistics(self) -> RegistryStatistics:
        """Count what is open."""
        return RegistryStatistics(
            threads=len(self._threads),
            open_holds=len(self._ledger.open_holds),
            waiting=len(self._lines),
        )

    # -- inside ---------------------------------------------------------------------------------------------------

    def _thread(self, thread_id: str) -> ThreadBudget:
        try:
            return self._threads[thread_id]
        except KeyError:
            raise UnknownAccountError(thread_account(thread_id)) from None

    def _accounts(self, spender: Spender) -> tuple[str, ...]:
        budget = self._thread(spender.thread_id)
        now_ns = self._clock.now_ns()
        accounts = list(budget.accounts)
        for account, limits in scoped_accounts(self.plan, budget.root, spender, now_ns):
            self._ledger.open(account, limits, now_ns)
            self._threads[budget.root].scoped.add(account)
            budget.scoped.add(account)
            accounts.append(account)
        return tuple(accounts)

    def _attempt(self, spender: Spender, ask: Ask, accounts: tuple[str, ...]) -> HeldCall | Shortfall:
        """Look, decide and hold in one step; nothing may await in here."""
        self._thread(spender.thread_id)
        rooms = tuple(self._rooms(accounts))
        everything = Grant(ask.output_cap, ask.amounts(ask.output_cap))
        verdict = everything if self.mode == "off" else decide(rooms, ask)
        over = None
        if isinstance(verdict, Shortfall):
            if self.mode == "enforce":
                return verdict
            over = verdict
            verdict = everything
        hold_id = self._ids.next("hold")
        self._ledger.reserve(hold_id, accounts, verdict.amounts, self._clock.now_ns())
        return HeldCall(
            hold_id=hold_id,
            accounts=accounts,
            amounts=verdict.amounts,
            output_cap=verdict.output_cap,
            time_left_ns=self._time_left(rooms),
            over=over,
        )

    def _serve_line(self, account: str) -> None:
        """Answer those in line who fit now, or who never will because nobody holds anything any more."""
        while (waiter := self._lines.first(account)) is not None:
            if not self.has_budget(waiter.spender.thread_id):
                # Its thread was terminated; its task is being cancelled and needs no answer.
                self._lines.leave(waiter)
                continue
            answer = self._attempt(waiter.spender, waiter.ask, self._accounts(waiter.spender))
            if isinstance(answer, Shortfall) and answer.held:
                if answer.account == account:
                    return
                self._lines.move(waiter, answer.account)
                continue
            self._lines.leave(waiter)
            waiter.answer = answer
            waiter.answered.set()

    def _rooms(self, accounts: tuple[str, ...]) -> Iterator[Room]:
        for account in accounts:
            balance = self._ledger.balance(account)
            yield Room(account, balance.limits, balance.spent, balance.held, self._elapsed_of(account))

    def _elapsed_of(self, account: str) -> int:
        budget = self._threads.get(account.removeprefix("thread:"))
        return budget.elapsed_ns(self._clock.monotonic_ns()) if budget is not None else 0

    def _time_left(self, rooms: tuple[Room, ...]) -> int | None:
        if self.mode != "enforce":
            return None
        left = [room.limits.elapsed_ns - room.elapsed_ns for room in rooms if room.limits.elapsed_ns is not None]
        return min(left, default=None)

    def state(self, account: str) -> BudgetState:
        """Return an account as it is now.

        Raises:
            UnknownAccountError: If it is not open.
        """
        balance = self._ledger.balance(account)
        return BudgetState(
            account=account,
            limits=balance.limits,
            spent=balance.spent,
            held=balance.held,
            elapsed_ns=self._elapsed_of(account),
            revision=balance.revision,
            unpriced_calls=balance.unpriced_calls,
        )

    def states(self) -> tuple[BudgetState, ...]:
        """Return all open accounts as they are now, oldest first."""
        return tuple(self.state(account) for account in self._ledger.accounts)

    def _fire_reached(self, account: str) -> tuple[BudgetWarning, ...]:
        if self.mode == "off":
            return ()
        balance = self._ledger.balance(account)
        elapsed = self._elapsed_of(account)
        return tuple(
            BudgetWarning(
                account=account,
                dimension=dimension,
                threshold=threshold,
                level=level_of(threshold, self.thresholds),
                limit=limit_of(balance.limits, dimension) or 0,
                spent=amount_of(balance.spent, elapsed, dimension),
            )
            for dimension, threshold in reached(balance.limits, balance.spent, elapsed, self.thresholds)
            if self._ledger.fire(account, dimension, threshold, self._clock.now_ns())
        )

    def _carve(self, above: ThreadBudget, limits: Limits) -> str | Shortfall:
        wanted = carve(self._rooms(above.accounts), limits)
        if isinstance(wanted, Shortfall):
            return wanted
        hold_id = self._ids.next("carve")
        self._ledger.reserve(hold_id, above.accounts, wanted, self._clock.now_ns())
        return hold_id

    def _return_carve(self, hold_id: str, final: BudgetState, now_ns: int) -> None:
        """Charge a carved child's spend to its ancestors and give them the rest of its limit back."""
        hold = self._ledger.hold(hold_id)
        if hold is None:
            raise LedgerStateError(hold_id, "return", "not open")
        self._ledger.settle(hold_id, final.spent, source="settled", priced=not final.unpriced_calls, time_ns=now_ns)
        for account in hold.accounts:
            self._fire_reached(account)
            self._serve_line(account)
