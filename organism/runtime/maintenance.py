"""What has to be done from time to time, whether or not a message comes: periods end, and ledgers grow long."""

from functools import partial

import anyio

from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan, has_windows, limits_over_time
from organism.concurrency.safe_log import safe_logger
from organism.errors import Refusal
from organism.runtime.waiting.parked_messages import ParkedMessages
from organism.runtime.workers.guard import guarded_call
from organism.threads.approvals import WaitReason
from organism.threads.open_threads import OpenThreads

_log = safe_logger("organism.journal")

_LOOK_S = 30.0
"""Seconds between two looks: clocks may be set, so the end of a period cannot be slept for in one piece."""

_CHECKPOINT_ENTRIES = 20_000
"""A start reads at most about so many entries of the ledger, or one for each open account if these are more: 0.4 s for
100,000."""


def warn_if_forgotten(plan: BudgetPlan, *, durable: bool) -> None:
    """Say once, at the start, which limits a restart begins anew because nothing keeps what was spent."""
    if not durable and (forgotten := limits_over_time(plan)):
        _log.warning(
            "limits_not_kept",
            limits=list(forgotten),
            reason="the journal is in memory, so what was spent on these counts from zero after each start",
            remedy="give the organism a journal in a file: Organism(..., journal='journal.db')",
        )


async def maintain(threads: OpenThreads, parked: ParkedMessages, registry: ThreadBudgetRegistry, durable: bool) -> None:
    """Look after periods and the ledger for as long as the pump runs; return at once where there is nothing to do.

    The first look is at once: a period may have ended while there was no process, and this one may not live for long.
    """
    if not durable and not has_windows(registry.plan):
        return
    while True:
        guarded_call(partial(_look, threads, parked, registry, durable), "looking after periods and the ledger")
        await anyio.sleep(_LOOK_S)


def _look(threads: OpenThreads, parked: ParkedMessages, registry: ThreadBudgetRegistry, durable: bool) -> None:
    for thread in threads.all():
        if thread.status != "dormant":
            parked.unpark(thread, partial(_came_back, registry))
    registry.serve_lines()
    registry.accounts.close_idle({waits.account for thread in threads.all() for waits in thread.waiting_for})
    if durable:
        registry.checkpoint(_CHECKPOINT_ENTRIES)


def _came_back(registry: ThreadBudgetRegistry, waits: WaitReason) -> bool:
    """Whether a message waits for a limit that has room again: its day is over, or spend has left its window."""
    if isinstance(waits, Refusal):
        return waits.cause == "limit" and registry.accounts.room_came_back(waits)
    return bool(waits.account) and registry.accounts.over(waits.account)
