"""What one partition of a cluster knows and lacks of limits that all partitions share.

The engine asks here before each call whether the slices have room, and notes here what is to be agreed on with the
others: slices that are too small, thresholds that are reached. :mod:`organism.cluster.escrow` does it.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from organism.amounts import NS_PER_S, ZERO, Amounts, Dimension, Limits
from organism.amounts.units import ADDITIVE, amount_of, limit_of, limited, positive
from organism.budget.accounts.shared_questions import SharedQuestions
from organism.budget.accounts.slice_sizes import is_shared, others_hold
from organism.budget.guards.actions import Actions, up_to
from organism.budget.holds import Spender
from organism.budget.policy import Ask
from organism.budget.thresholds import Due
from organism.clock import Clock
from organism.errors import Refusal
from organism.ledger.account_balance import Balance
from organism.ledger.ledger import Ledger

FRESH_NS = NS_PER_S
"""For so long a partition believes that there is no more to be had than it has heard."""

_PATIENCE_S = 5.0
"""So long at least a call waits for a slice, however short it waits for other calls."""


class DueKey(NamedTuple):
    """A threshold of a shared limit."""

    account: str
    dimension: Dimension
    threshold: int


class SliceAnswer(msgspec.Struct, frozen=True):
    """The answer that a partition got when it asked for more of a limit.

    Attributes:
        at_ns: When, on the clock that never goes back.
        scarce: Whether what there is has to do: the others have nothing that they do not use.
        since_ns: Since when it asks for more; 0 if it has what it needs.
    """

    at_ns: int
    scarce: bool
    since_ns: int


class SharedLimits:
    """The shared limits of one partition.

    Args:
        ledger: Its balances.
        clock: For instants and elapsed time.
        enforces: Whether an account refuses what it has no room for.
        actions_of: What happens on an account at thresholds.
        on_need: Called when there is something to agree on with the others; it must not raise.

    Attributes:
        needs: By account, what a call takes for which the slice is too small.
        dues: Thresholds that were reached and that no partition is known to have warned of, with whose call it was.
        touched: Accounts that may have changed since the last report.
        answers: By account, what was said when it was last asked for.
        heard: By account, what others have spent by their last reports; the ledger notes it in larger steps only.
        ordered: Accounts whose limits were changed by an order that waits until the others can know of it.
        questions: What people are asked about them.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        enforces: Callable[[str], bool],
        actions_of: Callable[[str], Actions],
        on_need: Callable[[], object],
    ) -> None:
        self.needs: dict[str, Amounts] = {}
        self.dues: dict[DueKey, tuple[Due, str]] = {}
        self.touched: set[str] = {name for name in ledger.accounts if is_shared(name)}
        self.answers: dict[str, SliceAnswer] = {}
        self.heard: dict[str, Amounts] = {}
        self.ordered: set[str] = set()
        self._ledger = ledger
        self._clock = clock
        self._enforces = enforces
        self.questions = SharedQuestions(actions_of, clock.now_ns)
        self.spendable = self.questions.spendable
        self._actions_of = actions_of
        self._on_need = on_need

    def take_touched(self) -> set[str]:
        """Return the accounts that may have changed, and know of none from here on."""
        touched, self.touched = self.touched, set()
        return touched

    def spent(self, balance: Balance) -> Amounts:
        """Return what all have spent of a limit that they share, to the last call that is known here."""
        return balance.spent_by(self._clock.now_ns) + self.heard.get(balance.account, balance.elsewhere)

    def begin(self, account: str, now_ns: int) -> None:
        """Know an account that was just opened: a partition has nothing of a shared limit to begin with."""
        if self._ledger.balance(account).slice is None and is_shared(account):
            self._ledger.slice(account, ZERO, ZERO, self._ledger.balance(account).limits, now_ns)
            self.touched.add(account)

    def order(self, account: str) -> bool:
        """Note that an order has changed a limit, which the others are to know of; whether they share it."""
        if not self._ledger.has(account) or self._ledger.balance(account).slice is None:
            return False
        self.ordered.add(account)
        self._on_need()
        return True

    def wait_s(self, accounts: Iterable[str], wait_s: float) -> float:
        """Return how long a call on these accounts waits in line."""
        shared = any(self._ledger.balance(account).slice is not None for account in accounts)
        return max(wait_s, _PATIENCE_S) if shared else wait_s

    def beside(self, balance: Balance, limits: Limits, held: Amounts) -> tuple[Limits, Amounts]:
        """Return what of limits may be spent, and what is held of it.

        What others have of a limit and have not spent is for this partition as good as held.

        Args:
            balance: The account.
            limits: What may be spent of it where nothing is shared.
            held: By calls of this partition.
        """
        if balance.slice is None or not self._enforces(balance.account):
            return limits, held
        limits = self.spendable(balance)
        return limits, held + others_hold(balance, limits)

    def short(self, ask: Ask, accounts: Iterable[str], last_call: Amounts, spender: Spender) -> Refusal | None:
        """Return which slice is too small for a call's whole answer, so that the call waits while more is asked for.

        Nothing where the others have nothing that they do not use: then the answer is cut, or the call refused, as it
        is on one machine where others hold the room. Where not even the shortest answer fits before a threshold at
        which a person is to let the account go on, that is asked; until it is, the call waits as well.

        Args:
            ask: The worst case.
            accounts: What it holds on.
            last_call: What it is to leave for a last call behind it.
            spender: On whose behalf.
        """
        now_ns = self._clock.monotonic_ns()
        for account in accounts:
            balance = self._ledger.balance(account)
            if balance.slice is None:
                continue
            self.touched.add(account)
            full = limited(ask.amounts(ask.output_cap) + last_call, balance.limits)
            if (unit := self._beyond_question(balance, ask, last_call)) is not None:
                threshold = self.questions.next_threshold(balance) or 0
                refusal = self.questions.refusal(balance, unit, threshold, spender)
                if refusal is None:
                    self._on_need()
                return self._waiting(balance, unit, full) if refusal is None else refusal
            if self.lacking(balance, full) == ZERO:
                continue
            answer = self.answers.get(account)
            fresh = answer is not None and now_ns - answer.at_ns < FRESH_NS
            if fresh and self._never_fits(balance, self.spendable(balance), ask, last_call) is not None:
                continue
            self._need(account, full)
            if not (fresh and answer is not None and answer.scarce):
                return self._refusal(balance, full)
        return None

    def refused(self, refusal: Refusal) -> Refusal:
        """Return a refusal that nobody waits for, where no slice or hold that comes back would change it."""
        balance = self._ledger.balance(refusal.account)
        if balance.slice is None or refusal.spent + refusal.needed + refusal.final_reserve <= refusal.limit:
            return refusal
        return replace(refusal, held=amount_of(balance.held_now, refusal.dimension))

    def due(self, account: str, dues: Iterable[Due], agent: str) -> None:
        """Know that thresholds are reached, which one partition warns of."""
        for due in dues:
            self.dues.setdefault(DueKey(account, due.dimension, due.threshold), (due, agent))
        self._on_need()

    def lacking(self, balance: Balance, full: Amounts) -> Amounts:
        """Return what a slice lacks for a call, and for what was charged beyond it, for which nobody has asked."""
        room = (balance.slice or ZERO) - balance.spent_by(self._clock.now_ns) - balance.held_now
        return limited(positive(full - room), balance.limits)

    def _beyond_question(self, balance: Balance, ask: Ask, last_call: Amounts) -> Dimension | None:
        """Return the unit in which a call does not fit before the next question to a person, but would behind it."""
        if self.questions.next_threshold(balance) is None:
            return None
        unit = self._never_fits(balance, self.spendable(balance), ask, last_call)
        if unit is None or not limit_of(balance.limits, unit):
            return None
        end = up_to(balance.limits, self._actions_of(balance.account))
        return unit if self._never_fits(balance, end, ask, last_call) is None else None

    def _never_fits(self, balance: Balance, limits: Limits, ask: Ask, last_call: Amounts) -> Dimension | None:
        """Return the unit in which the shortest answer, and a last call behind it, do not fit what nobody has spent."""
        left, floor = balance.total_by(self._clock.now_ns), ask.amounts(min(ask.output_min, ask.output_cap)) + last_call
        for unit in ADDITIVE:
            limit = limit_of(limits, unit)
            if limit is not None and amount_of(left + floor, unit) > limit:
                return unit
        return None

    def _need(self, account: str, full: Amounts) -> None:
        self.needs[account] = full
        self._on_need()

    def _refusal(self, balance: Balance, full: Amounts) -> Refusal:
        """Return the refusal of a call that waits for a slice."""
        lacking = self.lacking(balance, full)
        unit = next(unit for unit in ADDITIVE if amount_of(lacking, unit))
        return self._waiting(balance, unit, full)

    def _waiting(self, balance: Balance, unit: Dimension, full: Amounts) -> Refusal:
        limits = self.spendable(balance)
        return Refusal(
            account=balance.account,
            dimension=unit,
            limit=limit_of(limits, unit) or 0,
            spent=amount_of(balance.total_by(self._clock.now_ns), unit),
            # At least one: what waits for a slice stands in line, also where nobody is known to hold anything.
            held=max(1, amount_of(balance.held_now + others_hold(balance, limits), unit)),
            needed=amount_of(full, unit),
        )
