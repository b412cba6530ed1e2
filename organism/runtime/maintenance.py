"""What has to be done from time to time, whether or not a message comes: periods end, and ledgers grow long."""

from datetime import tzinfo
from functools import partial

import anyio
import structlog

from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan, has_windows, is_over, limits_over_time
from organism.clock import Clock
from organism.runtime.waiting.parked_messages import ParkedMessages
from organism.runtime.workers.guard import guarded_call
from organism.threads.approvals import WaitReason
from organism.threads.open_threads import OpenThreads

_log = structlog.get_logger("organism.journal")

_LOOK_S = 30.0
"""Seconds between two looks: clocks may be set, so the end of a period cannot be slept for in one piece."""

_CHECKPOINT_ENTRIES = 20_000
"""A start reads at most about so many entries of the ledger, which takes well under a second."""


def warn_if_forgotten(plan: BudgetPlan, *, durable: bool) -> None:
    """Say once, at the start, which limits a restart begins anew because nothing keeps what was spent."""
    if not durable and (forgotten := limits_over_time(plan)):
        _log.warning(
            "limits_not_kept",
            limits=list(forgotten),
            reason="the journal is in memory, so what was spent on these counts from zero after each start",
            remedy="give the organism a journal in a file: Organism(..., journal='journal.db')",
        )


async def maintain(
    threads: OpenThreads, parked: ParkedMessages, registry: ThreadBudgetRegistry, clock: Clock, durable: bool
) -> None:
    """Look after periods and the ledger for as long as the pump runs; return at once where there is nothing to do."""
    if not durable and not has_windows(registry.plan):
        return
    while True:
        await anyio.sleep(_LOOK_S)
        guarded_call(partial(_look, threads, parked, registry, clock, durable), "looking after periods and the ledger")


def _look(
    threads: OpenThreads, parked: ParkedMessages, registry: ThreadBudgetRegistry, clock: Clock, durable: bool
) -> None:
    now_ns, time_zone = clock.now_ns(), registry.plan.time_zone
    for thread in threads.all():
        if thread.status != "dormant":
            parked.unpark(thread, partial(_is_over, now_ns, time_zone))
    registry.serve_lines()
    if durable:
        registry.checkpoint(_CHECKPOINT_ENTRIES)


def _is_over(now_ns: int, time_zone: tzinfo, waits: WaitReason) -> bool:
    """Whether a message waits for a day's or month's limit although that day or month is over."""
    return bool(waits.account) and is_over(waits.account, now_ns, time_zone)
