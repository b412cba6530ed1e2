"""When would a refused call fit though nobody raises a limit? Pure.

Days and months end, spend on a rolling window gets old, and calls under way are settled: that comes by itself. All that
refuses a call is looked at, not only the scope that a refusal names, because the call fits no sooner than the last of
them lets it.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from organism.amounts import ZERO, Amounts, BudgetState
from organism.budget.policy import Ask, Headroom, fits
from organism.budget.scopes import BudgetPlan, has_final_reserve, window_end_ns
from organism.errors import Relief


def relief(
    states: Iterable[BudgetState],
    ask: Ask,
    plan: BudgetPlan,
    frees: Callable[[str], Sequence[tuple[int, Amounts]]] = lambda _account: (),
) -> Relief | None:
    """Return what a refused call may wait for; ``None`` if it would never fit by itself.

    Args:
        states: Every account that it would hold on.
        ask: Its worst case.
        plan: All limits.
        frees: When spend on a rolling window counts no more, with all that has gone by then.
    """
    at_ns: int | None = None
    for state in states:
        final_reserve_percent = plan.final_reserve_percent if has_final_reserve(state.account) else 0
        settled = Headroom(state.account, state.limits, state.spent, ZERO, state.elapsed_ns, final_reserve_percent)
        if fits(settled, ask):
            continue
        steps = frees(state.account)
        if not steps and (end_ns := window_end_ns(state.account, plan.time_zone)) is not None:
            steps = ((end_ns, state.spent),)
        end_ns = next((at for at, gone in steps if fits(replace(settled, spent=state.spent - gone), ask)), None)
        if end_ns is None:
            return None
        at_ns = end_ns if at_ns is None else max(at_ns, end_ns)
    return Relief(at_ns)


def comes_sooner(one: Relief | None, other: Relief | None) -> bool:
    """Whether one comes before the other; what never comes is last."""
    return _order(one) < _order(other)


def _order(found: Relief | None) -> tuple[int, int]:
    return (1, 0) if found is None else (0, found.at_ns or 0)
