"""A dead letter as lists show it."""

from organism.control.views import Letter
from organism.messages import as_text, type_name
from organism.text.redaction import headline
from organism.threads.dead_letters import DeadLetter


def as_shown(letter: DeadLetter, *, content: bool) -> Letter:
    """Return a dead letter, without what it says and what its error quotes unless that was asked for."""
    envelope = letter.envelope
    return Letter(
        message_id=envelope.id,
        thread_id=envelope.thread_id,
        sender=envelope.sender,
        recipient=envelope.recipient,
        message_type=type_name(envelope.payload),
        created_ns=envelope.created_ns,
        reason=letter.reason,
        where=letter.where,
        detail=letter.detail if content else headline(letter.detail),
        text=as_text(envelope.payload) if content else None,
    )
