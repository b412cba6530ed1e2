"""``organism replay``: a recorded thread recalculated with other limits, models or prices."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import msgspec

from organism.amounts import Dimension, format_usd, nanousd
from organism.amounts.units import DIMENSIONS, UNITS, format_amount, format_limits
from organism.budget.guards.actions import thresholds_in
from organism.budget.holds import Mode
from organism.cli import exit_codes
from organism.cli.client import UnreachableError, path_to
from organism.cli.commands.prices import prices_of
from organism.cli.completion import ThreadName
from organism.cli.ledger_sources import kept_entries
from organism.cli.options import DAEMON, DaemonOptions, Json, ModeName
from organism.cli.output import print_json
from organism.cli.tables import known_cost
from organism.cli.terminal import Table, Terminal
from organism.clock import SystemClock, utc
from organism.config.build.limits import budget_plan
from organism.config.build.router import model_plans, override
from organism.config.load import load_config
from organism.config.price_section import WrittenPrices, load_prices
from organism.config.yaml.scalars import AnyEnvironment
from organism.errors import ConfigError, UnknownAccountError
from organism.ledger.entries import decode_entry
from organism.pricing.book import PriceBook, ProviderPrices
from organism.whatif.changes import EVERY_MODEL, Baseline, Changes
from organism.whatif.outcome import Compared, Replay, Sum
from organism.whatif.replay import replay as replay_entries

_LIFTED = "unlimited"
_WORDS = frozenset({"", "agent", "went to", "outcome", "fate"})
_FATES = {
    "cut": "its answer would end at {cap}, which is all that fits",
    "last_call": "refused, but made as the last call, from the slice kept for one",
    "waiting": "waits for its siblings where the record ends",
}


def replay(
    thread: ThreadName,
    *,
    daemon: DaemonOptions = DAEMON,
    mode: ModeName | None = None,
    limit: list[str] | None = None,
    model: list[str] | None = None,
    prices: str | None = None,
    calls: bool = False,
    json: Json = False,
) -> int:
    """Recalculate a recorded thread with other limits, models or prices.

    It shows what the thread would have cost, and where it would have warned, degraded and stopped. A running daemon
    uses its own thresholds, models and prices; without one the journal of the state folder and the configuration are
    read.

    Args:
        thread: The thread's id.
        mode: What a reached limit does; enforce with --limit, else audit, which refuses nothing and says where.
        limit: The thread's own limits, such as tokens=5000,usd=0.10,calls=9,seconds=60 or usd=unlimited; of another
            scope such as label:tenant=acme:usd=5 or organism@day:usd=20. May be repeated.
        model: The model of every call, or OLD=NEW; one of the configuration, or provider/model. May be repeated.
        prices: A file with prices: as in an organism.yaml, which win; or a day such as 2026-01-31, whose prices hold.
        calls: Also every call, as it was and as it would have been.
    """
    wanted = _wanted(mode, limit or (), model or (), prices)
    try:
        path = path_to("threads", thread, "replay")
        found = daemon.client().order(Replay, "POST", path, wanted.body())
    except UnreachableError:
        baseline = _baseline(daemon.file)
        with kept_entries(daemon, thread) as kept:
            entries = [decode_entry(stored.body.encode()) for stored in kept]
        try:
            found = replay_entries(entries, thread, wanted.changes(), baseline)
        except UnknownAccountError:
            raise ConfigError(f"the ledger knows no thread {thread!r}") from None
    if json:
        return print_json(found)
    _print(Terminal(), found, every_call=calls)
    return exit_codes.OK


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be otherwise, as it was typed and read.

    Attributes:
        mode: What a reached limit does; ``enforce`` where limits are given, else ``audit``.
        limits: The thread's own limits, in their integer units; ``None`` lifts one.
        accounts: Those of other scopes, by account.
        models: What takes the place of a model.
        prices: Prices that win, as they are written.
        source: The file they stand in.
        day: The day whose prices hold.
    """

    mode: Mode
    limits: dict[Dimension, int | None]
    accounts: dict[str, dict[Dimension, int | None]]
    models: dict[str, str]
    prices: WrittenPrices
    source: str
    day: date | None

    def changes(self) -> Changes:
        """Return it in integer units."""
        prices = {name: override(written, self.source) for name, written in self.prices.items()}
        return Changes(
            mode=self.mode, limits=self.limits, accounts=self.accounts, models=self.models, prices=prices, day=self.day
        )

    def body(self) -> dict[str, object]:
        """Return it as the API takes it."""
        return {
            "mode": self.mode,
            "limits": _limits_for_api(self.limits),
            "accounts": {account: _limits_for_api(limits) for account, limits in self.accounts.items()},
            "models": self.models,
            "prices": msgspec.to_builtins(self.prices, str_keys=True),
            "day": self.day.isoformat() if self.day is not None else None,
        }


def _wanted(mode: Mode | None, limits: Iterable[str], models: Iterable[str], prices: str | None) -> Wanted:
    """Read what is to be otherwise.

    Args:
        mode: What a reached limit does.
        limits: Such as ``tokens=5000,usd=0.10``.
        models: ``NEW``, or ``OLD=NEW``.
        prices: A file with ``prices:`` in it, or a day.

    Raises:
        ConfigError: If one of them cannot be read.
    """
    given: dict[str, dict[Dimension, int | None]] = {"": {}}
    for one in (one for several in limits for one in several.split(",")):
        scope, colon, unit = one.rpartition(":")
        dimension, amount = _limit(unit)
        given.setdefault(scope.strip() if colon else "", {})[dimension] = amount
    day, file = _day_or_file(prices)
    pairs = (pair.rpartition("=") for pair in models)
    return Wanted(
        mode=mode or ("enforce" if any(given.values()) else "audit"),
        limits=given.pop(""),
        accounts=given,
        models={old if equals else EVERY_MODEL: new for old, equals, new in pairs},
        prices=load_prices(file) if file is not None else {},
        source=file.name if file is not None else "",
        day=day,
    )


def _baseline(file: Path) -> Baseline:
    """Return how the configuration sets the organism up; without one, as an organism is by default."""
    if not file.exists():
        return Baseline(prices=ProviderPrices(PriceBook(now=lambda: utc(SystemClock())), {}))
    config = load_config(file, AnyEnvironment(os.environ)).config
    return Baseline(
        prices=prices_of(config),
        plan=budget_plan(config),
        models=model_plans(config),
        thresholds=thresholds_in(config.thresholds),
        output_min=config.llm.min_output_tokens,
        wait_s=float(config.llm.wait_seconds),
        parks=config.on_exhausted == "park",
        refuse_unpriced=config.llm.unpriced == "refuse",
    )


# -- what was typed ---------------------------------------------------------------------------------------------------


def _limit(written: str) -> tuple[Dimension, int | None]:
    name, equals, amount = written.strip().partition("=")
    dimension = next((one for one in DIMENSIONS if one == name), None)
    if dimension is None or not equals:
        reason = f"{written!r} is no limit; write such as tokens=5000,usd=0.10 of: {', '.join(DIMENSIONS)}"
        raise ConfigError(reason, where="--limit")
    if amount == _LIFTED:
        return dimension, None
    try:
        if dimension == "usd":
            return dimension, nanousd(amount)
        if not (amount.isascii() and amount.isdecimal()):
            raise ValueError(f"not a whole number: {amount!r}")
        return dimension, int(amount) * UNITS[dimension].scale
    except ValueError as error:
        raise ConfigError(f"{name}: {error}; give an amount, or {_LIFTED!r}", where="--limit") from None


def _day_or_file(prices: str | None) -> tuple[date | None, Path | None]:
    if prices is None:
        return None, None
    try:
        return date.fromisoformat(prices), None
    except ValueError:
        path = Path(prices)
    if not path.is_file():
        reason = (
            f"{prices!r} is neither a file nor a day; name a file with 'prices:' in it, or write such as 2026-01-31"
        )
        raise ConfigError(reason, where="--prices")
    return None, path


def _limits_for_api(limits: dict[Dimension, int | None]) -> dict[str, object]:
    return {dimension: _for_api(dimension, limit) for dimension, limit in limits.items()}


def _for_api(dimension: Dimension, limit: int | None) -> object:
    if limit is None:
        return _LIFTED
    if dimension == "usd":
        return format_usd(limit).removeprefix("$").replace(",", "")
    return limit // UNITS[dimension].scale


# -- what is printed --------------------------------------------------------------------------------------------------


def _print(console: Terminal, found: Replay, *, every_call: bool) -> None:
    limits = format_limits(found.limits) or "unlimited"
    console.say("[bold]{}[/] in mode {}, its own limits: {}", found.thread_id, found.mode, limits)
    console.show(_sums(found))
    if every_call:
        console.show(_calls(found))
    for number, line in sorted(_happenings(found), key=lambda happening: happening[0]):
        console.say("{}", f"call {number}: {line}" if number else line)
    for line in _remarks(found):
        console.say("[dim]{}[/]", line)


def _sums(found: Replay) -> Table:
    table = _table("", *("calls", "tokens", "recorded"), *("calls", "tokens", "replayed"), "difference")
    for kind, groups in (("", found.by_model), ("agent ", found.by_agent)):
        for name, compared in groups.items():
            table.add_row(f"{kind}{name}", *_compared(compared))
        table.add_section()
    table.add_row("all", *_compared(found.total), style="bold")
    return table


def _table(*headings: str) -> Table:
    """Return a table that hides nothing, however narrow the terminal is."""
    return Table(*headings, left=_WORDS, fold=True)


def _compared(compared: Compared) -> Iterator[str]:
    for side in (compared.recorded, compared.replayed):
        yield from (f"{side.calls:,}", f"{side.tokens:,}", _cost(side))
    difference = compared.replayed.cost_nanousd - compared.recorded.cost_nanousd
    yield ("+" if difference > 0 else "") + format_usd(difference)


def _cost(of: Sum) -> str:
    return known_cost(of.cost_nanousd, of.unpriced_calls)


def _calls(found: Replay) -> Table:
    table = _table("call", "agent", "went to", "outcome", "tokens", "recorded", "fate", "tokens", "replayed")
    for call in found.calls:
        route = call.route if call.to_route == call.route else f"{call.route} -> {call.to_route}"
        was = format_usd(call.recorded.cost_nanousd) if call.recorded_priced else "unknown"
        would = format_usd(call.replayed.cost_nanousd) if call.replayed_priced else "unknown"
        table.add_row(
            *(str(call.number), call.agent, route, call.state, f"{call.recorded.tokens:,}", was),
            *(call.fate.replace("_", " "), f"{call.replayed.tokens:,}", would),
        )
    return table


def _happenings(found: Replay) -> Iterator[tuple[int, str]]:
    """Yield what would have happened, by the number of the call at which it would."""
    yield from _degradations(found)
    for crossing in found.crossings:
        warning = crossing.warning
        used = f"{format_amount(warning.dimension, warning.spent)} of {format_amount(warning.dimension, warning.limit)}"
        yield crossing.call, f"{warning.threshold} % of {warning.account} in {warning.dimension} ({used})"
    for call in found.calls:
        if (what := _FATES.get(call.fate)) is not None:
            yield call.number, what.format(cap=format_amount("tokens", call.output_cap))
    if found.over:
        (over,) = (call for call in found.calls if call.number == found.over)
        yield found.over, f"mode enforce would refuse it: {over.shortfall}"
    if found.stop is not None:
        then = "its message would wait for a higher limit" if found.stop.parks else "its handler would be told"
        what = "refused" if found.stop.call else "a child thread would be refused"
        yield found.stop.call, f"{what}: {found.stop.shortfall}; {then}"


def _degradations(found: Replay) -> Iterator[tuple[int, str]]:
    """Yield where each model is replaced first, and for how many calls in all."""
    steps = [(step, call.number) for call in found.calls for step in call.degraded]
    times = Counter((step.model, step.to_model) for step, _ in steps)
    for step, number in steps:
        if count := times.pop((step.model, step.to_model), 0):
            spent = f"{step.threshold} % of {step.account} in {step.dimension} is spent"
            yield number, f"{step.model} degrades to {step.to_model}, for {format_amount('calls', count)}: {spent}"


def _remarks(found: Replay) -> Iterator[str]:
    """Yield what a reader must know to read the sums right."""
    left_out = found.not_made
    if left_out.calls:
        tokens = format_amount("tokens", left_out.tokens)
        yield (
            f"{format_amount('calls', left_out.calls)} of the record ({tokens}, {_cost(left_out)}) would not have been "
            f"made under enforce and are not counted: from the first refusal on, agents would have done something else"
        )
    if any(call.route != call.to_route for call in found.calls):
        yield "tokens are those that the recorded model has used; another one may use more or fewer"
    if found.total.replayed.unpriced_calls:
        yield "~ a lower bound: the cost of some calls is not known"
    if not found.complete:
        before = f"{format_amount('tokens', found.before.tokens)}, {format_usd(found.before.cost_nanousd)}"
        yield f"the ledger does not reach back to the thread's beginning: {before} had been spent before"
    if found.adjusted.tokens or found.adjusted.cost_nanousd:
        cost = format_usd(found.adjusted.cost_nanousd)
        yield f"corrections of {format_amount('tokens', found.adjusted.tokens)} and {cost} are in neither sum"
    if len(found.calls) < found.calls_in_all:
        calls = format_amount("calls", found.calls_in_all)
        yield f"the first {len(found.calls):,} of {calls} are listed; the sums count all"
