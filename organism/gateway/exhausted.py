"""A refusal by a budget, as a client hears it: every number, what to do, and when it passes by itself. Pure."""

from datetime import datetime, timedelta

from organism.amounts import NS_PER_S
from organism.amounts.units import UNITS
from organism.budget.relief import lacking, raise_command
from organism.errors import BudgetExhaustedError, Relief
from organism.formats.errors.faults import BudgetRefusal, Fault

HELD_AGAIN_S = 10
"""Seconds after which a call may fit that is refused only for what other calls hold; it has waited in line for more."""

SOON_S = 60
"""Seconds that clients wait for by themselves: the official SDKs obey a longer ``Retry-After`` no more, and go on
trying every few seconds instead."""

_OTHERWISE = {
    "freeze": "have the operator lift the freeze",
    "breaker": "have the operator look at the thread and let it go on",
    "approval": "have the operator raise the limit",
}
"""What to do about a refusal that no limit has made."""

_PAYMENT_REQUIRED = 402


def exhausted(error: BudgetExhaustedError, now: datetime) -> Fault:
    """Say that there is no money, in the one way that makes most clients stop at once and show the sentence.

    Most programs try again for minutes after a 429, whatever its headers say, and nearly none after a 402: measured
    with the clients of docs/GATEWAY.md. So a 429 is only for what comes back by itself and soon. What comes back later
    says when, with a 402 all the same.

    Args:
        error: The refusal.
        now: The present instant, in the time zone in which days and months begin.
    """
    short = error.refusal
    resets = _resets(error.relief, now)
    again_s = _seconds_until(resets, now) if resets is not None else HELD_AGAIN_S if error.relief is not None else None
    raised = f"have the operator raise it: {raise_command(short.account, short.dimension, lacking(short))}"
    again = (
        "" if resets is None else f"from {resets.isoformat(' ', 'seconds')} on, in {timedelta(seconds=again_s or 0)}"
    )
    if short.cause in _OTHERWISE:
        remedy = f"without an answer it fits again {again}; " if again else ""
        remedy += _answered(error.approval_id) if error.approval_id else _OTHERWISE[short.cause]
    elif resets is not None:
        remedy = f"it fits again {again}; to go on before, {raised}"
    elif error.relief is not None:
        remedy = f"wait for the calls under way, which hold it, or {raised}"
    else:
        remedy = raised
    refusal = BudgetRefusal(
        scope=short.account,
        unit=UNITS[short.dimension].integer,
        limit=short.limit,
        used=short.spent,
        held=short.held,
        available=short.available,
        needed=short.needed,
        thread=error.thread_id,
        remedy=remedy,
        resets_at=None if resets is None else resets.isoformat(),
        retry_after=again_s,
        approval=error.approval_id or None,
    )
    soon = again_s is not None and again_s <= SOON_S
    return Fault(
        status=429 if soon else _PAYMENT_REQUIRED,
        kind="rate" if soon else "budget",
        code="insufficient_quota" if not soon else "budget_held" if resets is None else "budget_resets",
        message=(f"{error}; {remedy}" if error.approval_id else str(error))
        if short.cause in _OTHERWISE
        else f"budget exhausted in thread {error.thread_id}: {short}; {remedy}",
        retry=None if soon else False,
        retry_after_s=again_s,
        refusal=refusal,
    )


def _answered(approval_id: str) -> str:
    """Say what has to happen for the same call to be let through; the command is last, so that the line is pasted."""
    return (
        "make the same call again after the operator has allowed or denied it, in the dashboard or with: "
        f"organism approvals allow {approval_id}"
    )


def _resets(relief: Relief | None, now: datetime) -> datetime | None:
    if relief is None or relief.at_ns is None:
        return None
    return datetime.fromtimestamp(relief.at_ns // NS_PER_S, now.tzinfo)


def _seconds_until(then: datetime, now: datetime) -> int:
    """Return whole seconds, rounded up, at least one; by instants, since a day may have 23 or 25 hours."""
    return max(1, -int(-(then.timestamp() - now.timestamp()) // 1))
