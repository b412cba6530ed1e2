"""What a provider has billed beside what was recorded: the drift between the two, by day and model. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo

import msgspec

from organism.amounts import NANOUSD_PER_USD, NS_PER_S, format_usd
from organism.billing.bill import BillLine
from organism.billing.period import Period
from organism.text.plain_text import counted
from organism.usage.events import UsageEvent

_Key = tuple[date, str | None]


class BillDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One day, of one model if the bill tells it.

    Attributes:
        billed_nanousd: What the provider bills.
        recorded_nanousd: What was charged here.
        calls: How many calls that is.
        in_doubt_nanousd: What of it was charged in full, because nobody knows what the provider has counted.
        unpriced_calls: Calls whose price is not known: they count as nothing here, and are billed.
    """

    day: date
    model: str | None
    billed_nanousd: int
    recorded_nanousd: int
    calls: int = 0
    in_doubt_nanousd: int = 0
    unpriced_calls: int = 0

    @property
    def difference_nanousd(self) -> int:
        """Recorded above billed; negative when the provider bills more, which recording promises not to happen."""
        return self.recorded_nanousd - self.billed_nanousd

    @property
    def reason(self) -> str:
        """Where the difference comes from, as far as what was recorded tells; empty where there is none."""
        if abs(self.difference_nanousd) <= TOLERANCE_NANOUSD:
            return ""
        if not self.calls:
            return "billed more than recorded: no call here, so it was made past organism or under another model's name"
        found = []
        if self.difference_nanousd < 0:
            found.append("billed more than recorded")
            if self.unpriced_calls:
                calls = counted(self.unpriced_calls, "call without a price counts", "calls without a price count")
                found.append(f"{calls} as nothing here")
            else:
                found.append("calls past organism, or other prices")
        elif self.in_doubt_nanousd:
            found.append(f"{format_usd(self.in_doubt_nanousd)} charged in full for calls whose count nobody knows")
        else:
            found.append("other prices, a discount or a credit")
        return ": ".join(found)


TOLERANCE_NANOUSD = NANOUSD_PER_USD // 200
"""Half a cent: bills are rounded."""


class _Recorded(msgspec.Struct):
    cost_nanousd: int = 0
    calls: int = 0
    in_doubt_nanousd: int = 0
    unpriced_calls: int = 0

    def add(self, event: UsageEvent) -> None:
        cost = event.cost_nanousd or 0
        self.cost_nanousd += cost
        self.calls += event.outcome != "released"
        self.in_doubt_nanousd += cost if event.outcome in _IN_DOUBT else 0
        self.unpriced_calls += event.cost_nanousd is None and event.outcome != "released"


_IN_DOUBT = ("worst_case", "disputed")


def reconcile(used: Iterable[UsageEvent], bill: Sequence[BillLine], period: Period) -> tuple[BillDifference, ...]:
    """Compare a bill with usage events, on the days and for the models that the bill names.

    Days begin where the bill says, else where the period says. Days that are not whole in the period are left out,
    and days on which nothing was billed or recorded.
    """
    zone = next((line.zone for line in bill if line.zone is not None), period.time_zone)
    billed: dict[_Key, int] = {}
    for line in bill:
        if _holds_day(period, line.day, zone):
            billed[line.day, line.model] = billed.get((line.day, line.model), 0) + line.cost_nanousd
    families = {(day, _family(model)): (day, model) for day, model in sorted(billed, key=_order) if model is not None}
    recorded: dict[_Key, _Recorded] = {}
    for event in used:
        if event.tool:
            continue  # no vendor of models bills it
        day = datetime.fromtimestamp(event.time_ns // NS_PER_S, zone).date()
        key = _billed_as(event, day, billed, families)
        if key is not None:
            recorded.setdefault(key, _Recorded()).add(event)
    return tuple(
        _difference(key, billed[key], recorded.get(key, _Recorded()))
        for key in sorted(billed, key=_order)
        if billed[key] or (key in recorded and recorded[key].cost_nanousd)
    )


def _difference(key: _Key, billed_nanousd: int, recorded: _Recorded) -> BillDifference:
    return BillDifference(
        day=key[0],
        model=key[1],
        billed_nanousd=billed_nanousd,
        recorded_nanousd=recorded.cost_nanousd,
        calls=recorded.calls,
        in_doubt_nanousd=recorded.in_doubt_nanousd,
        unpriced_calls=recorded.unpriced_calls,
    )


def _order(key: _Key) -> tuple[date, str]:
    return key[0], key[1] or ""


def _holds_day(period: Period, day: date, zone: tzinfo) -> bool:
    """Whether all of a day is part of the period: of a part, the bill does not tell the cost."""
    begins = int(datetime.combine(day, time(), zone).timestamp()) * NS_PER_S
    ends = int(datetime.combine(day + timedelta(days=1), time(), zone).timestamp()) * NS_PER_S
    after = period.since_ns is None or begins >= period.since_ns
    return after and (period.until_ns is None or ends <= period.until_ns)


def _billed_as(
    event: UsageEvent, day: date, billed: Mapping[_Key, int], families: Mapping[tuple[date, str], _Key]
) -> _Key | None:
    """Find the line that an event is part of: by the model's very name, then by what the name means, then of all."""
    names = [name for name in (event.request_model, event.response_model) if name]
    for name in (*names, None):
        if (day, name) in billed:
            return day, name
    return next((key for name in names if (key := families.get((day, _family(name)))) is not None), None)


def _family(model: str) -> str:
    """Reduce a model's name to what it means: ``claude-haiku-4-5-20251001`` and ``Claude Haiku 4.5`` are one.

    Left out are dates, what stands in brackets, the vendor before a point or a slash, and the order of the words.
    """
    name = re.sub(r"\(.*?\)", " ", model.lower().rpartition("/")[2])
    name = re.sub(r"^(?:[a-z]+\.)+(?=[a-z])|-v\d+(:\d+)?$", "", name)
    name = re.sub(r"(?<!\d)20\d\d-?(?:0\d|1[0-2])-?(?:[0-2]\d|3[01])(?!\d)|\blatest\b", " ", name)
    words = re.findall(r"[a-z0-9]+", name)
    return " ".join(sorted(word for word in words if word.isalpha()) + [w for w in words if not w.isalpha()])
