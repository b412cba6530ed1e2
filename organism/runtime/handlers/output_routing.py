"""From what a handler returned to who gets what. Pure: it checks everything before anything is sent."""

from collections.abc import Mapping
from itertools import islice

from organism.agents.agent import Agent, Output, To
from organism.agents.runtime import AS_USUAL, Sending
from organism.errors import AskCycleError, BoundExceededError
from organism.ids import USER
from organism.messages import Envelope, Message, PayloadError, is_runtime, sendable
from organism.runtime.active_config import ActiveConfig
from organism.runtime.bounds import Bounds
from organism.runtime.handlers.run_services import AgentRunner
from organism.text.error_text import shown
from organism.threads.envelopes import RoutedMessage
from organism.threads.routing import by_type, check_work


def messages_of(output: Output, bounds: Bounds) -> tuple[tuple[Message, Sending], ...]:
    """Return the messages among what a handler returned, and how each is to be sent.

    Raises:
        PayloadError: If it returned something that is no message.
        BoundExceededError: If it returned more messages than it may send.
    """
    items: object = (output,) if isinstance(output, To) else output
    if not isinstance(items, list | tuple):
        raise PayloadError(f"a handler returns messages, not {shown(items)}; wrap text in Text")
    # Of a list of the handler's own kind, iterating may go on without end, whatever its length says.
    items = list(islice(items, max(len(items), bounds.fan_out) + 1))
    if len(items) > bounds.fan_out:
        raise too_many(len(items), bounds)
    return tuple(
        (item.message, Sending(recipient=_text(item.recipient))) if isinstance(item, To) else (item, AS_USUAL)
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
    runner: AgentRunner, cause: Envelope, message: Message, sending: Sending, active: ActiveConfig
) -> RoutedMessage:
    """Give a message its recipients, in order: of the agents its sender began with, if that is itself no longer active.

    Args:
        active: The active agents and bounds.

    Raises:
        DeliveryError: If it may not or cannot be delivered to one of them.
        PayloadError: If the payload cannot be written as JSON, or is not what it says it is.
    """
    agents, allowed = active.agents, runner.allowed
    if agents is not runner.agents:
        agents, allowed = (agents if runner.agent.name in agents else runner.agents), set()
    message, size = sendable(message, active.bounds.message_bytes)
    answers = cause.reply_to is not None and sending.recipient is None and not sending.to_all
    recipients, return_path = _recipients(runner.agent, cause, sending, message, agents)
    if (recipients, type(message), "answers" if answers else "sends") not in allowed:
        _check(runner, recipients, message, cause, agents, answers=answers)
    return RoutedMessage(
        recipients=recipients,
        message=message,
        size=size,
        return_path=return_path,
        delay_s=sending.delay_s,
        answers=answers,
    )


def _check(
    runner: AgentRunner,
    recipients: tuple[str, ...],
    message: Message,
    cause: Envelope,
    agents: Mapping[str, Agent],
    *,
    answers: bool,
) -> None:
    agent, permitted = runner.agent, True
    for recipient in recipients:
        reply = recipient == cause.sender or recipient in cause.return_path
        if recipient == USER or (answers and recipient not in agents):
            continue  # every agent may write to users; an asker that is gone from the agents still runs, and waits
        # Replaced meanwhile, its own permissions hold.
        check_work(agent, recipient, message, agents, reply=reply or answers, answers=answers)
        permitted = permitted and (answers or not reply or agent.may_write_to(recipient))
    if permitted and agents is runner.agents:
        runner.allow((recipients, type(message), "answers" if answers else "sends"))


def route_question(
    runner: AgentRunner, cause: Envelope, recipient: str, message: Message, active: ActiveConfig
) -> RoutedMessage:
    """Check a question of a handler to one recipient.

    Raises:
        AskCycleError: If the recipient waits for this answer itself.
        DeliveryError: If it may not or cannot be delivered.
        PayloadError: If the payload cannot be written as JSON, or is not what it says it is.
    """
    chain = (*cause.asking, runner.agent.name)
    if recipient in chain:
        raise AskCycleError((*chain, recipient))
    message, size = sendable(message, active.bounds.message_bytes)
    recipients = (recipient,)
    if active.agents is not runner.agents or (recipients, type(message), "asks") not in runner.allowed:
        check_work(runner.agent, recipient, message, active.agents)
        if active.agents is runner.agents:
            runner.allow((recipients, type(message), "asks"))
    return RoutedMessage(recipients=recipients, message=message, size=size)


def _recipients(
    agent: Agent, cause: Envelope, sending: Sending, message: Message, agents: Mapping[str, Agent]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a message's recipients, and the return path of what goes to them."""
    if sending.recipient is not None:
        # Who has spawned the thread is an agent of another: what goes there is an output, as what goes to a user is.
        to_opener = sending.recipient == cause.sender and cause.from_outside and not is_runtime(cause.payload)
        return (USER if to_opener else sending.recipient,), (*cause.return_path, agent.name)
    if sending.to_all:
        return by_type(agent, message, agents.values()), (*cause.return_path, agent.name)
    # A question is answered by what its handler returns; only an explicit recipient sends it elsewhere.
    if not sending.is_reply and cause.reply_to is None:
        onward = agent.next or by_type(agent, message, agents.values())
        if onward:
            return onward, cause.return_path
    *rest, waiting = cause.return_path or (USER,)
    return (waiting,), tuple(rest)
