"""Limits as a node's file says them beside those that all partitions of a cluster share, unit by unit. Pure."""

from collections.abc import Iterable

from msgspec.structs import replace

from organism.amounts import Amounts, Limits
from organism.amounts.units import AMOUNT_FIELDS, ceilings_of, numbers_of
from organism.ledger.account_balance import Balance
from organism.stores.shared.slice_rows import SliceRow


class FileLimits:
    """What a node's file says of the limits that a partition has slices of, beside what the cluster goes by.

    Attributes:
        order: How late the file was ordered in the cluster; 0 for none.
    """

    def __init__(self) -> None:
        self.order = 0
        self._seen: dict[str, Limits] = {}
        self._unsaid: set[str] = set()

    def go_by(self, order: int, accounts: Iterable[str]) -> None:
        """Go by another file; what it says of these accounts is not known to the others yet."""
        self.order = order
        self._unsaid.update(accounts)

    @property
    def unsaid(self) -> list[str]:
        """The accounts of which it is to be looked whether the file says something else than the cluster."""
        return sorted(self._unsaid)

    def said(self, account: str) -> None:
        """Note that it was looked: only then, so that it is looked again where the database could not be reached."""
        self._unsaid.discard(account)

    def says_anew(self, balance: Balance, row: SliceRow | None) -> bool:
        """Whether the file, newer than the one that the cluster goes by, says something else of a limit than that."""
        if row is None or not 0 < row.configuration < self.order:
            return False
        return balance.limits == balance.agreed and row.configured != units(balance.configured)

    def has_changed(self, balance: Balance, row: SliceRow | None) -> bool:
        """Whether limits are what they are because a file says so now, and not because an operator does.

        Of a change that an earlier owner has not passed on only the shared row tells: whether it knows the file's word.
        """
        if row is None or balance.limits != balance.configured:
            return False
        if (seen := self._seen.get(balance.account)) is not None:
            return seen != balance.configured
        return row.configuration == 0 or row.configured != units(balance.configured)

    def note(self, balance: Balance) -> None:
        """Note what the file says of a limit: it is passed on, or there is nothing to pass on."""
        self._seen[balance.account] = balance.configured

    def forget(self, account: str) -> None:
        """Know nothing of an account."""
        self._seen.pop(account, None)


def units(limits: Limits) -> Limits:
    """Return the units of limits that add up, and so can be shared."""
    return Limits(**_additive(limits))


def with_units(limits: Limits, shared: Limits) -> Limits:
    """Return limits with the units that add up taken from others."""
    return replace(limits, **_additive(shared))


def _additive(limits: Limits) -> dict[str, int | None]:
    return dict(zip(AMOUNT_FIELDS, ceilings_of(limits), strict=True))


def whole_of(limits: Limits, granted: Amounts) -> Amounts:
    """Return limits as amounts; what is not limited as what is granted."""
    pairs = zip(ceilings_of(limits), numbers_of(granted), strict=True)
    return Amounts(*(has if ceiling is None else ceiling for ceiling, has in pairs))


def times(amounts: Amounts, factor: int) -> Amounts:
    """Return so many times amounts."""
    return Amounts(*(number * factor for number in numbers_of(amounts)))


def moved(limits: Limits, before: Limits) -> tuple[int | None, ...]:
    """Return by how much each limit has moved; where there was none before, or is none now, the limit itself."""
    pairs = zip(ceilings_of(limits), ceilings_of(before), strict=True)
    return tuple(now if now is None or was is None else now - was for now, was in pairs)
