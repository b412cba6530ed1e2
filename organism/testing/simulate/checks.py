"""What must hold after every record: a second set of books beside the ledger, and the events beside both."""

from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec

from organism.app import Organism
from organism.budget.guards.actions import Actions
from organism.journal import Keep, Stored, Then
from organism.ledger.entries import Entry, Overran, Released, ThresholdFired, decode_entry
from organism.stores.batch import to_json
from organism.stores.memory import MemoryJournal
from organism.testing.audit import audit_memory
from organism.testing.books import Books
from organism.testing.crashing_journal import CrashingJournal
from organism.testing.simulate.guard_checks import GuardChecks
from organism.testing.simulate.subject import Subject
from organism.threads.records import ThreadRecord
from organism.usage.events import AnyEvent, Event, ThreadClosed, ThresholdCrossed, UsageEvent


class CheckedJournal(CrashingJournal):
    """A journal that checks what it is given, record by record, before the program takes another step.

    Args:
        kept: What earlier processes have left.
        subject: Told what is wrong, and what was seen.
        trace: Grows by every record.
        **more: As :class:`CrashingJournal` has them.
    """

    def __init__(self, kept: MemoryJournal, subject: Subject, trace: "Trace", **more: Any) -> None:
        super().__init__(kept, **more)
        self.checks = checks = RecordChecks(subject, trace)
        self.check_guards_at_end = checks.guards.check_end
        self.checks.take_up(kept.load(), kept.events())

    def append(self, record: msgspec.Struct, then: Then | None = None) -> None:
        """Check a record, and take it."""
        if not self.crashed:
            self.checks.check(record)
        super().append(record, then)


class RecordChecks:
    """Checks the records of one organism, beginning with what earlier processes have left of it.

    Args:
        subject: Told what is wrong, and what was seen.
        trace: Grows by every record.

    Attributes:
        books: The second set of books.
        guards: The checks of the guards beside limits.
    """

    def __init__(self, subject: Subject, trace: "Trace") -> None:
        self._subject = subject
        self._trace = trace
        self._organism: Organism | None = None
        self._status: dict[str, str] = {}
        self._crossed: Counter[tuple[str, str, int, int, int | None]] = Counter()
        self._fired: set[tuple[str, str, int, int]] = set()
        self._closed: Counter[str] = Counter()
        self.books = Books(subject.wrong)
        self.guards = GuardChecks(self.books, subject.wrong, subject.saw)

    def watch(self, organism: Organism) -> None:
        """Compare with this organism from here on."""
        self._organism = organism

    def take_up(self, stored: Stored, events: Iterable[AnyEvent]) -> None:
        """Fold in what is there already, once and before anything else."""
        self.books.enforced = False  # what was admitted under another mode has been checked when it was
        for body in stored.entries:
            entry = decode_entry(body)
            self.books.enter(entry)
            self.guards.enter(entry, None)
            if isinstance(entry, ThresholdFired):
                self._fired.add((entry.account, entry.dimension, entry.threshold, entry.revision))
        self.guards.take_up(stored.pieces)
        for event in events:
            if not isinstance(event, ThresholdCrossed) or self._stands(event):
                self._note(event)

    def _stands(self, event: ThresholdCrossed) -> bool:
        """Whether a threshold was told under the limits that still are: what was told under others counts no more."""
        account = self.books.accounts.get(event.account)
        fired = (event.account, event.dimension, event.threshold, account.revision if account else 0)
        if fired not in self._fired:
            return False
        self._fired.remove(fired)  # one event for it; an earlier one may have been of other limits
        return True

    def check(self, record: msgspec.Struct) -> None:
        """Check one more record."""
        text = to_json(record)
        self._trace.add(text)
        if isinstance(record, Keep) and not _is_json(text):
            self._subject.wrong(f"no durable journal would take {record.key}: {text}")
        self.guards.note(record)
        if isinstance(record, Entry):
            self._subject.saw(f"entry {type(record).__name__}")
            self._check_entry(record)
            self.guards.enter(record, None if self._organism is None else self._refusing_actions)
        elif isinstance(record, Event):
            self._subject.saw(f"event {type(record).__name__}")
            self._note(record)
            if isinstance(record, UsageEvent):
                self._subject.saw(f"outcome {record.operation} {record.outcome}")
        elif isinstance(record, Keep) and isinstance(record.body, ThreadRecord):
            self._note_status(record.body)

    def _refusing_actions(self, account: str) -> Actions:
        """Return what happens at thresholds of an account that refuses."""
        budgets = self._organism.budgets if self._organism is not None else None
        refuses = budgets is not None and budgets.mode_of(account) == "enforce"
        return budgets.accounts.actions_of(account) if budgets is not None and refuses else ()

    def _check_entry(self, entry: Any) -> None:
        organism = self._organism
        self.books.enforced = organism is not None and organism.budgets.mode == "enforce"
        if isinstance(entry, Released) and (line := self.books.lines.get(entry.hold_id)) and line.call:
            self._subject.saw(f"outcome {line.call.operation} released")
        self.books.enter(entry)
        if organism is None or isinstance(entry, Overran):
            return  # the books count an overrun with the settlement, which follows in the same step
        touched = getattr(entry, "accounts", ()) or (getattr(entry, "account", ""),)
        if (hold_id := getattr(entry, "hold_id", None)) is not None and hold_id in self.books.lines:
            touched = self.books.lines[hold_id].accounts
        for account in touched:
            ours, ledger = self.books.accounts.get(account), organism.ledger
            if (ours is not None) != ledger.has(account):
                self._subject.wrong(f"{account} is {'open' if ours else 'closed'} in the books, but not in the ledger")
            elif ours is not None:
                balance = ledger.balance(account)
                if (balance.spent, balance.held) != (ours.spent, ours.held):
                    self._subject.wrong(f"{account} has {balance.spent} spent and {balance.held} held, not {ours}")
                if min(*msgspec.structs.astuple(ours.held)) < 0:
                    self._subject.wrong(f"{account} holds less than nothing: {ours.held}")

    def _note(self, event: Event) -> None:
        if isinstance(event, ThresholdCrossed):
            account = self.books.accounts.get(event.account)
            revision = account.revision if account else 0
            key = (event.account, event.dimension, event.threshold, revision, event.calls_left)
            self._crossed[key] += 1
            plain = account is not None and account.window_ns is None
            if plain and event.calls_left is None and self._crossed[key] > 1:
                self._subject.wrong(f"{event.threshold} % of {event.account} was told twice")
        elif isinstance(event, ThreadClosed):
            self._closed[event.thread_id] += 1
            if self._closed[event.thread_id] > 1:
                self._subject.wrong(f"thread {event.thread_id} was closed twice")

    def _note_status(self, record: ThreadRecord) -> None:
        before, self._status[record.thread_id] = self._status.get(record.thread_id, "new"), record.status
        if before != record.status:
            self._subject.saw(f"kept {before} -> {record.status}")


class Trace:
    """A hash over all that a run has recorded: two runs of one story have the same."""

    def __init__(self) -> None:
        self._hash = sha256()
        self.records = 0

    def add(self, record: str) -> None:
        """Take one more record."""
        self._hash.update(record.encode())
        self.records += 1

    def hexdigest(self) -> str:
        """Return the hash so far."""
        return self._hash.hexdigest()


def _is_json(text: str) -> bool:
    """Whether a durable journal would take it: parts of a record are bytes of agents, taken over unread."""
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True


def check_end(kept: MemoryJournal, subject: Subject, organism: Organism) -> None:
    """Check what must hold when all threads have ended: nothing held, nothing left, everything told and recorded."""
    books = Books(subject.wrong, enforced=False)
    for body in kept.load().entries:
        books.enter(decode_entry(body))
    audit = audit_memory(kept, books)
    subject.failures += audit.findings
    subject.failures += [f"{line.hold_id} was never resolved" for line in audit.unresolved]
    subject.failures += [f"thread {name} is alive after its end" for name in audit.alive]
    if organism.ledger.open_holds:
        subject.wrong(f"{len(organism.ledger.open_holds)} holds are open, but no thread is")
    recorded: Counter[str] = Counter()
    for (thread_id, _), amounts in audit.recorded().items():
        recorded[thread_id] += amounts.tokens
    billed = subject.world.billed(within_caps=bool(subject.seen["operation crash"]))
    if recorded.total() < billed.total():
        subject.wrong(f"{billed.total()} tokens were billed, but {recorded.total()} are recorded")
    # A dead letter that is tried again goes on in another thread, with the prompts of the first.
    if not subject.seen["operation retry"] and not subject.seen["operation retry cut short"]:
        subject.failures += [
            f"thread {name} was billed {tokens} tokens, but {recorded[name]} are recorded"
            for name, tokens in billed.items()
            if recorded[name] < tokens
        ]
    _check_sums(subject, organism, audit.events)


def _check_sums(subject: Subject, organism: Organism, events: list[Any]) -> None:
    """The sums of usage say what the events add up to."""
    used = [event for event in events if isinstance(event, UsageEvent)]
    total = organism.usage.total
    tokens, cost = sum(event.usage.total for event in used), sum(event.cost_nanousd or 0 for event in used)
    if (total.usage.total, total.cost_nanousd) != (tokens, cost):
        subject.wrong(
            f"usage sums to {total.usage.total} tokens and {total.cost_nanousd}, its events to {tokens}, {cost}"
        )
    boxes = organism.statistics().mailboxes
    subject.failures += [f"mailbox {name} holds {box}" for name, box in boxes.items() if box.messages or box.size]
    if len(organism.router.memo):
        subject.wrong("something is left in memory of threads that have ended")
