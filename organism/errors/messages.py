"""Errors about messages: sending them, asking with them, and handling them."""

from organism.error_root import OrganismError
from organism.ids import at_nodes, thread_names_of


class DeliveryError(OrganismError):
    """A message cannot be accepted."""


class UnknownRecipientError(DeliveryError):
    """No agent has that name.

    Attributes:
        recipient: The name that was given.
    """

    def __init__(self, recipient: str, known: tuple[str, ...]) -> None:
        self.recipient = recipient
        super().__init__(f"there is no agent {recipient!r}; there are: {', '.join(sorted(known)) or 'none'}")


class NotAcceptedError(DeliveryError):
    """The recipient does not take messages of this type.

    Attributes:
        recipient: The agent.
        message_type: The type's name on the wire.
    """

    def __init__(self, recipient: str, message_type: str, accepts: tuple[str, ...]) -> None:
        self.recipient = recipient
        self.message_type = message_type
        super().__init__(f"agent {recipient!r} does not accept {message_type}; it accepts: {', '.join(accepts)}")


class PeerError(DeliveryError):
    """The sender may not write to this recipient.

    Attributes:
        sender: The agent that tried.
        recipient: The agent it tried to reach.
    """

    def __init__(self, sender: str, recipient: str) -> None:
        self.sender = sender
        self.recipient = recipient
        super().__init__(f"agent {sender!r} may not write to {recipient!r}; name it in the agent's 'peers' to allow it")


class NodeLabelError(DeliveryError):
    """The recipient works at other nodes of the cluster than those that a thread is at.

    Attributes:
        recipient: The agent.
        node_label: The label of the nodes that it works at; empty for any.
    """

    def __init__(self, recipient: str, node_label: str) -> None:
        self.recipient = recipient
        self.node_label = node_label
        begin = thread_names_of(node_label)
        names = f"that begins with {begin!r}" if node_label else f"that does not begin with a label and {begin!r}"
        super().__init__(
            f"agent {recipient!r} works {at_nodes(node_label)}, and this thread is elsewhere: open a thread for it, "
            f"without a name or with one {names}"
        )


class MailboxFullError(DeliveryError):
    """The recipient's mailbox has no room.

    Attributes:
        recipient: The agent.
        capacity: How many messages fit.
    """

    def __init__(self, recipient: str, capacity: int) -> None:
        self.recipient = recipient
        self.capacity = capacity
        super().__init__(f"the mailbox of {recipient!r} is full ({capacity:,} messages); try again later")


class BoundExceededError(DeliveryError):
    """A structural bound was reached: it stops loops and explosions that no budget would.

    Attributes:
        bound: The name of the bound, as in the configuration.
        limit: Its value.
    """

    def __init__(self, bound: str, limit: int, what: str) -> None:
        self.bound = bound
        self.limit = limit
        super().__init__(f"{what}: the bound {bound!r} is {limit:,}")


class ThreadClosedError(DeliveryError):
    """The thread is closed, or was never opened; a closed id is never revived.

    Attributes:
        thread_id: The thread.
    """

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(f"thread {thread_id!r} is not open; open a new one")


class ReservedMessageError(DeliveryError):
    """Only the runtime sends messages of this type: from anybody else one would pass for the runtime's own.

    Attributes:
        message_type: The type's name on the wire.
    """

    def __init__(self, message_type: str) -> None:
        self.message_type = message_type
        super().__init__(f"only the runtime sends {message_type}; put what it says into a message type of your own")


class AskError(OrganismError):
    """A question got no answer."""


class AskTimeoutError(AskError):
    """No reply came before the deadline.

    Attributes:
        recipient: The agent asked.
        timeout_s: How long the asker waited.
    """

    def __init__(self, recipient: str, timeout_s: float) -> None:
        self.recipient = recipient
        self.timeout_s = timeout_s
        super().__init__(f"agent {recipient!r} did not answer within {timeout_s:g} s")


class AskCycleError(AskError):
    """The agent asked is itself waiting for the asker; waiting would never end.

    Attributes:
        chain: Who waits for whom, first to last.
    """

    def __init__(self, chain: tuple[str, ...]) -> None:
        self.chain = chain
        super().__init__(f"asking in a circle: {' -> '.join(chain)}; send a message instead of asking")


class AskFailedError(AskError):
    """The agent asked failed on the question, or ended without a reply.

    Attributes:
        recipient: The agent asked.
        reason: Why there is no answer.
    """

    def __init__(self, recipient: str, reason: str) -> None:
        self.recipient = recipient
        self.reason = reason
        super().__init__(f"agent {recipient!r} gave no answer: {reason}")


class ContextClosedError(OrganismError):
    """A context was used after the run of the handler that it belongs to; nothing was sent, kept or charged.

    Attributes:
        agent: Whose handler.
        message_id: The message it had handled.
    """

    def __init__(self, agent: str, message_id: str) -> None:
        self.agent = agent
        self.message_id = message_id
        super().__init__(
            f"the run of agent {agent!r} on message {message_id} is over, and its context with it: await or cancel "
            f"what a handler begins before it returns, or send a message to have it done later"
        )


class WorkersBusyError(OrganismError):
    """No worker thread came free for a plain function in time.

    Attributes:
        agent: Whose function waits.
        holders: How many worker threads the functions of each agent hold.
    """

    retryable = True

    def __init__(self, agent: str, holders: dict[str, int], threads: int, given_up: int) -> None:
        self.agent = agent
        self.holders = holders
        by_whom = ", ".join(f"{name} ({count})" for name, count in sorted(holders.items()))
        super().__init__(
            f"no worker thread is free for agent {agent!r}: all {threads} of 'bounds.worker_threads' are held by plain "
            f"functions of {by_whom}, {given_up} of which were given up on and have not returned; give blocking calls "
            f"timeouts, or raise the bound"
        )


class StoppedError(OrganismError):
    """The organism is draining or has stopped, and takes no new work.

    Attributes:
        thread_id: The thread whose end was waited for; empty where none was.
    """

    def __init__(self, thread_id: str = "", *, begun: bool = True) -> None:
        self.thread_id = thread_id
        if thread_id:
            reason = f"has stopped and thread {thread_id!r} is still open: it goes on when the organism runs again"
        elif begun:
            reason = "is stopping and takes no new work"
        else:
            reason = "has not been started; use it inside 'async with organism:'"
        super().__init__(f"the organism {reason}")
