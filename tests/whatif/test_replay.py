"""A recorded thread decided anew: as it was when nothing changes, and as it really goes when the limits do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism import BudgetPlan, Limits
from organism.amounts import ZERO, Amounts
from organism.budget.scopes import ScopedLimits
from organism.ledger.entries import AccountClosed, Reserved, Settled
from organism.router.plan import Degrade
from organism.usage.events import ThresholdCrossed
from organism.whatif.changes import Changes
from organism.whatif.outcome import Replay
from organism.whatif.replay import replay
from tests.whatif.lives import Ask, Child, Life, Steps, lived

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


def spent(life: Life) -> Amounts:
    """Return what all the calls of a life have cost, added up from the entries themselves."""
    calls = {entry.hold_id for entry in life.entries if isinstance(entry, Reserved) and entry.call is not None}
    total = ZERO
    for entry in life.entries:
        if getattr(entry, "hold_id", "") in calls and not isinstance(entry, Reserved):
            total += getattr(entry, "amounts", ZERO)
    return total


def replayed(life: Life, **changes: object) -> Replay:
    return replay(life.entries, life.thread_id, Changes(**changes), life.setup)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.one_of(odd_asks, children), min_size=1, max_size=8),
    tokens=st.integers(200, 5_000),
    mode=st.sampled_from(["off", "audit", "enforce"]),
)
def test_a_replay_that_changes_nothing_is_what_was_recorded(steps: Steps, tokens: int, mode: str) -> None:
    """Every call, every account and every sum comes out as recorded, to the nano-dollar, whatever went wrong then."""
    life = lived(steps, BudgetPlan(thread=Limits(tokens=tokens)), mode=mode, on_exhausted="fail")

    again = replayed(life)

    assert all(call.replayed == call.recorded and call.to_route == call.route for call in again.calls)
    assert {call.fate for call in again.calls} <= {"made"}
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
    cost = {e.hold_id: e.amounts for e in life.entries if isinstance(e, Settled)}
    return [(cap, cost.get(hold_id, ZERO)) for hold_id, cap in caps.items()]


@settings(max_examples=80, deadline=None)
@given(
    steps=st.lists(asks, min_size=3, max_size=12),
    tokens=st.one_of(st.none(), st.integers(100, 2_000)),
    microusd=st.one_of(st.none(), st.integers(100, 8_000)),
    calls=st.one_of(st.none(), st.integers(0, 10)),
    scoped=st.one_of(st.none(), st.integers(300, 2_000)),
    degrade=st.one_of(st.none(), st.integers(10, 90)),
)
def test_a_replay_stops_where_the_real_thread_stops(  # noqa: PLR0913 - each is one thing that may refuse
    steps: Steps, tokens: int | None, microusd: int | None, calls: int | None, scoped: int | None, degrade: int | None
) -> None:
    """Under other limits the same calls are made, cut, warned of and refused as when it is really run with them."""
    cost = None if microusd is None else microusd * 1000
    limits = Limits(tokens=tokens, cost_nanousd=cost, calls=calls)
    models = {} if scoped is None else {"main": ScopedLimits(Limits(tokens=scoped))}
    rule = None if degrade is None else Degrade(degrade, "small")
    recorded = lived(steps, BudgetPlan(thread=Limits(), models=models), degrade=rule, mode="audit")
    really = lived(steps, BudgetPlan(thread=limits, models=models), degrade=rule)

    again = replayed(recorded, mode="enforce", limits={"tokens": tokens, "usd": cost, "calls": calls})

    made = [call for call in again.calls if call.fate in ("made", "cut", "last_call")]
    assert [(call.output_cap, call.replayed) for call in made] == held_and_charged(really)
    assert (again.stop.shortfall if again.stop is not None else None) == really.refused
    assert [(c.warning.account, c.warning.dimension, c.warning.threshold) for c in again.crossings] == warned(really)
