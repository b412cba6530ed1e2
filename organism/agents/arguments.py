"""Checks of what handlers hand to their context, made where the handler can see them: in its own line. Pure.

What passes here can be written to the journal and read back. A wrong type that went further would be found by the
pump's own tasks, or by the next start.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from organism.amounts import CALL_TOKENS_MAX, Dollars, Limits, cost_of, dollars_nanousd
from organism.errors import AmountError, ConfigError
from organism.llm.requests import VendorItem
from organism.llm.server_tools import asked_tools, uses_of
from organism.router.spending.expense import Expense
from organism.text.error_text import shown
from organism.threads.approvals import BudgetRequest, check_more
from organism.usage.attempts import Operation

SECONDS_MAX = 10 * 365 * 86_400.0
"""Ten years: more nanoseconds than that since 1970 would soon leave 64 bits."""

KEY_MAX = 200
"""Characters of the name of a piece of work."""

VENDOR_USES_MAX = 2**31 - 1
"""Uses of a vendor's tool for one answer; what they cost is bounded by the budget."""

WHAT_MAX = 64
"""Bytes of the name of what is paid for: a label of sums and metrics."""

TEXT_BYTES_MAX = 1_000_000
"""Bytes of a text for a person; the default of ``bounds.message_bytes``."""


def text(value: object, what: str, *, most: int = TEXT_BYTES_MAX, empty: bool = True) -> str:
    """Return a text that can be kept.

    Raises:
        ConfigError: If it is none, too long, empty where it may not be, or holds half a surrogate pair.
    """
    if type(value) is str and value.isascii() and 0 < len(value) <= most:
        return value  # as nearly always
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be text, not {shown(value)}")
    value = str(value)
    if not empty and not value:
        raise ConfigError(f"{what} is empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ConfigError(
            f"{what} holds half of a surrogate pair, which no encoding can hold: {shown(value)}"
        ) from None
    if size > most:
        raise ConfigError(f"{what} is longer than {most:,} bytes")
    return value


def seconds(value: object, what: str, *, zero: bool = False) -> float:
    """Return a finite, positive number of seconds.

    Raises:
        ConfigError: If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{what} must be a number of seconds, not {shown(value)}")
    if not 0 <= value <= SECONDS_MAX or not (zero or value) or math.isnan(value):
        raise ConfigError(
            f"{what} must be {'0 or more' if zero else 'more than 0'} seconds, at most ten years, not {shown(value)}"
        )
    return value


def dollars(value: object, what: str) -> int:
    """Return an amount of dollars that something has cost, in nano-USD.

    Raises:
        AmountError: If it is none.
    """
    try:
        return cost_of(value)
    except AmountError as error:
        raise AmountError(f"{what}: {error}") from None


def whole(value: object, what: str, *, least: int, most: int) -> int:
    """Return an integer within bounds.

    Raises:
        ConfigError: If it is none.
    """
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{what} must be a whole number from {least:,} to {most:,}, not {shown(value)}")
    return value


def number(value: object, what: str) -> float | None:
    """Return a finite number, or ``None``.

    Raises:
        ConfigError: If it is neither.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{what} must be a finite number, not {shown(value)}")
    return value


def several(value: object, what: str) -> tuple[object, ...]:
    """Return the members of a list or tuple.

    Raises:
        ConfigError: If it is neither, text included.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ConfigError(f"{what} must be a list or a tuple, not {shown(value)}")
    return tuple(value)


def vendor_tools(value: object) -> tuple[tuple[VendorItem, ...], VendorItem | None]:
    """Return what a request asks of its vendor's own tools; see :func:`organism.llm.server_tools.asked_tools`.

    Raises:
        ConfigError: If they are no tools by name, or of two vendors.
    """
    wanted: Any = value if isinstance(value, Mapping) else several(value, "vendor_tools")
    names = [text(name, "the type of a vendor's tool", most=KEY_MAX, empty=False) for name in wanted]
    if len(names) > len(set(names)):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{shown(twice)} is named twice; say how often it may be used: {{{twice}: 2}}")
    uses = {
        name: whole(most, f"how often {shown(name)} may be used", least=1, most=VENDOR_USES_MAX)
        for name, most in uses_of(wanted).items()
    }
    try:
        return asked_tools(uses)
    except ValueError as error:
        raise ConfigError(str(error), path="vendor_tools") from None


def budget_request(usd: Dollars, tokens: int, seconds: int | None) -> BudgetRequest:
    """Return what is asked for in integer units.

    Raises:
        ConfigError: If something is no amount, or all is nothing.
    """
    try:
        cost_nanousd = dollars_nanousd(usd)
    except ValueError as error:
        raise ConfigError(str(error), path="usd") from None
    check_more(tokens, cost_nanousd, seconds)
    if not (cost_nanousd or tokens):
        raise ConfigError("ask for some usd or tokens")
    return BudgetRequest(tokens=tokens, cost_nanousd=cost_nanousd, seconds=seconds)


def child_budget(limits: object, budget: object) -> None:
    """Check what a child thread is to spend.

    Raises:
        ConfigError: If the limits are none, or the way they are given is not known.
    """
    if limits is not None and not isinstance(limits, Limits):
        raise ConfigError(f"the limits must be organism.Limits, not {shown(limits)}")
    if budget not in ("shared", "carved"):
        raise ConfigError(f"the budget of a child is 'shared' or 'carved', not {shown(budget)}")


def expense(usd: object, tokens: object, what: object, default: str, operation: Operation = "charge") -> Expense:
    """Make an expense of what a handler has given; it goes by a default name where that is not said.

    Raises:
        ConfigError: If something of it is wrong.
    """
    name = text(default if what is None else what, "what is paid for", most=WHAT_MAX, empty=False)
    count = whole(tokens, "tokens", least=0, most=CALL_TOKENS_MAX)
    return Expense(what=name, cost_nanousd=dollars(usd, "usd"), tokens=count, operation=operation)
