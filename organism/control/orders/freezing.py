"""Freezes: all spending stopped at once, or that of threads with a label, until an operator lifts it.

A freeze outlasts the process: it is a piece of the journal, read back before any thread is set going.
"""

from organism.amounts import Amounts
from organism.budget.guards.freezes import Freeze, Frozen
from organism.errors import Refusal
from organism.journal import Drop, Keep, Pieces
from organism.runtime.pump import Pump
from organism.usage.events import SpendingFrozen, SpendingUnfrozen
from organism.usage.outbox import Outbox

_KIND = "freeze"
_PREFIX = f"{_KIND}:"


class Freezing:
    """Freezes spending and lets it go on."""

    def __init__(self, pump: Pump, outbox: Outbox) -> None:
        registry = pump.registry
        self._registry = registry
        self._accounts = registry.accounts
        self._freezes = registry.stops.freezes
        self._router = pump.router
        self._threads = pump.open_threads
        self._parked = pump.parked
        self._journal = pump.state_writer.journal
        self._outbox = outbox

    def restore(self, pieces: Pieces) -> None:
        """Freeze again what an earlier run had frozen, before anything is set going."""
        for freeze in sorted((freeze for _, freeze in pieces.read(_KIND, Freeze)), key=lambda each: each.since_ns):
            self._freezes.add(freeze)

    def freeze(self, freeze: Freeze, *, cancel: bool) -> Frozen:
        """Add a freeze in one step: no hold is granted after it, and calls in line are answered.

        Calls that have left go on and are charged what they cost; closed, they are charged as calls are whose caller
        has gone, and what waits for them waits on. One that holds and has not left is refused when its turn comes.

        Args:
            freeze: What is frozen; where just this is frozen already, that freeze stays as it was.
            cancel: Whether calls under way are closed.
        """
        refusal = freeze.refusal()
        held, is_new = self._held(freeze), self._freezes.add(freeze)
        cancelled = 0
        if cancel:
            for attempt in self._router.open_attempts:
                covered = freeze.covers(self._threads.labels_of(attempt.record.thread_id))
                cancelled += covered and attempt.freeze(refusal)
        self._registry.serve_lines()
        if is_new:
            self._journal.append(Keep(_PREFIX + freeze.scope, "", freeze))
        if is_new or cancelled:
            self._outbox.emit(
                SpendingFrozen(labels=freeze.labels, by=freeze.by, reason=freeze.reason, held=held, cancelled=cancelled)
            )
        return Frozen(freezes=self._freezes.all, held=held, threads=self._waiting(freeze), cancelled=cancelled)

    def lift(self, labels: dict[str, str], by: str) -> Frozen:
        """Lift the freeze of exactly these labels, if there is one; what waited for it goes on in its order."""
        asked = Freeze(labels=labels, by=by, since_ns=0)
        lifted = self._freezes.lift(asked.scope)
        if lifted is not None:
            self._journal.append(Drop(_PREFIX + lifted.scope, ""))
            self._outbox.emit(SpendingUnfrozen(labels=labels, by=by))
            for thread in self._threads.all():
                if lifted.covers(thread.labels):
                    self._parked.unpark(thread, _is_frozen)  # where another covers it, its message says so from now on
        return self.look(labels)

    def look(self, labels: dict[str, str]) -> Frozen:
        """Return what is frozen, and what threads with these labels hold and which of them wait."""
        about = Freeze(labels=labels, by="", since_ns=0)
        return Frozen(freezes=self._freezes.all, held=self._held(about), threads=self._waiting(about))

    def _held(self, freeze: Freeze) -> Amounts:
        return self._accounts.held_by(freeze.covers)

    def _waiting(self, freeze: Freeze) -> tuple[str, ...]:
        """Return the threads, of those that a freeze is about, with a message that waits for one."""
        return tuple(
            thread.id
            for thread in self._threads.all()
            if freeze.covers(thread.labels)
            and any(_is_frozen(each.waits) for lane in thread.lanes.values() for each in lane.waiting)
        )


def _is_frozen(waits: object) -> bool:
    return isinstance(waits, Refusal) and waits.cause == "freeze"
