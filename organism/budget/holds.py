"""What the registry takes and gives: who spends, what is held, what a settle did."""

from typing import Literal

import msgspec

from organism.amounts import Amounts, BudgetState
from organism.errors import Refusal
from organism.messages import BudgetWarning

Mode = Literal["off", "audit", "enforce"]
"""``off`` only records, ``audit`` also says where it would refuse, ``enforce`` refuses."""

ChildBudget = Literal["shared", "carved"]
"""``shared``: a child's holds count on all its ancestors. ``carved``: its whole limit is taken from them at once."""


class Spender(msgspec.Struct, frozen=True):
    """On whose behalf a call is made, and where it goes.

    Attributes:
        thread_id: The thread that pays.
        agent: The agent that asks.
        model: The model's name in the configuration.
        provider: The provider that this attempt goes to; empty as long as that is open.
    """

    thread_id: str
    agent: str
    model: str
    provider: str = ""


class GrantedHold(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a reserve answers: a hold in the ledger, with what was decided as it was granted.

    It is not the ledger's own :class:`~organism.ledger.entries.Hold`, which is state: made by entries alone, changed by
    them, kept in checkpoints, gone once it is resolved. This is an answer, which never changes and outlives the hold;
    its caller sends ``output_cap`` and keeps to ``time_left_ns``. Were they one, checkpoints would keep what was true
    at one instant for one caller, and another process would read it.

    Attributes:
        hold_id: Names the hold until it is settled or released.
        accounts: Everything it is held on.
        amounts: What is held.
        output_cap: The most the answer may have; must be sent to the provider.
        time_left_ns: What the thread's limit in seconds leaves; ``None`` when there is none.
        over: In mode ``audit``, the scope that would have refused.
        final_reserve_of: The account whose final reserve was used; empty for an ordinary call.
    """

    hold_id: str
    accounts: tuple[str, ...]
    amounts: Amounts
    output_cap: int
    time_left_ns: int | None = None
    over: Refusal | None = None
    final_reserve_of: str = ""


class Settlement(msgspec.Struct, frozen=True):
    """What a settle did.

    Attributes:
        overrun: What was charged above the hold.
        warnings: Thresholds crossed by it, ascending per account; each is reported by this settle alone.
        budgets: Every account it was charged to, afterwards.
    """

    overrun: Amounts
    warnings: tuple[BudgetWarning, ...]
    budgets: tuple[BudgetState, ...]


class ClosedBudget(msgspec.Struct, frozen=True):
    """The end of a thread's budget.

    Attributes:
        state: How it stood at last.
        warnings: Thresholds of threads above it that what it leaves has crossed.
    """

    state: BudgetState
    warnings: tuple[BudgetWarning, ...]


class RegistryStatistics(msgspec.Struct, frozen=True):
    """A look at the registry: open thread budgets, unresolved holds, calls in line, active freezes."""

    threads: int
    open_holds: int
    waiting: int
    freezes: int = 0
