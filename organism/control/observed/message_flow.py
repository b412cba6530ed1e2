"""How many messages go between agents, and from and to their users: counted as they go their way, for the graph."""

from collections import deque
from collections.abc import Mapping

import msgspec

from organism.amounts import NS_PER_S
from organism.control.views import Flow
from organism.ids import USER

_SLOT_NS = 5 * NS_PER_S
_SLOTS = 12
"""A minute: a rate forgets in steps of one slot, and an edge keeps so many numbers whatever flows over it."""


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
        self.until_ns = (slot + 1) * _SLOT_NS

    def since(self, slot: int) -> int:
        """Return how many came after a slot."""
        before = next((before for number, before in self.slots if number > slot), self.messages)
        return self.messages - before


class MessageFlow:
    """Counts messages by sender and recipient since this process began."""

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str], _Edge] = {}

    def count(self, messages: Mapping[tuple[str, str], int], time_ns: int) -> None:
        """Count messages by sender and recipient that went on their way in the slot of time of an instant."""
        for names, number in messages.items():
            edge = self._edges.get(names)
            if edge is None:
                edge = self._edges[names] = _Edge(deque(maxlen=_SLOTS))
            if time_ns >= edge.until_ns:
                edge.begin_slot(time_ns // _SLOT_NS)
            edge.messages += number

    def slot_end_ns(self, time_ns: int) -> int:
        """Return when the slot of an instant ends."""
        return (time_ns // _SLOT_NS + 1) * _SLOT_NS

    def of(self, agent: str, now_ns: int) -> tuple[Flow, ...]:
        """Return what an agent has sent, and what users have sent it, by names."""
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
