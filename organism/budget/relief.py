"""When would a refused call fit though nobody raises a limit, and is there room for more than a call holds? Pure.

Days and months end, spend on a rolling window gets old, and calls under way are settled: that comes by itself. All that
refuses a call is looked at, not only the scope that a refusal names, because the call fits no sooner than the last of
them lets it.
"""

import shlex
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from organism.amounts import NANOUSD_PER_USD, ZERO, Amounts, BudgetState, Dimension
from organism.amounts.units import UNITS, amount_of, limit_of
from organism.budget.guards.actions import up_to
from organism.budget.holds import GrantedHold, Mode
from organism.budget.policy import Ask, Headroom, fits
from organism.budget.scopes import BudgetPlan, actions_of, has_final_reserve, rule_of, window_end_ns
from organism.errors import Refusal, Relief
from organism.ledger.windows import counted_ns

FEW_CALLS = 16
"""An answer of so many times its cap would pass a limit that has no more room than that."""


def leaves_little(states: Iterable[BudgetState], held: GrantedHold) -> bool:
    """Whether a call that is held leaves less than :data:`FEW_CALLS` of its size on any of its accounts.

    What a provider writes beyond the cap it was sent would then pass a limit.
    """
    hold = held.amounts
    return any(
        (state.limits.tokens is not None and _left(state, "tokens") < FEW_CALLS * hold.tokens)
        or (state.limits.cost_nanousd is not None and _left(state, "usd") < FEW_CALLS * hold.cost_nanousd)
        for state in states
    )


def remaining(states: Iterable[BudgetState], plan: BudgetPlan, default: Mode) -> list[BudgetState]:
    """Return which of some accounts end what is spent on them, with the limits at which they do.

    Those that only say so (mode ``audit``) are left out where another refuses. A limit of each call is no store that is
    used up.

    Args:
        states: The accounts that a call holds on.
        plan: All limits.
        default: What the organism does where a limit is reached.
    """
    by_mode: dict[Mode, list[BudgetState]] = {"enforce": [], "audit": [], "off": []}
    for state in states:
        if counted_ns(state.account) != 0:
            limits = up_to(state.limits, actions_of(plan, state.account))
            by_mode[rule_of(plan, state.account).mode or default].append(replace(state, limits=limits))
    return by_mode["enforce"] or by_mode["audit"]


def lacking(refusal: Refusal) -> int:
    """Return by how much a limit must be raised to let a refused call in, in the dimension's integer unit.

    Time goes on while a call is made: there it is as much again, and a minute at least. Of a limit of nothing no
    reserve shows that a higher one has, so it is an amount to begin with.
    """
    wanted = refusal.spent + refusal.held + refusal.needed
    reserve = refusal.final_reserve
    if has_final_reserve(refusal.account) and 0 < 2 * reserve <= refusal.limit:
        # It may be a per cent, of which there is more in a higher limit.
        wanted = -(-wanted * refusal.limit // (refusal.limit - reserve)) + 1
    else:  # what one call takes, whatever the limit
        wanted += reserve
    if refusal.threshold:  # it ends before its limit does, and so does a higher one
        wanted = -(-wanted * 100 // refusal.threshold)
    short = max(1, wanted - limit_behind(refusal))
    again = as_much_again(refusal.dimension, refusal.limit)
    if not UNITS[refusal.dimension].adds_up:
        return short + again
    return short if refusal.limit else max(2 * short, again)


def as_much_again(dimension: Dimension, limit: int) -> int:
    """Return what to raise a limit by to go on as before: as much again, of next to nothing enough to begin with."""
    unit = UNITS[dimension]
    return limit or unit.first if unit.adds_up else max(limit, unit.first)


def limit_behind(refusal: Refusal) -> int:
    """Return the whole limit that a refusal is about, which is more than it may spend where it ends before 100 %."""
    return -(-refusal.limit * 100 // refusal.threshold) if refusal.threshold else refusal.limit


def raise_command(account: str, dimension: Dimension, amount: int) -> str:
    """Write the command that raises a limit of an account by an amount, as it is pasted into a shell."""
    return shlex.join(("organism", "budget", "raise", account, *amount_option(dimension, amount)))


def amount_option(dimension: Dimension, amount: int, prefix: str = "") -> tuple[str, str]:
    """Write an amount as the option of a command and its value, rounded up: ``--usd 0.05``, ``--budget-calls 4``."""
    match dimension:
        case "usd":
            cents = -(-amount * 100 // NANOUSD_PER_USD)
            value = f"{cents // 100}.{cents % 100:02d}"
        case _:
            value = str(-(-amount // UNITS[dimension].scale))
    return f"--{prefix}{dimension}", value


def _left(state: BudgetState, dimension: Dimension) -> int:
    taken = amount_of(state.spent, dimension) + amount_of(state.held, dimension)
    return (limit_of(state.limits, dimension) or 0) - taken


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
        limits = up_to(state.limits, actions_of(plan, state.account))
        settled = Headroom(state.account, limits, state.spent, ZERO, state.elapsed_ns, final_reserve_percent)
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


def approval_relief(
    state: BudgetState, refusal: Refusal, plan: BudgetPlan, steps: Sequence[tuple[int, Amounts]]
) -> Relief | None:
    """Return when an account is below the threshold at which a person must let it go on, though nobody does.

    Args:
        state: The account.
        refusal: What a call of it was refused for.
        plan: All limits.
        steps: When spend on a rolling window counts no more, with all that has gone by then.
    """
    if not steps and (end_ns := window_end_ns(state.account, plan.time_zone)) is not None:
        steps = ((end_ns, state.spent),)
    below = refusal.limit * refusal.threshold
    left = ((at, amount_of(state.spent - gone, refusal.dimension)) for at, gone in steps)
    return next((Relief(at) for at, spent in left if spent * 100 < below), None)


def comes_sooner(one: Relief | None, other: Relief | None) -> bool:
    """Whether one comes before the other; what never comes is last."""
    return _order(one) < _order(other)


def _order(found: Relief | None) -> tuple[int, int]:
    return (1, 0) if found is None else (0, found.at_ns or 0)
