"""How a limit that all partitions of a cluster share is cut into slices. Pure arithmetic on one unit, and on amounts.

Each partition enforces its slice alone. All slices together are what is granted, and no more is granted than the limit;
so no partition needs to ask another one before a call, and the limit holds whichever of them dies or cannot be reached.
What a slice has and does not use is as good as held by somebody else: it may come back.
"""

from organism.amounts import ZERO, Amounts, Limits
from organism.amounts.account import Account
from organism.amounts.units import limited, numbers_of, positive, whole
from organism.ledger.account_balance import Balance
from organism.ledger.windows import counted_ns

CALLS_AHEAD = 32
"""A slice is taken for so many calls as large as the one that needs it, where there is enough for all partitions."""


def is_shared(account: str) -> bool:
    """Whether an account counts what threads of several partitions use: no single thread, no call for itself."""
    return not Account.parse(account).within_thread and counted_ns(account) != 0


def taken(want: int, need: int, free: int, partitions: int) -> int:
    """Return how much of what is free a partition takes: what it needs, and more where that leaves enough for others.

    :mod:`organism.stores.postgres.slice_table` says the same in SQL.

    Args:
        want: So much would do for a while.
        need: So much it cannot do without.
        free: What no slice has.
        partitions: How many share the limit.
    """
    free = max(0, free)
    return min(max(want, need), max(need, free // partitions), free)


def given_back(idle: int, need: int) -> int:
    """Return how much of what a slice does not use goes back because another partition needs so much.

    Half of it, or what is needed if that is more; so neither has to ask for the same soon again.
    """
    idle = max(0, idle)
    return min(idle, max(need, idle // 2)) if need > 0 else 0


def given_back_of(idle: Amounts, need: Amounts) -> Amounts:
    """Return :func:`given_back` of each unit."""
    return Amounts(*map(given_back, numbers_of(idle), numbers_of(need)))


def others_hold(balance: Balance, limits: Limits) -> Amounts:
    """Return what of an account's limits others have and have not spent, also what no partition has taken yet.

    For this partition it is as good as held: with it the limit leaves what the slice leaves. Where others have spent
    more than is theirs, because the limit was lowered, it is nothing, and the limit leaves less than the slice.

    Args:
        balance: The account.
        limits: What of its limits may be spent.
    """
    if balance.slice is None:
        return ZERO
    return limited(positive(whole(limits) - balance.slice - balance.elsewhere), limits)
