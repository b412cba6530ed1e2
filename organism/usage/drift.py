"""What a provider has billed beside what was recorded: the drift between the two, by day and model. Pure.

A bill is CSV with a header. It needs a column with a day and one with dollars; a column with a model makes the
comparison finer. Known names of columns are in :data:`COLUMNS`; case, spaces and dashes in them do not matter.
"""

import csv
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import msgspec

from organism.amounts import NANOUSD_PER_USD
from organism.errors import ConfigError
from organism.usage.events import UsageEvent
from organism.usage.period import Period

COLUMNS = {
    "day": ("date", "day", "usage_date", "usage_date_utc", "start_time_iso", "start_time"),
    "model": ("model", "model_version", "line_item", "sku"),
    "usd": ("cost_usd", "amount_usd", "usd", "cost", "amount", "amount_value"),
}

_USD_MAX = 10**10


class BillLine(msgspec.Struct, frozen=True):
    """One day of a bill, of one model if the bill tells it; credits are negative."""

    day: date
    model: str | None
    cost_nanousd: int


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """One day, of one model if the bill tells it.

    Attributes:
        billed_nanousd: What the provider bills.
        recorded_nanousd: What was charged here.
    """

    day: date
    model: str | None
    billed_nanousd: int
    recorded_nanousd: int

    @property
    def difference_nanousd(self) -> int:
        """Recorded above billed; negative when the provider bills more, which recording promises not to happen."""
        return self.recorded_nanousd - self.billed_nanousd


def read_bill(text: str) -> tuple[BillLine, ...]:
    """Read a bill.

    Raises:
        ConfigError: If a column is missing or a line cannot be read; it names the line.
    """
    rows = csv.reader(text.lstrip("\ufeff").splitlines())
    header = [_plain(name) for name in next(rows, [])]
    places = {kind: next((header.index(n) for n in names if n in header), None) for kind, names in COLUMNS.items()}
    day_at, model_at, usd_at = places["day"], places["model"], places["usd"]
    if day_at is None or usd_at is None:
        wanted = "a day" if day_at is None else "dollars"
        names = COLUMNS["day" if day_at is None else "usd"]
        raise ConfigError(f"the bill has no column with {wanted}; it may be called: {', '.join(names)}")
    lines = []
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            model = row[model_at].strip() if model_at is not None else None
            lines.append(BillLine(_day(row[day_at]), model or None, _nanousd(row[usd_at])))
        except (IndexError, ValueError, InvalidOperation, OverflowError) as error:
            raise ConfigError(f"line {number} of the bill cannot be read: {error or ', '.join(row)}") from None
    return tuple(lines)


def drift(used: Iterable[UsageEvent], bill: Sequence[BillLine], period: Period) -> tuple[Drift, ...]:
    """Compare a bill with usage events, on the days and for the models that the bill names."""
    billed: dict[tuple[date, str | None], int] = {}
    for line in bill:
        billed[line.day, line.model] = billed.get((line.day, line.model), 0) + line.cost_nanousd
    recorded: dict[tuple[date, str | None], int] = {}
    for event in used:
        day = period.day_of(event.time_ns)
        key = next((k for m in (event.request_model, event.response_model, None) if (k := (day, m)) in billed), None)
        if key is not None:
            recorded[key] = recorded.get(key, 0) + (event.cost_nanousd or 0)
    return tuple(
        Drift(day=day, model=model, billed_nanousd=cost, recorded_nanousd=recorded.get((day, model), 0))
        for (day, model), cost in sorted(billed.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    )


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _day(text: str) -> date:
    return datetime.fromisoformat(text.strip()).date()


def _nanousd(text: str) -> int:
    amount = Decimal(text.strip().removeprefix("$").replace(",", ""))
    if not amount.is_finite() or abs(amount) > _USD_MAX:
        raise ValueError(f"not an amount of dollars: {text!r}")
    return int((amount * NANOUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))
