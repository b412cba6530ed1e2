"""Messages that were given up on, kept with the reason so that somebody can look at them and try again."""

from collections import OrderedDict
from typing import Literal

import msgspec

from organism.messages import Envelope

Reason = Literal[
    "handler_failed",
    "agent_failed",
    "budget_exhausted",
    "not_deliverable",
    "hop_limit",
    "mailbox_full",
    "late_reply",
    "thread_terminated",
]
"""Why a message was given up on.

``handler_failed``: its handler failed on every attempt. ``agent_failed``: its agent has stopped after too many
failures. ``budget_exhausted``: a limit refused its call and the organism is set to fail then. ``not_deliverable``: its
handler addressed something it may not or cannot reach. ``hop_limit``: the thread went round too long. ``mailbox_full``:
no room came free in time. ``late_reply``: the asker had stopped waiting. ``thread_terminated``: its thread was ended by
order.
"""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that was given up on.

    Attributes:
        envelope: The message.
        reason: Why.
        detail: The sentence behind it.
        time_ns: When, nanoseconds since the Unix epoch.
        where: ``file:line`` of the code it failed in, where that is known.
        labels: Those of its thread: what it costs when it is sent again counts where it would have counted.
    """

    envelope: Envelope
    reason: Reason
    detail: str
    time_ns: int = 0
    where: str | None = None
    labels: dict[str, str] = {}

    @property
    def id(self) -> str:
        """The message's id."""
        return self.envelope.id


class DeadLetters:
    """The newest dead letters.

    Args:
        capacity: How many are kept; counting goes on beyond.
    """

    def __init__(self, capacity: int = 1000) -> None:
        self._letters: OrderedDict[str, DeadLetter] = OrderedDict()
        self._capacity = capacity
        self.total = 0

    def add(self, letter: DeadLetter) -> DeadLetter | None:
        """Keep a letter, and return the one that had to make room for it."""
        self.total += 1
        self._letters[letter.id] = letter
        return self._letters.popitem(last=False)[1] if len(self._letters) > self._capacity else None

    def take(self, message_id: str) -> DeadLetter | None:
        """Remove a letter and return it; ``None`` if there is none for that message."""
        return self._letters.pop(message_id, None)

    def list(self) -> tuple[DeadLetter, ...]:
        """Return the kept letters, oldest first."""
        return tuple(self._letters.values())
