"""What the runtime has to say to a model, in words that it can act on. Pure."""

from collections.abc import Iterable

from organism.amounts import BudgetState, format_amount
from organism.budget.thresholds import DEFAULT_THRESHOLDS, amount_of, level_of, limit_of, reached
from organism.messages import AgentFailed, BudgetWarning, LoopWarning


def nearest_limit(
    states: Iterable[BudgetState], thresholds: tuple[int, ...] = DEFAULT_THRESHOLDS
) -> BudgetWarning | None:
    """Return the warning of the limit that is nearest to its end, if any is near.

    A warning arrives as a message, and so after the one being handled; a long handler looks here, and so
    does who handles none.

    Args:
        states: The accounts.
        thresholds: Per cent of a limit at which it warns, ascending.
    """
    found: BudgetWarning | None = None
    for state in states:
        for dimension, threshold in reached(state.limits, state.spent, state.elapsed_ns, thresholds):
            if found is None or threshold > found.threshold:
                found = BudgetWarning(
                    account=state.account,
                    dimension=dimension,
                    threshold=threshold,
                    level=level_of(threshold, thresholds),
                    limit=limit_of(state.limits, dimension) or 0,
                    spent=amount_of(state.spent, state.elapsed_ns, dimension),
                )
    return found


def note_for(message: BudgetWarning | LoopWarning | AgentFailed) -> str:
    """Say a runtime message in words a model can act on."""
    if isinstance(message, LoopWarning):
        return f"[Note: {message.text}. Do something else, or come to an end.]"
    if isinstance(message, AgentFailed):
        return f"[Note: {message.agent} could not do its part: {message.reason}]"
    left = format_amount(message.dimension, message.remaining)
    urge = {
        "warning": "Be brief.",
        "critical": "Be very brief.",
        "final": "Give your final answer now, in one or two sentences.",
    }[message.level]
    used = message.spent * 100 // message.limit
    return f"[Note: {used} % of the budget is used; {left} left. {urge}]"
