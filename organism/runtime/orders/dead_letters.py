"""Second chances for messages that were given up on."""

from typing import Protocol

from organism.messages import Message
from organism.runtime.delivery import Delivery
from organism.runtime.lifecycle import Lifecycle
from organism.threads.dead_letters import DeadLetter
from organism.threads.state_writer import ThreadStateWriter


class Door(Protocol):
    """Where messages come in from outside."""

    def open_thread(self, message: Message, to: str) -> str:
        """Open a thread and return its id."""
        ...

    def send(self, thread_id: str, message: Message, to: str | None = None) -> str:
        """Send a message into a thread and return the message's id."""
        ...


class DeadLetterOrders:
    """Takes dead letters up again, or lets go of them.

    Args:
        door: Takes their messages once more.
        life: Knows which threads are open.
        delivery: Holds the letters.
        state_writer: Keeps them.
    """

    def __init__(self, door: Door, life: Lifecycle, delivery: Delivery, state_writer: ThreadStateWriter) -> None:
        self._door = door
        self._life = life
        self._letters = delivery.dead_letters
        self._state_writer = state_writer

    def list(self) -> tuple[DeadLetter, ...]:
        """Return the newest dead letters, oldest first."""
        return self._letters.list()

    def retry(self, letter: DeadLetter) -> str:
        """Send the message of a dead letter once more, in its thread or, if that has ended, in a new one.

        Returns:
            The thread it is in now.

        Raises:
            DeliveryError: If it cannot be accepted; the letter stays where it is.
            StoppedError: If the organism is stopping.
        """
        envelope = letter.envelope
        thread = self._life.find(envelope.thread_id)
        if thread is None or thread.status == "closing":
            thread_id = self._door.open_thread(envelope.payload, envelope.recipient)
        else:
            self._door.send(thread_id := thread.id, envelope.payload, envelope.recipient)
        self.discard(letter.id)
        return thread_id

    def discard(self, message_id: str) -> bool:
        """Let go of the letter of a message; whether there was one."""
        letter = self._letters.take(message_id)
        if letter is not None:
            self._state_writer.delete_dead_letter(letter)
        return letter is not None
