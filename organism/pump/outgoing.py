"""From what a handler returned to who gets what. Pure: it checks everything before anything is sent."""

from collections.abc import Mapping, Sequence

import msgspec

from organism.agents.agent import Agent, Output, To
from organism.agents.context import Draft
from organism.bus.routing import by_type, check
from organism.errors import BoundExceededError
from organism.ids import USER
from organism.messages import Envelope, Message, encode
from organism.pump.bounds import Bounds


class Outgoing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


def drafts_of(output: Output) -> tuple[Draft, ...]:
    """Turn what a handler returned into drafts.

    Raises:
        TypeError: If it returned something that is no message.
    """
    if output is None:
        return ()
    if isinstance(output, Message):
        return (Draft(message=output),)
    items: object = (output,) if isinstance(output, To) else output
    if not isinstance(items, list | tuple):
        raise TypeError(f"a handler returns messages, not {type(output).__name__}; wrap text in organism.Text")
    drafts = []
    for item in items:
        match item:
            case To(recipient=recipient, message=message):
                drafts.append(Draft(message=message, recipient=recipient))
            case Message():
                drafts.append(Draft(message=item))
            case _:
                raise TypeError(f"a handler returns messages, not {type(item).__name__}; wrap text in organism.Text")
    return tuple(drafts)


def resolve(
    agent: Agent, cause: Envelope, drafts: Sequence[Draft], agents: Mapping[str, Agent], bounds: Bounds
) -> tuple[Outgoing, ...]:
    """Give every draft its recipients, in order.

    Raises:
        DeliveryError: If one of them may not or cannot be delivered, or there are too many; then none is sent.
        PayloadError: If a payload cannot be written as JSON.
    """
    outgoing = []
    weighed, size = None, 0
    for draft in drafts:
        if draft.message is not weighed:  # what goes to many is weighed once
            weighed, size = draft.message, checked_size(draft.message, bounds)
        answers = cause.reply_to is not None and draft.recipient is None and not draft.to_all
        recipients, return_path = _recipients(agent, cause, draft, agents)
        for recipient in recipients:
            if not answers or recipient in agents:  # an asker that is gone from them still runs, and waits
                reply = answers or recipient == cause.sender or recipient in cause.return_path
                check(agent, recipient, weighed, agents, reply=reply)
            outgoing.append(
                Outgoing(
                    recipient=recipient,
                    message=weighed,
                    size=size,
                    return_path=return_path,
                    delay_s=draft.delay_s,
                    answers=answers,
                )
            )
    if len(outgoing) > bounds.fan_out:
        raise BoundExceededError("fan_out", bounds.fan_out, f"agent {agent.name!r} sends {len(outgoing)} messages")
    return tuple(outgoing)


def checked_size(message: Message, bounds: Bounds) -> int:
    """Return a payload's bytes as JSON.

    Raises:
        BoundExceededError: If it is larger than a message may be.
        PayloadError: If it cannot be written as JSON.
    """
    size = len(encode(message))
    if size > bounds.message_bytes:
        raise BoundExceededError("message_bytes", bounds.message_bytes, f"a message of {size:,} bytes is too large")
    return size


def _recipients(
    agent: Agent, cause: Envelope, draft: Draft, agents: Mapping[str, Agent]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a draft's recipients, and the return path of what goes to them."""
    if draft.recipient is not None:
        return (draft.recipient,), (*cause.return_path, agent.name)
    if draft.to_all:
        return by_type(agent, draft.message, agents.values()), (*cause.return_path, agent.name)
    # A question is answered by what its handler returns; only an explicit recipient sends it elsewhere.
    if not draft.is_reply and cause.reply_to is None:
        onward = agent.next or by_type(agent, draft.message, agents.values())
        if onward:
            return onward, cause.return_path
    *rest, waiting = cause.return_path or (USER,)
    return (waiting,), tuple(rest)
