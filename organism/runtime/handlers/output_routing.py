"""From what a handler returned to who gets what. Pure: it checks everything before anything is sent."""

from collections.abc import Mapping

from organism.agents.agent import Agent, Output, To
from organism.agents.runtime import Draft
from organism.errors import BoundExceededError
from organism.ids import USER
from organism.messages import Envelope, Message, PayloadError, is_runtime, sendable
from organism.runtime.active_config import ActiveConfig
from organism.runtime.bounds import Bounds
from organism.runtime.handlers.run_services import AgentRunner
from organism.text.error_text import shown
from organism.threads.envelopes import RoutedMessage
from organism.threads.routing import by_type, check_work


def drafts_of(output: Output, bounds: Bounds) -> tuple[Draft, ...]:
    """Turn what a handler returned into drafts.

    Raises:
        PayloadError: If it returned something that is no message.
        BoundExceededError: If it returned more messages than it may send.
    """
    items: object = (output,) if isinstance(output, To) else output
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


def route(runner: AgentRunner, cause: Envelope, draft: Draft, active: ActiveConfig) -> tuple[RoutedMessage, ...]:
    """Give a draft its recipients, in order: of the agents its sender began with, if that is itself no longer active.

    Args:
        active: The active agents and bounds.

    Raises:
        DeliveryError: If it may not or cannot be delivered to one of them.
        PayloadError: If the payload cannot be written as JSON, or is not what it says it is.
    """
    agents, allowed = active.agents, runner.allowed
    if agents is not runner.agents:
        agents, allowed = (agents if runner.agent.name in agents else runner.agents), set()
    message, size = sendable(draft.message, active.bounds.message_bytes)
    answers = cause.reply_to is not None and draft.recipient is None and not draft.to_all
    recipients, return_path = _recipients(runner.agent, cause, draft, message, agents)
    routed = []
    for recipient in recipients:
        if (answers or (recipient, type(message)) not in allowed) and recipient != USER:
            _check(runner, recipient, message, cause, agents, answers=answers)
        routed.append(
            RoutedMessage(
                recipient=recipient,
                message=message,
                size=size,
                return_path=return_path,
                delay_s=draft.delay_s,
                answers=answers,
            )
        )
    return tuple(routed)


def _check(
    runner: AgentRunner,
    recipient: str,
    message: Message,
    cause: Envelope,
    agents: Mapping[str, Agent],
    *,
    answers: bool,
) -> None:
    agent = runner.agent
    if answers:
        if recipient in agents:  # an asker that is gone from them still runs, and waits
            check_work(agent, recipient, message, agents, reply=True, answers=True)
        return
    reply = recipient == cause.sender or recipient in cause.return_path
    check_work(agent, recipient, message, agents, reply=reply)  # replaced meanwhile, its own permissions hold
    if agents is runner.agents and (not reply or agent.may_write_to(recipient)):
        runner.allow((recipient, type(message)))


def _recipients(
    agent: Agent, cause: Envelope, draft: Draft, message: Message, agents: Mapping[str, Agent]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a draft's recipients, and the return path of what goes to them."""
    if draft.recipient is not None:
        # Who has spawned the thread is an agent of another: what goes there is an output, as what goes to a user is.
        to_opener = draft.recipient == cause.sender and cause.from_outside and not is_runtime(cause.payload)
        return (USER if to_opener else draft.recipient,), (*cause.return_path, agent.name)
    if draft.to_all:
        return by_type(agent, message, agents.values()), (*cause.return_path, agent.name)
    # A question is answered by what its handler returns; only an explicit recipient sends it elsewhere.
    if not draft.is_reply and cause.reply_to is None:
        onward = agent.next or by_type(agent, message, agents.values())
        if onward:
            return onward, cause.return_path
    *rest, waiting = cause.return_path or (USER,)
    return (waiting,), tuple(rest)
