"""Which caller has opened which thread: one who may only send may reach no others."""

from collections.abc import Callable

import msgspec

from organism.control.idempotency import Order
from organism.errors import ConfigError, ThreadClosedError
from organism.journal import Journal, Keep, Pieces
from organism.usage.events import AnyEvent, ThreadClosed

_KIND = "owner"
_PREFIX = f"{_KIND}:"


class Owner(msgspec.Struct, frozen=True, tag=True):
    """Who has opened a thread: the name of a token."""

    by: str


class Owners:
    """Remembers who has opened each open thread. Give its :meth:`on_event` to a tracker."""

    def __init__(self, journal: Journal) -> None:
        self._reserved: tuple[Callable[[str], bool], ...] = ()
        self._journal = journal
        self._owners: dict[str, str] = {}

    def restore(self, pieces: Pieces) -> None:
        """Take over what an earlier run has kept."""
        for piece, owner in pieces.read(_KIND, Owner):
            self._owners[piece.key.removeprefix(_PREFIX)] = owner.by

    def reserve_names(self, is_reserved: Callable[[str], bool]) -> None:
        """Keep names, those that a function says yes to, for threads that only their own caller opens, on first use."""
        self._reserved = (*self._reserved, is_reserved)

    def check_name(self, thread_id: str | None) -> None:
        """Refuse a name that somebody has chosen for a thread and that is kept for another's.

        The first to open it would choose its limits, and by ending it lock its owner out.

        Raises:
            ConfigError: If so.
        """
        if thread_id is not None and any(is_reserved(thread_id) for is_reserved in self._reserved):
            raise ConfigError(f"the thread {thread_id!r} is kept for a key of the gateway; choose another name")

    def note(self, thread_id: str, order: Order) -> None:
        """Remember who has opened a thread; in the same step as its opening."""
        self._owners[thread_id] = order.by
        self._journal.append(Keep(_PREFIX + thread_id, thread_id, Owner(order.by)))

    def of(self, by: str) -> tuple[str, ...]:
        """Return the open threads of a caller."""
        return tuple(thread_id for thread_id, owner in self._owners.items() if owner == by)

    def owner_of(self, thread_id: str) -> str:
        """Return who has opened an open thread; empty where that is not known."""
        return self._owners.get(thread_id, "")

    def check(self, thread_id: str, order: Order) -> None:
        """Let a caller reach a thread, or say that there is none: others' threads are no business of its.

        Raises:
            ThreadClosedError: If the caller may reach only its own, and this is not one of them.
        """
        if order.owner_only and self._owners.get(thread_id) != order.by:
            raise ThreadClosedError(thread_id)

    def on_event(self, event: AnyEvent) -> None:
        """Forget the owner of a thread that has ended; its pieces of the journal have gone with it."""
        if isinstance(event, ThreadClosed):
            self._owners.pop(event.thread_id, None)
