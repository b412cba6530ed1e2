"""May this call be made, and how long may its answer be? A pure decision on numbers.

The rule of every limited unit on every scope of a call is ``spent + held + needed <= limit``. Where the whole output
cap does not fit, the cap shrinks to what does, as long as a useful answer still fits; the cap is always sent to the
provider, so the model cannot pass the limit.
"""

from collections.abc import Iterable

import msgspec

from organism.amounts import AMOUNT_MAX, ZERO, Amounts, Dimension, Limits
from organism.amounts.units import ADDITIVE, amount_of, format_amount, limit_of, numbers_of, whole
from organism.errors import ConfigError, Refusal

_PER_MTOK = 1_000_000


Loop = tuple[str, str, str]
"""A loop of tools: the thread, the agent and the message that it works on."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """The worst case of one attempt.

    Attributes:
        input_tokens: Upper estimate of what is sent.
        output_cap: The most the answer may have, in tokens.
        output_min: The least that is still of use; the cap is never shrunk below it.
        input_rate: Dearest price of an input token, in nano-USD per million; 0 when free or unknown.
        output_rate: Dearest price of an output token, likewise.
        request_cost: What the request costs beside its tokens, in nano-USD.
        calls: How many calls of a model it is: one, or none where something else is paid for.
        last_output: Where a last call is to follow, which has the input as it is now and one call: so many tokens of
            output; every scope leaves room for it. 0 where none follows.
        loop: Whose round, last call or tool it is, so that it leaves what other loops have left for their last calls.
    """

    input_tokens: int
    output_cap: int
    output_min: int = 1
    input_rate: int = 0
    output_rate: int = 0
    request_cost: int = 0
    calls: int = 1
    last_output: int = 0
    loop: Loop | None = None

    def amounts(self, output_tokens: int) -> Amounts:
        """Return what an answer of that length takes, money rounded up."""
        picked = self.input_tokens * self.input_rate + output_tokens * self.output_rate
        cost_nanousd = self.request_cost + -(-picked // _PER_MTOK)
        return Amounts(self.input_tokens + output_tokens, cost_nanousd, self.calls)


class Headroom(msgspec.Struct, frozen=True, gc=False):
    """What one scope has: the input of the decision.

    Attributes:
        final_reserve_percent: Per cent of its tokens and USD reserved for one final call after the final warning.
        last_call: What the loop that asks leaves at least for its own last call.
        others_last_calls: What other loops have left for theirs.
    """

    account: str
    limits: Limits
    spent: Amounts
    held: Amounts
    elapsed_ns: int = 0
    final_reserve_percent: int = 0
    last_call: Amounts = ZERO
    others_last_calls: Amounts = ZERO

    def final_reserve(self) -> Amounts:
        """Return what is kept back, rounded down."""
        percent, kept = self.final_reserve_percent, self.last_call
        if percent:
            tokens, cost_nanousd = self.limits.tokens or 0, self.limits.cost_nanousd or 0
            part = Amounts(tokens * percent // 100, cost_nanousd * percent // 100)
            kept = part if kept is ZERO else Amounts(*map(max, numbers_of(part), numbers_of(kept)))
        return kept if self.others_last_calls is ZERO else kept + self.others_last_calls


class Grant(msgspec.Struct, frozen=True, gc=False):
    """Yes, with this output cap, holding these amounts.

    Attributes:
        time_left_ns: What limits in seconds leave for the call; ``None`` without any.
    """

    output_cap: int
    amounts: Amounts
    time_left_ns: int | None = None


def decide(headrooms: Iterable[Headroom], ask: Ask) -> Grant | Refusal:
    """Grant the longest answer that fits every scope, or name the scope that leaves the least.

    Of several scopes that refuse, the one that allows the shortest answer is named; of equals, the first given, and
    within it the first of :data:`organism.amounts.units.DIMENSIONS`.
    """
    cap = ask.output_cap
    tightest: Refusal | None = None
    time_left_ns: int | None = None
    for scope in headrooms:
        allowed, dimension = _longest_output(scope, ask, cap)
        if dimension is not None:
            cap, floor = allowed, min(ask.output_min, ask.output_cap)
            if cap < floor:
                tightest = _shortfall(scope, dimension, ask.amounts(floor))
        if (until_ns := scope.limits.elapsed_ns) is not None:
            left_ns = until_ns - scope.elapsed_ns
            time_left_ns = left_ns if time_left_ns is None else min(time_left_ns, left_ns)
    if tightest is not None:
        return tightest
    return Grant(cap, ask.amounts(cap), time_left_ns)


def fits(scope: Headroom, ask: Ask) -> bool:
    """Whether one scope has room for the shortest answer that is still of use."""
    allowed, _ = _longest_output(scope, ask, ask.output_cap)
    return allowed >= min(ask.output_min, ask.output_cap)


def everything(ask: Ask) -> Grant:
    """Grant all that is asked for, as modes that refuse nothing do."""
    return Grant(ask.output_cap, ask.amounts(ask.output_cap))


def carve(headrooms: Iterable[Headroom], limits: Limits) -> Amounts | Refusal:
    """Return what a carved child takes from its ancestors: its whole limits, or the scope that cannot give them.

    Raises:
        ConfigError: If an ancestor limits what the child does not, so that there is no amount to take.
    """
    for scope in headrooms:
        for dimension in ADDITIVE:
            limit = limit_of(scope.limits, dimension)
            if limit is None:
                continue
            needed = limit_of(limits, dimension)
            if needed is None:
                raise ConfigError(
                    f"{scope.account} limits {dimension}, so a carved child of it needs its own limit of {dimension}; "
                    "give it one, or spawn it with budget='shared'"
                )
            spent, held = amount_of(scope.spent, dimension), amount_of(scope.held, dimension)
            final_reserve = amount_of(scope.final_reserve(), dimension)
            if spent + held + final_reserve + needed > limit:
                return Refusal(scope.account, dimension, limit, spent, held, needed, final_reserve)
    return whole(limits)


def room(headrooms: Iterable[Headroom], wanted: Amounts) -> Amounts:
    """Return how much of some amounts every scope has room for, what it keeps for a last call included."""
    left = {unit: amount_of(wanted, unit) for unit in ADDITIVE}
    for scope in headrooms:
        for unit in ADDITIVE:
            if (limit := limit_of(scope.limits, unit)) is not None:
                free = limit - amount_of(scope.spent, unit) - amount_of(scope.held, unit)
                left[unit] = max(0, min(left[unit], free))
    return Amounts(*left.values())


def check_correction(account: str, spent: Amounts, by: Amounts) -> None:
    """Refuse a correction that would make spend negative, or more than 64 bits hold.

    Raises:
        ConfigError: If it would.
    """
    for unit in ADDITIVE:
        was, change = amount_of(spent, unit), amount_of(by, unit)
        if was + change < 0:
            less = format_amount(unit, -change)
            raise ConfigError(f"{account} has spent {format_amount(unit, was)}; {less} cannot be taken off", path=unit)
        if was + change > AMOUNT_MAX:
            raise ConfigError(f"{account} would have spent more than 64 bits hold", path=unit)


def _longest_output(scope: Headroom, ask: Ask, cap: int) -> tuple[int, Dimension | None]:
    """Return how many output tokens a scope leaves of a cap, and the unit that leaves the least; ``None``: all of them.

    Negative when not even the input fits. Plain numbers instead of :class:`Amounts`, since it is asked for every scope
    of every call: 0.5 µs instead of 1.2.
    """
    limits, spent, held = scope.limits, scope.spent, scope.held
    reserve = scope.final_reserve()
    tightest: Dimension | None = None
    if limits.tokens is not None:
        left = limits.tokens - reserve.tokens - spent.tokens - held.tokens - ask.input_tokens
        if left < cap:
            cap, tightest = left, "tokens"
    if limits.cost_nanousd is not None:
        left = (
            limits.cost_nanousd - reserve.cost_nanousd - spent.cost_nanousd - held.cost_nanousd - ask.request_cost
        ) * _PER_MTOK
        left -= ask.input_tokens * ask.input_rate
        allowed = -1 if left < 0 else left // ask.output_rate if ask.output_rate else cap
        if allowed < cap:
            cap, tightest = allowed, "usd"
    if limits.elapsed_ns is not None and scope.elapsed_ns >= limits.elapsed_ns and cap > -1:
        cap, tightest = -1, "seconds"
    calls = spent.calls + held.calls + ask.calls + reserve.calls
    if limits.calls is not None and calls > limits.calls and ask.calls and cap > -1:
        cap, tightest = -1, "calls"
    return cap, tightest


def _shortfall(scope: Headroom, dimension: Dimension, needed: Amounts) -> Refusal:
    limit = limit_of(scope.limits, dimension)
    return Refusal(
        account=scope.account,
        dimension=dimension,
        limit=0 if limit is None else limit,
        spent=amount_of(scope.spent, dimension, scope.elapsed_ns),
        held=amount_of(scope.held, dimension),
        needed=amount_of(needed, dimension, 1),
        final_reserve=amount_of(scope.final_reserve(), dimension),
        reserved_by_others=amount_of(scope.others_last_calls, dimension),
    )
