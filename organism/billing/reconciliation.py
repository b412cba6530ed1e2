"""What a provider has billed beside what was recorded: the drift between the two, by day and model. Pure."""

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta, tzinfo

import msgspec

from organism.amounts import NANOUSD_PER_USD, NS_PER_S, TokenUsage, format_usd
from organism.billing.bill import BillLine
from organism.billing.period import Period, once
from organism.text.plain_text import counted as number_of
from organism.usage.events import AnyEvent, UsageEvent

_Key = tuple[date, str | None]


class BillDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One day, of one model if the bill tells it.

    Attributes:
        billed_nanousd: What the provider bills; ``None`` if the bill has no costs, but only what was counted.
        recorded_nanousd: What was charged here.
        calls: How many calls that is.
        in_doubt_nanousd: What of it was charged in full, because nobody knows what the provider has counted.
        unpriced_calls: Calls whose price is not known: they count as nothing here, and are billed.
        counted: The tokens that the provider has counted; ``None`` if the bill does not tell.
        recorded: The tokens that were charged here.
        in_doubt_tokens: What of these was charged in full.
    """

    day: date
    model: str | None
    billed_nanousd: int | None
    recorded_nanousd: int
    calls: int = 0
    in_doubt_nanousd: int = 0
    unpriced_calls: int = 0
    counted: TokenUsage | None = None
    recorded: TokenUsage = TokenUsage()
    in_doubt_tokens: int = 0

    @property
    def difference_nanousd(self) -> int | None:
        """Recorded above billed; negative when the provider bills more, which recording promises not to happen."""
        return None if self.billed_nanousd is None else self.recorded_nanousd - self.billed_nanousd

    @property
    def difference_tokens(self) -> int | None:
        """Tokens recorded above those that the provider has counted."""
        return None if self.counted is None else self.recorded.total - self.counted.total

    @property
    def reason(self) -> str:
        """Where the difference comes from, as far as what was recorded tells; empty where there is none."""
        money, tokens = self.difference_nanousd or 0, self.difference_tokens
        if abs(money) <= TOLERANCE_NANOUSD:
            return "" if not tokens else self._tokens_alone(tokens)
        if not self.calls:
            return f"billed more than recorded: {_NO_CALL}"
        if money < 0:
            return f"billed more than recorded: {self._why_more(tokens)}"
        if self.in_doubt_nanousd:
            return f"{format_usd(self.in_doubt_nanousd)} charged in full for calls whose count nobody knows"
        apart = f"{_apart(tokens)}, or " if tokens else self._same_tokens()
        return f"{apart}other prices, a discount or a credit"

    def _why_more(self, tokens: int | None) -> str:
        if self.unpriced_calls:
            calls = number_of(self.unpriced_calls, "call without a price counts", "calls without a price count")
            return f"{calls} as nothing here"
        if tokens is None:
            return "calls past organism, or other prices"
        if tokens < 0:
            return f"{number_of(-tokens, 'token')} more counted than recorded, by calls past organism"
        return f"{self._same_tokens()}other prices"

    def _same_tokens(self) -> str:
        """Say that it is not the tokens that differ, where the provider tells what it has counted."""
        if self.counted is None or self.difference_tokens:
            return ""
        cached = self.recorded.cached_input - self.counted.cached_input
        if not cached:
            return "the same tokens, so "
        less = f"{number_of(abs(cached), 'token')} {_LESS_MORE[cached > 0]}"
        return f"the same tokens, but {less} read from a cache there, or "

    def _tokens_alone(self, tokens: int) -> str:
        """Say why the tokens differ where the money does not, or is not told."""
        if not self.calls:
            return f"{_apart(tokens)}: {_NO_CALL}"
        if tokens > 0 and self.in_doubt_tokens:
            return f"{number_of(self.in_doubt_tokens, 'token')} charged in full for calls whose count nobody knows"
        return f"{_apart(tokens)}{': calls past organism' if tokens < 0 else ''}"


TOLERANCE_NANOUSD = NANOUSD_PER_USD // 200
"""Half a cent: bills are rounded."""

_NO_CALL = "no call here, so it was made past organism or under another model's name"
_LESS_MORE = ("more", "fewer")


def _apart(tokens: int) -> str:
    return f"{number_of(abs(tokens), 'token')} {_LESS_MORE[tokens > 0]} counted than recorded"


class _Recorded(msgspec.Struct):
    cost_nanousd: int = 0
    calls: int = 0
    in_doubt_nanousd: int = 0
    unpriced_calls: int = 0
    usage: TokenUsage = TokenUsage()
    in_doubt_tokens: int = 0

    def add(self, event: UsageEvent) -> None:
        cost, in_doubt = event.cost_nanousd or 0, event.outcome in _IN_DOUBT
        self.cost_nanousd += cost
        self.calls += event.outcome != "released"
        self.in_doubt_nanousd += cost if in_doubt else 0
        self.unpriced_calls += event.cost_nanousd is None and event.outcome != "released"
        self.usage += event.usage
        self.in_doubt_tokens += event.usage.total if in_doubt else 0


_IN_DOUBT = ("worst_case", "disputed")


class BillComparison:
    """Compares a bill with usage, event by event, on the days and for the models that the bill names.

    Days begin where the bill says, else where the period says. Days that are not whole in the period are left out,
    and days on which nothing was billed, counted or recorded.

    Args:
        bill: Its lines.
        period: Which days of it are compared.
    """

    def __init__(self, bill: Sequence[BillLine], period: Period) -> None:
        self._zone = next((line.zone for line in bill if line.zone is not None), period.time_zone)
        self._period = period
        self._priced = any(line.cost_nanousd is not None for line in bill)
        self._billed: dict[_Key, int] = {}
        self._counted: dict[_Key, TokenUsage] = {}
        self._recorded: dict[_Key, _Recorded] = {}
        self._families: dict[tuple[date, str], _Key] = {}
        lines = [line for line in bill if _holds_day(period, line.day, self._zone)]
        for line in lines:
            if line.counted is None:
                key = line.day, line.model
                self._billed[key] = self._billed.get(key, 0) + (line.cost_nanousd or 0)
        for day, model in sorted(self._billed, key=_order):
            if model is not None:
                self._families[day, _family(model)] = day, model
        for line in lines:
            if line.counted is not None:
                self._add_counted(line, line.counted)

    def add(self, event: AnyEvent) -> None:
        """Count an event in, if it is usage of a model and part of the period."""
        if not isinstance(event, UsageEvent) or event.tool or not self._period.holds(event):
            return  # no vendor of models bills tools
        day = datetime.fromtimestamp(event.time_ns // NS_PER_S, self._zone).date()
        names = [name for name in (event.request_model, event.response_model) if name]
        key = self._line_of(day, *names)
        if key is not None:
            self._recorded.setdefault(key, _Recorded()).add(event)

    def differences(self) -> tuple[BillDifference, ...]:
        """Return what was found, by day and model."""
        return tuple(
            found
            for key in sorted(self._billed.keys() | self._counted.keys(), key=_order)
            if (found := self._difference(key)).billed_nanousd
            or found.recorded_nanousd
            or (found.counted is not None and (found.counted.total or found.recorded.total))
        )

    def _add_counted(self, line: BillLine, tokens: TokenUsage) -> None:
        """Count tokens to the line of costs that they are part of; to a line of their own if there is none."""
        names = () if line.model is None else (line.model,)
        key = self._line_of(line.day, *names) or (line.day, line.model)
        self._counted[key] = self._counted.get(key, TokenUsage()) + tokens
        if key[1] is not None:
            self._families.setdefault((line.day, _family(key[1])), key)

    def _line_of(self, day: date, *names: str) -> _Key | None:
        """Find the line that a model is part of: by its very name, then by what the name means, then of all."""
        for name in (*names, None):
            if (day, name) in self._billed or (day, name) in self._counted:
                return day, name
        return next((key for name in names if (key := self._families.get((day, _family(name)))) is not None), None)

    def _difference(self, key: _Key) -> BillDifference:
        recorded = self._recorded.get(key, _Recorded())
        return BillDifference(
            day=key[0],
            model=key[1],
            billed_nanousd=self._billed.get(key, 0) if self._priced else None,
            recorded_nanousd=recorded.cost_nanousd,
            calls=recorded.calls,
            in_doubt_nanousd=recorded.in_doubt_nanousd,
            unpriced_calls=recorded.unpriced_calls,
            counted=self._counted.get(key),
            recorded=recorded.usage,
            in_doubt_tokens=recorded.in_doubt_tokens,
        )


def reconcile(used: Iterable[AnyEvent], bill: Sequence[BillLine], period: Period) -> tuple[BillDifference, ...]:
    """Compare a bill with events, of which those told twice count once; see :class:`BillComparison`."""
    compared = BillComparison(bill, period)
    for event in once(used):
        compared.add(event)
    return compared.differences()


def _order(key: _Key) -> tuple[date, str]:
    return key[0], key[1] or ""


def _holds_day(period: Period, day: date, zone: tzinfo) -> bool:
    """Whether all of a day is part of the period: of a part, the bill does not tell the cost."""
    begins = int(datetime.combine(day, time(), zone).timestamp()) * NS_PER_S
    ends = int(datetime.combine(day + timedelta(days=1), time(), zone).timestamp()) * NS_PER_S
    after = period.since_ns is None or begins >= period.since_ns
    return after and (period.until_ns is None or ends <= period.until_ns)


def _family(model: str) -> str:
    """Reduce a model's name to what it means: ``claude-haiku-4-5-20251001`` and ``Claude Haiku 4.5`` are one.

    Left out are dates, what stands in brackets, the vendor before a point or a slash, and the order of the words.
    """
    name = re.sub(r"\(.*?\)", " ", model.lower().rpartition("/")[2])
    name = re.sub(r"^(?:[a-z]+\.)+(?=[a-z])|-v\d+(:\d+)?$", "", name)
    name = re.sub(r"(?<!\d)20\d\d-?(?:0\d|1[0-2])-?(?:[0-2]\d|3[01])(?!\d)|\blatest\b", " ", name)
    words = re.findall(r"[a-z0-9]+", name)
    return " ".join(sorted(word for word in words if word.isalpha()) + [w for w in words if not w.isalpha()])
