"""Where events get their id and their time, go into the journal and out to listeners, in one step."""

from collections.abc import Callable
from itertools import count

from msgspec.structs import replace

from organism.clock import Clock
from organism.journal import Journal
from organism.usage.events import AgentSaid, AnyEvent


class Outbox:
    """Stamps and hands on events.

    Args:
        journal: Where events are kept.
        publish: Hands an event to the listeners; must not block or raise.
        clock: Gives events their time.
        heard: Whether anybody listens; what is not stored either need not even be made then.
    """

    def __init__(
        self,
        journal: Journal,
        publish: Callable[[AnyEvent], None],
        clock: Clock,
        heard: Callable[[], bool] = lambda: True,
    ) -> None:
        self.heard = heard
        self._journal = journal
        self._publish = publish
        self._clock = clock
        self._numbers = count(1)

    def go_on_after(self, number: int) -> None:
        """Go on from the number of the last event of an earlier process."""
        self._numbers = count(number + 1)

    def emit(self, event: AnyEvent) -> None:
        """Give an event its id and time and append it to the journal; listeners are told once it is committed.

        Sixteen digits keep the order of ids the same whether they are compared as text or as numbers.
        """
        if isinstance(event, AgentSaid):
            # What agents say is content: it goes to listeners in this process, is never stored and so has no id.
            self._publish(replace(event, time_ns=self._clock.now_ns()))
            return
        stamped = replace(event, id=f"{next(self._numbers):016d}", time_ns=self._clock.now_ns())
        self._journal.append(stamped, lambda: self._publish(stamped))
