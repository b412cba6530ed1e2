"""Counts of the pump."""

import msgspec

from organism.runtime.workers.worker_pool import WorkerStatistics
from organism.threads.mailbox import MailboxStatistics


class PumpStatistics(msgspec.Struct, frozen=True):
    """What is open and what waits.

    Attributes:
        mailboxes: By agent.
        stopped_agents: Agents that have failed too often, with the reason.
        paused_agents: Agents that an operator has paused.
        accepting: Whether new threads are taken.
        workers: The worker threads of plain functions.
    """

    threads: int
    blocked: int
    dead_letters: int
    mailboxes: dict[str, MailboxStatistics]
    stopped_agents: dict[str, str]
    paused_agents: frozenset[str] = frozenset()
    accepting: bool = True
    workers: WorkerStatistics = WorkerStatistics()
