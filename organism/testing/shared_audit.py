"""Do the partitions of a cluster keep to the limits that they share? Their ledgers, read together in order of time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from heapq import merge

import msgspec

from organism.amounts import ZERO, Amounts, Limits
from organism.amounts.units import ceilings_of, numbers_of
from organism.ledger.entries import AnyEntry, LimitSliced, LimitsSet, Overran, Reserved, decode_entry
from organism.stores.group_storage import GroupStorage
from organism.testing.books import Books

_PAGE = 1000


class SharedAudit(msgspec.Struct, kw_only=True):
    """What came of it.

    Attributes:
        findings: What is not right.
        most: By account, the most that all partitions have spent and held at any time.
        most_ns: When that came about.
        used: By account, what they have spent and hold in the end.
        slices: By account, what all slices make in the end.
        reserved: By account, how many holds were taken.
    """

    findings: list[str] = []
    most: dict[str, Amounts] = {}
    most_ns: dict[str, int] = {}
    used: dict[str, Amounts] = {}
    slices: dict[str, Amounts] = {}
    reserved: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))


def audit_shared(partitions: Mapping[int, GroupStorage]) -> SharedAudit:
    """Audit the shared limits of a cluster whose nodes have ended; they had one clock.

    At no time is more in all slices, or in use, than the largest limit that there was, but for what calls have cost
    beyond their holds.
    """
    audit = SharedAudit()
    books = {number: Books(audit.findings.append) for number in partitions}
    largest: dict[str, Amounts] = {}
    beyond: dict[str, Amounts] = defaultdict(Amounts)
    for entry, number in merge(*(_entries(number, file) for number, file in partitions.items()), key=_order):
        book = books[number]
        if isinstance(entry, Overran):
            for account in book.lines[entry.hold_id].accounts:
                beyond[account] += entry.amounts
        book.enter(entry)
        match entry:
            case LimitSliced(account=account):
                largest[account] = larger(largest.get(account, ZERO), entry.agreed)
                slices = sum((each.accounts[account].slice or ZERO for each in _having(books, account)), ZERO)
                audit.slices[account] = slices
                _check(audit, account, "all slices", slices, largest[account] + beyond[account])
            case LimitsSet(account=account) if account in largest:
                largest[account] = larger(largest[account], entry.limits)
            case Reserved():
                for account in set(entry.accounts) & largest.keys():
                    audit.reserved[account] += 1
                    used = [each.accounts[account].used(entry.time_ns, ZERO) for each in _having(books, account)]
                    total = audit.used[account] = sum(used, ZERO)
                    most = audit.most.get(account, ZERO)
                    if total.within(most) != total:
                        audit.most[account], audit.most_ns[account] = total, entry.time_ns
                    _check(audit, account, "what is in use", total, largest[account] + beyond[account])
            case _:
                pass
    return audit


def _order(each: tuple[AnyEntry, int]) -> tuple[int, int, int]:
    entry, number = each
    return entry.time_ns, number, entry.seq


def _entries(number: int, file: GroupStorage) -> Iterator[tuple[AnyEntry, int]]:
    after = 0
    while page := file.entries_after(after, _PAGE):
        for stored in page:
            yield decode_entry(stored.body.encode()), number
        after = page[-1].seq


def _having(books: Mapping[int, Books], account: str) -> list[Books]:
    return [each for each in books.values() if account in each.accounts]


def larger(most: Amounts, limits: Limits) -> Amounts:
    """Return the larger of two limits, unit by unit; what is not limited is as large as anything."""
    pairs = zip(numbers_of(most), ceilings_of(limits), strict=True)
    return Amounts(*(max(number, 2**62 if ceiling is None else ceiling) for number, ceiling in pairs))


def beyond_limit(account: str, what: str, amounts: Amounts, limit: Amounts) -> str | None:
    """Say that amounts are above a limit, if they are."""
    return None if amounts.within(limit) == amounts else f"{what} of {account} make {amounts}, above {limit}"


def _check(audit: SharedAudit, account: str, what: str, amounts: Amounts, limit: Amounts) -> None:
    if (said := beyond_limit(account, what, amounts, limit)) is not None:
        audit.findings.append(said)
