"""To whom does a message go? Pure: names and types in, recipients out."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from organism.errors import NotAcceptedError, PeerError, ReservedMessageError, UnknownRecipientError
from organism.ids import USER
from organism.messages import Gathered, Message, Text, is_reserved, is_runtime, type_name


class Address(Protocol):
    """What routing knows of an agent."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def next(self) -> tuple[str, ...]:
        """Where its messages go when they name no recipient."""
        ...

    @property
    def accepts(self) -> tuple[type[Message], ...]:
        """The message types it takes."""
        ...

    @property
    def gather(self) -> tuple[str, ...]:
        """The senders whose messages it takes together, whatever their types."""
        ...

    def may_write_to(self, recipient: str) -> bool:
        """Whether the recipient is among its peers."""
        ...


def takes(agent: Address, message: Message) -> bool:
    """Whether an agent can be sent this message: one of its types, or one of the runtime's own."""
    return isinstance(message, agent.accepts) or is_runtime(message)


def check(
    sender: Address | None,
    recipient: str,
    message: Message,
    agents: Mapping[str, Address],
    *,
    reply: bool,
    answers: bool = False,
) -> None:
    """Refuse what may not or cannot be delivered.

    Args:
        sender: An agent; ``None`` for the outside, which may write to every agent.
        recipient: An agent, or ``user``, to which every agent may write: that is a thread's output.
        reply: Whether it answers the recipient, which needs no permission.
        answers: Whether it is the answer to a question: the asker gets it as a value, not into its mailbox.

    Raises:
        UnknownRecipientError: There is no such agent.
        PeerError: The sender may not write to it.
        NotAcceptedError: It does not take messages of this type.
        ReservedMessageError: Only the runtime sends messages of this type.
    """
    if recipient == USER and sender is not None:
        return
    check_work(sender, recipient, message, agents, reply=reply, answers=answers)


def check_work(
    sender: Address | None,
    recipient: str,
    message: Message,
    agents: Mapping[str, Address],
    *,
    reply: bool = False,
    answers: bool = False,
) -> None:
    """Refuse what may not or cannot be given to an agent to work on; ``user`` is none. As :func:`check` otherwise."""
    target = agents.get(recipient)
    if target is None:
        raise UnknownRecipientError(recipient, tuple(agents))
    if not answers and is_reserved(type(message)):
        raise ReservedMessageError(type_name(message))
    if not reply and sender is not None and not sender.may_write_to(recipient):
        raise PeerError(sender.name, recipient)
    gathered = sender is not None and sender.name in target.gather
    if not gathered and not takes(target, message):
        raise NotAcceptedError(recipient, type_name(message), tuple(type_name(t) for t in target.accepts))


def by_type(sender: Address, message: Message, agents: Iterable[Address]) -> tuple[str, ...]:
    """Return the peers of a sender that asked for this very type of message, other than itself.

    Only types of one's own route: plain :class:`~organism.messages.Text` is what everybody speaks, so it says nothing
    about whom it is for, and an agent that takes anything is no subscriber to everything.
    """
    if isinstance(message, Text | Gathered):
        return ()
    return tuple(
        agent.name
        for agent in agents
        if agent.name != sender.name and sender.may_write_to(agent.name) and takes_by_name(agent, type(message))
    )


def takes_by_name(agent: Address, message_type: type[Message]) -> bool:
    """Whether an agent asked for this type, rather than for anything."""
    return any(issubclass(message_type, accepted) and accepted is not Message for accepted in agent.accepts)
