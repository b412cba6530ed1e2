"""The units in which budgets are counted, each described once. Pure.

A unit is a row of :data:`UNITS`, a field of :class:`~organism.amounts.Limits` and, unless a clock counts it, one of
:class:`~organism.amounts.Amounts`. What depends on what a unit means stands in the places that
``tests/test_units.py`` lists; everything else goes over this table.
"""

from collections.abc import Callable, Mapping

import msgspec

from organism.amounts import NANOUSD_PER_USD, NS_PER_S, Amounts, Dimension, Limits, format_usd
from organism.text.plain_text import counted


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One unit of budgets.

    Attributes:
        limit: Its field in :class:`~organism.amounts.Limits`.
        amount: Its field in :class:`~organism.amounts.Amounts`; ``None`` where a clock counts, and not calls.
        integer: What its integers count, as refusals name it: ``nanousd``.
        scale: How many of these are one of what people write: a dollar, a second.
        first: What is offered to begin with where the limit is nothing, in its integers.
        text: Writes an amount with its unit, for people.
    """

    limit: str
    amount: str | None
    integer: str
    scale: int = 1
    first: int
    text: Callable[[int], str]

    @property
    def adds_up(self) -> bool:
        """Whether calls take of it; else time passes for all alike."""
        return self.amount is not None


UNITS: Mapping[Dimension, Unit] = {
    "tokens": Unit(
        limit="tokens", amount="tokens", integer="tokens", first=10_000, text=lambda amount: counted(amount, "token")
    ),
    "usd": Unit(
        limit="cost_nanousd",
        amount="cost_nanousd",
        integer="nanousd",
        scale=NANOUSD_PER_USD,
        first=NANOUSD_PER_USD,
        text=format_usd,
    ),
    "seconds": Unit(
        limit="elapsed_ns",
        amount=None,
        integer="nanoseconds",
        scale=NS_PER_S,
        first=60 * NS_PER_S,
        text=lambda amount: f"{amount / NS_PER_S:,.1f} s",
    ),
    "calls": Unit(
        limit="calls", amount="calls", integer="calls", first=10, text=lambda amount: counted(amount, "call")
    ),
}
"""Every unit, in the order in which refusals name them."""

DIMENSIONS: tuple[Dimension, ...] = tuple(UNITS)

ADDITIVE: tuple[Dimension, ...] = tuple(name for name, unit in UNITS.items() if unit.adds_up)
"""What adds up, so that a child can be given of it and spend can be corrected: wall time passes for all alike."""

AMOUNT_FIELDS = Amounts.__struct_fields__
"""The same as fields of :class:`~organism.amounts.Amounts`, which are named as those of the limits are."""


def limit_of(limits: Limits, dimension: Dimension) -> int | None:
    """Return the ceiling of one dimension in its integer unit, or ``None``."""
    limit: int | None = getattr(limits, UNITS[dimension].limit)
    return limit


def amount_of(amounts: Amounts, dimension: Dimension, elapsed_ns: int = 0) -> int:
    """Return what counts against the limit of one dimension; time, which is no amount, is given beside them."""
    field = UNITS[dimension].amount
    amount: int = elapsed_ns if field is None else getattr(amounts, field)
    return amount


def numbers_of(amounts: Amounts) -> tuple[int, ...]:
    """Return amounts as numbers, in the order of :data:`AMOUNT_FIELDS`."""
    return msgspec.structs.astuple(amounts)


def ceilings_of(limits: Limits) -> tuple[int | None, ...]:
    """Return the limits of what adds up, in the order of :data:`AMOUNT_FIELDS`."""
    return tuple(getattr(limits, field) for field in AMOUNT_FIELDS)


def limited_units(limits: Limits) -> list[tuple[Dimension, int]]:
    """Return the units that are limited, each with its ceiling in the unit's integer."""
    return [(unit, limit) for unit in DIMENSIONS if (limit := limit_of(limits, unit)) is not None]


def whole(limits: Limits) -> Amounts:
    """Return all that limits allow to be spent; what they do not limit counts as nothing."""
    return Amounts(*(ceiling or 0 for ceiling in ceilings_of(limits)))


def positive(amounts: Amounts) -> Amounts:
    """Return amounts without what is below zero."""
    return Amounts(*(max(0, number) for number in numbers_of(amounts)))


def limited(amounts: Amounts, limits: Limits) -> Amounts:
    """Return amounts in the units that are limited; nothing of the others."""
    pairs = zip(numbers_of(amounts), ceilings_of(limits), strict=True)
    return Amounts(*(0 if ceiling is None else number for number, ceiling in pairs))


def format_amount(dimension: Dimension, amount: int) -> str:
    """Write an amount of one dimension with its unit, for people."""
    return UNITS[dimension].text(amount)


def format_limits(limits: Limits) -> str:
    """Write limits for people, such as ``1,000 tokens, $0.50``; empty where nothing is limited."""
    return ", ".join(format_amount(unit, limit) for unit, limit in limited_units(limits))
