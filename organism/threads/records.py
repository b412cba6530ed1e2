"""The live state of threads as the journal keeps it: one small struct for each kind of thing a crash must not lose.

A message is kept as its own envelope from the step that accepts it to the step that has handled it. The key of a piece
begins with its kind, so that a reader knows what it is. Those that there are many of are kept out of the
garbage collector's sight: what can be said in JSON is in no circle. Pure.
"""

from typing import Final, TypeVar

import msgspec

from organism.amounts import BudgetState
from organism.errors import ConfigError, Refusal
from organism.messages import Envelope, ThreadOutcome
from organism.threads.approvals import Approval, WaitReason
from organism.threads.dead_letters import Reason
from organism.threads.thread import MessageKey, Origin
from organism.threads.thread_state import ThreadStatus

T = TypeVar("T")

THREAD: Final = "thread"
MESSAGE: Final = "msg"
PARKED: Final = "parked"
TRIED: Final = "tried"
STATE: Final = "state"
ANSWER: Final = "answer"
OUTPUT: Final = "output"
STEP: Final = "step"
CHILD: Final = "child"
CLOSED: Final = "closed"
DEAD: Final = "dead"
STOPPED: Final = "stopped"

PAID_STEP: Final = "organism.paid:"
"""What the keys of steps begin with that note what a message has paid for beside model calls."""

BEGAN: Final = "began"
"""The step under which a message that has stepped aside keeps its agent's state as it was when it began."""


def key(kind: str, *names: str) -> str:
    """Return the key of a piece; what comes with every message writes it out, which spares 100 ns."""
    return f"{kind}:{names[0]}" if len(names) == 1 else ":".join((kind, *names))


def checked(value: T, kind: type[T], what: str) -> T:
    """Return a value from outside that the journal is to keep, if it is what a start reads it as.

    Nothing is accepted that could not be taken up again: this is asked before anything is changed.

    Args:
        value: The value; its structs may have been made with anything in their fields.
        kind: What it is to be.
        what: What to call it in the error.

    Raises:
        ConfigError: If it is something else.
    """
    try:
        msgspec.convert(msgspec.to_builtins(value, str_keys=False), kind)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{what} cannot be kept: {error}") from None
    return value


class ThreadRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An open thread.

    Attributes:
        open_ns: Nanoseconds it had been open and not parked when this was written.
        running_since_ns: When this was written, if its time runs.
        carve: The hold its whole limit was carved from.
        asks: What a person is asked, if that is what it waits for.
        paused_by: Which breaker has paused it.
        ending: How and why it is being ended by order.
    """

    thread_id: str
    root: str
    parent: str | None
    depth: int
    entry: str
    labels: dict[str, str]
    status: ThreadStatus
    open_ns: int
    running_since_ns: int | None
    carve: str | None
    origin: Origin
    blocked_by: Refusal | None
    asks: Approval | None = None
    paused_by: Refusal | None = None
    gave_up: str | None
    ending: tuple[ThreadOutcome, str | None] | None
    descendants: int


class ParkedRecord(msgspec.Struct, frozen=True, gc=False):
    """A message waits for budget, or for a person."""

    message_id: str
    shortfall: Refusal | None
    approval: Approval | None = None

    @property
    def waits(self) -> WaitReason | None:
        """Why it waits."""
        return self.shortfall or self.approval


class TriedRecord(msgspec.Struct, frozen=True, gc=False):
    """A message has been tried without success so often."""

    message_id: str
    attempts: int


class StateRecord(msgspec.Struct, frozen=True, gc=False):
    """An agent's own dictionary for a thread.

    Attributes:
        heard: The thresholds that it has heard of, by the numbers of their entries in the ledger.
    """

    agent: str
    state: msgspec.Raw
    heard: tuple[int, ...] = ()


class AnswerRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What came of a question whose asker is not done yet.

    Attributes:
        reply: The reply; JSON's ``null`` when there is none, since text that is not read yet cannot be optional.
    """

    question_id: str
    recipient: str
    asked: MessageKey
    reply: msgspec.Raw
    failure: str | None


class StepRecord(msgspec.Struct, frozen=True, gc=False):
    """What a piece of work has given whose message is not done yet, or what a person has answered to it."""

    message_id: str
    name: str
    value: msgspec.Raw


class OutputRecord(msgspec.Struct, frozen=True, gc=False):
    """Something a thread has sent to the user."""

    payload: msgspec.Raw


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a thread ended: kept for a while for those who ask late, and for a parent that is not done yet."""

    thread_id: str
    outcome: ThreadOutcome
    outputs: tuple[msgspec.Raw, ...]
    budget: BudgetState
    reason: str | None
    root: str
    closed_ns: int
    spawned_by: MessageKey | None = None


class DeadRecord(msgspec.Struct, frozen=True):
    """A message that was given up on."""

    envelope: Envelope
    reason: Reason
    detail: str
    time_ns: int
    where: str | None = None
    labels: dict[str, str] = {}


class DeadHead(msgspec.Struct, frozen=True):
    """A :class:`DeadRecord` whose envelope is still JSON."""

    envelope: msgspec.Raw
    reason: Reason
    detail: str
    time_ns: int
    where: str | None = None
    labels: dict[str, str] = {}


class StoppedRecord(msgspec.Struct, frozen=True):
    """The last process ended in good order: no message was being handled when it did."""

    time_ns: int
