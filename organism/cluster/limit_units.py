"""Limits and amounts unit by unit, as the partitions of a cluster share them. Pure arithmetic."""

from msgspec.structs import replace

from organism.amounts import Amounts, Limits
from organism.amounts.units import AMOUNT_FIELDS, ceilings_of, numbers_of


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
