"""Where events get their id and their time, go into the journal and out to listeners, in one step."""

from collections.abc import Callable, Mapping
from itertools import count
from types import MappingProxyType

from msgspec.structs import replace

from organism.clock import Clock
from organism.journal import Journal
from organism.messages import Envelope, as_text, type_name
from organism.usage.events import AgentSaid, AnyEvent

OnMessage = Callable[[str, Envelope, int], None]
"""Called with the root of a thread, a message of it that goes on its way now, and the instant."""


class Outbox:
    """Stamps and hands on events, and tells of messages on their way.

    Args:
        publish: Hands an event to the listeners; must not block or raise.
        wanted: Which kinds of events have a listener; an event without one that is not stored is not made.
        on_message: Called with each message, many of them and so not as an event; must not block or raise.
    """

    def __init__(
        self,
        journal: Journal,
        publish: Callable[[AnyEvent], None],
        clock: Clock,
        wanted: Mapping[type[AnyEvent], bool] = MappingProxyType({AgentSaid: True}),
        on_message: OnMessage | None = None,
    ) -> None:
        self._on_message = on_message
        self._wanted = wanted
        self.journal = journal
        self._publish = publish
        self._clock = clock
        self._numbers = count(1)

    def continue_after(self, number: int) -> None:
        """Go on from the number of the last event of an earlier process."""
        self._numbers = count(number + 1)

    def emit(self, event: AnyEvent) -> None:
        """Give an event its id and time and append it to the journal; listeners receive it once it is committed.

        Sixteen digits keep the order of ids the same whether they are compared as text or as numbers.
        """
        stamped = replace(event, id=f"{next(self._numbers):016d}", time_ns=self._clock.now_ns())
        self.journal.append(stamped, lambda: self._publish(stamped))

    def publish_content(self, root: str, envelope: Envelope, time_ns: int, *, output: bool = False) -> None:
        """Tell of a message that goes on its way.

        What agents say is content: it goes to listeners in this process, is never stored and so has no id. An event is
        made of it only if somebody wants one, which spares a hop 4 us.

        Args:
            root: The root of its thread.
            output: Whether it is an output of its thread.
        """
        if self._on_message is not None:
            self._on_message(root, envelope, time_ns)
        if self._wanted[AgentSaid]:
            self._publish(
                AgentSaid(
                    time_ns=time_ns,
                    thread_id=envelope.thread_id,
                    root_thread_id=root,
                    agent=envelope.sender,
                    recipient=envelope.recipient,
                    text=as_text(envelope.payload),
                    message_type=type_name(envelope.payload),
                    output=output,
                )
            )
