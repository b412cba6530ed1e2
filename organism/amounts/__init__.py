"""Amounts of tokens, money, time and calls, all integers.

Money is nano-USD: at $0.15 per million tokens one token costs 150 nano-USD, which micro-USD could not hold exactly.
A float never reaches the ledger, so no rounding error and no NaN can either.
"""

import math
import re
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from organism.error_root import AmountError, ConfigError
from organism.text.error_text import shown

NANOUSD_PER_USD = 1_000_000_000
NS_PER_S = 1_000_000_000
AMOUNT_MAX = 2**63 - 1
"""The largest integer that a SQLite column or a signed 64-bit counter downstream can hold."""

CALL_TOKENS_MAX = 2**31 - 1
"""The most tokens that one call may ask for on one side; nothing is that long, and no price makes it overflow."""

COUNTED_TOKENS_MAX = 10_000_000
"""More tokens than that in one bucket of a provider's usage are no count."""

CALL_NANOUSD_MAX = 2**53 - 1
"""The most one call may cost, nine million dollars: a thousand of such calls still fit :data:`AMOUNT_MAX`."""

UsageSide = Literal["input", "output"]
"""The two sides of usage, either of which a provider may leave out."""

_DOLLARS = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?")
_FLOAT_ERROR = Decimal("1e-14")
"""What a few sums and products of floats are off by, in parts of the result."""

_USD_DIGITS_MAX = 9
"""Dollars of up to ten digits still fit 64 bits as nano-USD."""

Dollars = str | int | float | Decimal
"""Dollars as people write them."""

Dimension = Literal["tokens", "usd", "seconds", "calls"]
"""What a limit can count; each is described in :data:`organism.amounts.units.UNITS`."""


class TokenUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call in disjoint buckets: every token is in exactly one of them.

    Providers disagree on whether cached tokens are part of the input (OpenAI: yes, Anthropic: no) and reasoning
    part of the output; adapters translate into these buckets so that nothing is ever counted twice.
    """

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def input_total(self) -> int:
        """Everything that was sent: uncached, read from a cache and written to one."""
        return self.input + self.cached_input + self.cache_write

    @property
    def output_total(self) -> int:
        """Everything that was generated, visible or not."""
        return self.output + self.reasoning

    @property
    def total(self) -> int:
        """All buckets together: what a token limit counts."""
        return self.input_total + self.output_total

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        """Add bucket by bucket."""
        return TokenUsage(
            input=self.input + other.input,
            cached_input=self.cached_input + other.cached_input,
            cache_write=self.cache_write + other.cache_write,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
        )

    def __sub__(self, part: "TokenUsage") -> "TokenUsage":
        """Return what is left without a part of it.

        Raises:
            ValueError: If it is no part of it.
        """
        left = {name: getattr(self, name) - getattr(part, name) for name in self.__struct_fields__}
        if min(left.values()) < 0:
            raise ValueError(f"{part} is no part of {self}")
        return TokenUsage(**left)


class Amounts(msgspec.Struct, frozen=True, gc=False):
    """What a hold takes or a call has cost, in the units that add up: tokens, nano-USD, calls.

    Wall time is not here: two parallel calls of a second make a thread one second older, not two.
    """

    tokens: int = 0
    cost_nanousd: int = 0
    calls: int = 0

    @property
    def usd(self) -> Decimal:
        """The money in dollars, exactly."""
        return dollars_of(self.cost_nanousd)

    def __add__(self, other: "Amounts") -> "Amounts":
        """Add unit by unit."""
        return Amounts(self.tokens + other.tokens, self.cost_nanousd + other.cost_nanousd, self.calls + other.calls)

    def __sub__(self, other: "Amounts") -> "Amounts":
        """Subtract unit by unit; the result may be negative."""
        return Amounts(self.tokens - other.tokens, self.cost_nanousd - other.cost_nanousd, self.calls - other.calls)

    def within(self, most: "Amounts") -> "Amounts":
        """Return what of it is within an amount, unit by unit; itself when all of it is."""
        if self.tokens <= most.tokens and self.cost_nanousd <= most.cost_nanousd and self.calls <= most.calls:
            return self
        return Amounts(
            min(self.tokens, most.tokens), min(self.cost_nanousd, most.cost_nanousd), min(self.calls, most.calls)
        )


ZERO = Amounts()


class _ReadsPlainUnits(msgspec.StructMeta):
    """Lets :class:`Limits` be made from dollars and seconds; what is stored and read back stays integers."""

    def __call__(self, *, usd: Dollars | None = None, seconds: float | None = None, **exact: int | None) -> Any:
        """Make limits.

        Raises:
            ConfigError: If one is no amount, or is given in two units.
        """
        if usd is not None:
            _once("usd", "cost_nanousd", exact)["cost_nanousd"] = _limit_nanousd(usd)
        if seconds is not None:
            _once("seconds", "elapsed_ns", exact)["elapsed_ns"] = _limit_ns(seconds)
        return super().__call__(**exact)


def _once(plain: str, unit: str, exact: dict[str, int | None]) -> dict[str, int | None]:
    """Refuse a limit that is given in two units.

    Raises:
        ConfigError: If it is.
    """
    if exact.get(unit) is not None:
        raise ConfigError(f"the same limit is given twice, as {plain} and as {unit}")
    return exact


class Limits(msgspec.Struct, frozen=True, kw_only=True, gc=False, metaclass=_ReadsPlainUnits):
    """Ceilings of one scope; ``None`` means that this unit is not limited there.

    ``Limits(tokens=5000, usd="0.10", seconds=60, calls=20)``, in the units of organism.yaml. Dollars may be text, an
    integer, a decimal, or a float, which is taken as the shortest decimal that it prints as.

    Attributes:
        tokens: All tokens, input and output.
        cost_nanousd: Money in nano-USD; may be given as ``usd``, in dollars.
        elapsed_ns: Nanoseconds the thread has been open and not parked; may be given as ``seconds``.
        calls: Attempts sent to a provider and not rejected by it.
    """

    tokens: int | None = None
    cost_nanousd: int | None = None
    elapsed_ns: int | None = None
    calls: int | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            tokens: int | None = None,
            usd: Dollars | None = None,
            seconds: float | None = None,
            calls: int | None = None,
            cost_nanousd: int | None = None,
            elapsed_ns: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Refuse what is no amount: half a token in the ledger would be found by the next start, not by this one.

        Raises:
            ConfigError: If a limit is no integer from 0 to 2^63 - 1.
        """
        for unit in self.__struct_fields__:
            limit = getattr(self, unit)
            if limit is not None and not (type(limit) is int and 0 <= limit <= AMOUNT_MAX):
                raise ConfigError(
                    f"the limit {unit} is {shown(limit, 40)}; it must be a whole number from 0 to 2^63 - 1"
                )

    @property
    def unlimited(self) -> bool:
        """Whether no unit is limited."""
        return self == UNLIMITED


def _limit_nanousd(usd: object) -> int:
    """Read the dollars of a limit.

    Raises:
        ConfigError: If they are none.
    """
    try:
        return dollars_nanousd(usd)
    except ValueError as error:
        raise ConfigError(f"the limit usd is {shown(usd, 40)}: {error}") from None


def _limit_ns(seconds: object) -> int:
    """Read the seconds of a limit.

    Raises:
        ConfigError: If they are none.
    """
    most = AMOUNT_MAX // NS_PER_S
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= most:
        raise ConfigError(f"the limit seconds is {shown(seconds, 40)}; it must be a number from 0 to {most:,}")
    return math.ceil(seconds * NS_PER_S)


UNLIMITED = Limits()


class BudgetState(msgspec.Struct, frozen=True, gc=False):
    """One account at one instant.

    Attributes:
        account: The scope's name, such as ``thread:th_1``.
        limits: Its ceilings.
        spent: What is settled.
        held: What open calls have taken.
        elapsed_ns: Nanoseconds open and not parked; 0 for a scope that is not a thread.
        revision: Counts changes of the limits, from 1.
        unpriced_calls: Settled calls whose cost is unknown: with any, ``spent.cost_nanousd`` is a lower bound.
        resets_ns: When what is spent counts no more, nanoseconds since the Unix epoch: the end of the day, or when the
            youngest spend of a rolling window is older than that; ``None`` if it counts for good.
    """

    account: str
    limits: Limits
    spent: Amounts
    held: Amounts
    elapsed_ns: int = 0
    revision: int = 1
    unpriced_calls: int = 0
    resets_ns: int | None = None


def nanousd(usd: str | int | Decimal) -> int:
    """Convert dollars to nano-USD, rounding up.

    Args:
        usd: Dollars as an integer, a decimal or the text of one; never a float, whose error would become money.

    Raises:
        ValueError: If the text is not a finite, non-negative decimal number or does not fit 64 bits.
    """
    # Python reads digits of every script, and 1_000 and 1e3 besides; text like that was meant as something else.
    if isinstance(usd, str) and not _DOLLARS.fullmatch(usd):
        raise ValueError(f"not an amount of dollars: {shown(usd)}")
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        raise ValueError(f"not an amount of dollars: {usd!r}") from None
    # The magnitude is checked before the conversion: int(Decimal("1e999999999")) would never end.
    if not amount.is_finite() or amount < 0 or amount.adjusted() > _USD_DIGITS_MAX:
        raise ValueError(f"not an amount of dollars: {usd!r}")
    cost_nanousd = int((amount * NANOUSD_PER_USD).to_integral_value(ROUND_CEILING))
    if cost_nanousd > AMOUNT_MAX:
        raise ValueError(f"more dollars than 64 bits of nano-USD can hold: {usd!r}")
    return cost_nanousd


def dollars_nanousd(usd: object) -> int:
    """Convert dollars as programs write them to nano-USD, rounding up; a float is the shortest decimal it prints as.

    Raises:
        ValueError: As :func:`nanousd`, or if it is nothing of the kind.
    """
    if isinstance(usd, bool) or not isinstance(usd, str | int | float | Decimal):
        raise ValueError(f"not an amount of dollars: {shown(usd)}")  # noqa: TRY004 - one error for one mistake
    return nanousd(Decimal(repr(usd)) if isinstance(usd, float) else usd)


def cost_of(usd: object) -> int:
    """Convert dollars that something has cost to nano-USD, exactly.

    A float is a computed one as a rule: what its arithmetic leaves behind the ninth decimal is its own error and is
    dropped, what is more than that is rounded up. In text and decimals a tenth decimal is a mistake.

    Raises:
        AmountError: As :func:`dollars_nanousd`, if it is finer than a nano-dollar, or more than one call may cost.
    """
    try:
        cost_nanousd = dollars_nanousd(usd)
    except ValueError as error:
        raise AmountError(str(error)) from None
    exact = Decimal(repr(usd) if isinstance(usd, float) else usd) * NANOUSD_PER_USD  # type: ignore[arg-type]
    if isinstance(usd, float):
        nearest = int(exact.to_integral_value())
        if nearest and abs(exact - nearest) <= _FLOAT_ERROR * max(NANOUSD_PER_USD, nearest):
            cost_nanousd = nearest
    if exact != cost_nanousd and (exact < 1 or not isinstance(usd, float)):
        raise AmountError(f"finer than a nano-dollar, 0.000000001: {shown(usd)}")
    if cost_nanousd > CALL_NANOUSD_MAX:
        raise AmountError(f"more than {format_usd(CALL_NANOUSD_MAX)}, the most that anything may cost: {shown(usd)}")
    return cost_nanousd


def dollars_of(cost_nanousd: int) -> Decimal:
    """Convert nano-USD to dollars, exactly."""
    return Decimal(cost_nanousd) / NANOUSD_PER_USD


def format_usd(cost_nanousd: int) -> str:
    """Write nano-USD as dollars with as many digits as it takes, at least two: ``$0.50``, ``$0.000150``."""
    whole, rest = divmod(abs(cost_nanousd), NANOUSD_PER_USD)
    digits = f"{rest:09d}".rstrip("0")
    kept = digits if len(digits) > 2 else digits.ljust(2, "0")  # noqa: PLR2004
    sign = "-" if cost_nanousd < 0 else ""
    return f"{sign}${whole:,}.{kept}"


def format_usd_estimate(cost_nanousd: int) -> str:
    """Write what is only reckoned, such as a pace, as :func:`format_usd` does, with three digits that mean something.

    What was spent is never written so: the figures of a table would not add up.
    """
    beyond = max(0, len(str(abs(cost_nanousd))) - 3)
    cents = 7  # digits of nano-USD below a cent: dollars have whole cents, however many there are
    return format_usd(round(cost_nanousd, -min(beyond, cents)))
