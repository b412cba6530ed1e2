"""Prices of runs of tools: by the call, by the second, by the unit of the result. Pure.

The worst case of a run is known before it begins: one call, the seconds of its timeout, the most units of its price.
Its cost is known from its duration and its result.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from organism.amounts import CALL_NANOUSD_MAX, NS_PER_S, cost_of, format_usd
from organism.errors import ConfigError
from organism.text.error_text import shown

UNITS_MAX = 100
"""Units held for a result, unless its price says how many there may be."""

_MOST_UNITS = 1_000_000_000
_KEYS = ("call", "second", "unit", "of", "max_units")


class ToolPrice(msgspec.Struct, frozen=True, kw_only=True):
    """The price of a run of a tool; its parts add up.

    Attributes:
        call: Nano-USD of a run.
        second: Nano-USD of each second that it takes.
        unit: Nano-USD of each unit of its result.
        of: The field of a JSON result that holds the units, as a list or as their number; empty for a result that is
            itself a list or a number.
        max_units: The most units a result is expected to have.
    """

    call: int = 0
    second: int = 0
    unit: int = 0
    of: str = ""
    max_units: int = UNITS_MAX

    @property
    def source(self) -> str:
        """The price source of a cost, with a digest of the price."""
        return f"tool price {sha256(msgspec.json.encode(self)).hexdigest()[:8]}"

    def __str__(self) -> str:
        """Return the price in words, such as ``$0.005 a call, $0.001 of each of up to 20 results``."""
        parts = []
        if self.call:
            parts.append(f"{format_usd(self.call)} a call")
        if self.second:
            parts.append(f"{format_usd(self.second)} a second")
        if self.unit:
            parts.append(f"{format_usd(self.unit)} for each of up to {self.max_units:,} {self.of or 'results'}")
        return ", ".join(parts) or "free"

    def worst_case(self, timeout_s: float) -> int:
        """Return the worst case of a run, in nano-USD."""
        return self.call + self._of_time(timeout_s) + self.unit * self.max_units

    def cost(self, seconds: float, units: int | None) -> int:
        """Return the cost of a run in nano-USD, rounded up.

        Args:
            seconds: How long it took.
            units: Units of its result; ``None`` if they cannot be counted: then the most are charged.
        """
        return self.call + self._of_time(seconds) + self.unit * (self.max_units if units is None else units)

    def _of_time(self, seconds: float) -> int:
        elapsed_ns = max(0, round(seconds * NS_PER_S))
        return -(-self.second * elapsed_ns // NS_PER_S)


def units_of(price: ToolPrice, result: str) -> int | None:
    """Return the units of a result, a text that should be JSON; ``None`` if they cannot be counted."""
    try:
        found = msgspec.json.decode(result)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    if price.of and isinstance(found, dict):
        found = found.get(price.of)
    if isinstance(found, list):
        return len(found)
    is_count = isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= _MOST_UNITS
    return found if is_count else None


def tool_price(written: object) -> ToolPrice:
    """Return a price given as dollars a call, or ``{"call": ..., "second": ..., "unit": ..., "of": ...}``.

    Raises:
        ConfigError: If it is not a price.
    """
    if isinstance(written, ToolPrice):
        return _checked(written)
    if not isinstance(written, Mapping):
        return _checked(ToolPrice(call=_nanousd("" if written is None else written, "price")))
    unknown = [key for key in written if key not in _KEYS]
    if unknown:
        raise ConfigError(f"a tool's price has no {shown(unknown[0])}; it has: {', '.join(_KEYS)}", path="price")
    given: dict[str, Any] = dict(written)
    if not any(given.get(key) is not None for key in ("call", "second", "unit")):
        raise ConfigError("a tool's price says what a call, a second or a unit costs", path="price")
    per_unit = given.get("unit") is not None
    if not per_unit and (given.get("of") is not None or given.get("max_units") is not None):
        raise ConfigError("a tool's price that says 'of' or 'max_units' says what a 'unit' costs", path="price")
    of = given.get("of")
    if of is not None and not (isinstance(of, str) and of):
        raise ConfigError(f"'of' names the field of the result that is counted, not {shown(of)}", path="price.of")
    return _checked(
        ToolPrice(
            call=_nanousd(given.get("call"), "price.call"),
            second=_nanousd(given.get("second"), "price.second"),
            unit=_nanousd(given.get("unit"), "price.unit"),
            of=of or "",
            max_units=UNITS_MAX if given.get("max_units") is None else given["max_units"],
        )
    )


def _checked(price: ToolPrice) -> ToolPrice:
    """Refuse a price by which one run could cost more than the sums of a ledger are made for.

    Raises:
        ConfigError: If so.
    """
    units = price.max_units
    if type(units) is not int or not 1 <= units <= _MOST_UNITS:
        raise ConfigError(
            f"'max_units' is a whole number from 1 to {_MOST_UNITS:,}, not {shown(units)}", path="price.max_units"
        )
    for part in ("call", "second", "unit"):
        nano = getattr(price, part)
        if type(nano) is not int or nano < 0:
            raise ConfigError(f"nano-USD are a whole number from 0, not {shown(nano)}", path=f"price.{part}")
    if price.worst_case(_DAY_S) > CALL_NANOUSD_MAX:
        raise ConfigError(f"by this price one run could cost more than {format_usd(CALL_NANOUSD_MAX)}", path="price")
    return price


_DAY_S = 86_400.0


def _nanousd(usd: object, path: str) -> int:
    if usd is None:
        return 0
    try:
        return cost_of(usd)
    except ValueError as error:
        raise ConfigError(str(error), path=path) from None
