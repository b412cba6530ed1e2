"""The budgets of all open threads: reserve before a call, settle after it, never more than the limit in between.

What decides about money runs between two awaits: look at the balances, decide, write the entries. Only ``reserve`` and
``carve_in_turn`` wait, in line, when siblings' open holds may still give room back.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TypeVar
from warnings import warn

from organism.amounts import UNLIMITED, Amounts, BudgetState, Dollars, Limits
from organism.amounts.account import Account, thread_account
from organism.budget.account_book import AccountBook
from organism.budget.accounts.account_warnings import Unheard
from organism.budget.accounts.thread_budget import ThreadBudget
from organism.budget.budget_hold import BudgetHold, OwnSteps, worst_case
from organism.budget.engine import BudgetEngine
from organism.budget.holds import ChildBudget, ClosedBudget, GrantedHold, Mode, RegistryStatistics, Settlement, Spender
from organism.budget.operations.account_slices import AccountSlices
from organism.budget.operations.ledger_notes import LedgerNotes
from organism.budget.operations.reservations import Reservations
from organism.budget.operations.spending_stops import SpendingStops
from organism.budget.policy import Ask
from organism.budget.requests import grant_limits
from organism.budget.reserve_queue import ReserveQueue
from organism.budget.scopes import BudgetPlan, check_labels
from organism.budget.thresholds import DEFAULT_THRESHOLDS
from organism.clock import Clock, SteadyClock, SystemClock
from organism.errors import Refusal
from organism.ledger.entries import CallRecord, Hold
from organism.ledger.ledger import Cost, Ledger
from organism.messages import BudgetWarning
from organism.tables import pop_and_shrink

T = TypeVar("T")


class ThreadBudgetRegistry:
    """Grants and settles the calls of all threads against their limits.

    An organism has one. A program of another kind may have one of its own: ``budgets.open_thread("job")``, then
    ``async with budgets.hold("job", tokens=800, usd="0.02") as hold: ...; hold.settle(tokens=650, usd="0.015")``.

    Args:
        plan: All limits; those of each thread where there are no others.
        ledger: Where holds and spend are kept; one of its own, in memory, unless given.
        clock: For instants and elapsed time; the system's unless given.
        mode: What to do where a limit is reached; takes effect with the next reserve.
        thresholds: Per cent of a limit at which to warn, ascending.
        wait_s: Seconds a call waits in line for its siblings' holds.

    Attributes:
        accounts: What is known of accounts: their room, thresholds, windows.
        reservations: The calls that hold and have not left.
        stops: What keeps threads from spending although they have the budget.
        slices: What a partition of a cluster may use of limits that all share.
        notes: Writes into the ledger what moves no money.

    What takes a thread or an account raises :class:`UnknownAccountError` where it has no open budget.
    """

    def __init__(
        self,
        plan: BudgetPlan | Limits | None = None,
        ledger: Ledger | None = None,
        clock: Clock | None = None,
        *,
        mode: Mode = "enforce",
        thresholds: tuple[int, ...] = DEFAULT_THRESHOLDS,
        wait_s: float = 30.0,
    ) -> None:
        plan = plan if isinstance(plan, BudgetPlan) else BudgetPlan(thread=plan or UNLIMITED)
        ledger, clock = Ledger() if ledger is None else ledger, clock or SteadyClock(SystemClock())
        self.accounts = self._book = AccountBook(plan, ledger, clock, thresholds)
        self._engine = BudgetEngine(self._book, ledger, clock, mode)
        self._ledger, self._clock, self.wait_s = ledger, clock, wait_s
        self._queue = ReserveQueue(self.has_budget)
        parts = (self._engine, self._book, self._queue, ledger, clock)
        self.reservations, self.stops, self.slices = Reservations(*parts), SpendingStops(*parts), AccountSlices(*parts)
        self.notes = LedgerNotes(*parts)

    @property
    def mode(self) -> Mode:
        """What is done where a limit is reached; setting it takes effect with the next reserve."""
        return self._engine.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._engine.mode = mode

    @property
    def plan(self) -> BudgetPlan:
        """All limits."""
        return self._book.plan

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Per cent of a limit at which it warns, ascending."""
        return self._book.thresholds

    def mode_of(self, account: str) -> Mode:
        """Return what is done where an account's limit is reached: its scope's mode, or the organism's."""
        return self._engine.mode_of(account)

    def replan(self, plan: BudgetPlan, thresholds: tuple[int, ...]) -> None:
        """Apply other limits and thresholds; open accounts keep theirs until they are given new ones."""
        self._book.replan(plan, thresholds)
        self.reservations.replanned()

    def open_thread(
        self,
        thread_id: str,
        *,
        limits: Limits | None = None,
        parent: str | None = None,
        child_budget: ChildBudget = "shared",
        labels: Mapping[str, str] | None = None,
    ) -> Refusal | None:
        """Give a thread its budget.

        Args:
            thread_id: The new thread.
            limits: Its own; a root thread without any gets the plan's. A child's bind it beside those of all above it
                that it shares with; a carved one has no more seconds than these have left.
            parent: The thread that spawned it.
            child_budget: How a child's spend relates to its parent's.
            labels: What a root thread is labelled with; a child has those of its parent.

        Returns:
            Why its parent cannot give a carved child its limit; ``None`` when the budget is open.

        Raises:
            ConfigError: If a child's limit is no amount or is missing, or a root thread lacks a label it must have.
            ValueError: If the thread has a budget already.
        """
        if thread_id in self._book.threads:
            raise ValueError(f"thread {thread_id!r} has a budget already")
        own = thread_account(thread_id)
        now = self._clock.monotonic_ns()
        if parent is None:
            budget = ThreadBudget(thread_id, None, (own,), now)
            budget.labels = labels or {}
            check_labels(self.plan, labels or {})
            limits = self.plan.thread if limits is None else limits
        else:
            above = self._book.thread(parent)
            most = self._book.seconds_left(above) if child_budget == "carved" else UNLIMITED
            limits = grant_limits(limits, most, may_raise=False)
            carved = self._engine.carve(above.accounts, limits) if child_budget == "carved" else None
            if isinstance(carved, Refusal):
                return carved
            chain = (own,) if carved is not None else (own, *above.accounts)
            budget = ThreadBudget(above.root, parent, chain, now)
            budget.carve, budget.labels = carved, above.labels
        self._book.threads[thread_id] = budget
        self._ledger.open(own, limits, self._clock.now_ns())
        return None

    def restore_thread(
        self,
        thread_id: str,
        *,
        parent: str | None,
        carve: str | None,
        open_ns: int,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Take up a thread whose account a replayed ledger holds; see :meth:`AccountBook.restore`."""
        self._book.restore(thread_id, parent, carve, open_ns, labels or {})

    def carve_of(self, thread_id: str) -> str | None:
        """Return the hold that a thread's whole limit was carved from, or ``None``."""
        return self._book.thread(thread_id).carve

    def has_budget(self, thread_id: str) -> bool:
        """Whether the thread has an open budget. Asking never creates one."""
        return thread_id in self._book.threads

    def budget(self, thread_id: str) -> BudgetState:
        """Return the thread's own account as it is now."""
        return self._book.state(self._book.thread(thread_id).accounts[0])

    def budgets(self, thread_id: str, agent: str | None = None) -> tuple[BudgetState, ...]:
        """Return every account that limits the thread, or an agent in it: its own first, then those it shares in."""
        book = self._book
        return tuple(map(book.state, book.of_thread(thread_id))) if agent is None else book.states_of(thread_id, agent)

    def scopes_of(self, spender: Spender) -> tuple[BudgetState, ...]:
        """Return every account that a call of this spender would hold on."""
        return tuple(self._book.state(account) for account in self._book.accounts(spender))

    def state(self, account: str) -> BudgetState:
        """Return an account as it is now."""
        return self._book.state(account)

    def states(self) -> tuple[BudgetState, ...]:
        """Return all open accounts as they are now, oldest first."""
        return tuple(map(self._book.state, self._ledger.accounts))

    def pause_time(self, thread_id: str) -> None:
        """Stop the thread's wall time: it is parked."""
        self._book.thread(thread_id).pause(self._clock.monotonic_ns())

    def resume_time(self, thread_id: str) -> None:
        """Let the thread's wall time run on."""
        self._book.thread(thread_id).resume(self._clock.monotonic_ns())

    def set_limits(self, account: str, limits: Limits, *, configured: bool = False) -> tuple[BudgetWarning, ...]:
        """Give an account new limits (``configured``: by the file); calls in line are looked at again at once.

        Thresholds reached under the new limits are carried over in silence if they were reported before, else reported.
        """
        accounts, warnings = self._engine.revise(account, limits, configured=configured)
        self._queue.serve(*accounts)
        return warnings

    def needed_above(self, account: str, limits: Limits) -> dict[str, Limits]:
        """Return who must have which limits before an account may have these; see :class:`BudgetEngine`."""
        return self._engine.needed_above(account, limits)

    def adjust(self, account: str, amounts: Amounts, reason: str) -> tuple[tuple[str, ...], tuple[BudgetWarning, ...]]:
        """Correct what an account has spent; calls in line are looked at again at once.

        A thread's counts where its calls do: on it, on those above that it shares with, on the organism's windows.

        Args:
            account: Whose spend.
            amounts: What is added; may be negative.
            reason: Why, and on whose word.

        Returns:
            The accounts that were corrected, and the thresholds that this has reached.

        Raises:
            ConfigError: If spend would fall below zero somewhere, or beyond what 64 bits hold.
        """
        accounts, warnings = self._engine.adjust(account, amounts, reason)
        self._queue.serve(*accounts)
        return accounts, warnings

    def fire_reached(self) -> tuple[BudgetWarning, ...]:
        """Note every threshold that is reached and was not noted, where thresholds or modes are others than before."""
        return tuple(warning for account in self._book.present() for warning in self._engine.fire_reached(account))

    def warn_before(self, spender: Spender, ask: Ask) -> tuple[BudgetWarning, ...]:
        """Note the thresholds that are due before a call, and return them; see the engine's."""
        return self._engine.warn_before(spender, ask, self._book.accounts(spender))

    def standing_warning(self, thread_id: str, agent: str | None = None) -> BudgetWarning | None:
        """Return the warning of the limit that is nearest to its end, of a thread or an agent of it, if any is near."""
        book = self._book
        return book.warnings.standing(book.of_thread(thread_id) if agent is None else book.open_of(thread_id, agent))

    def unheard(self, thread_id: str, agent: str, heard: Collection[int]) -> Unheard:
        """Return what an agent of a thread has to hear before its next call; see :meth:`BudgetEngine.unheard`."""
        return self._engine.unheard(self._book.open_of(thread_id, agent), heard)

    def cleanup_thread(self, thread_id: str) -> ClosedBudget:
        """Close the thread's budget, free everything kept for it, and return its final state.

        What a carved child has spent is charged to those above it, so this may reach thresholds of theirs.

        Raises:
            LedgerStateError: If a call of it is still open.
        """
        budget, now_ns = self._book.thread(thread_id), self._clock.now_ns()
        final = self._book.state(budget.accounts[0])
        self._ledger.close(budget.accounts[0], now_ns)
        pop_and_shrink(self._book.threads, thread_id)
        if budget.parent is None:
            for account in (each for each in budget.scoped if Account.parse(each).within_thread == thread_id):
                self._ledger.close(account, now_ns)
        if budget.carve is None:
            return ClosedBudget(final, ())
        accounts, warnings = self._engine.return_carve(budget.carve, final)
        self._queue.serve(*accounts)
        return ClosedBudget(final, warnings)

    # -- calls ----------------------------------------------------------------------------------------------------

    async def reserve(
        self, spender: Spender, ask: Ask, call: CallRecord | None = None, until_s: float = math.inf
    ) -> GrantedHold | Refusal | None:
        """Hold a call's worst case on all its scopes, or say which scope has no room.

        Where the room is only taken by siblings' open holds, the call waits its turn for them to settle. Calls are
        served in the order in which they came, so that small ones cannot starve a large one.

        Args:
            spender: On whose behalf.
            ask: The worst case.
            call: What the ledger notes about the call; the granted output cap is filled in.
            until_s: When there is no use in waiting any more, on the event loop's clock; the answer is ``None`` then.
        """
        return await self.reservations.reserve(spender, ask, call, self.wait_s, until_s)

    def hold(
        self, thread_id: str, *, tokens: int = 0, usd: Dollars = 0, agent: str = "", model: str = ""
    ) -> BudgetHold:
        """Make a hold for ``async with``: see :class:`~organism.budget.budget_hold.BudgetHold`.

        Args:
            thread_id: Who pays.
            tokens: The most it may take.
            usd: The most it may cost, in dollars.
            agent: Whose limits count too, if there are any.
            model: Likewise.

        Raises:
            AmountError: If that is no amount.
        """
        take = partial(self.reservations.take, Spender(thread_id, agent, model), wait_s=self.wait_s)
        steps = OwnSteps(take, partial(self.settle, agent=agent), self.release, thread_id)
        return BudgetHold(worst_case(tokens, usd), steps)

    def charge(self, spender: Spender, spent: Amounts, record: CallRecord, cost: Cost) -> Settlement:
        """Charge what has been spent already, whatever room there is: no limit refuses what has happened."""
        return self.settle(self.reservations.hold_spent(spender, spent, record), spent, cost, spender.agent)

    def on_headroom(self, listener: Callable[[Iterable[str]], object] | None) -> None:
        """Tell somebody of accounts to which room has come back, in the same step, or nobody; it must not raise."""
        self._queue.on_headroom = listener

    async def carve_in_turn(self, parent: str, open_child: Callable[[], T | Refusal]) -> T | Refusal:
        """Open a child thread; where others hold what is to be carved out for it, wait in line with their calls.

        Args:
            parent: The thread that spawns it.
            open_child: Opens it by :meth:`open_thread` and starts it, or says who has no room, in one step: a hold
                without its thread would be given back by nobody after a crash.
        """
        accounts = self._book.thread(parent).accounts
        answer = await self._queue.in_turn(parent, accounts, open_child, wait_s=self.wait_s)
        return open_child() if answer is None else answer

    def serve_lines(self) -> None:
        """Look again at all that waits in line: a window that refused may be over."""
        self.reservations.catch_up()
        self._queue.serve(*self._queue.accounts)

    def reserve_now(self, spender: Spender, ask: Ask, call: CallRecord | None = None) -> GrantedHold | None:
        """Hold what may as well not be done: only if there is room at once, nobody waits and no last call is due."""
        return self.reservations.reserve_now(spender, ask, call)

    def dispatch(self, hold_id: str) -> None:
        """Mark that the call leaves; see :meth:`Ledger.dispatch`."""
        self.reservations.forget(hold_id)
        self._ledger.dispatch(hold_id, self._clock.now_ns())

    def warn_refused(self, spender: Spender, ask: Ask, shortfall: Refusal) -> tuple[tuple[BudgetWarning, ...], bool]:
        """Return the warnings of a refused call, and whether the final reserve is open to it now; see the engine's."""
        return self._engine.warn_refused(spender, ask, shortfall, self._book.accounts(spender))

    def last_warning(self, spender: Spender, ask: Ask, shortfall: Refusal) -> tuple[BudgetWarning, ...]:
        """Return the warnings of a refused call: the name of :meth:`warn_refused` until 0.2."""
        warn("last_warning is now warn_refused", DeprecationWarning, stacklevel=2)
        return self.warn_refused(spender, ask, shortfall)[0]

    def fire_elapsed(self, spender: Spender) -> tuple[BudgetWarning, ...]:
        """Note thresholds of limits in seconds before a call: the name of :meth:`warn_before` until 0.2."""
        warn("fire_elapsed is now warn_before", DeprecationWarning, stacklevel=2)
        return self.warn_before(spender, Ask(input_tokens=0, output_cap=0, calls=0))

    def settle(self, held: GrantedHold, actual: Amounts, cost: Cost, agent: str = "") -> Settlement:
        """Charge a call's real cost to all its scopes, report thresholds it crossed, and serve the line.

        Args:
            held: The call.
            actual: What it cost.
            cost: Where these numbers come from.
            agent: Whose call it was: the one that is warned.

        Raises:
            LedgerStateError: If the hold is resolved already.
        """
        overrun, warnings = self._engine.charge(held.hold_id, held.accounts, actual, cost, agent)
        self.reservations.forget(held.hold_id)
        self._queue.serve(*held.accounts)
        return Settlement(overrun, warnings, tuple(map(self._book.state, held.accounts)))

    def release(self, hold_id: str) -> tuple[BudgetState, ...]:
        """Give a hold back untouched, serve the line, and return the accounts; raises as :meth:`settle`."""
        return tuple(map(self._book.state, self.reservations.give_back(hold_id)))

    def checkpoint(self, after_entries: int) -> None:
        """Let a later start begin here, if it would have to read more entries than that and there are accounts."""
        # A checkpoint has all accounts in it: written more often than that, it would be most of the journal.
        if self._ledger.since_checkpoint > max(after_entries, len(self._ledger.accounts)):
            self._ledger.checkpoint(self._clock.now_ns())

    def open_holds(self) -> tuple[Hold, ...]:
        """Return the unresolved holds, oldest first."""
        return self._ledger.open_holds

    def statistics(self) -> RegistryStatistics:
        """Count what is open."""
        threads, freezes = self._book.threads, self._engine.freezes
        return RegistryStatistics(len(threads), len(self._ledger.open_holds), len(self._queue), len(freezes.all))
