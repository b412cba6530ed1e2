"""How long budgets last at the present pace. Pure."""

from collections.abc import Iterable, Sequence

from organism.amounts import NS_PER_S, BudgetState, Dimension
from organism.amounts.account import Account
from organism.amounts.units import amount_of, limited_units
from organism.control.views import Burn, ThreadSummary

_S_PER_MINUTE = 60
_S_PER_HOUR = 3600


def time_left_s(state: BudgetState, burn: Iterable[Burn]) -> int | None:
    """Return in how many seconds a budget is used up if it goes on as in the last minutes; ``None`` for never.

    What is held counts as used: it is promised. A limit on wall time runs out by itself.
    """
    account = Account.parse(state.account)
    name = "total" if account.kind == "organism" else f"{account.kind}:{account.name}"
    pace = next((line for line in burn if line.name == name), None)
    left = []
    for dimension, limit in limited_units(state.limits):
        free = max(0, limit - amount_of(state.spent, dimension, state.elapsed_ns) - amount_of(state.held, dimension))
        if dimension == "seconds":
            left.append(free // NS_PER_S)
            continue
        used = 0 if pace is None else {"tokens": pace.tokens, "usd": pace.cost_nanousd, "calls": pace.calls}[dimension]
        if pace is not None and used:
            left.append(free * pace.seconds // used)
    return min(left, default=None)


def busiest(threads: Sequence[ThreadSummary], burn: Sequence[Burn]) -> list[ThreadSummary]:
    """Return threads, those first that have used most in the last minutes, then those that have used most in all."""
    recent = {line.name: (line.cost_nanousd, line.tokens) for line in burn}
    return sorted(
        threads,
        key=lambda thread: (
            recent.get(str(Account("thread", thread.thread_id)), (0, 0)),
            (thread.budget.spent.cost_nanousd, thread.budget.spent.tokens),
        ),
        reverse=True,
    )


def time_text(seconds: int | None) -> str:
    """Write seconds for people: ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds is None:
        return "-"
    if seconds < 2 * _S_PER_MINUTE:
        return f"{seconds} s"
    if seconds < _S_PER_HOUR:
        return f"{seconds // _S_PER_MINUTE} min"
    return f"{seconds // _S_PER_HOUR:,} h {seconds % _S_PER_HOUR // _S_PER_MINUTE} min"


def tightest(state: BudgetState) -> tuple[Dimension, int, int, int] | None:
    """Return the dimension whose limit is nearest, with what is spent, held and allowed; ``None`` without limits."""
    found = [
        (dimension, amount_of(state.spent, dimension, state.elapsed_ns), amount_of(state.held, dimension), limit)
        for dimension, limit in limited_units(state.limits)
    ]
    return max(found, key=lambda line: (line[1] + line[2]) * 1_000_000 // max(1, line[3]), default=None)
