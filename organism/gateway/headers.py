"""Headers of answers: who pays, how much is left, whether it runs low. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from organism.amounts import NANOUSD_PER_USD, NS_PER_S, BudgetState, Dimension
from organism.amounts.units import DIMENSIONS, UNITS, amount_of, limit_of
from organism.formats.errors.faults import Fault
from organism.messages import BudgetWarning

Headers = list[tuple[bytes, bytes]]

THREAD = "organism-thread"


def budget_headers(thread_id: str, states: Iterable[BudgetState], warning: BudgetWarning | None) -> Headers:
    """Return headers with what is left of the tightest limits of a thread, without what open calls hold.

    Args:
        thread_id: The thread.
        states: The accounts that limit it.
        warning: The warning of the limit that is nearest to its end.
    """
    left: dict[Dimension, int] = {}
    used, tightest = 0, -1
    resets_ns: int | None = None
    for state in states:
        for dimension in DIMENSIONS:
            limit = limit_of(state.limits, dimension)
            if limit is None:
                continue
            spent = amount_of(state.spent, dimension, state.elapsed_ns)
            held = amount_of(state.held, dimension)
            rest = max(0, limit - spent - held)
            left[dimension] = min(left.get(dimension, rest), rest)
            percent = spent * 100 // limit if limit else 100
            if percent > tightest:
                used, tightest, resets_ns = percent, percent, state.resets_ns
    headers = [(THREAD, thread_id), ("organism-budget-used-percent", str(used))]
    headers += [(f"organism-budget-remaining-{name}", text) for name, text in _texts(left)]
    if resets_ns is not None:
        resets = datetime.fromtimestamp(resets_ns // NS_PER_S, UTC)
        headers.append(("organism-budget-window-resets-at", resets.isoformat()))
    if warning is not None:
        headers.append(("organism-warning", str(warning.threshold)))
    return encoded(headers)


def _texts(left: dict[Dimension, int]) -> Iterator[tuple[str, str]]:
    for dimension, amount in left.items():
        match dimension:
            case "usd":
                yield dimension, f"{amount // NANOUSD_PER_USD}.{amount % NANOUSD_PER_USD:09d}"
            case _:
                yield dimension, str(amount // UNITS[dimension].scale)


def fault_headers(fault: Fault) -> Headers:
    """Return headers that tell the official clients whether and when to retry."""
    headers = []
    if fault.retry is not None:
        headers.append(("x-should-retry", "true" if fault.retry else "false"))
    if fault.retry_after_s is not None:
        headers.append(("retry-after", str(-int(-fault.retry_after_s // 1))))
    if fault.refusal is not None and fault.refusal.resets_at is not None:
        headers.append(("organism-budget-resets-at", fault.refusal.resets_at))
    if fault.refusal is not None and fault.refusal.approval is not None:
        headers.append(("organism-approval", fault.refusal.approval))
    return encoded(headers)


def reads_failures_in_stream(headers: Mapping[str, str]) -> bool:
    """Whether a client stops only for errors within a stream: Codex retries six times after a 402 or a 403."""
    return headers.get("user-agent", "").lower().startswith("codex")


def encoded(headers: Iterable[tuple[str, str]]) -> Headers:
    """Encode headers for ASGI."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
