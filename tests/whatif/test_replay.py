"""A recorded thread decided anew: as it was when nothing changes, and as it really goes when the limits do."""

from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from organism import BudgetPlan, ConfigError, Limits
from organism.amounts import NS_PER_S, ZERO, Amounts
from organism.budget.scopes import ScopedLimits
from organism.errors import UnknownAccountError
from organism.ledger.entries import AccountClosed, AnyEntry, Overran, Reserved, Settled
from organism.ledger.ledger import Ledger
from organism.pricing.book import DatedRates
from organism.pricing.rates import cost_nanousd, flat_rates
from organism.router.planning.plan import Degrade, ModelPlan, Route
from organism.usage.events import BudgetExceeded, ThresholdCrossed
from organism.whatif.changes import Changes
from organism.whatif.outcome import Replay
from organism.whatif.replay import replay
from tests.whatif.lives import PRICES, Ask, Buy, Child, Life, Steps, Together, lived

AMPLE = BudgetPlan(thread=Limits(tokens=1_000_000, cost_nanousd=10**12, calls=10_000))

asks = st.builds(
    Ask,
    words=st.integers(1, 30),
    cap=st.integers(1, 80),
    answer=st.integers(1, 90),
    fault=st.sampled_from(["none", "none", "none", "rejected", "reset", "disputed"]),
)
odd_asks = st.builds(
    Ask,
    words=st.integers(1, 30),
    cap=st.integers(1, 80),
    answer=st.integers(1, 90),
    fault=st.sampled_from(["none", "rejected", "reset", "disputed", "uncounted", "thinks", "reported"]),
)
children = st.builds(
    Child, budget=st.sampled_from(["shared", "carved"]), tokens=st.integers(0, 600), asks=st.lists(odd_asks, max_size=4)
)


buys = st.builds(Buy, held=st.integers(0, 3_000), spent=st.integers(0, 3_000))


def spent(life: Life) -> Amounts:
    """Return what all the calls of a life have cost, added up from the entries themselves."""
    calls = {entry.hold_id for entry in life.entries if isinstance(entry, Reserved) and entry.call is not None}
    total = ZERO
    for entry in life.entries:
        if getattr(entry, "hold_id", "") in calls and not isinstance(entry, Reserved):
            total += getattr(entry, "amounts", ZERO)
    return total


def replayed(life: Life, **changes: object) -> Replay:
    return replay(life.entries, life.thread_id, Changes(**changes), life.baseline)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.one_of(odd_asks, children, buys), min_size=1, max_size=8),
    tokens=st.integers(200, 5_000),
    mode=st.sampled_from(["off", "audit", "enforce"]),
)
def test_a_replay_that_changes_nothing_is_what_was_recorded(steps: Steps, tokens: int, mode: str) -> None:
    """Every call, every account and every sum comes out as recorded, to the nano-dollar, whatever went wrong then."""
    life = lived(steps, BudgetPlan(thread=Limits(tokens=tokens)), mode=mode, on_exhausted="fail")

    again = replayed(life)

    assert all(call.replayed == call.recorded and call.to_route == call.route for call in again.calls)
    assert {call.fate for call in again.calls} <= {"made", "last_call"}
    sums = again.total.recorded
    assert (sums, Amounts(sums.tokens, sums.cost_nanousd, sums.calls)) == (again.total.replayed, spent(life))
    closed = [e.spent for e in life.entries if isinstance(e, AccountClosed) and e.account == f"thread:{life.thread_id}"]
    assert [again.spent] == closed
    assert again.stop is None


def warned(life: Life) -> list[tuple[str, str, int]]:
    crossed = [event for event in life.events if isinstance(event, ThresholdCrossed)]
    return [(event.account, event.dimension, event.threshold) for event in crossed]


def held_and_charged(life: Life) -> list[tuple[int, Amounts]]:
    """Return the caps that calls were granted, with what those that were not given back have cost."""
    caps = {e.hold_id: e.call.output_cap for e in life.entries if isinstance(e, Reserved) and e.call is not None}
    cost: dict[str, Amounts] = {}
    for entry in life.entries:
        if isinstance(entry, Settled | Overran):
            cost[entry.hold_id] = cost.get(entry.hold_id, ZERO) + entry.amounts
    return [(cap, cost.get(hold_id, ZERO)) for hold_id, cap in caps.items()]


@example(  # a limit that only watched was passed by a call which degrades, and so does not count there, in the replay
    steps=[Ask(1, 68, 1, "disputed"), Ask(11, 21, 1, "disputed"), Ask(1, 1, 1)],
    tokens=None,
    microusd=None,
    calls=None,
    scoped=300,
    degrade=45,
    percent=0,
)
@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.one_of(asks, asks, buys), min_size=3, max_size=10),
    tokens=st.one_of(st.none(), st.integers(100, 2_000)),
    microusd=st.one_of(st.none(), st.integers(100, 8_000)),
    calls=st.one_of(st.none(), st.integers(0, 10)),
    scoped=st.one_of(st.none(), st.integers(300, 2_000)),
    degrade=st.one_of(st.none(), st.integers(10, 90)),
    percent=st.sampled_from([0, 10]),
)
def test_a_replay_stops_where_the_real_thread_stops(
    steps: list[Ask | Buy],
    tokens: int | None,
    microusd: int | None,
    calls: int | None,
    scoped: int | None,
    degrade: int | None,
    percent: int,
) -> None:
    """Under other limits the same calls are made, cut, warned of and refused as when it is really run with them."""
    if percent:
        # The run that is repeated for the last call asks again for what has failed, and the record has no such calls.
        steps = [replace(step, fault="none") if isinstance(step, Ask) else step for step in steps]
    cost = None if microusd is None else microusd * 1000
    limits = Limits(tokens=tokens, cost_nanousd=cost, calls=calls)
    models = {} if scoped is None else {"main": ScopedLimits(Limits(tokens=scoped))}
    rule = None if degrade is None else Degrade(degrade, "small")
    plan = BudgetPlan(thread=limits, models=models, final_reserve_percent=percent)
    recorded = lived(steps, replace(plan, thread=Limits()), degrade=rule, mode="audit")
    really = lived(steps, plan, degrade=rule)

    again = replayed(recorded, mode="enforce", limits={"tokens": tokens, "usd": cost, "calls": calls})

    made = [call for call in again.calls if call.fate in ("made", "cut", "last_call")]
    assert [(call.output_cap, call.replayed) for call in made] == held_and_charged(really)
    assert (again.stop.shortfall if again.stop is not None else None) == really.refused
    assert [(c.warning.account, c.warning.dimension, c.warning.threshold) for c in again.crossings] == warned(really)


def test_another_model_s_prices_are_those_of_the_day_of_the_call() -> None:
    """The usage of every call is repriced bucket by bucket at the other model's rates; nothing is refused."""
    life = lived([Ask(answer=20), Ask(answer=40), Ask(fault="reset", cap=10)], AMPLE)

    again = replayed(life, models={"main": "small"})

    settled = [entry.usage for entry in life.entries if isinstance(entry, Settled) and entry.usage is not None]
    assert [call.replayed.cost_nanousd for call in again.calls] == [
        cost_nanousd(PRICES["small-1"], usage) for usage in settled
    ]
    assert {call.to_route for call in again.calls} == {"scripted/small-1"}
    assert [call.replayed.tokens for call in again.calls] == [usage.total for usage in settled]
    assert replayed(life, models={"*": "scripted/small-1"}).total == again.total


def test_prices_that_are_given_win_and_the_others_stay_as_recorded() -> None:
    """A price in a file changes the calls of its model to what it says, and those of no other model."""
    life = lived([Ask(), Ask(model="small")], AMPLE)
    doubled = {"main-1": (DatedRates(flat_rates(input=6_000_000_002, output=30_000_000_006, source="file")),)}

    first, second = replayed(life, prices=doubled).calls

    assert first.replayed.cost_nanousd == pytest.approx(2 * first.recorded.cost_nanousd, abs=2)
    assert second.replayed == second.recorded


def test_the_prices_of_a_day_hold_for_every_call() -> None:
    """With a day every call costs what the prices of that day say, whatever it has cost when it was made."""
    life = lived([Ask()], AMPLE)
    old = flat_rates(input=1_000_000_000, output=1_000_000_000, source="old")
    dated = {"main-1": (DatedRates(old), DatedRates(PRICES["main-1"], since=date(2025, 1, 1)))}

    then = replayed(life, prices=dated, day=date(2024, 12, 31)).calls[0]
    now = replayed(life, prices=dated, day=date(2025, 1, 1)).calls[0]

    assert then.replayed.cost_nanousd == then.recorded.tokens * 1000
    assert now.replayed == now.recorded


def test_what_is_not_known_is_said() -> None:
    """A thread, a model or a price that nobody knows is an error that says what there is, not a sum of nothing."""
    life = lived([Ask()], AMPLE)

    with pytest.raises(UnknownAccountError, match="thread:nobody"):
        replay(life.entries, "nobody", Changes(), life.baseline)
    with pytest.raises(ConfigError, match="there are: scripted/main-1"):
        replayed(life, models={"other": "small"})
    with pytest.raises(ConfigError, match="main, small"):
        replayed(life, models={"main": "nonesuch"})
    with pytest.raises(ConfigError, match="no price is known for 'scripted/nonesuch' on 2026-01-01"):
        replayed(life, models={"main": "scripted/nonesuch"})


def test_audit_makes_every_call_and_says_where_enforce_would_not() -> None:
    """In mode audit all calls are made and counted; the first one over the limit is named with its scope."""
    life = lived([Ask() for _ in range(6)], AMPLE)

    again = replayed(life, mode="audit", limits={"calls": 4})

    assert {call.fate for call in again.calls} == {"made"}
    assert again.total.replayed == again.total.recorded
    assert again.over == 5
    over = again.calls[4].shortfall
    assert over is not None
    assert (over.account, over.dimension, over.limit) == (f"thread:{life.thread_id}", "calls", 4)
    assert [(crossing.call, crossing.warning.threshold) for crossing in again.crossings] == [
        (2, 75),
        (4, 90),
        (4, 95),
        (4, 100),
    ]


def test_calls_after_the_first_refusal_are_not_counted() -> None:
    """Under enforce the sums end at the stop, and what was recorded after it is told apart."""
    life = lived([Ask() for _ in range(6)], AMPLE)

    again = replayed(life, mode="enforce", limits={"calls": 4})

    assert [call.fate for call in again.calls] == ["made"] * 4 + ["refused", "not_made"]
    assert again.stop is not None
    assert (again.stop.call, again.stop.agent, again.stop.parks) == (5, "worker", True)
    assert (again.total.replayed.calls, again.not_made.calls, again.total.recorded.calls) == (4, 2, 6)
    assert again.by_agent["worker"] == again.total


def test_siblings_wait_for_each_other_as_they_did() -> None:
    """A call that only its siblings' holds keep out waits for them, and is made when they have settled."""
    life = lived([Together([Ask(cap=60, answer=5), Ask(cap=60, answer=5), Ask(cap=60, answer=5)])], AMPLE)
    most = max(entry.amounts.tokens for entry in life.entries if isinstance(entry, Reserved))

    again = replayed(life, mode="enforce", limits={"tokens": most * 2})

    assert [call.fate for call in again.calls] == ["made"] * 3
    assert again.total.replayed == again.total.recorded


def test_carved_children_that_no_longer_fit_stop_the_thread() -> None:
    """A child whose limits cannot be carved out any more is where the thread stops, and its calls are not made."""
    life = lived([Ask(), Child("carved", 600, [Ask()]), Ask()], BudgetPlan(thread=Limits(tokens=10_000)))

    again = replayed(life, mode="enforce", limits={"tokens": 400})

    assert [call.fate for call in again.calls] == ["made", "not_made", "not_made"]
    assert again.stop is not None
    assert (again.stop.call, again.stop.shortfall.needed) == (0, 600)


def test_what_others_spent_on_a_shared_scope_stands_as_recorded() -> None:
    """Another thread's spend on the organism's day counts in the replay, as it did, and is not part of the sums."""
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(calls=5)})
    life = lived([Ask() for _ in range(3)], plan, before=[Ask() for _ in range(3)], mode="audit")

    again = replayed(life, mode="enforce")

    assert (again.total.recorded.calls, again.total.replayed.calls) == (3, 2)
    assert again.stop is not None
    assert again.stop.shortfall.account.startswith("organism@day:")


def test_a_ledger_that_begins_with_a_checkpoint_is_replayed_from_there() -> None:
    """Where old entries were forgotten, what was spent before stands, is told, and counts against the limits."""
    life = lived([Ask() for _ in range(6)], AMPLE, mode="audit")
    cut = next(n for n, entry in enumerate(life.entries) if isinstance(entry, Settled)) + 1
    kept: list[AnyEntry] = []
    first = Ledger.replay(life.entries[:cut], kept.append)
    first.checkpoint(life.entries[cut - 1].time_ns)
    entries = [*kept, *life.entries[cut:]]

    whole = replay(entries, life.thread_id, Changes(), life.baseline)
    fewer = replay(entries, life.thread_id, Changes(mode="enforce", limits={"calls": 3}), life.baseline)

    assert (whole.complete, whole.before.calls, whole.total.recorded.calls) == (False, 1, 5)
    assert whole.total.replayed == whole.total.recorded
    assert fewer.total.replayed.calls == 2


def test_seconds_count_from_the_thread_s_beginning() -> None:
    """A limit in seconds stops a thread at the first call that begins after it."""
    life = lived([Ask(seconds=10) for _ in range(4)], AMPLE)

    again = replayed(life, mode="enforce", limits={"seconds": 25 * NS_PER_S})

    assert again.stop is not None
    assert (again.stop.call, again.stop.shortfall.dimension) == (4, "seconds")


def test_a_child_is_replayed_with_what_its_parents_have_spent() -> None:
    """A child's own replay has its calls only, and stops where an ancestor's limit does, whose own spend stands."""
    plan = BudgetPlan(thread=Limits(calls=2))
    life = lived([Ask(), Child("shared", 5000, [Ask(), Ask()]), Ask()], plan, mode="audit")
    calls = [entry.call for entry in life.entries if isinstance(entry, Reserved) and entry.call is not None]
    (child,) = {call.thread_id for call in calls} - {life.thread_id}

    again = replay(life.entries, child, Changes(mode="enforce"), life.baseline)

    assert [call.fate for call in again.calls] == ["made", "refused"]
    assert again.stop is not None
    assert again.stop.shortfall.account == f"thread:{life.thread_id}"


@pytest.mark.parametrize("percent", [0, 10])
def test_a_thread_that_was_refused_and_raised_is_replayed_as_it_went(percent: int) -> None:
    """Where an operator has raised the limit the replay raises it too, and makes the same calls in enforce as well."""
    plan = BudgetPlan(thread=Limits(tokens=220), final_reserve_percent=percent)
    life = lived([Ask() for _ in range(8)], plan, raised=Limits(tokens=5_000))
    assert life.refused is not None

    again = replayed(life, mode="enforce")

    assert again.stop is None
    assert {call.fate for call in again.calls} <= {"made", "last_call"}
    assert again.total.replayed == again.total.recorded
    assert [(c.warning.account, c.warning.dimension, c.warning.threshold) for c in again.crossings] == warned(life)


def test_a_correction_of_spend_counts_in_a_replay() -> None:
    """What an operator has added stands on the account, and is in neither sum."""
    life = lived([Ask(), Ask()], AMPLE, adjusted=Amounts(100, 5_000))

    again = replayed(life)

    assert again.adjusted == Amounts(100, 5_000)
    assert again.spent == spent(life) + again.adjusted
    assert again.total.replayed == again.total.recorded


def test_what_is_fixed_stays_fixed_when_the_record_raises_it() -> None:
    """A limit of the replay holds to the end, whatever an operator has done; time spent waiting is not counted."""
    life = lived([Ask() for _ in range(8)], BudgetPlan(thread=Limits(tokens=220)), raised=Limits(tokens=5_000))

    fixed = replayed(life, mode="enforce", limits={"tokens": 220})
    patient = replayed(life, mode="enforce", limits={"seconds": 900 * NS_PER_S})

    assert fixed.stop is not None
    assert fixed.stop.shortfall == life.refused
    assert patient.stop is None


def test_siblings_that_take_too_long_are_waited_for_no_longer_than_they_were() -> None:
    """A call that has waited for its siblings as long as a call may is refused, as it is when it is really run."""
    steps: Steps = [Together([Ask(cap=60, answer=5, seconds=50) for _ in range(3)])]
    recorded = lived(steps, replace(AMPLE, final_reserve_percent=0))
    tokens = 2 * max(entry.amounts.tokens for entry in recorded.entries if isinstance(entry, Reserved))
    really = lived(steps, BudgetPlan(thread=Limits(tokens=tokens), final_reserve_percent=0))

    again = replayed(recorded, mode="enforce", limits={"tokens": tokens})

    assert sorted(call.fate for call in again.calls) == ["made", "made", "refused"]
    assert again.stop is not None
    # The first refusal: after it the message runs once more, so that its agent reads the warning before it waits.
    first = next(event.shortfall for event in really.events if isinstance(event, BudgetExceeded))
    assert (again.stop.shortfall.account, again.stop.shortfall.held) == (first.account, first.held)


def test_a_call_that_moves_leaves_the_limits_of_its_old_provider_behind() -> None:
    """Another provider's model is held on that provider's limits, and no more on those of the one that was used."""
    limited = {"scripted": ScopedLimits(Limits(calls=1))}
    life = lived([Ask(), Ask()], BudgetPlan(thread=Limits(), providers=limited), mode="audit")
    prices = {"other/m": (DatedRates(PRICES["small-1"]),)}

    stays = replayed(life, mode="enforce")
    moves = replayed(life, mode="enforce", models={"*": "other/m"}, prices=prices)

    assert stays.stop is not None
    assert stays.stop.shortfall.account.startswith("provider:scripted@")
    assert moves.stop is None


def test_what_a_call_was_held_at_is_known_by_its_neighbours_when_prices_have_changed() -> None:
    """A call that was charged whole is cut at the prices of its time, although the book has others by now."""
    life = lived([Ask(), Ask(fault="reset", cap=50)], AMPLE)
    baseline = replace(life.baseline, prices=life.baseline.prices.with_overrides({"main-1": PRICES["small-1"]}))
    first, second = replay(life.entries, life.thread_id, Changes(), baseline).calls
    left = first.recorded.cost_nanousd + second.recorded.cost_nanousd // 2

    again = replay(life.entries, life.thread_id, Changes(mode="enforce", limits={"usd": left}), baseline).calls[1]

    assert 16 <= again.output_cap < 50
    assert again.replayed.cost_nanousd <= second.recorded.cost_nanousd // 2


def test_thresholds_that_others_have_crossed_are_not_this_thread_s() -> None:
    """A threshold of a shared scope that another thread's spend has reached is no crossing of the replayed thread's."""
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(calls=4)})
    life = lived([Ask()], plan, before=[Ask() for _ in range(3)], mode="audit")

    again = replayed(life)

    assert [(crossing.call, crossing.warning.threshold) for crossing in again.crossings] == [(1, 90), (1, 95), (1, 100)]


def test_a_replay_steps_down_to_no_model_that_a_usd_limit_would_refuse() -> None:
    """Calls stay with their model where the cheaper one has no price, as calls that are made do."""
    life = lived([Ask(answer=20)] * 3, AMPLE, degrade=Degrade(1, "small"), mode="audit")
    unpriced = {
        **life.baseline.models,
        "small": ModelPlan(name="small", routes=(Route("scripted", "nobody-knows-it"),)),
    }
    unknown = replace(life.baseline, models=unpriced)
    changes = Changes(mode="enforce", limits={"usd": 10_000_000_000, "tokens": 1_000})

    stayed = replay(life.entries, life.thread_id, changes, unknown)

    assert [call.fate for call in stayed.calls] == ["made"] * 3
    assert [call.degraded for call in stayed.calls] == [()] * 3
    assert any(call.degraded for call in replay(life.entries, life.thread_id, changes, life.baseline).calls)
    with pytest.raises(ConfigError, match="no price is known"):
        replay(life.entries, life.thread_id, changes, replace(unknown, refuse_unpriced=False))
