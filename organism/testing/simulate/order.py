"""Whether messages of one sender to one recipient are begun in the order in which they were sent."""

from collections.abc import Callable

from organism.agents.context import Context
from organism.testing.simulate.tasks import Task


class SendingOrder:
    """Notes in which order messages are begun for the first time.

    Args:
        wrong: Told, in a sentence, of one that has overtaken another.
    """

    def __init__(self, wrong: Callable[[str], None]) -> None:
        self._wrong = wrong
        self._last: dict[tuple[str, str, str], int] = {}
        self._seen: set[str] = set()

    def begun(self, message: Task, ctx: Context, recipient: str) -> None:
        """Note that a handler begins a message; one that was begun before may begin again at any time."""
        envelope = ctx.envelope
        if not message.ordered or envelope.id in self._seen:
            return
        self._seen.add(envelope.id)
        number = int(envelope.id.rpartition("_")[2], 16)  # those of clusters are; decimal ones keep their order so
        line = (envelope.thread_id, envelope.sender, recipient)
        if number < self._last.get(line, 0):
            self._wrong(f"message {envelope.id} of {envelope.sender} to {recipient} was overtaken by a later one")
        self._last[line] = max(number, self._last.get(line, 0))
