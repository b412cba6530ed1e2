"""Events of orders from outside."""

import msgspec

from organism.amounts import Amounts, BudgetState, Limits
from organism.usage.events.event import Event


class LimitChanged(Event, frozen=True, kw_only=True):
    """The limits of an account were changed by an operator.

    Attributes:
        account: The scope.
        before: The limits until now.
        after: The limits from now on.
        revision: The number of the new revision.
    """

    account: str
    before: Limits
    after: Limits
    revision: int


class BudgetAdjusted(Event, frozen=True, kw_only=True):
    """What an account has spent was corrected by an operator, as after a provider's invoice or a refund.

    Attributes:
        account: The scope.
        amounts: What was added; negative where spend fell.
        reason: Why, and on whose word.
        budgets: Every account that it counts on, afterwards.
    """

    account: str
    amounts: Amounts
    reason: str
    budgets: tuple[BudgetState, ...]


class SpendingFrozen(Event, frozen=True, kw_only=True):
    """An operator has stopped spending: of every thread, or of those with all of these labels.

    Attributes:
        labels: The labels of the threads it stops; it stops every thread when there are none.
        by: The name of the token it was ordered with.
        reason: Why, in a few words.
        held: What calls under way still held of these threads at that time.
        cancelled: Calls under way that were closed with it.
    """

    labels: dict[str, str] = msgspec.field(default_factory=dict)
    by: str
    reason: str
    held: Amounts
    cancelled: int = 0


class SpendingUnfrozen(Event, frozen=True, kw_only=True):
    """An operator has lifted a freeze: what waited for it goes on.

    Attributes:
        labels: The labels that the freeze was about; every thread when there are none.
        by: The name of the token it was ordered with.
    """

    labels: dict[str, str] = msgspec.field(default_factory=dict)
    by: str


class OperatorAction(Event, frozen=True, kw_only=True):
    """Somebody has done something to the organism from outside: the audit row of a mutation.

    Attributes:
        by: The name of the token it was done with; ``python`` for the program that embeds the organism.
        action: What, such as ``budget.limits`` or ``thread.terminate``.
        target: To what: a thread, an account, an agent, a message; empty for the organism.
        before: What it was, as JSON; ``None`` where that means nothing.
        after: What it is now, as JSON.
    """

    by: str
    action: str
    target: str = ""
    before: str | None = None
    after: str | None = None
