"""What the runtime has to say to a model, in words that it can act on. Pure."""

from collections.abc import Iterable

from organism.amounts import BudgetState, Dimension
from organism.amounts.units import amount_of, format_amount, limited_units
from organism.messages import AgentFailed, BudgetWarning, LoopWarning


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
    return f"[Note: {used} % of the budget is used; {left} left{_room_for(message.calls_left)}. {urge}]"


def budget_left(budgets: Iterable[BudgetState]) -> str:
    """Say what is left, unit by unit: the least that any limit leaves, without what open calls hold; or nothing."""
    least: dict[Dimension, int] = {}
    for budget in budgets:
        for dimension, limit in limited_units(budget.limits):
            taken = amount_of(budget.spent, dimension, budget.elapsed_ns) + amount_of(budget.held, dimension)
            least[dimension] = min(max(0, limit - taken), least.get(dimension, limit))
    left = ", ".join(format_amount(dimension, amount) for dimension, amount in least.items())
    return f"[Budget left: {left}.]" if left else ""


def _room_for(calls_left: int | None) -> str:
    """Say how many calls fit still, where that is why a warning comes."""
    match calls_left:
        case None:
            return ""
        case 0:
            return ", less than the present call takes"
        case 1:
            return ", enough for one more call like the present one"
        case _:
            return f", enough for {calls_left} more calls like the present one"
