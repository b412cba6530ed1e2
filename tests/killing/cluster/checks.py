"""What must be true of a cluster's journals after the faults, held against what its processes have noted."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import ExitStack, closing

import msgspec

from organism.ledger.entries import AnyEntry, Dispatched
from organism.stores.leases import Lease
from organism.stores.postgres.database import PostgresDatabase
from organism.testing.audit import Audit, audit_storage
from organism.testing.books import Books, Line
from organism.testing.postgres_server import PostgresServer
from organism.testing.shared_audit import SharedAudit, audit_shared
from organism.usage.events import ApprovalDecided, ApprovalRequested
from tests.killing.cluster.house import (
    AT_LABEL,
    CALLS_AT_A_TIME,
    CALLS_PER_MINUTE,
    DESK_CALLS,
    LABELLED,
    PARTITIONS,
    SHARED,
    SHARED_CALLS,
    USAGE,
    Notes,
)


class Found(msgspec.Struct, frozen=True):
    """What the journals hold.

    Attributes:
        partitions: Each by itself.
        shared: What they share.
        desk_calls: By the account of a desk, when the calls that it was charged left for the provider.
    """

    partitions: list[Audit]
    shared: SharedAudit
    desk_calls: dict[str, list[int]]


def read_journals(url: str) -> Found:
    """Audit every partition, and what they share."""
    desk_calls: dict[str, list[tuple[int, Line]]] = defaultdict(list)

    def follow(books: Books, entry: AnyEntry) -> None:
        if isinstance(entry, Dispatched):
            for account in books.lines[entry.hold_id].accounts:
                if account.startswith("label:desk="):
                    desk_calls[account].append((entry.time_ns, books.lines[entry.hold_id]))

    with ExitStack() as stack:
        journals = {
            number: stack.enter_context(closing(PostgresDatabase(url, take=False, lease=Lease(number, 0, PARTITIONS))))
            for number in range(PARTITIONS + LABELLED)
        }
        partitions = [audit_storage(journal, follow=follow) for journal in journals.values()]
        # What was called off between its mark and its departure has cost nothing.
        charged = {
            name: sorted(time_ns for time_ns, line in calls if line.source != "released")
            for name, calls in desk_calls.items()
        }
        return Found(partitions, audit_shared(journals), charged)


def check_threads(found: Found, notes: Notes) -> str:
    """What was promised ended once, chains are whole, no hold is open, and what was asked for stands recorded."""
    promised = {thread for (thread,) in notes.read("promised")}
    closed = sum((audit.closed for audit in found.partitions), Counter[str]())
    recorded = sum(amounts.tokens for audit in found.partitions for amounts in audit.recorded().values())
    billed = sum(int(tokens) for _, tokens in notes.read("asked"))
    assert [finding for audit in found.partitions for finding in audit.findings] == []
    assert [line for audit in found.partitions for line in audit.unresolved] == []
    assert promised <= closed.keys()
    assert set(closed.values()) == {1}
    assert recorded >= billed
    return (
        f"{len(promised)} threads promised, {closed.total()} ended once; {billed} tokens billed, "
        f"{(recorded - billed) // USAGE.total} calls more recorded"
    )


def check_rates(notes: Notes) -> str:
    """In no minute did all nodes together ask the provider more often than it takes, and none asked a closed one.

    A node that is stopped between leave and departure asks when it goes on: so many more as may be under way.
    """
    times = sorted(int(time_ns) for time_ns, _ in notes.read("asked"))
    most = max(bisect_left(times, began_ns + 60_000_000_000) - at for at, began_ns in enumerate(times))
    assert most <= CALLS_PER_MINUTE + CALLS_AT_A_TIME
    assert list(notes.read("asked-when-closed")) == []
    return f"{most} of {CALLS_PER_MINUTE} calls in the fullest of all minutes"


def check_shared(found: Found, notes: Notes, postgres: PostgresServer, url: str) -> str:
    """No limit that partitions share was passed; that of a tier was used to its end, and nobody was refused before."""
    refusals = [int(time_ns) for (time_ns,) in notes.read("refused")]
    needless = sum(time_ns < found.shared.most_ns[SHARED] for time_ns in refusals)
    slices = "SELECT g_calls, (SELECT sum(calls) FROM organism.slices s WHERE s.account = l.account) FROM "
    ((granted, total),) = postgres.execute(f"{slices} organism.shared l WHERE account = '{SHARED}'", url)
    assert found.shared.findings == []
    assert found.shared.most[SHARED].calls == SHARED_CALLS
    assert granted == total == SHARED_CALLS
    assert needless <= len(refusals) / 10
    return f"{SHARED_CALLS} of {SHARED_CALLS} shared calls used, {needless} of {len(refusals)} refusals needless"


def check_places(notes: Notes) -> str:
    """The agent that needs a label has worked, and only at nodes that have it."""
    places = Counter(place for (place,) in notes.read("painted"))
    assert places
    assert places.keys() <= AT_LABEL
    return f"{places.total()} runs at nodes with the label, none at others"


def check_questions(found: Found, notes: Notes) -> str:
    """People were asked once for all nodes, before more was spent; the answer that was taken is the one that counts."""
    events = [event for audit in found.partitions for event in audit.events]
    asked = Counter(event.approval_id for event in events if isinstance(event, ApprovalRequested))
    decided = [(event.approval_id, event.allowed) for event in events if isinstance(event, ApprovalDecided)]
    taken = {(question, allowed == "True") for question, allowed in notes.read("answered")}
    answering = list(notes.read("answering"))
    assert asked
    assert set(asked.values()) == {1}
    assert sorted(asked) == sorted(question for question, _ in decided)
    untold = {question for question, _ in taken - set(decided)}
    assert untold <= _replaced(answering) - asked.keys()
    _check_waited(found.desk_calls, answering)
    said = Counter(allowed for _, allowed in decided)
    return (
        f"{len(asked)} questions asked once, {said[True]} times answered with yes and {said[False]} times with no; "
        f"{len(untold)} told of by nobody"
    )


def _replaced(answering: Iterable[list[str]]) -> set[str]:
    """Return the questions in whose place the next one about the same limit has come.

    Of such a one nobody can tell any more, where its asker had died before its journal had it.
    """
    last: dict[str, int] = {}
    asked = [(question, account, int(per_cent)) for question, account, per_cent, _ in answering]
    for _, account, threshold in asked:
        last[account] = max(threshold, last.get(account, 0))
    return {question for question, account, threshold in asked if threshold < last[account]}


def _check_waited(desk_calls: dict[str, list[int]], answering: Iterable[list[str]]) -> None:
    """No more calls have left than may before the question, until somebody was about to answer it."""
    first_ns: dict[tuple[str, int], int] = {}
    names: dict[tuple[str, int], set[str]] = defaultdict(set)
    for question, account, per_cent, time_ns in answering:
        about, at_ns = (account, int(per_cent)), int(time_ns)
        names[about].add(question)
        first_ns[about] = min(at_ns, first_ns.get(about, at_ns))
    assert all(len(each) == 1 for each in names.values())
    for (account, threshold), answered_ns in first_ns.items():
        assert bisect_left(desk_calls[account], answered_ns) <= DESK_CALLS * threshold // 100
