"""Where a recorded call would have gone, and what it would have cost there. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, time

import msgspec

from organism.amounts import NS_PER_S, Amounts, TokenUsage
from organism.budget.policy import Ask
from organism.errors import ConfigError
from organism.pricing.book import names_of
from organism.pricing.rates import Rates, cost_nanousd
from organism.whatif.changes import EVERY_MODEL, Baseline, Changes
from organism.whatif.recording import RecordedCall


class ReplayTarget(msgspec.Struct, frozen=True):
    """Where a call goes: a model's name in the configuration, a provider's, and the model's name there."""

    model: str
    provider: str
    request_model: str

    @property
    def route(self) -> str:
        """The provider and its model, as the configuration writes them; of what is no model call, its name alone."""
        return f"{self.provider}/{self.request_model}" if self.provider else self.request_model


class Repricing:
    """Says where recorded calls go and at which prices.

    Args:
        baseline: How the organism is set up.

    Raises:
        ConfigError: If changed prices refer to each other in a circle.
    """

    def __init__(self, changes: Changes, baseline: Baseline) -> None:
        self._changes = changes
        self._baseline = baseline
        self._prices = baseline.prices
        self._prices = baseline.prices.with_overrides(changes.prices)
        self._last: dict[ReplayTarget, Rates] = {}
        self._counts_money = changes.limits.get("usd") is not None

    def target(self, recorded: RecordedCall) -> ReplayTarget:
        """Return where a call goes instead of where it went.

        Raises:
            ConfigError: If the new model is neither one of the configuration nor ``provider/model``.
        """
        went = target_of(recorded)
        if recorded.call.tool:
            return went  # what a tool costs depends on no model and no book of prices
        for name in (*names_for(went), EVERY_MODEL):
            if (wanted := self._changes.models.get(name)) is not None:
                return self.model(wanted, went.model)
        return went

    def model(self, wanted: str, used: str) -> ReplayTarget:
        """Return where a model is served: by its first route, or where ``provider/model`` says.

        Args:
            wanted: A model of the configuration, or ``provider/model``.
            used: The model in whose place it stands.

        Raises:
            ConfigError: If it is neither.
        """
        if (plan := self._baseline.models.get(wanted)) is not None:
            return ReplayTarget(wanted, plan.routes[0].provider, plan.routes[0].model)
        provider, slash, served = wanted.partition("/")
        if not (provider and slash and served):
            known = ", ".join(sorted(self._baseline.models)) or "none"
            raise ConfigError(
                f"no model of the configuration is called {wanted!r} (there are: {known}); "
                f"write one of them, or provider/model",
                path="model",
            )
        return ReplayTarget(used, provider, served)

    def served(self, model: str) -> tuple[ReplayTarget, ...]:
        """Return where a model of the configuration is served, most wanted first."""
        return tuple(ReplayTarget(model, route.provider, route.model) for route in self._baseline.models[model].routes)

    def is_priced(self, recorded: RecordedCall, target: ReplayTarget) -> bool:
        """Whether it is known what a call would cost somewhere."""
        return self._prices.rates(target.provider, target.request_model, self._priced_at(recorded)) is not None

    def rates(self, recorded: RecordedCall, target: ReplayTarget) -> Rates | None:
        """Return the prices that a call is to have instead of the recorded ones; ``None`` if it keeps those.

        Raises:
            ConfigError: If nobody knows them.
        """
        if recorded.call.tool:
            return None
        moved = target != target_of(recorded)
        named = any(name in self._changes.prices for name in names_of(target.provider, target.request_model))
        if not moved and not named and self._changes.day is None and (recorded.priced or not self._counts_money):
            return None
        at = self._priced_at(recorded)
        found = self._prices.rates(target.provider, target.request_model, at)
        if found is None and (moved or recorded.priced or self._counts_money):
            raise ConfigError(
                f"no price is known for {target.route!r} on {at:%Y-%m-%d}; "
                f"give it one under 'prices:' of the configuration, or in a file for --prices",
                path="prices",
            )
        return found

    def _priced_at(self, recorded: RecordedCall) -> datetime:
        """Return the instant whose prices hold for a call."""
        day = self._changes.day
        if day is not None:
            return datetime.combine(day, time(12), UTC)
        return datetime.fromtimestamp(recorded.time_ns // NS_PER_S, UTC)

    def ask(self, recorded: RecordedCall, rates: Rates | None) -> Ask:
        """Return the worst case of a call: at other prices, or as it was recorded.

        An entry that holds a call does not say at which prices, so they are looked for where they may be: beside its
        settlement, beside that of another call there, in the book. Where none of them makes what was held, its money
        is one sum that no shorter answer makes smaller.
        """
        if rates is not None:
            return ask_at(recorded, rates, self._baseline.output_min)
        if recorded.call.tool:
            held = recorded.held
            return Ask(
                input_tokens=held.tokens, output_cap=0, output_min=0, request_cost=held.cost_nanousd, calls=held.calls
            )
        for known in self._candidates(recorded):
            ask = ask_at(recorded, known, self._baseline.output_min)
            if ask.amounts(recorded.call.output_cap) == recorded.held:
                self._last[target_of(recorded)] = known
                return ask
        return Ask(
            input_tokens=recorded.call.input_tokens,
            output_cap=recorded.call.output_cap,
            output_min=_output_min(recorded, self._baseline.output_min),
            request_cost=recorded.held.cost_nanousd,
            last_output=recorded.call.last_output,
        )

    def _candidates(self, recorded: RecordedCall) -> Iterator[Rates]:
        """Yield the prices at which a call may have been held."""
        went = target_of(recorded)
        if recorded.settled is not None and recorded.settled.rates is not None:
            yield recorded.settled.rates
        if (last := self._last.get(went)) is not None:
            yield last
        at = datetime.fromtimestamp(recorded.time_ns // NS_PER_S, UTC)
        if (found := self._prices.rates(went.provider, went.request_model, at)) is not None:
            yield found


def target_of(recorded: RecordedCall) -> ReplayTarget:
    """Return where a call went."""
    call = recorded.call
    return ReplayTarget(call.model, call.provider, call.tool or call.request_model)


def names_for(went: ReplayTarget) -> tuple[str, ...]:
    """Return how a used model may be called, the closest first."""
    return went.route, went.request_model, went.model


def ask_at(recorded: RecordedCall, rates: Rates, output_min: int) -> Ask:
    """Return the worst case of a call at some prices."""
    return Ask(
        input_tokens=recorded.call.input_tokens,
        output_cap=recorded.call.output_cap,
        output_min=_output_min(recorded, output_min),
        last_output=recorded.call.last_output,
        input_rate=rates.dearest_input(),
        output_rate=rates.dearest_output(),
        request_cost=rates.request,
    )


def _output_min(recorded: RecordedCall, least: int) -> int:
    """Return the shortest answer of use: a loop of tools leaves room for two of them, for one in its last call."""
    return max(least, recorded.call.last_output // 2)


class Charged(msgspec.Struct, frozen=True):
    """What a call would have been charged; the usage is ``None`` where the whole hold is."""

    amounts: Amounts
    usage: TokenUsage | None
    priced: bool


def charge_of(recorded: RecordedCall, rates: Rates | None, held: Amounts, output_cap: int) -> Charged:
    """Return what a settled call would have been charged.

    Args:
        rates: Its prices instead of the recorded ones; ``None`` to keep those.
        held: What it would have held.
        output_cap: The longest answer it would have been granted: a longer one is cut there.
    """
    settled = recorded.settled
    usage = settled.usage if settled is not None else None
    if settled is None or usage is None or recorded.charged_whole:
        unchanged = rates is None and held == recorded.held
        priced = recorded.priced or rates is not None
        return Charged(recorded.charged if unchanged else held, usage if unchanged else None, priced)
    kept = cut(usage, output_cap) if output_cap < recorded.call.output_cap else usage
    if rates is None and kept == usage:
        return Charged(recorded.charged, usage, settled.priced)
    # A cost that the provider itself has reported tells no rates: of a shorter answer it is the most.
    by = rates or settled.rates
    cost = cost_nanousd(by, kept) if by is not None else recorded.charged.cost_nanousd
    return Charged(Amounts(kept.total, cost, recorded.charged.calls), kept, priced=by is not None or settled.priced)


def cut(usage: TokenUsage, output_cap: int) -> TokenUsage:
    """Return the usage of an answer that ends at a cap; thinking comes first."""
    reasoning = min(usage.reasoning, output_cap)
    return msgspec.structs.replace(usage, reasoning=reasoning, output=min(usage.output, output_cap - reasoning))
