"""What one partition of a cluster knows of the questions to people about limits that all partitions share.

The database has them, one for all. Here is what was heard of it, and what calls wait for to be asked. No slice goes
beyond a threshold that nobody has let pass, so what is heard late lets no call spend too much.
"""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from organism.amounts import Dimension, Limits
from organism.amounts.units import amount_of, limit_of
from organism.budget.guards.actions import Actions, approval_refusal, part_of
from organism.budget.guards.standing import Standing, next_question, stops_at
from organism.budget.holds import Spender
from organism.errors import Refusal
from organism.ledger.account_balance import Balance


class Asking(msgspec.Struct, frozen=True):
    """A question that calls wait for, to be asked by one partition for all.

    Attributes:
        threshold: About which per cent of the limit.
        spender: Whose call was the first to need an answer.
        detail: What a person reads.
    """

    threshold: int
    spender: Spender
    detail: str


class SharedQuestions:
    """The questions about the shared limits of one partition.

    Args:
        actions_of: What happens on an account at thresholds.
        now_ns: The present instant.

    Attributes:
        asks: By account, what is to be asked.
    """

    def __init__(self, actions_of: Callable[[str], Actions], now_ns: Callable[[], int]) -> None:
        self.asks: dict[str, Asking] = {}
        self._actions_of = actions_of
        self._now_ns = now_ns
        self._standings: dict[str, Standing] = {}

    def asked_at(self, account: str) -> bool:
        """Whether people are asked about an account at any threshold."""
        return next_question(self._actions_of(account), 0) is not None

    def hear(self, account: str, standing: Standing) -> None:
        """Take note of what the database has; what is older than what is known is nothing new."""
        known = self._standings.get(account)
        if known is None or standing.age >= known.age:
            self._standings[account] = standing

    def forget(self, account: str) -> None:
        """Ask the database again before anything is done by what was said."""
        self._standings.pop(account, None)

    def standing(self, balance: Balance) -> Standing | None:
        """Return what was said about an account and counts now; ``None`` if it is not known."""
        standing, counted_ns = self._standings.get(balance.account), balance.counted_ns
        if standing is None or not counted_ns:
            return standing
        return standing.since(self._now_ns() - counted_ns)

    def percent(self, balance: Balance) -> int:
        """Return how much of an account's limits may be spent, as far as is known here."""
        actions = self._actions_of(balance.account)
        return stops_at(actions, self._passed(balance))

    def spendable(self, balance: Balance) -> Limits:
        """Return what of an account's limits may be spent."""
        return part_of(balance.limits, self.percent(balance))

    def next_threshold(self, balance: Balance) -> int | None:
        """Return the threshold at which a person must let an account go on."""
        actions = self._actions_of(balance.account)
        return next_question(actions, self._passed(balance)) if actions else None

    def awaits(self, balance: Balance, threshold: int) -> bool:
        """Whether a person is asked about a threshold and has not answered, or nobody knows here."""
        standing = self.standing(balance)
        return standing is None or (standing.open and standing.threshold == threshold)

    def refusal(self, balance: Balance, unit: Dimension, threshold: int, spender: Spender) -> Refusal | None:
        """Return the refusal of a call that goes beyond a threshold; ``None`` where the question is to be asked yet.

        Args:
            balance: The account.
            unit: What of it does not suffice.
            threshold: Which per cent a person must let it pass.
            spender: Whose call it is.
        """
        standing = self.standing(balance)
        numbers = limit_of(balance.limits, unit) or 0, amount_of(balance.total_by(self._now_ns), unit)
        revision = 0 if standing is None else standing.revision
        short = approval_refusal(balance.account, unit, threshold, numbers, revision)
        changed = balance.agreed is not None and balance.limits != balance.agreed
        if standing is None or changed or standing.threshold != threshold:
            self.asks.setdefault(balance.account, Asking(threshold, spender, short.note))
            return None
        if standing.said is None:
            return short
        why = f": {standing.note}" if standing.note else ""
        note = f"a person has not let {balance.account} go on at {threshold} %{why}"
        return replace(short, note=note, action="refuse")

    def _passed(self, balance: Balance) -> int:
        standing = self.standing(balance)
        return 0 if standing is None else standing.passed
