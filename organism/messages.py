"""Messages, the envelopes they travel in, and the one JSON codec for both.

A message is a frozen :class:`msgspec.Struct`; its class name is its tag on the wire. The codec is strict: unknown
fields, unknown types and numbers that are not finite are refused, and there is no second way in.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal, cast

import msgspec

from organism.amounts import BudgetState, Dimension
from organism.errors import BoundExceededError, ConfigError, OrganismError
from organism.ids import USER, MessageId, ThreadId
from organism.text.error_text import describe, shown
from organism.text.json_losses import loss
from organism.text.json_nesting import NESTED_MAX, nests_too_deep

WarningLevel = Literal["warning", "critical", "final"]
"""How near the limit is: the first threshold, one in between, the last one before refusals."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The base of every payload. Subclass it with the fields your agents exchange."""


class Text(Message, frozen=True, gc=False, repr_omit_defaults=True, omit_defaults=True):
    """Plain text: what a user sends, and what an LLM agent reads and writes.

    Attributes:
        text: The words.
        incomplete: Why they are not all that was to be said, where a model was cut off (``length``), was filtered or
            refused (``content_filter``), paused (``pause_turn``) or broke (``error``); empty where they are.
    """

    text: str
    incomplete: str = ""


class GatheredPart(msgspec.Struct, frozen=True):
    """What one sender contributed to a :class:`Gathered`."""

    sender: str
    text: str


class Gathered(Message, frozen=True):
    """One message from each of several senders, handed over together.

    Attributes:
        parts: The contributions, in the order the agent's ``gather`` names their senders.
        missing: Senders that failed or ended without contributing; the wait for them is over.
    """

    parts: tuple[GatheredPart, ...]
    missing: tuple[str, ...] = ()


class BudgetWarning(Message, frozen=True):
    """Spend has reached a threshold of a limit, or few calls fit still. Sent to the agent that calls, and to listeners.

    Attributes:
        account: The scope, such as ``thread:th_1``.
        dimension: The unit that is running short.
        threshold: The per cent that was reached, or whose warning comes ahead.
        level: How near the limit is.
        limit: The ceiling, in the dimension's integer unit (tokens, nano-USD, nanoseconds, calls).
        spent: What is settled, in the same unit.
        calls_left: How many calls of the present size fit, where it comes ahead; ``None`` where spend is there.
        limits_passed: How many further whole limits it stands for, where one call in mode ``audit`` has passed too many
            for a warning each; 0 else.
    """

    account: str
    dimension: Dimension
    threshold: int
    level: WarningLevel
    limit: int
    spent: int
    calls_left: int | None = None
    limits_passed: int = 0

    @property
    def remaining(self) -> int:
        """What is left; never negative."""
        return max(0, self.limit - self.spent)


class AgentFailed(Message, frozen=True):
    """A message you sent was given up on.

    Attributes:
        agent: The agent that failed on it.
        message_id: The envelope.
        reason: Why.
    """

    agent: str
    message_id: str
    reason: str


class LoopWarning(Message, frozen=True):
    """A breaker has tripped: what you do goes round and round, or spends in bursts; see ``breakers`` in the file.

    Attributes:
        breaker: Which: ``repeat``, ``alternate`` or ``rate``.
        step: How many times in a row it has tripped; what follows the next time may be a pause or the end.
        text: What goes round, in words.
    """

    breaker: Literal["repeat", "alternate", "rate"]
    step: int
    text: str


SpendingNote = BudgetWarning | LoopWarning
"""A message about what an agent does: its spend has reached a threshold of a limit, or it goes round and round."""

RUNTIME_MESSAGES: tuple[type[Message], ...] = (BudgetWarning, LoopWarning, AgentFailed)
"""What the runtime itself sends. Every agent may get one; a handler that does not name them never sees them."""


def is_runtime(message: Message) -> bool:
    """Whether the runtime itself has sent it. By its very class: for structs `isinstance` takes 80 ns for each "no"."""
    return type(message) in RUNTIME_MESSAGES


@lru_cache(maxsize=1024)
def is_reserved(message_type: type[Message]) -> bool:
    """Whether a message of this type would pass for the runtime's: by its class, its parents or its wire name."""
    names = (kind.__struct_config__.tag for kind in RUNTIME_MESSAGES)
    return issubclass(message_type, RUNTIME_MESSAGES) or message_type.__struct_config__.tag in names


class EnvelopeHead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Everything about a message but its payload: what can be read without knowing the payload's type.

    Attributes:
        id: Unique; the same across redeliveries.
        thread_id: The conversation, and so the budget.
        sender: The agent that sent it, or ``user``; for the first message of a child thread, the agent that spawned it.
        recipient: The agent it is for, or ``user``; for an output of a child thread, the agent that spawned it.
        created_ns: When it was accepted, nanoseconds since the Unix epoch.
        causation_id: The envelope whose handling sent it; ``None`` for a thread's first.
        hops: Handlers between the thread's first message and this one.
        return_path: Who waits for its result, innermost last. Passing on along ``next`` keeps it, writing of
            one's own accord adds oneself, a reply takes its recipient off: the last of a chain answers who began it.
        reply_to: The id of the question this is about: set on a question (its own id) and on its reply.
        question: Which question of its sender's handler it is, counted from 0; ``None`` for what is no question.
        beside: Whether it is a question asked beside others, and so handled beside other messages for its recipient.
        asking: The agents that wait for this one, outermost first; what detects asking in a circle.
        joined: Whether it already holds what several senders have contributed.
        due_ns: When it is to be delivered, nanoseconds since the Unix epoch; ``None`` for at once.
        size: Bytes of the payload as JSON.
        trace: The trace context of the work that sent it, if there is one.
    """

    id: MessageId
    thread_id: ThreadId
    sender: str
    recipient: str
    created_ns: int
    causation_id: MessageId | None = None
    hops: int = 0
    return_path: tuple[str, ...] = (USER,)
    reply_to: MessageId | None = None
    question: int | None = None
    beside: bool = False
    asking: tuple[str, ...] = ()
    joined: bool = False
    due_ns: int | None = None
    size: int = 0
    trace: str | None = None

    @property
    def from_outside(self) -> bool:
        """Whether no handler of its thread sent it, but a user, the agent that spawned the thread or the runtime."""
        return self.causation_id is None


class Envelope(EnvelopeHead, frozen=True, kw_only=True, gc=False):
    """A message with everything the pump knows about it. Agents read it; only the pump writes one.

    Attributes:
        payload: The message.
    """

    payload: Message


ThreadOutcome = Literal["completed", "failed", "terminated"]
"""How a thread ended.

``completed``: nothing of it is left to do. ``failed``: likewise, but a message was given up on and nothing came out.
``terminated``: by order.
"""


class ThreadResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a thread ended.

    Attributes:
        thread_id: The thread.
        outcome: How it ended.
        outputs: What it sent to ``user``, or as a child thread to the agent that spawned it, in order.
        budget: Its final budget.
        reason: Why it did not complete.
    """

    thread_id: str
    outcome: ThreadOutcome
    outputs: tuple[Message, ...]
    budget: BudgetState
    reason: str | None = None

    @property
    def text(self) -> str:
        """What it said: the text of each :class:`Text` among its outputs, with an empty line between two."""
        return "\n\n".join(output.text for output in self.outputs if isinstance(output, Text))


class PayloadError(OrganismError):
    """A payload is not valid JSON of a known message type."""


_encode = msgspec.json.Encoder().encode


def type_name(message: Message | type[Message]) -> str:
    """Return the name a message type has on the wire."""
    tag: str = message.__struct_config__.tag  # type: ignore[assignment]  # of a message it is always a text
    return tag


def encode(message: Message) -> bytes:
    """Write a message as JSON with its type.

    Raises:
        PayloadError: If a field holds something that JSON cannot say.
    """
    try:
        return _encode(message)
    except Exception as error:  # noqa: BLE001 - fields may hold a stranger's objects, whose code runs here
        raise PayloadError(f"a {type_name(message)} cannot be written as JSON: {describe(error)}") from None


def sendable(message: object, bytes_max: int) -> tuple[Message, int]:
    """Return a message as its recipient will read it, and its bytes as JSON.

    Structs do not check the types of their fields, so `Text(42)` is found here, where its sender can see it, and not by
    the start that reads it back. The recipient gets a copy, which the sender can change no more.

    Args:
        message: The message.
        bytes_max: The bound ``message_bytes``.

    Raises:
        BoundExceededError: If it is larger than a message may be.
        PayloadError: If it is no message, or what is written of it could not be read back as what it is.
    """
    if not isinstance(message, Message):
        instead = "use a type derived from organism.Message, or wrap text in Text"
        raise PayloadError(f"{shown(message)} is no message; {instead}")
    reader = _reader(type(message))
    raw = encode(message)
    size = len(raw)
    if size > NESTED_MAX and nests_too_deep(raw):
        raise PayloadError(f"a {type_name(message)} is nested deeper than {NESTED_MAX} levels")
    try:
        copy = reader.decode(raw)
        is_same = copy == message
    except Exception:  # noqa: BLE001 - also what a `__post_init__` or an `__eq__` raises
        copy, is_same = _read(reader, raw, message), False
    if size > bytes_max:
        raise BoundExceededError("message_bytes", bytes_max, f"a message of {size:,} bytes is too large")
    if not is_same and (lost := loss(message, copy)) is not None:
        raise PayloadError(f"not a valid {type_name(message)}: {lost}")
    return copy, size


def _read(reader: msgspec.json.Decoder[Message], raw: bytes, message: Message) -> Message:
    try:
        return reader.decode(raw)
    except Exception as error:  # noqa: BLE001 - also what a `__post_init__` raises
        raise PayloadError(f"not a valid {type_name(message)}: {describe(error)}") from None


@lru_cache(maxsize=1024)
def _reader(message_type: type[Message]) -> msgspec.json.Decoder[Any]:
    """Return what reads messages of a type.

    Raises:
        PayloadError: If its messages are ambiguous on the wire, or hold what JSON cannot say.
    """
    config = message_type.__struct_config__
    name = message_type.__name__
    if not isinstance(config.tag, str) or config.tag_field != "type" or config.array_like:
        raise PayloadError(f"{name} cannot be sent: a message is a JSON object with a 'type'; leave 'tag' to organism")
    try:
        return msgspec.json.Decoder(message_type)
    except Exception as error:  # noqa: BLE001 - annotations are a stranger's code
        raise PayloadError(f"{name} cannot be sent: {describe(error)}") from None


def as_text(message: Message) -> str:
    """Render a message for a prompt or a person: the text itself where there is one, else its JSON."""
    match message:
        case Text(text=text):
            return text
        case Gathered(parts=parts, missing=missing):
            sections = [f"From {part.sender}:\n{part.text}" for part in parts]
            if missing:
                sections.append(f"(nothing came from {', '.join(missing)})")
            return "\n\n".join(sections)
        case _:
            return encode(message).decode()


def as_message(message: Message | str) -> Message:
    """Make text a message.

    Raises:
        ConfigError: If the text is blank: an empty prompt would only cost money.
    """
    text = message if isinstance(message, str) else message.text if isinstance(message, Text) else None
    if text is not None and not text.strip():
        raise ConfigError("the message is empty; say what the organism should do")
    return Text(message) if isinstance(message, str) else message


class MessageRegistry:
    """The message types one organism knows; what it does not list cannot be decoded."""

    def __init__(self, types: Iterable[type[Message]] = ()) -> None:
        self._types: dict[str, type[Message]] = {}
        for message_type in (Text, Gathered, *RUNTIME_MESSAGES, *types):
            self.add(cast("type[Message]", message_type))

    def add(self, message_type: type[Message]) -> None:
        """Make a type known.

        Raises:
            ConfigError: If another type already has its name on the wire, or its messages cannot be written or read.
        """
        try:
            _reader(message_type)
        except PayloadError as error:
            raise ConfigError(str(error)) from None
        name = type_name(message_type)
        known = self._types.setdefault(name, message_type)
        if known is not message_type:
            raise ConfigError(
                f"two message types are called {name!r} ({known.__module__} and {message_type.__module__}); retag one"
            )

    def get(self, name: str) -> type[Message] | None:
        """Return the type of that name, or ``None``."""
        return self._types.get(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names on the wire, sorted."""
        return tuple(sorted(self._types))

    def decode(self, raw: bytes | str) -> Message:
        """Read a message from JSON such as ``{"type": "Text", "text": "hello"}``.

        Raises:
            PayloadError: If it is not JSON, of no known type, or its fields do not fit.
        """
        try:
            header = msgspec.json.decode(raw, type=_Header)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise PayloadError(f"not a message: {error}") from None
        if (message_type := self._types.get(header.type)) is None:
            raise PayloadError(f"no message type is called {header.type!r}; there are: {', '.join(self.names)}")
        try:
            return msgspec.json.decode(raw, type=message_type)
        except msgspec.MsgspecError as error:
            raise PayloadError(f"not a valid {header.type}: {error}") from None

    def decode_envelope(self, raw: bytes) -> Envelope:
        """Read an envelope as :func:`msgspec.json.encode` has written it.

        Raises:
            PayloadError: If its payload cannot be read, because its type is not known any more.
        """
        head = msgspec.json.decode(raw, type=EnvelopeHead)
        payload = self.decode(bytes(msgspec.json.decode(raw, type=_Payload).payload))
        return Envelope(payload=payload, **msgspec.structs.asdict(head))


class _Header(msgspec.Struct):
    type: str


class _Payload(msgspec.Struct):
    payload: msgspec.Raw
