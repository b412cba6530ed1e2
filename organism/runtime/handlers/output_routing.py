"""From what a handler returned to who gets what. Pure: it checks everything before anything is sent."""

from collections.abc import Mapping

import msgspec

from organism.agents.agent import Agent, Output, To
from organism.agents.runtime import Draft
from organism.errors import BoundExceededError
from organism.ids import USER
from organism.messages import Envelope, Message, PayloadError, sendable
from organism.runtime.bounds import Bounds
from organism.text.error_text import shown
from organism.threads.routing import by_type, check


class RoutedMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message with one recipient, checked.

    Attributes:
        recipient: An agent, or ``user``.
        message: The payload.
        size: Its bytes as JSON.
        return_path: Who waits for what comes of it.
        delay_s: Seconds before it is delivered.
        answers: Whether it is the reply to the question being handled.
    """

    recipient: str
    message: Message
    size: int
    return_path: tuple[str, ...] = (USER,)
    delay_s: float = 0.0
    answers: bool = False


def drafts_of(output: Output, bounds: Bounds) -> tuple[Draft, ...]:
    """Turn what a handler returned into drafts.

    Raises:
        PayloadError: If it returned something that is no message.
        BoundExceededError: If it returned more messages than it may send.
    """
    if output is None:
        return ()
    items: object = (output,) if isinstance(output, Message | To) else output
    if not isinstance(items, list | tuple):
        raise PayloadError(f"a handler returns messages, not {shown(items)}; wrap text in Text")
    if len(items) > bounds.fan_out:
        raise too_many(len(items), bounds)
    return tuple(
        Draft(message=item.message, recipient=_text(item.recipient)) if isinstance(item, To) else Draft(message=item)
        for item in items
    )


def _text(recipient: object) -> str:
    if not isinstance(recipient, str):
        raise PayloadError(f"the recipient of a message is a name, not {shown(recipient)}")
    return recipient


def too_many(count: int, bounds: Bounds) -> BoundExceededError:
    """Say that a run sends more messages than it may."""
    return BoundExceededError("fan_out", bounds.fan_out, f"one run of a handler sends {count:,} messages")


def route(
    agent: Agent, cause: Envelope, draft: Draft, agents: Mapping[str, Agent], bounds: Bounds
) -> tuple[RoutedMessage, ...]:
    """Give a draft its recipients, in order.

    Raises:
        DeliveryError: If it may not or cannot be delivered to one of them.
        PayloadError: If the payload cannot be written as JSON, or is not what it says it is.
    """
    message, size = copied_and_sized(draft.message, bounds)
    answers = cause.reply_to is not None and draft.recipient is None and not draft.to_all
    recipients, return_path = _recipients(agent, cause, draft, message, agents)
    for recipient in recipients:
        if not answers or recipient in agents:  # an asker that is gone from them still runs, and waits
            reply = answers or recipient == cause.sender or recipient in cause.return_path
            check(agent, recipient, message, agents, reply=reply, answers=answers)
    return tuple(
        RoutedMessage(
            recipient=recipient,
            message=message,
            size=size,
            return_path=return_path,
            delay_s=draft.delay_s,
            answers=answers,
        )
        for recipient in recipients
    )


def copied_and_sized(message: object, bounds: Bounds) -> tuple[Message, int]:
    """Return a payload as its recipient gets it, and its bytes as JSON.

    Raises:
        BoundExceededError: If it is larger than a message may be.
        PayloadError: If it cannot be written as JSON, or is not what it says it is.
    """
    copy, size = sendable(message)
    if size > bounds.message_bytes:
        raise BoundExceededError("message_bytes", bounds.message_bytes, f"a message of {size:,} bytes is too large")
    return copy, size


def _recipients(
    agent: Agent, cause: Envelope, draft: Draft, message: Message, agents: Mapping[str, Agent]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a draft's recipients, and the return path of what goes to them."""
    if draft.recipient is not None:
        return (draft.recipient,), (*cause.return_path, agent.name)
    if draft.to_all:
        return by_type(agent, message, agents.values()), (*cause.return_path, agent.name)
    # A question is answered by what its handler returns; only an explicit recipient sends it elsewhere.
    if not draft.is_reply and cause.reply_to is None:
        onward = agent.next or by_type(agent, message, agents.values())
        if onward:
            return onward, cause.return_path
    *rest, waiting = cause.return_path or (USER,)
    return (waiting,), tuple(rest)
