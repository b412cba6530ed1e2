"""A budget's refusal as a client of the gateway gets it: its numbers, what to do, and when it frees itself. Pure."""

from datetime import datetime, timedelta

from organism.amounts import NS_PER_S
from organism.amounts.units import UNITS
from organism.budget.relief import lacking, raise_command
from organism.errors import BudgetExhaustedError, Relief
from organism.formats.errors.faults import BudgetRefusal, Fault

HELD_AGAIN_S = 10
"""Seconds after which a call may fit that only other calls' holds leave no room for; it has waited in line already."""

SOON_S = 60
"""The longest ``Retry-After`` that the official SDKs obey; after a longer one they go on trying every few seconds."""

_REMEDIES = {
    "freeze": "have the operator lift the freeze",
    "breaker": "have the operator look at the thread and let it go on",
    "approval": "have the operator raise the limit",
}
"""What to do about a refusal that no limit has made, by its cause."""

_RETRY_LATER, _PAYMENT_REQUIRED = 429, 402


def exhausted(error: BudgetExhaustedError, now: datetime) -> Fault:
    """Return the fault of a call that a budget refuses, such that most clients stop at once and show the sentence.

    Most programs try again for minutes after a 429, whatever its headers say, and nearly none after a 402 (measured
    with the clients of docs/GATEWAY.md). So a 429 is only for what frees itself within :data:`SOON_S`; what frees
    itself later is a 402 that says when.

    Args:
        error: The refusal.
        now: The present instant, in the time zone in which days and months begin.
    """
    refusal = error.refusal
    resets = _resets(error.relief, now)
    wait_s = None if error.relief is None else HELD_AGAIN_S if resets is None else _seconds_until(resets, now)
    remedy = _remedy(error, resets, wait_s)
    is_soon = wait_s is not None and wait_s <= SOON_S
    if refusal.cause not in _REMEDIES:
        message = f"budget exhausted in thread {error.thread_id}: {refusal}; {remedy}"
    else:
        message = f"{error}; {remedy}" if error.approval_id else str(error)
    return Fault(
        status=_RETRY_LATER if is_soon else _PAYMENT_REQUIRED,
        kind="rate" if is_soon else "budget",
        code="insufficient_quota" if not is_soon else "budget_held" if resets is None else "budget_resets",
        message=message,
        retry=None if is_soon else False,
        retry_after_s=wait_s,
        refusal=BudgetRefusal(
            scope=refusal.account,
            unit=UNITS[refusal.dimension].integer,
            limit=refusal.limit,
            used=refusal.spent,
            held=refusal.held,
            available=refusal.available,
            needed=refusal.needed,
            thread=error.thread_id,
            remedy=remedy,
            resets_at=None if resets is None else resets.isoformat(),
            retry_after=wait_s,
            approval=error.approval_id or None,
        ),
    )


def _remedy(error: BudgetExhaustedError, resets: datetime | None, wait_s: int | None) -> str:
    """Return what a person can do; a command comes last, so that the line can be pasted."""
    refusal = error.refusal
    raised = f"have the operator raise it: {raise_command(refusal.account, refusal.dimension, lacking(refusal))}"
    again = ""
    if resets is not None:
        again = f"from {resets.isoformat(' ', 'seconds')} on, in {timedelta(seconds=wait_s or 0)}"
    if refusal.cause in _REMEDIES:
        remedy = _answer_command(error.approval_id) if error.approval_id else _REMEDIES[refusal.cause]
        return f"without an answer it fits again {again}; {remedy}" if again else remedy
    if again:
        return f"it fits again {again}; to go on before, {raised}"
    if error.relief is not None:
        return f"wait for the calls under way, which hold it, or {raised}"
    return raised


def _answer_command(approval_id: str) -> str:
    return (
        "make the same call again after the operator has allowed or denied it, in the dashboard or with: "
        f"organism approvals allow {approval_id}"
    )


def _resets(relief: Relief | None, now: datetime) -> datetime | None:
    """Return when a window that refuses is over; ``None`` where no window frees the call."""
    if relief is None or relief.at_ns is None:
        return None
    return datetime.fromtimestamp(relief.at_ns // NS_PER_S, now.tzinfo)


def _seconds_until(then: datetime, now: datetime) -> int:
    """Return whole seconds, rounded up, at least one; by instants, since a day may have 23 or 25 hours."""
    return max(1, -int(-(then.timestamp() - now.timestamp()) // 1))
