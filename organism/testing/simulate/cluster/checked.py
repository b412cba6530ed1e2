"""Journals of partitions that are checked record by record, and group by group against the owner who may write them."""

from collections.abc import Callable

import msgspec

from organism.amounts import ZERO, Amounts
from organism.app import Organism
from organism.journal import FencedError, Stored, Then
from organism.ledger.entries import Entry, LimitSliced, LimitsSet, Overran, Reserved
from organism.stores.batch import Batch
from organism.stores.group_storage import Retention
from organism.stores.leases import Lease
from organism.stores.postgres.database import PostgresDatabase
from organism.stores.postgres.postgres_journal import PostgresJournal
from organism.testing.shared_audit import beyond_limit, larger
from organism.testing.simulate.checks import RecordChecks, Trace
from organism.testing.simulate.subject import Subject

_PAGE = 1000


class ClusterModel:
    """What the reference model knows of the whole cluster: who may write what, and what all may spend together.

    Args:
        subject: Told what is wrong, and what was seen.
        stands: Asks the database, past all networks, for a partition's newest owner and its last group.
    """

    def __init__(self, subject: Subject, stands: Callable[[int], tuple[int, int]]) -> None:
        self.subject = subject
        self.trace = Trace()
        self._stands = stands
        self._owners: dict[int, tuple[int, RecordChecks]] = {}
        self._largest: dict[str, Amounts] = {}
        self._beyond: dict[str, Amounts] = {}

    def begins(self, lease: Lease, checks: RecordChecks) -> None:
        """An owner has taken up a journal: what the one before it had in mind and never wrote is forgotten."""
        if lease.epoch > 1:
            self.subject.saw("a partition with another owner")
        if lease.epoch >= self._owners.get(lease.partition, (0, checks))[0]:
            self._owners[lease.partition] = lease.epoch, checks

    def wrote(self, lease: Lease, number: int) -> None:
        """A group was written: by the newest owner only, and it is the last one."""
        newest, last = self._stands(lease.partition)
        if newest != lease.epoch:
            self.subject.wrong(f"owner {lease.epoch} of partition {lease.partition} wrote, though {newest} has it")
        elif number != last:
            self.subject.wrong(f"group {number} of partition {lease.partition} was written, and the last is {last}")

    def noted(self, lease: Lease, entry: Entry) -> None:
        """An entry was checked in its own books: check the limits that all partitions share."""
        owner = self._owners.get(lease.partition)
        if owner is None or owner[0] != lease.epoch:
            return  # of an owner that has lost the partition: it is never written, which is checked there
        match entry:
            case Overran(hold_id=hold_id):
                for account in owner[1].books.lines[hold_id].accounts:
                    self._beyond[account] = self._beyond.get(account, ZERO) + entry.amounts
            case LimitSliced(account=account):
                self.subject.saw("a slice of a shared limit")
                self._largest[account] = larger(self._largest.get(account, ZERO), entry.agreed)
                self._compare(account, "all slices", sum((each.slice or ZERO for each in self._of(account)), ZERO))
            case LimitsSet(account=account) if account in self._largest:
                self._largest[account] = larger(self._largest[account], entry.limits)
            case Reserved():
                for account in set(entry.accounts) & self._largest.keys():
                    used = [each.used(entry.time_ns, ZERO) for each in self._of(account)]
                    self._compare(account, "what is in use", sum(used, ZERO))
                    self.subject.saw("a hold on a shared limit")
            case _:
                pass

    def _of(self, account: str) -> list:  # type: ignore[type-arg]
        return [c.books.accounts[account] for _, c in self._owners.values() if account in c.books.accounts]

    def _compare(self, account: str, what: str, amounts: Amounts) -> None:
        limit = self._largest[account] + self._beyond.get(account, ZERO)
        if (said := beyond_limit(account, what, amounts, limit)) is not None:
            self.subject.wrong(said)


class CheckedPartition(PostgresJournal):
    """The journal of a partition, as its node writes it.

    Args:
        url: The database.
        name: The organism.
        retention: What is forgotten when.
        lease: The right to write.
        model: What the whole cluster is compared with.
    """

    def __init__(self, url: str, name: str, retention: Retention | None, lease: Lease, model: ClusterModel) -> None:
        super().__init__(url, retention=retention, name=name, lease=lease)
        self._right, self._model = lease, model
        self._checks = RecordChecks(model.subject, model.trace)

    def watch(self, organism: Organism) -> None:
        """Compare with this organism from here on."""
        self._checks.watch(organism)

    def _open_file(self) -> PostgresDatabase:
        return _CheckedDatabase(self._url, self._organism, self._right, self._model)

    def load(self) -> Stored:
        """Return what the journal holds, and take it up in the books."""
        stored = super().load()
        kept = msgspec.structs.replace(stored, entries=tuple(stored.entries))
        events, after = [], ""
        while page := self._opened.events_after(after, _PAGE):
            events += page
            after = page[-1].id
        self._checks.take_up(kept, events)
        self._model.begins(self._right, self._checks)
        return kept

    def append(self, record: msgspec.Struct, then: Then | None = None) -> None:
        """Check a record, and take it."""
        self._checks.check(record)
        if isinstance(record, Entry):
            self._model.noted(self._right, record)
        super().append(record, then)


class _CheckedDatabase(PostgresDatabase):
    def __init__(self, url: str, name: str, lease: Lease, model: ClusterModel) -> None:
        super().__init__(url, name=name, lease=lease)
        self._right, self._model, self._saw = lease, model, model.subject.saw

    def write(self, batch: Batch, number: int) -> None:
        try:
            super().write(batch, number)
        except FencedError:
            self._saw("a stale owner refused")
            raise
        self._model.wrote(self._right, number)

    def reopen(self, number: int) -> bool:
        try:
            written = super().reopen(number)
        except FencedError:
            self._saw("a stale owner refused")
            raise
        if written:
            self._saw("a group whose answer was lost")
            self._model.wrote(self._right, number)
        return written
