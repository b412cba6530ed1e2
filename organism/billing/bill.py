"""What a provider has billed, read as its console or its API exports it: CSV or JSON. Pure.

A bill needs a day and dollars; a model makes the comparison finer. Understood are, by their own headings: the cost
exports of OpenAI's and Anthropic's consoles, the answers of OpenAI's ``/v1/organization/costs`` and of Anthropic's
``/v1/organizations/cost_report``, each with or without the tokens that their reports of usage count, and any table or
list of flat objects with columns of :data:`COLUMNS`. What spreadsheets make of them is read too: other separators, a
decimal comma, grouped thousands, a byte order mark.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from organism.amounts import TokenUsage
from organism.billing.bill_values import day_of, nanousd_of, tokens_of
from organism.errors import ConfigError

COLUMNS = {
    "day": (
        *("usage_date_utc", "start_time_iso", "starting_at", "start_time", "usage_date", "date_utc", "date", "day"),
        *("timestamp", "bucket_start", "time"),
    ),
    "model": ("model", "model_version", "model_name", "line_item", "sku", "name"),
    "usd": (
        *("cost_usd", "amount_usd", "usd", "cost", "amount", "amount_value", "total_cost_usd", "total_cost"),
        *("cost_in_major", "total_usd"),
    ),
    "currency": ("amount_currency", "currency"),
    "kind": ("cost_type", "usage_type", "description"),
}
"""Names of columns by what they hold; the first that a bill has is read. Case, spaces and signs do not matter."""

_SEPARATORS = ",;\t|"
_TITLE_ROWS_MAX = 10
_UTC_COLUMNS = frozenset({"usage_date_utc", "start_time", "starting_at", "date_utc", "timestamp"})
_OTHER = "other"
_SUMMARY_ROWS = frozenset({"total", "totals", "sum", "grand total", "subtotal"})
_CENTS = Decimal("0.01")


class BillLine(msgspec.Struct, frozen=True):
    """One day of a bill, of one model if the bill tells it; credits are negative.

    Attributes:
        model: As the bill calls it, which may be a name for people, such as ``Claude Haiku 4.5``.
        cost_nanousd: What is billed; ``None`` for a line that only counts tokens.
        zone: Where the bill's days begin; ``None`` if it does not say.
        counted: The tokens that the provider has counted; ``None`` for a line of costs.
    """

    day: date
    model: str | None
    cost_nanousd: int | None
    zone: tzinfo | None = None
    counted: TokenUsage | None = None


class _Cells(msgspec.Struct, frozen=True):
    """One line of a bill before its values are read.

    Attributes:
        where: What the line is called in an error.
        comma: Whether a comma stands before decimals.
    """

    where: str
    day: Any
    usd: Any
    model: str = ""
    currency: str = ""
    kind: str = ""
    utc: bool = False
    comma: bool = False
    scale: Decimal = Decimal(1)
    counted: TokenUsage | None = None


def read_bill(text: str) -> tuple[BillLine, ...]:
    """Read a bill.

    Raises:
        ConfigError: If a column is missing or a line cannot be read; it names the line.
    """
    text = text.lstrip("\ufeff \r\n")
    cells = list(_of_json(text) if text[:1] in ("{", "[") else _of_table(text))
    by_model = any(cell.model for cell in [cell for cell in cells if cell.counted is None] or cells)
    return tuple(_line(cell, by_model=by_model) for cell in cells)


def _line(cells: _Cells, *, by_model: bool) -> BillLine:
    try:
        if cells.currency and cells.currency.strip().lower() not in ("usd", "us$", "$"):
            raise ValueError(f"the amount is in {cells.currency!r}, and only dollars can be compared")
        day, zone = day_of(cells.day)
        cost = None if cells.counted else nanousd_of(cells.usd, comma=cells.comma, scale=cells.scale)
    except (ValueError, InvalidOperation, OverflowError, OSError) as error:
        raise ConfigError(f"{cells.where} of the bill cannot be read: {error or repr(cells.usd)}") from None
    model = _model_of(cells) if by_model else None
    return BillLine(day, model, cost, zone or (UTC if cells.utc else None), cells.counted)


def _model_of(cells: _Cells) -> str:
    """Take the model out of a line item: OpenAI's says ``gpt-4o-mini-2024-07-18, cached input``."""
    model = cells.model.partition(",")[0].strip()
    return model or cells.kind.strip() or _OTHER


# --- tables ---


def _of_table(text: str) -> Iterator[_Cells]:
    """Find the separator with which the table has a heading, and yield its lines."""
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep="):  # written by spreadsheets for spreadsheets
        text = rest
    places: dict[str, int] = {}
    for separator in _SEPARATORS:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
        for number, row in enumerate(rows[:_TITLE_ROWS_MAX]):
            found = _places(row)
            if "day" in found and "usd" in found:
                return _rows(rows, number, found, comma=separator == ";")
            places = places if len(places) >= len(found) else found
    raise _incomplete(places, text)


def _rows(rows: Sequence[Sequence[str]], head: int, places: dict[str, int], *, comma: bool) -> Iterator[_Cells]:
    day_name = _plain(rows[head][places["day"]])
    for number, row in enumerate(rows[head + 1 :], start=head + 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(places["day"], places["usd"]):
            raise ConfigError(f"line {number} of the bill cannot be read: {', '.join(row)}")
        if row[places["day"]].strip().lower() in _SUMMARY_ROWS:
            continue
        named: dict[str, Any] = {kind: row[place] for kind, place in places.items() if place < len(row)}
        yield _Cells(f"line {number}", **named, utc=day_name in _UTC_COLUMNS, comma=comma)


def _places(names: Sequence[str]) -> dict[str, int]:
    plain = [_plain(name) for name in names]
    found = {}
    for kind, wanted in COLUMNS.items():
        place = next((plain.index(name) for name in wanted if name in plain), None)
        if place is not None:
            found[kind] = place
    return found


def _plain(name: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return "_".join(words)


def _incomplete(places: Iterable[str], text: str) -> ConfigError:
    missing = "usd" if "day" in places else "day"
    wanted = "a day" if missing == "day" else "dollars"
    reason = f"the bill has no column with {wanted}; it may be called: {', '.join(COLUMNS[missing])}"
    if missing == "usd" and "tokens" in text.partition("\n")[0]:
        reason += ". This is an export of usage; ask the console for the export of cost"
    return ConfigError(reason)


# --- JSON ---


def _of_json(text: str) -> Iterator[_Cells]:
    number = 0
    for document in _documents(text):
        for entry in _entries(document):
            number += 1
            yield _entry(entry, f"entry {number}")


def _documents(text: str) -> list[Any]:
    """Read one document, or one a line, as pages that were fetched one after another are kept."""
    decoder = msgspec.json.Decoder(float_hook=Decimal)
    try:
        return [decoder.decode(text)]
    except msgspec.MsgspecError as error:
        try:
            return [decoder.decode(line) for line in text.split("\n") if line.strip()]
        except msgspec.MsgspecError:
            raise ConfigError(f"the bill cannot be read: {error}") from None


def _entries(document: Any) -> Iterator[dict[str, Any]]:
    """Yield the priced entries of a page, each with its bucket's day."""
    if isinstance(document, list):
        for part in document:
            yield from _entries(part)
        return
    if not isinstance(document, dict):
        raise ConfigError(f"the bill cannot be read: {str(document)[:40]!r} is no entry of a bill")
    for pages in ("data", "daily_costs"):
        if isinstance(document.get(pages), list):
            yield from _entries(document[pages])
            return
    for results in ("results", "line_items"):
        if isinstance(document.get(results), list):
            for result in document[results]:
                if not isinstance(result, dict):
                    raise ConfigError(f"the bill cannot be read: {str(result)[:40]!r} is no entry of a bill")
                yield {"start": _start(document), "cents": results == "line_items"} | result
            return
    yield document


def _entry(entry: dict[str, Any], where: str) -> _Cells:
    named = {_plain(key): value for key, value in entry.items()}

    def first(kind: str) -> Any:
        return next((named[name] for name in COLUMNS[kind] if named.get(name) is not None), "")

    day = first("day") if named.get("start") in (None, "") else named["start"]
    usd = first("usd")
    if "start" in named and usd == "" and (counted := tokens_of(named, where)) is not None:
        return _Cells(where, day, usd, str(first("model")), utc=True, counted=counted)
    currency = first("currency")
    cents = named.get("cents") is True or ("start" in named and isinstance(usd, str))
    if isinstance(usd, dict):  # OpenAI: {"value": 0.06, "currency": "usd"}; of Anthropic's it is a text, of cents
        usd, currency = usd.get("value", ""), str(usd.get("currency") or "")
    if day == "" or ("start" not in named and usd == "" and not any(name in named for name in COLUMNS["usd"])):
        raise _incomplete(("day",) if day != "" else (), "")
    return _Cells(
        where,
        day,
        usd,
        str(first("model")),
        str(currency),
        str(first("kind")),
        utc=True,
        scale=_CENTS if cents else Decimal(1),
    )


def _start(bucket: dict[str, Any]) -> Any:
    return next((bucket[name] for name in COLUMNS["day"] if bucket.get(name) is not None), "")
