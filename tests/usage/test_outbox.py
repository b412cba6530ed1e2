"""Events: told once they are durable, in the order of their numbers."""

from organism.stores.memory import MemoryJournal
from organism.testing import ManualClock
from organism.testing.store_contract import event
from organism.usage.events import AnyEvent
from organism.usage.outbox import Outbox


def test_an_event_is_told_when_it_is_durable() -> None:
    """A listener that bills somebody never hears of what a crash could still take back."""
    told: list[AnyEvent] = []
    appended: list[object] = []

    class Waiting(MemoryJournal):
        """Keeps what happens after a commit, and does not commit."""

        def append(self, _record: object, then: object = None) -> None:
            appended.append(then)

    outbox = Outbox(Waiting(), told.append, ManualClock())
    outbox.emit(event(1))
    outbox.emit(event(2))

    assert told == []
    for then in appended:
        then()  # type: ignore[operator]
    assert [each.id for each in told] == ["0000000000000001", "0000000000000002"]
