"""Structural bounds: each has a finite default, because a loop that costs nothing per turn never meets a budget."""

import msgspec

from organism.budget.guards.breakers import ONLY_TOLD, Breakers


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What no thread and no agent may exceed.

    Attributes:
        mailbox_messages: Messages that may wait for one agent.
        mailbox_bytes: Bytes of payload that may wait for one agent.
        message_bytes: Bytes of one payload as JSON.
        hops: Handlers between a thread's first message and its last.
        fan_out: Messages one run of a handler may send.
        depth: Child threads within child threads.
        descendants: Child threads below one root, open or closed.
        attempts: Runs of a handler on one message.
        restarts: Messages an agent may fail for good within ``restart_s`` before it is stopped.
        restart_s: That period in seconds.
        handlers: Handlers that may run at once, those not counted that wait for other agents.
        worker_threads: Plain functions that may be at work at once: handlers and tools that are no async functions.
        delivery_s: Seconds a sender waits for room in a full mailbox.
        breakers: What trips when an agent repeats itself; only events unless given.
    """

    mailbox_messages: int = 1000
    mailbox_bytes: int = 16_000_000
    message_bytes: int = 1_000_000
    hops: int = 50
    fan_out: int = 64
    depth: int = 8
    descendants: int = 1000
    attempts: int = 5
    restarts: int = 3
    restart_s: float = 60.0
    handlers: int = 1000
    worker_threads: int = 40
    delivery_s: float = 30.0
    breakers: Breakers = ONLY_TOLD
