"""Makes envelopes: gives every message its id, its instant, and where it comes from."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from organism.clock import Clock
from organism.ids import USER, IdSource, MessageId, ThreadId
from organism.messages import Envelope, Gathered, Message, encode
from organism.threads.thread import Thread
from organism.tracing import current_trace


class RoutedMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message with its recipients, checked.

    Attributes:
        recipients: Agents, or ``user``; each gets an envelope of its own.
        message: The payload.
        size: Its bytes as JSON.
        return_path: Who waits for its result.
        delay_s: Seconds before it is delivered.
        answers: Whether it is the reply to the question being handled, which needs no envelope.
    """

    recipients: tuple[str, ...]
    message: Message
    size: int
    return_path: tuple[str, ...] = (USER,)
    delay_s: float = 0.0
    answers: bool = False


def own_copy(envelope: Envelope) -> Envelope:
    """Return a message whose handler may do anything to its payload: what that holds in lists is nobody else's.

    Else a list that a handler changes would change for others, and could not be written any more when it is due.
    """
    payload = envelope.payload
    if _is_flat(type(payload)):
        return envelope
    return replace(envelope, payload=msgspec.json.decode(encode(payload), type=type(payload)))


@lru_cache(maxsize=1024)
def _is_flat(message_type: type[Message]) -> bool:
    """Whether messages of a type hold nothing that could be changed."""
    from msgspec import inspect as kinds

    flat = (kinds.StrType, kinds.IntType, kinds.FloatType, kinds.BoolType, kinds.NoneType, kinds.LiteralType)
    info = kinds.type_info(message_type)
    return isinstance(info, kinds.StructType) and all(isinstance(field.type, flat) for field in info.fields)


class EnvelopeFactory:
    """Wraps messages."""

    def __init__(self, clock: Clock, ids: IdSource) -> None:
        self._clock = clock
        self._ids = ids

    def first(self, thread: Thread, recipient: str, message: Message, size: int, sender: str = USER) -> Envelope:
        """Wrap a message that no handler of this thread has caused."""
        return Envelope(
            id=MessageId(self._ids.next("msg")),
            thread_id=ThreadId(thread.id),
            sender=sender,
            recipient=recipient,
            payload=message,
            created_ns=self._clock.now_ns(),
            size=size,
            trace=thread.origin.trace,
        )

    def caused(
        self, cause: Envelope, sender: str, recipient: str, outgoing: RoutedMessage, trace: str | None
    ) -> Envelope:
        """Wrap a message that the handling of another has caused; the trace context is that of the handling."""
        return Envelope(
            id=MessageId(self._ids.next("msg")),
            thread_id=cause.thread_id,
            sender=sender,
            recipient=recipient,
            payload=outgoing.message,
            created_ns=self._clock.now_ns(),
            causation_id=cause.id,
            hops=cause.hops + 1,
            return_path=outgoing.return_path,
            size=outgoing.size,
            trace=trace,
        )

    def question(self, asker: Envelope, sender: str, outgoing: RoutedMessage, index: int, *, beside: bool) -> Envelope:
        """Wrap a question: its reply carries its id, and it remembers who waits and for which of their questions."""
        name = MessageId(self._ids.next("msg"))
        return Envelope(
            id=name,
            thread_id=asker.thread_id,
            sender=sender,
            recipient=outgoing.recipients[0],
            payload=outgoing.message,
            created_ns=self._clock.now_ns(),
            causation_id=asker.id,
            hops=asker.hops + 1,
            reply_to=name,
            question=index,
            beside=beside,
            asking=(*asker.asking, sender),
            size=outgoing.size,
            trace=current_trace(),
        )

    def joined(self, recipient: str, taken: Sequence[Envelope], payload: Gathered, size: int) -> Envelope:
        """Wrap what several senders have contributed, in the place of their messages."""
        last = taken[-1]
        return Envelope(
            id=MessageId(self._ids.next("msg")),
            thread_id=last.thread_id,
            sender=last.sender,
            recipient=recipient,
            payload=payload,
            created_ns=self._clock.now_ns(),
            causation_id=last.id,
            hops=max(envelope.hops for envelope in taken),
            return_path=last.return_path,
            joined=True,
            size=size,
            trace=last.trace,
        )
