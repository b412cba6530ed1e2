"""Outcomes of a handler run, and the errors they carry."""

from collections.abc import Callable

import msgspec

from organism.errors import OrganismError
from organism.text.error_text import describe
from organism.text.json_losses import loss
from organism.text.json_nesting import nests_too_deep
from organism.threads.approvals import WaitReason

STATE_BYTES_MAX = 16_000_000
"""Bytes of an agent's dictionary for one thread as JSON: it is written anew with each message that changes it."""


class HandlerFailed(msgspec.Struct, frozen=True):
    """The handler raised, took too long, or left something behind that cannot be used."""

    error: BaseException


class HandlerParked(msgspec.Struct, frozen=True):
    """A call of the handler was refused, or it asks a person; its message waits.

    Attributes:
        waits: The refusal or the question that the message waits for.
        stands: Where it waits because the message it asks does: whether that one still waits for the same; ``None``
            where it waits for itself.
    """

    waits: WaitReason
    stands: Callable[[], bool] | None = None


class HandlerStopped(msgspec.Struct, frozen=True):
    """The thread is being ended, or put to rest, and the handler with it; its message is still there."""


HandlerOutcome = HandlerFailed | HandlerParked | HandlerStopped | None
"""How a run ends; ``None`` is the usual way: the handler has returned, and its run has what it leaves."""


class HandlerTimeoutError(OrganismError):
    """A handler took longer than its agent allows.

    Attributes:
        agent: The agent whose handler it was.
        timeout_s: The limit, in seconds.
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
        agent: The agent whose handler it was.
        attempts: In how many of its runs the process has ended.
    """

    def __init__(self, agent: str, attempts: int) -> None:
        self.agent = agent
        self.attempts = attempts
        super().__init__(f"the process ended in {attempts} of the runs of agent {agent!r} on this message")


class HandlerOutputError(OrganismError):
    """What a handler has left in its state, or kept, cannot be written.

    Attributes:
        agent: The agent whose handler it was.
    """

    def __init__(self, agent: str, reason: str) -> None:
        self.agent = agent
        super().__init__(f"agent {agent!r}: {reason}")


def encode_state(agent: str, state: object) -> bytes:
    """Write an agent's state as JSON.

    Raises:
        HandlerOutputError: If it is too large, or holds what JSON cannot say.
    """
    try:
        raw = msgspec.json.encode(state)
        too_large = len(raw) > STATE_BYTES_MAX or nests_too_deep(raw)
        if not too_large:  # a `msgspec.Raw` in it is taken over unread, and a journal that is given no JSON breaks
            back = msgspec.json.decode(raw)
            if back != state and (lost := loss(state, back)) is not None:
                raise ValueError(lost)
    except Exception as error:  # noqa: BLE001 - it may hold a stranger's objects
        raise HandlerOutputError(agent, f"ctx.state must hold only what JSON can say: {describe(error)}") from None
    if too_large:
        raise HandlerOutputError(agent, f"ctx.state is larger than {STATE_BYTES_MAX:,} bytes, or nested too deep")
    return raw
