"""Where a call is admitted and charged: look at the balances, decide, write the entries. Each method is one step.

Nothing here waits: :class:`~organism.budget.registry.ThreadBudgetRegistry` lets calls wait around it, and
:mod:`organism.whatif` has recorded calls decided by it once more. So both decide alike.
"""

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from organism.amounts import ZERO, Amounts, BudgetState, Limits
from organism.amounts.account import thread_of
from organism.amounts.units import ADDITIVE, UNITS, amount_of, limit_of, numbers_of, whole
from organism.budget.account_book import AccountBook
from organism.budget.accounts.account_warnings import Unheard
from organism.budget.accounts.thread_budget import ThreadBudget
from organism.budget.guards.actions import ThresholdActions
from organism.budget.guards.freezes import Freezes
from organism.budget.holds import GrantedHold, Mode, Spender
from organism.budget.plans.budget_plan import check_mode
from organism.budget.policy import Ask, Grant, carve, check_correction, decide, everything, room
from organism.clock import Clock
from organism.errors import ConfigError, LedgerStateError, Refusal
from organism.ledger.account_balance import Balance
from organism.ledger.entries import CARVED, CallRecord, Hold
from organism.ledger.ledger import Cost, Ledger
from organism.messages import BudgetWarning


class BudgetEngine:
    """Admits and charges calls on the accounts that it is given.

    Args:
        book: The accounts.
        ledger: Where holds and spend are kept.
        clock: For instants.
        mode: What to do where a limit is reached; takes effect with the next call.

    Raises:
        ConfigError: If there is no such mode.

    Attributes:
        freezes: What an operator has stopped; asked before any limit, in every mode.
    """

    def __init__(self, book: AccountBook, ledger: Ledger, clock: Clock, mode: Mode) -> None:
        check_mode(mode)
        self.mode: Mode = mode
        self.freezes = Freezes()
        self._book = book
        self._warnings, self._last_calls = book.warnings, book.last_calls
        self._actions = ThresholdActions(book.actions_of, book.elapsed_ns, ledger, clock.now_ns, self.shares)
        self._ledger = ledger
        self._clock = clock

    def admit(
        self, spender: Spender, ask: Ask, call: CallRecord | None, accounts: tuple[str, ...]
    ) -> GrantedHold | Refusal:
        """Hold a call's worst case on all of its accounts, or say which of them has no room.

        Args:
            spender: On whose behalf.
            ask: The worst case.
            call: What the ledger notes about the call; the granted output cap is filled in.
            accounts: What it holds on.
        """
        # First: no room that comes back lets a stopped thread spend, so it must be refused before it stands in a line.
        if (stopped := self.stopped(spender.thread_id)) is not None:
            return stopped
        enforced, watched = self._by_mode(accounts)
        if self._book.has_actions and (due := self._actions.approval_due(enforced)) is not None:
            return due
        shared = self._book.shared
        behind = self._last_calls.behind(ask) if shared is not None else ZERO
        if shared is not None and (short := shared.short(ask, enforced, behind, spender)) is not None:
            return short
        verdict, final_reserve_of = self._decide(spender, ask, enforced) if enforced else (everything(ask), "")
        if isinstance(verdict, Refusal):
            return self._actions.ended(verdict if shared is None else shared.refused(verdict))
        over = None
        if watched:
            judged, of = self._decide(spender, ask, watched)
            over, final_reserve_of = judged if isinstance(judged, Refusal) else None, final_reserve_of or of
        hold_id = self._ledger.new_id("hold")
        if call is not None:
            call = replace(call, output_cap=verdict.output_cap, final_reserve_of=final_reserve_of)
        # On the accounts that only watch, too: their numbers must be right when a limit of theirs comes into force.
        self._ledger.reserve(hold_id, accounts, verdict.amounts, self._clock.now_ns(), call)
        if ask.loop is not None and ask.calls:
            self._last_calls.admitted(ask.loop, ask, enforced)
        return GrantedHold(
            hold_id=hold_id,
            accounts=accounts,
            amounts=verdict.amounts,
            output_cap=verdict.output_cap,
            time_left_ns=verdict.time_left_ns,
            over=over,
            final_reserve_of=final_reserve_of,
        )

    def shares(self, balance: Balance) -> bool:
        """Whether all partitions of a cluster share an account, and so its questions to people."""
        return self._book.shared is not None and balance.slice is not None

    def approval_due(self, accounts: tuple[str, ...]) -> Refusal | None:
        """Return which of these accounts a person must let go on before anything more is spent there."""
        return self._actions.approval_due(self._by_mode(accounts)[0])

    def stopped(self, thread_id: str) -> Refusal | None:
        """Return why a thread may not spend now although it has the budget: a freeze, or a breaker that has tripped."""
        budget, freezes = self._book.threads.get(thread_id), self.freezes
        if budget is None:
            return None
        freeze = freezes.of(budget.labels) if freezes else None
        return freeze.refusal() if freeze is not None else budget.stopped

    def hold_spent(self, spent: Amounts, call: CallRecord, accounts: tuple[str, ...]) -> GrantedHold:
        """Hold what has been spent already, as far as there is room for it: the rest is an overrun when it is settled.

        So no hold ever passes a limit, and the entries show by how much something was spent that nobody had asked for.
        """
        enforced, _ = self._by_mode(accounts)
        amounts, hold_id = room(self._book.headrooms(enforced), spent), self._ledger.new_id("hold")
        self._ledger.reserve(hold_id, accounts, amounts, self._clock.now_ns(), call)
        return GrantedHold(hold_id=hold_id, accounts=accounts, amounts=amounts, output_cap=0)

    def mode_of(self, account: str) -> Mode:
        """Return what is done where an account's limit is reached: its scope's mode, or the organism's."""
        return self._book.rule(account).mode or self.mode if self._book.has_rules else self.mode

    def enforces(self, accounts: Iterable[str]) -> bool:
        """Whether one of these accounts refuses what it has no room for."""
        if not self._book.has_rules:
            return self.mode == "enforce"
        return any(self.mode_of(account) == "enforce" for account in accounts)

    def _by_mode(self, accounts: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the accounts that refuse what they have no room for, and those that only say so."""
        if not self._book.has_rules:
            return (accounts, ()) if self.mode == "enforce" else ((), accounts if self.mode == "audit" else ())
        modes = [(account, self.mode_of(account)) for account in accounts]
        enforced = tuple(account for account, mode in modes if mode == "enforce")
        return enforced, tuple(account for account, mode in modes if mode == "audit")

    def _decide(self, spender: Spender, ask: Ask, accounts: tuple[str, ...]) -> tuple[Grant | Refusal, str]:
        """Ask the policy; an agent that has been given the final warning may use the final reserve."""
        verdict = decide(self._book.headrooms(accounts, ask), ask)
        if isinstance(verdict, Grant) and verdict.output_cap == ask.output_cap:
            return verdict, ""
        # The final reserve is kept for a final call of a model; one that may want tools is none.
        if ask.calls and not ask.last_output and (own := self._book.final_reserve_of(spender)) is not None:
            last = decide(self._book.headrooms(accounts, ask, whole=own), ask)
            if isinstance(last, Grant) and (isinstance(verdict, Refusal) or last.output_cap > verdict.output_cap):
                return last, own
        return verdict, ""

    def would_fit(self, spender: Spender, ask: Ask, accounts: tuple[str, ...]) -> bool:
        """Whether a last call would be admitted now; nothing is held."""
        return isinstance(self._decide(spender, ask, self._by_mode(accounts)[0])[0], Grant)

    def warn_refused(
        self, spender: Spender, ask: Ask, shortfall: Refusal, accounts: tuple[str, ...]
    ) -> tuple[tuple[BudgetWarning, ...], bool]:
        """Return the warnings of a call that does not fit any more, and whether the final reserve is open to it now.

        All thresholds that have not been given, once per limit revision; none where the call would fit but for what
        others hold. The reserve is open to a call that is refused by it alone, if the final warning is given now: the
        agent's next call may take it. Else the refusal stands.
        """
        mode, room = self.mode_of(shortfall.account), shortfall.limit - shortfall.final_reserve - shortfall.spent
        if mode == "off" or shortfall.needed <= room:
            return (), False
        own = thread_of(shortfall.account) == spender.thread_id
        # The final reserve of a thread above is for an agent of that thread, not for the child that found its end.
        agent = spender.agent if own or thread_of(shortfall.account) is None else ""
        warnings = self._warnings.fire_final(shortfall, agent)
        if mode != "enforce" or not warnings or not own or not shortfall.final_reserve or shortfall.held:
            return warnings, False
        enforced, _ = self._by_mode(accounts)
        return warnings, isinstance(decide(self._book.headrooms(enforced, ask, whole=shortfall.account), ask), Grant)

    def charge(
        self, hold_id: str, accounts: tuple[str, ...], actual: Amounts, cost: Cost, agent: str = ""
    ) -> tuple[Amounts, tuple[BudgetWarning, ...]]:
        """Charge what a hold has really cost; return what was above the hold, and the thresholds that this crossed.

        Args:
            hold_id: Which hold.
            accounts: What it is held on.
            actual: What it cost.
            cost: Where these numbers come from.
            agent: Whose call it was: the one that is warned.

        Raises:
            LedgerStateError: If the hold is resolved already.
        """
        overrun = self._ledger.settle(hold_id, actual, cost, self._clock.now_ns())
        if len(accounts) == 1:
            return overrun, self.fire_reached(accounts[0], agent)
        # The last call of a thread above is for an agent of that thread, and not for the child's that came so far.
        above = frozenset(account for account in accounts[1:] if thread_of(account) is not None)
        return overrun, tuple(
            warning for account in accounts for warning in self.fire_reached(account, "" if account in above else agent)
        )

    def fire_reached(self, account: str, agent: str = "") -> tuple[BudgetWarning, ...]:
        """Note the thresholds that an account's spend has reached since the last look; in mode ``off`` none.

        In mode ``audit`` there is one more at each whole limit that is passed.
        """
        mode = self.mode_of(account)
        return () if mode == "off" else self._warnings.fire_reached(account, agent, beyond=mode == "audit")

    def unheard(self, accounts: tuple[str, ...], heard: Collection[int]) -> Unheard:
        """Return the thresholds that were noted for others' calls.

        Args:
            accounts: Those that the next call holds on.
            heard: The numbers of the thresholds that its agent has heard of.
        """
        watched = [account for account in accounts if self.mode_of(account) != "off"]
        warnings = tuple(warning for account in watched for warning in self._warnings.unheard(account, heard))
        return Unheard(warnings, self._warnings.numbers(accounts))

    def warn_before(self, spender: Spender, ask: Ask, accounts: tuple[str, ...]) -> tuple[BudgetWarning, ...]:
        """Note the thresholds that are due before a call, and return them.

        Those of limits in seconds that time alone has reached, and the first one wherever few calls of its size fit.
        """
        warnings: tuple[BudgetWarning, ...] = ()
        floor = ask.amounts(min(ask.output_min, ask.output_cap))
        for account in accounts:
            if self.mode_of(account) == "off":
                continue
            agent = spender.agent if account == accounts[0] or thread_of(account) is None else ""
            if self._ledger.balance(account).limits.elapsed_ns is not None:
                warnings += self.fire_reached(account, agent)
            warnings += self._warnings.fire_ahead(account, floor, agent)
        return warnings

    def revise(
        self, account: str, limits: Limits, *, configured: bool = False
    ) -> tuple[tuple[str, ...], tuple[BudgetWarning, ...]]:
        """Give an account new limits, which those hold that it is carved out of.

        Returns:
            The accounts whose room this changes, and the thresholds that lower limits have reached.

        Raises:
            UnknownAccountError: If the account is not open.
            ConfigError: If they were carved out of others, which have no room for them.
        """
        above = self._carve_anew(account, limits)
        self._book.begin_revision(account, limits, configured=configured)
        return (account, *above), self.fire_reached(account)

    def needed_above(self, account: str, limits: Limits) -> dict[str, Limits]:
        """Return who must have which higher limits before a carved child may have these; nobody where there is room.

        Raises:
            ConfigError: If one of them limits what these do not, or would need more than 64 bits hold.
        """
        if (carved := self._carved(account)) is None:
            return {}
        _, hold = carved
        more, needed = self._whole(account, limits) - hold.amounts, {}
        for name in self._by_mode(hold.accounts)[0]:
            balance = self._ledger.balance(name)
            used, raised = balance.spent + balance.held, {}
            check_correction(name, used, more)
            for unit in ADDITIVE:
                limit, least = limit_of(balance.limits, unit), amount_of(used + more, unit)
                if limit is not None and limit_of(limits, unit) is None:
                    raise ConfigError(f"{account} is carved out of {name}, which has a limit of {unit}", path=unit)
                raised[UNITS[unit].limit] = limit if limit is None else max(limit, least)
            if (higher := replace(balance.limits, **raised)) != balance.limits:
                needed[name] = higher
        return needed

    def _carve_anew(self, account: str, limits: Limits) -> tuple[str, ...]:
        """Hold a carved child's new limits on its ancestors in place of those before, and return their accounts.

        Else a raise would be room that they do not have, and they would pass their own limits when the child ends.
        """
        if (carved := self._carved(account)) is None:
            return ()
        budget, hold = carved
        if (amounts := self._whole(account, limits)) == hold.amounts:
            return hold.accounts
        if needed := self.needed_above(account, limits):
            raise ConfigError(
                f"{account} is carved out of others that have no room for its limits: {', '.join(needed)}"
            )
        self._ledger.release(hold.hold_id, self._clock.now_ns())
        budget.carve = self._ledger.new_id("carve")
        self._ledger.reserve(budget.carve, hold.accounts, amounts, self._clock.now_ns())
        return hold.accounts

    def _carved(self, account: str) -> tuple[ThreadBudget, Hold] | None:
        """Return a carved child, and what those above hold for it; ``None`` for any other account."""
        budget = self._book.threads.get(thread_of(account) or "")
        hold = self._ledger.hold(budget.carve) if budget is not None and budget.carve is not None else None
        return (budget, hold) if budget is not None and hold is not None else None

    def _whole(self, account: str, limits: Limits) -> Amounts:
        """Return all that a carved child may cost under new limits: at least what it has spent and holds."""
        state = self._book.state(account)
        return Amounts(*map(max, numbers_of(whole(limits)), numbers_of(state.spent + state.held)))

    def carve(self, accounts: tuple[str, ...], limits: Limits) -> str | Refusal:
        """Hold a child's whole limits on its ancestors' accounts, and return the hold, or who cannot give them.

        Only mode ``enforce`` refuses, or a freeze of the parent; else the child goes to work and its parents' accounts
        show what it takes.

        Raises:
            ConfigError: If an ancestor limits what the child does not.
        """
        if (stopped := self.stopped(thread_of(accounts[0]) or "")) is not None:
            return stopped
        wanted = carve(self._book.headrooms(accounts), limits)
        if isinstance(wanted, Refusal):
            wanted = carve(self._book.headrooms(self._by_mode(accounts)[0]), limits)
            if isinstance(wanted, Refusal):
                return wanted
        hold_id = self._ledger.new_id("carve")
        self._ledger.reserve(hold_id, accounts, wanted, self._clock.now_ns())
        return hold_id

    def return_carve(self, hold_id: str, final: BudgetState) -> tuple[tuple[str, ...], tuple[BudgetWarning, ...]]:
        """Charge a carved child's spend to its ancestors and give them the rest of its limit back.

        Args:
            hold_id: What was carved for it.
            final: How its own account stood at last.

        Returns:
            The ancestors' accounts, and the thresholds that this has reached.

        Raises:
            LedgerStateError: If it was given back before.
        """
        hold = self._ledger.hold(hold_id)
        if hold is None:
            raise LedgerStateError(hold_id, "return", "not open")
        cost = Cost(CARVED, priced=not final.unpriced_calls)
        _, warnings = self.charge(hold_id, hold.accounts, final.spent, cost)
        return hold.accounts, warnings

    def adjust(self, account: str, amounts: Amounts, reason: str) -> tuple[tuple[str, ...], tuple[BudgetWarning, ...]]:
        """Correct what an account has spent, and return the accounts that were corrected and the thresholds reached.

        Raises:
            ConfigError: If spend would fall below zero somewhere, or beyond what 64 bits hold.
        """
        accounts = self._book.corrected_with(account)
        # All are checked before one is corrected: a correction that was refused half way would leave sums that differ.
        for name in accounts:
            check_correction(name, self._ledger.balance(name).spent, amounts)
        self._ledger.adjust(accounts, amounts, reason, self._clock.now_ns())
        return accounts, tuple(warning for name in accounts for warning in self.fire_reached(name))
