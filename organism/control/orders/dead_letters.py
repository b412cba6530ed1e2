"""Second chances for messages that were given up on."""

from organism.runtime.pump import Pump
from organism.threads.dead_letters import DeadLetter


class DeadLetterOrders:
    """Sends dead letters once more, or deletes them."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._threads = pump.open_threads
        self._letters = pump.delivery.dead_letters
        self._state_writer = pump.state_writer

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
        thread = self._threads.find(envelope.thread_id)
        if thread is None or thread.status == "closing":
            thread_id = self._pump.start_thread(envelope.payload, envelope.recipient, labels=letter.labels)
        else:
            self._pump.send(thread_id := thread.id, envelope.payload, envelope.recipient)
        self.discard(letter.id)
        return thread_id

    def discard(self, message_id: str) -> bool:
        """Delete the letter of a message; whether there was one."""
        letter = self._letters.take(message_id)
        if letter is not None:
            self._state_writer.delete_dead_letter(letter)
        return letter is not None
