"""Of which thresholds programs and people were warned that spend a thread from outside: of each once.

They are no agents, so no lane remembers what they have heard; see :mod:`organism.runtime.budget_warnings` for those.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from organism.journal import Journal, Keep, Pieces
from organism.usage.events import AnyEvent, ThreadClosed

_KIND = "told"

Audience = Literal["model", "person"]
"""Who hears: the model that a program asks, or the person who reads what it answers."""


class Threshold(msgspec.Struct, frozen=True):
    """A threshold of an account; under new limits it is another one.

    Attributes:
        account: Whose.
        revision: Of its limits.
        dimension: The unit.
        threshold: Per cent of the limit.
    """

    account: str
    revision: int
    dimension: str
    threshold: int


class ToldRecord(msgspec.Struct, frozen=True, tag=True):
    """What one of them on a thread has heard."""

    thresholds: tuple[Threshold, ...]


class ToldWarnings:
    """Remembers what was told, across restarts. Give its :meth:`on_event` to a tracker."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._told: dict[str, frozenset[Threshold]] = {}

    def restore(self, pieces: Pieces) -> None:
        """Take over what an earlier run has kept."""
        for piece, told in pieces.read(_KIND, ToldRecord):
            self._told[piece.key] = frozenset(told.thresholds)

    def of(self, audience: Audience, thread_id: str) -> frozenset[Threshold]:
        """Return what one of them on a thread has heard."""
        return self._told.get(_key(audience, thread_id), frozenset())

    def note(self, audience: Audience, thread_id: str, told: frozenset[Threshold]) -> None:
        """Remember all that one of them on a thread has heard; durable with the next commit."""
        key = _key(audience, thread_id)
        self._told[key] = told
        self._journal.append(Keep(key, thread_id, ToldRecord(tuple(sorted(told, key=msgspec.structs.astuple)))))

    def on_event(self, event: AnyEvent) -> None:
        """Forget a thread that has ended; its pieces of the journal have gone with it."""
        if isinstance(event, ThreadClosed):
            for key in _keys(event.thread_id):
                self._told.pop(key, None)


def _key(audience: Audience, thread_id: str) -> str:
    return f"{_KIND}:{audience}:{thread_id}"


def _keys(thread_id: str) -> Iterator[str]:
    yield _key("model", thread_id)
    yield _key("person", thread_id)
