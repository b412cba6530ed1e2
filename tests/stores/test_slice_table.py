"""Slices of shared limits in the database: granted within the limit, and changed by the owner that has seen them."""

import pytest
from msgspec.structs import replace

from organism.amounts import ZERO, Amounts, Limits
from organism.budget.accounts.slice_sizes import taken
from organism.ledger.account_balance import Balance
from organism.stores.leases import Lease
from organism.stores.postgres.lease_table import LeaseTable
from organism.stores.postgres.slice_table import SliceTable
from organism.stores.shared.slice_rows import LimitChange, Share, SliceRow

pytestmark = pytest.mark.debian

ALL = "organism@lifetime"


def begun(table: SliceTable, lease: Lease, limits: Limits) -> SliceRow:
    """Return the empty slice of a partition."""
    table.begin(lease, Balance(ALL, limits, limits), None)
    row = table.look(lease, ALL)
    assert row is not None
    return row


def operated(tokens: int, revision: int = 2, standing: tuple[tuple[str, int], ...] = ()) -> LimitChange:
    """Return an operator's change of the tokens that all may use, at a node whose file says 100."""
    return LimitChange(
        limits=(tokens, None, None),
        units=(True, False, False),
        revision=revision,
        standing=standing,
        configured=(100, None, None),
    )


def by_file(tokens: int, order: int) -> LimitChange:
    """Return what a file says that was ordered so late."""
    limits = (tokens, None, None)
    return LimitChange(
        limits=limits, units=(True,) * 3, revision=2, standing=(), configured=limits, configuration=order
    )


def used(row: SliceRow, spent: int = 0) -> Share:
    return Share(Amounts(spent), ZERO, row.amounts, row.version)


def test_what_is_taken_is_what_the_arithmetic_says(table: SliceTable, leases: LeaseTable) -> None:
    """The database gives what is needed, more where that leaves enough for others, and never more than is free."""
    first, second, _ = leases.acquire(3, [])
    one, two = begun(table, first, Limits(tokens=100)), begun(table, second, Limits(tokens=100))
    free = 100
    for need, want in ((10, 90), (0, 3), (7, 7), (40, 40), (60, 60)):
        row = table.take(first, ALL, used(one), Amounts(need), Amounts(want))
        assert row is not None
        assert row.amounts.tokens - one.amounts.tokens == taken(want, need, free, 3)
        free -= row.amounts.tokens - one.amounts.tokens
        assert row.granted.tokens == 100 - free
        one = row
    assert free == 0
    given = table.give(first, ALL, used(one), Amounts(80))
    assert given is not None
    assert (given.amounts, given.granted) == (Amounts(80), Amounts(80))
    beyond = table.take(second, ALL, used(two, spent=30), Amounts(5), Amounts(5))
    assert beyond is not None
    assert (beyond.amounts.tokens, beyond.granted.tokens) == (30, 110), "what is spent already is granted untested"
    assert beyond.limits == Limits(tokens=100)


def test_a_slice_is_changed_only_by_the_owner_that_has_seen_it(table: SliceTable, leases: LeaseTable) -> None:
    """An answer that was lost, or a step that comes late from an earlier owner, changes nothing unseen."""
    (lease, *_) = leases.acquire(3, [])
    row = begun(table, lease, Limits(tokens=100))
    assert table.take(lease, ALL, used(row), Amounts(10), Amounts(10)) is not None
    assert table.take(lease, ALL, used(row), Amounts(10), Amounts(10)) is None  # its first answer was lost
    assert table.give(lease, ALL, used(row), ZERO) is None
    seen = table.look(lease, ALL)
    assert seen is not None
    assert (seen.amounts.tokens, seen.granted.tokens) == (10, 10)
    leases.release(lease)
    (later, *_) = leases.acquire(3, [])
    assert later.partition == lease.partition
    late = Share(ZERO, ZERO, seen.amounts, seen.version)
    assert table.take(lease, ALL, late, Amounts(10), Amounts(10)) is None
    assert table.give(lease, ALL, late, ZERO) is None
    assert table.look(lease, ALL) is None
    assert not table.fire(lease, ALL, "tokens", 75, 1, 0)
    (found,) = table.of_partition(later)
    assert (found.amounts.tokens, found.granted.tokens) == (10, 10)
    # Its step may have begun while the partition still was its own: looking has made what it has seen out of date.
    assert table.give(later, ALL, late, ZERO) is None


def test_what_was_wanted_first_is_served_first(table: SliceTable, leases: LeaseTable) -> None:
    """A large need is not starved by small ones that come later; what nobody wants any more is in nobody's way."""
    first, second, third = leases.acquire(3, [])
    full = begun(table, first, Limits(tokens=100))
    full = table.take(first, ALL, used(full), Amounts(100), Amounts(100)) or full
    large, small = begun(table, second, Limits(tokens=100)), begun(table, third, Limits(tokens=100))
    large = table.take(second, ALL, used(large), Amounts(50), Amounts(50)) or large
    (limit,) = table.read([], [first.partition], 0)
    assert [(each.partition, each.need) for each in limit.wanted] == [(second.partition, Amounts(50))]
    full = table.give(first, ALL, used(full), Amounts(60)) or full
    small = table.take(third, ALL, used(small), Amounts(5), Amounts(5)) or small
    assert (small.amounts, small.granted) == (ZERO, Amounts(60))
    large = table.take(second, ALL, used(large), Amounts(40), Amounts(40)) or large
    assert large.amounts == Amounts(40)
    (limit,) = table.read([ALL], [], 0)
    assert [each.partition for each in limit.wanted] == [third.partition]


def test_limits_change_once_and_thresholds_are_warned_of_once(table: SliceTable, leases: LeaseTable) -> None:
    """Each change counts once however often it is sent, and of all partitions one warns, also after a lost answer."""
    first, second, _ = leases.acquire(3, [])
    begun(table, first, Limits(tokens=100))
    begun(table, second, Limits(tokens=100))
    assert table.fire(first, ALL, "tokens", 75, 1, 0)
    assert table.fire(first, ALL, "tokens", 75, 1, 0)  # the answer was lost: it is still the one that warns
    assert not table.fire(second, ALL, "tokens", 75, 1, 0)
    assert table.fire(second, ALL, "tokens", 90, 1, 0)
    assert [found[:3] for found in table.fired_by(second)] == [(ALL, "tokens", 90)]
    more = operated(150, standing=(("tokens", 75),))
    table.change(first, ALL, more)
    table.change(first, ALL, more)
    table.change(second, ALL, replace(more, limits=(200, None, 9)))
    row = table.look(first, ALL)
    assert row is not None
    assert (row.limits, row.revision) == (Limits(tokens=200), 3), "calls were left alone"
    assert not table.fire(second, ALL, "tokens", 75, 3, 0), "it stands under the new limit"
    assert table.fire(first, ALL, "tokens", 90, 3, 0), "under the new limit it is reached anew"
    assert table.fire(second, ALL, "tokens", 90, 3, 2**62), "a rolling window has passed"


def known(table: SliceTable, lease: Lease) -> tuple[int | None, int, int, int | None]:
    """Return a limit, how often it has changed, and which file says what of it."""
    row = table.look(lease, ALL)
    assert row is not None
    return row.limits.tokens, row.revision, row.configuration, row.configured.tokens


def test_what_an_operator_says_outlasts_every_file_that_was_ordered_before(
    table: SliceTable, leases: LeaseTable
) -> None:
    """Partitions that pass such a file on later only note what it says; a file that is ordered later counts again."""
    first, second, _ = leases.acquire(3, [])
    one, two = leases.order("one"), leases.order("two", "one")
    table.begin(first, Balance(ALL, Limits(tokens=100), Limits(tokens=100)), None, one)
    begun(table, second, Limits(tokens=100))
    table.change(first, ALL, operated(70))
    assert known(table, first) == (70, 2, two, 100)
    for _ in range(2):
        table.change(second, ALL, by_file(120, two))
        assert known(table, first) == (70, 2, two, 120)
    same, other = leases.order("three", "two"), leases.order("four", "three")
    table.change(second, ALL, by_file(120, same))
    assert known(table, first) == (70, 2, two, 120), "it says nothing else than the file before"
    table.change(second, ALL, by_file(50, other))
    table.change(first, ALL, by_file(120, two))
    assert known(table, first) == (50, 3, other, 50)
