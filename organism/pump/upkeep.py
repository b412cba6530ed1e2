"""What has to be done from time to time, whether or not a message comes: periods end, and ledgers grow long."""

from collections.abc import Iterator

import anyio

from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import has_windows, is_over
from organism.bus.threads import Thread
from organism.clock import Clock
from organism.errors import Shortfall
from organism.pump.lifecycle import Lifecycle

_LOOK_S = 30.0
"""Seconds between two looks: clocks may be set, so the end of a period cannot be slept for in one piece."""

_CHECKPOINT_ENTRIES = 20_000
"""A start reads at most about so many entries of the ledger, which takes well under a second."""


async def keep_up(life: Lifecycle, registry: ThreadBudgetRegistry, clock: Clock, durable: bool) -> None:
    """Look after periods and the ledger for as long as the pump runs; return at once where there is nothing to do."""
    if not durable and not has_windows(registry.plan):
        return
    while True:
        await anyio.sleep(_LOOK_S)
        for thread in list(_released(life, registry, clock)):
            life.unpark(thread)
        if durable:
            registry.checkpoint(_CHECKPOINT_ENTRIES)


def _released(life: Lifecycle, registry: ThreadBudgetRegistry, clock: Clock) -> Iterator[Thread]:
    """Yield the threads that wait for a day's or month's limit although that day or month is over."""
    now_ns, time_zone = clock.now_ns(), registry.plan.time_zone
    for thread in life.all():
        waits = (lane.parked.account for lane in thread.lanes.values() if isinstance(lane.parked, Shortfall))
        if thread.status != "dormant" and any(is_over(account, now_ns, time_zone) for account in waits):
            yield thread
