"""Days, dollars and tokens as bills write them. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from organism.amounts import NANOUSD_PER_USD, TokenUsage
from organism.errors import ConfigError

_USD_MAX = 10**10
_MS_FROM = 10**11
"""Epoch numbers from here on are milliseconds: as seconds they would lie beyond the year 5000."""
_US_FROM = 10**14
_EPOCH = re.compile(r"\d{9,16}(\.\d+)?")
_DAY_MONTH_YEAR = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_NAMED_MONTH = ("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%Y/%m/%d", "%Y%m%d")
_NOTHING = frozenset({"", "-", "–", "—", "n/a", "null", "none"})  # noqa: RUF001 - dashes as spreadsheets write them
_MONEY_SIGNS = re.compile(r"(?i)us\$|usd|\$")
_BLANKS = re.compile(r"[\s'’\u00a0\u202f]")  # noqa: RUF001 - what groups thousands in one country or another
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


def day_of(value: Any) -> tuple[date, tzinfo | None]:
    """Read the day a line is about, and where that day begins if the value tells.

    Raises:
        ValueError: If it is no day, or could be two.
    """
    text = str(value).strip()
    if _EPOCH.fullmatch(text):
        number = Decimal(text)
        seconds = int(number / 10**6 if number >= _US_FROM else number / 1000 if number >= _MS_FROM else number)
        return datetime.fromtimestamp(seconds, UTC).date(), UTC
    if found := _DAY_MONTH_YEAR.fullmatch(text):
        day, month, year = map(int, found.groups())
        return date(year, month, day), None
    if found := _SLASHES.fullmatch(text):
        return _of_slashes(text, *map(int, found.groups())), None
    for form in _NAMED_MONTH:
        try:
            return datetime.strptime(text, form).date(), None  # noqa: DTZ007 - a day, not an instant
        except ValueError:
            continue
    instant = datetime.fromisoformat(text.removesuffix(" UTC") + ("+00:00" if text.endswith(" UTC") else ""))
    return instant.date(), instant.tzinfo


def _of_slashes(text: str, first: int, second: int, year: int) -> date:
    """Read month/day/year, as the consoles' home writes it, unless it may as well be day/month/year."""
    if first == second or second > 12:  # noqa: PLR2004 - months of a year
        return date(year, first, second)
    if first > 12:  # noqa: PLR2004
        return date(year, second, first)
    raise ValueError(f"{text!r} may be two days; write it as YYYY-MM-DD")


def nanousd_of(value: Any, *, comma: bool = False, scale: Decimal = Decimal(1)) -> int:
    """Read an amount of dollars as nano-USD; nothing is nothing, as a day without use has it.

    Args:
        value: A number, or a text with or without signs of money and groups of thousands.
        comma: Whether a comma alone stands before decimals, as in tables whose cells are not separated by commas.
        scale: Dollars for each one of the value.

    Raises:
        ValueError: If it is no amount of dollars.
        decimal.InvalidOperation: Likewise.
    """
    text = _BLANKS.sub("", _MONEY_SIGNS.sub("", str(value).strip())).replace("−", "-")  # noqa: RUF001
    if text.lower() in _NOTHING:
        return 0
    if text.startswith("(") and text.endswith(")"):  # how accountants write what is given back
        text = f"-{text[1:-1]}"
    try:
        amount = Decimal(_with_point(text, comma=comma)) * scale
    except InvalidOperation:
        raise ValueError(f"not an amount of dollars: {str(value)!r}") from None
    if not amount.is_finite() or abs(amount) > _USD_MAX:
        raise ValueError(f"not an amount of dollars: {str(value)!r}")
    return int((amount * NANOUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def _with_point(text: str, *, comma: bool) -> str:
    """Write a number with a point before its decimals and without groups."""
    if "," not in text:
        return text.replace(".", "") if text.count(".") > 1 else text
    if "." in text:
        decimals_after_comma = text.rindex(",") > text.rindex(".")
        return text.replace(".", "").replace(",", ".") if decimals_after_comma else text.replace(",", "")
    if text.count(",") > 1 or (not comma and _GROUPED.fullmatch(text) and not text.lstrip("+-").startswith("0")):
        return text.replace(",", "")
    return text.replace(",", ".")


def tokens_of(result: Mapping[str, Any], where: str) -> TokenUsage | None:
    """Read the tokens of a result of a report of usage; ``None`` if it has none.

    Args:
        result: It, by the names of its fields: of OpenAI's, whose input has all of it, or of Anthropic's.
        where: What it is called in an error.

    Raises:
        ConfigError: If a count is none.
    """

    def count(name: str, within: Mapping[str, Any] = result) -> int:
        found = within.get(name)
        if found is None:
            return 0
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise ConfigError(f"{where} of the bill cannot be read: {name} is no count: {str(found)[:40]!r}")
        return found

    if "uncached_input_tokens" in result:
        created = result.get("cache_creation")
        written = sum(count(name, created) for name in created) if isinstance(created, Mapping) else 0
        read = count("cache_read_input_tokens")
        return TokenUsage(count("uncached_input_tokens"), read, written, count("output_tokens"))
    if "input_tokens" not in result:
        return None
    read, written = count("input_cached_tokens"), count("input_cache_write_tokens")
    return TokenUsage(max(0, count("input_tokens") - read - written), read, written, count("output_tokens"))
