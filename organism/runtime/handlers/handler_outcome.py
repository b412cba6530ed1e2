"""How a run of a handler ends, and the errors that say so."""

import msgspec

from organism.errors import OrganismError
from organism.runtime.handlers.output_routing import RoutedMessage
from organism.threads.approvals import WaitReason


class HandlerReturned(msgspec.Struct, frozen=True):
    """The handler finished.

    Attributes:
        outgoing: What it sends, checked.
        state: The agent's dictionary as JSON.
        reports: What it reports, as names and results.
        trace: The trace context of the run.
    """

    outgoing: tuple[RoutedMessage, ...]
    state: bytes
    reports: tuple[tuple[str, str], ...] = ()
    trace: str | None = None


class HandlerFailed(msgspec.Struct, frozen=True):
    """The handler raised, took too long, or left something behind that cannot be used."""

    error: BaseException


class HandlerParked(msgspec.Struct, frozen=True):
    """A call of the handler was refused, or it asks a person; its message waits."""

    waits: WaitReason


class HandlerStopped(msgspec.Struct, frozen=True):
    """The thread is being ended, or put to rest, and the handler with it; its message is still there."""


HandlerOutcome = HandlerReturned | HandlerFailed | HandlerParked | HandlerStopped
"""How a run ends."""


class HandlerTimeoutError(OrganismError):
    """A handler took longer than its agent allows.

    Attributes:
        agent: Whose handler.
        timeout_s: What it is allowed, in seconds.
        still_running: Where it is at work even now, as ``file:line``: a plain function that has not returned, or a
            coroutine that would not end when it was cancelled. It is not run again beside itself.
    """

    def __init__(self, agent: str, timeout_s: float, still_running: str | None = None) -> None:
        self.agent = agent
        self.timeout_s = timeout_s
        self.still_running = still_running
        self.retryable = still_running is None
        more = f" and was left behind, at work at {still_running}" if still_running else ""
        super().__init__(f"the handler of agent {agent!r} took longer than {timeout_s:g} s{more}")


class ProcessEndedError(OrganismError):
    """The process has ended each time this message was handled.

    Attributes:
        agent: Whose handler.
        attempts: How often.
    """

    def __init__(self, agent: str, attempts: int) -> None:
        self.agent = agent
        self.attempts = attempts
        super().__init__(f"the process ended in {attempts} of the runs of agent {agent!r} on this message")


class HandlerOutputError(OrganismError):
    """What a handler has left in its state, or kept, cannot be written.

    Attributes:
        agent: Whose handler.
    """

    def __init__(self, agent: str, reason: str) -> None:
        self.agent = agent
        super().__init__(f"agent {agent!r}: {reason}")
