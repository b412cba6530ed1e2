"""How many messages go between agents, and from and to their users: counted as they go their way, for the graph."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from operator import attrgetter, itemgetter

import msgspec

from organism.amounts import NS_PER_S
from organism.control.views import Flow
from organism.ids import USER
from organism.messages import Envelope

_SLOT_NS = 5 * NS_PER_S
_SLOTS = 12
"""A minute: a rate forgets in steps of one slot, and an edge keeps so many numbers whatever flows over it."""


LONG_TEXT = 2_000
"""Characters of a message that are kept for those who look, and bytes from which one is not kept whole till then."""

_UNCOUNTED_MAX = 1_000
_ENVELOPE, _NAMES = itemgetter(1), attrgetter("sender", "recipient")


def slot_end_ns(time_ns: int) -> int:
    """Return when the slot of an instant ends."""
    return (time_ns // _SLOT_NS + 1) * _SLOT_NS


class _Edge(msgspec.Struct, gc=False):
    """From one sender to one recipient.

    Attributes:
        slots: The last slots in which there were messages: the number of each, and how many had come before it.
        messages: All of them.
        until_ns: When the last slot ends.
    """

    slots: deque[tuple[int, int]]
    messages: int = 0
    until_ns: int = 0

    def begin_slot(self, slot: int) -> None:
        """Count for a slot from here on."""
        self.slots.append((slot, self.messages))
        self.until_ns = slot_end_ns(slot * _SLOT_NS)

    def since(self, slot: int) -> int:
        """Return how many came after a slot."""
        before = next((before for number, before in self.slots if number > slot), self.messages)
        return self.messages - before


class MessageFlow:
    """Counts messages by sender and recipient since this process began.

    Attributes:
        count_waiting: Called before somebody looks: counts what went on its way and is not counted yet.
    """

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str], _Edge] = {}
        self.count_waiting: Callable[[], None] = lambda: None

    def count(self, messages: Mapping[tuple[str, str], int], time_ns: int) -> None:
        """Count messages by sender and recipient that went on their way in the slot of time of an instant."""
        for names, number in messages.items():
            edge = self._edges.get(names)
            if edge is None:
                edge = self._edges[names] = _Edge(deque(maxlen=_SLOTS))
            set_back = time_ns < edge.until_ns - _SLOTS * _SLOT_NS
            if set_back:  # by the clock: slots that have not come yet would count as the last minute until they have
                edge.slots.clear()
            if time_ns >= edge.until_ns or set_back:
                edge.begin_slot(time_ns // _SLOT_NS)
            edge.messages += number

    def of(self, agent: str, now_ns: int) -> tuple[Flow, ...]:
        """Return what an agent has sent, and what users have sent it, by names."""
        self.count_waiting()
        oldest = now_ns // _SLOT_NS - _SLOTS
        return tuple(
            Flow(
                sender=sender,
                recipient=recipient,
                messages=edge.messages,
                last_minute=edge.since(oldest),
            )
            for (sender, recipient), edge in sorted(self._edges.items())
            if sender == agent or (sender == USER and recipient == agent)
        )


class CarriedMessages:
    """The messages that went on their way since somebody looked; most are pushed out by others before that.

    They are counted together, all of a slot of time, when it is over or somebody looks: each hop only adds itself.

    Args:
        flow: Counts them.
        kept: How many are kept.
        look: Called to :meth:`take` them as soon as one is long: what is kept of its text is short.
    """

    def __init__(self, flow: MessageFlow, kept: int, look: Callable[[], None]) -> None:
        self._flow = flow
        self._kept = kept
        self._look = look
        self._most = kept + _UNCOUNTED_MAX
        self._messages: list[tuple[str, Envelope, int]] = []
        self._counted = 0
        self._count_at_ns = 0
        flow.count_waiting = self._count

    def add(self, root: str, envelope: Envelope, time_ns: int) -> None:
        """Take a message in that goes on its way at an instant; done for each hop, so it is kept short."""
        if time_ns >= self._count_at_ns:
            self._count()
            self._count_at_ns = slot_end_ns(time_ns)
        messages = self._messages
        messages.append((root, envelope, time_ns))
        if envelope.size > LONG_TEXT:
            self._look()
        elif len(messages) >= self._most:
            self._count()
            del messages[: -self._kept]
            self._counted = len(messages)

    def take(self) -> list[tuple[str, Envelope, int]]:
        """Return them, each with its thread's root and its instant, oldest first, and forget them."""
        self._count()
        taken, self._messages, self._counted = self._messages, [], 0
        return taken

    def _count(self) -> None:
        new = self._messages[self._counted :]
        if new:
            self._flow.count(Counter(map(_NAMES, map(_ENVELOPE, new))), new[0][2])  # in C
        self._counted = len(self._messages)
