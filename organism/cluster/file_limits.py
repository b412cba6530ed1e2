"""Limits as a node's file says them beside those that all partitions of a cluster share, unit by unit. Pure."""

from collections.abc import Iterable, Iterator
from operator import ne

from msgspec.structs import replace

from organism.amounts import Amounts, Limits
from organism.amounts.units import AMOUNT_FIELDS, ceilings_of, numbers_of
from organism.ledger.account_balance import Balance
from organism.stores.shared.slice_rows import LimitChange, SliceRow


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
        """Whether the file, if none is newer, says something else of a limit than the cluster has heard of files.

        Only where it was known here before: what is new in it is passed on with what operators have said since.
        """
        if row is None or not 0 < row.configuration <= self.order or self.is_unsaid(balance):
            return False
        return balance.limits == balance.agreed and row.configured != units(balance.configured)

    def has_changed(self, balance: Balance, row: SliceRow | None) -> bool:
        """Whether the file says something else now that was not passed on, also where an operator has spoken since.

        Of a change that an earlier owner has not passed on only the shared row tells: whether it knows the file's word.
        """
        if row is None or balance.account in self._seen or balance.limits == balance.agreed:
            return self.is_unsaid(balance)
        if row.configuration == 0:  # no file has said anything yet, so this one says what is not an operator's
            return balance.limits == balance.configured
        return row.configured != units(balance.configured)

    def is_unsaid(self, balance: Balance) -> bool:
        """Whether the file says something else than was noted last."""
        return self._seen.get(balance.account, balance.configured) != balance.configured

    def note(self, balance: Balance, *, anew: bool = True) -> None:
        """Note what the file says of a limit: it is passed on, or there is nothing to pass on.

        Args:
            anew: Whether also where something was noted before.
        """
        if anew or balance.account not in self._seen:
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


def changes_of(balance: Balance, order: int, before: Limits | None) -> Iterator[LimitChange]:
    """Yield what has changed in a limit, for all partitions: first what the file says, then what an operator has said.

    An operator's limits are told as they are, and not by how much they moved: what the others know of the limit by now
    may be something else than the operator has seen. Units that he has left alone are left alone.

    Args:
        balance: The account.
        order: How late the file was ordered; 0 where what it says is not to be passed on.
        before: What the limits were before an operator has changed them; ``None`` where one has just said all of them,
            which may be what they are believed to be already.
    """
    limits, configured = ceilings_of(balance.limits), ceilings_of(balance.configured)
    every = (True,) * len(configured)
    if order:
        yield _change(balance, configured, every, order)
    moved = every if before is None else tuple(map(ne, limits, ceilings_of(before)))
    if any(moved):
        yield _change(balance, limits, moved)


def _change(balance: Balance, limits: tuple[int | None, ...], units: tuple[bool, ...], order: int = 0) -> LimitChange:
    return LimitChange(
        limits=limits,
        units=units,
        revision=balance.revision,
        standing=tuple(balance.fired),
        configured=ceilings_of(balance.configured),
        configuration=order,
    )
