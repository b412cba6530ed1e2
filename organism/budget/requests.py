"""Limits that somebody asks for, and what they get. One rule for everybody who opens a thread. Pure.

What a request does not name stays as it is configured. What it names can only lower that, unless the caller may
operate: then it is what was asked for, and a limit may be removed by saying so. So no request, key, child or program
from outside lifts a limit that an operator has set, whatever it leaves out.
"""

from typing import Literal

import msgspec

from organism.amounts import Limits

Removed = Literal["unlimited"]
"""Says in a request that a unit is not to be limited."""


class LimitsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that somebody asks for; ``None`` leaves a unit as it is configured.

    Attributes:
        tokens: All tokens, input and output.
        cost_nanousd: Money in nano-USD.
        elapsed_ns: Nanoseconds the thread is open and not parked.
        calls: Attempts sent to a provider.
    """

    tokens: int | Removed | None = None
    cost_nanousd: int | Removed | None = None
    elapsed_ns: int | Removed | None = None
    calls: int | Removed | None = None


def grant_limits(asked: LimitsRequest | Limits | None, configured: Limits, *, may_raise: bool) -> Limits:
    """Return the limits that a thread gets.

    Args:
        asked: What was asked for; nothing asks for nothing else than what is configured.
        configured: What it has if nothing is asked for, and the most that others than operators get.
        may_raise: Whether the caller may operate, so that it gets more than is configured where it says so.

    Raises:
        ConfigError: If a limit that is asked for is no whole number from 0 to 2^63 - 1.
    """
    if asked is None:
        return configured
    units = Limits.__struct_fields__
    removed = {unit for unit in units if getattr(asked, unit) == "unlimited"}
    named = Limits(**{unit: getattr(asked, unit) for unit in units if unit not in removed})
    granted: dict[str, int | None] = {}
    for unit in units:
        wanted, most = getattr(named, unit), getattr(configured, unit)
        if unit in removed:
            granted[unit] = None if may_raise else most
        elif wanted is None or most is None or may_raise:
            granted[unit] = most if wanted is None else wanted
        else:
            granted[unit] = min(wanted, most)
    return Limits(**granted)
