"""Limits by label and window, and what happens on each scope: one decision, one set of entries, no way round."""

from collections.abc import Mapping
from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism.amounts import NS_PER_S, Amounts, Limits
from organism.budget.holds import GrantedHold, Mode, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.relief import relief
from organism.budget.scopes import BudgetPlan, LabelLimits, PoolLimits, ScopedLimits, ScopeRule, period, present_account
from organism.errors import ConfigError, Refusal
from organism.ledger.entries import AnyEntry, Checkpoint
from organism.ledger.ledger import Cost, Ledger
from organism.testing import ManualClock, run
from organism.testing.books import Books

H = 3600 * NS_PER_S


def ask(tokens: int) -> Ask:
    return Ask(input_tokens=tokens - 1, output_cap=1)


class World:
    """A registry on a clock that is set by hand, whose entries a second set of books checks."""

    def __init__(self, mode: Mode = "enforce", **plan: object) -> None:
        self.entries: list[AnyEntry] = []
        self.plan = BudgetPlan(thread=Limits(), final_reserve_percent=0, warn_ahead=0, **plan)  # type: ignore[arg-type]
        self.clock = ManualClock()
        self.books = Books(self.wrong, enforced=mode == "enforce" and not self.plan.has_rules)
        self.registry = ThreadBudgetRegistry(self.plan, Ledger(self.note), self.clock, mode=mode, wait_s=0)

    def wrong(self, what: str) -> None:
        raise AssertionError(what)

    def note(self, entry: AnyEntry) -> None:
        self.entries.append(entry)
        self.books.enter(entry)

    def open(self, thread: str, labels: Mapping[str, str] | None = None, parent: str | None = None) -> None:
        self.registry.open_thread(thread, labels=labels, parent=parent)

    def take(self, thread: str, tokens: int) -> GrantedHold | Refusal:
        answer = run(self.registry.reserve, Spender(thread, "writer", "main"), ask(tokens))
        assert answer is not None
        return answer

    def spend(self, thread: str, tokens: int, spent: int | None = None) -> list[tuple[str, int]]:
        """Spend tokens; return the thresholds that this crossed."""
        held = self.take(thread, tokens)
        assert isinstance(held, GrantedHold), held
        settled = self.registry.settle(held, Amounts(tokens if spent is None else spent, 0, 1), Cost())
        return [(warning.account, warning.threshold) for warning in settled.warnings]

    def refused(self, thread: str, tokens: int) -> Refusal:
        answer = self.take(thread, tokens)
        assert isinstance(answer, Refusal), answer
        return answer


def tenants(per: str = "lifetime", **more: object) -> dict[str, LabelLimits]:
    each = ScopedLimits(Limits(tokens=100), per)
    return {"tenant": LabelLimits(each=each, values={"acme": ScopedLimits(Limits(tokens=1000), per)}, **more)}  # type: ignore[arg-type]


def test_each_value_of_a_label_has_an_account_of_its_own() -> None:
    """Threads of one tenant share its limit; another tenant's, and threads without the label, are not touched."""
    world = World(labels=tenants())
    for thread, tenant in (("a1", "acme"), ("a2", "acme"), ("b1", "beta"), ("b2", "beta")):
        world.open(thread, {"tenant": tenant})
    world.open("none")

    world.spend("b1", 60)
    assert world.refused("b2", 41).account == "label:tenant=beta@lifetime"
    world.spend("b2", 40)
    world.spend("a1", 900)
    assert world.refused("a2", 101).limit == 1000
    world.spend("none", 5000)


def test_children_spend_on_the_labels_of_their_root() -> None:
    """A child thread is its tenant's too."""
    world = World(labels=tenants())
    world.open("root", {"tenant": "beta"})
    world.open("child", parent="root")

    world.spend("child", 80)

    assert world.refused("root", 21).spent == 80


def test_a_pool_is_shared_by_its_values_and_by_nobody_else() -> None:
    """A call of a value in a pool holds on the value's own account and on the pool's, or on none of them."""
    pools = {"small": PoolLimits(frozenset({"b", "c"}), ScopedLimits(Limits(tokens=120), "lifetime"))}
    world = World(labels=tenants(pools=pools))
    for tenant in ("b", "c", "d"):
        world.open(tenant, {"tenant": tenant})

    world.spend("b", 80)
    assert world.refused("c", 41).account == "pool:tenant=small@lifetime"
    world.spend("c", 40)
    world.spend("d", 100)


@pytest.mark.parametrize("labels", [None, {}, {"team": "x"}, {"tenant": ""}])
def test_a_label_may_be_required(labels: dict[str, str] | None) -> None:
    """Where a label is required, a thread that would count on no account of it is not opened at all."""
    world = World(labels=tenants(required=True))

    with pytest.raises(ConfigError, match="needs the label 'tenant'"):
        world.open("t", labels)

    assert not world.registry.has_budget("t")
    world.open("t", {"tenant": "acme"})


@pytest.mark.parametrize(
    "value",
    ["thread:t", "a@day:2026-11-24", "organism@lifetime", "a/b?c#d", "acme ", "ACME", "é", "x" * 300, "%61", "\n"],
)
def test_strange_values_are_values_like_others(value: str) -> None:
    """No value of a label reaches another account, however it is written."""
    world = World(labels=tenants(), windows={"lifetime": Limits(tokens=10_000)})
    world.open("t", {"tenant": value})
    world.open("acme", {"tenant": "acme"})

    world.spend("t", 100)

    assert world.refused("t", 2).account.startswith("label:tenant=")
    world.spend("acme", 1000)
    assert world.registry.state("organism@lifetime").spent.tokens == 1100
    assert world.registry.budget("t").spent.tokens == 100


WINDOWS = {"hour": H, "day": 24 * H, "week": 7 * 24 * H, "month": 31 * 24 * H}


@pytest.mark.parametrize(("per", "length"), WINDOWS.items())
def test_a_window_of_the_calendar_begins_anew(per: str, length: int) -> None:
    """What was spent in one hour, day, week or month does not count in the next one."""
    world = World(windows={per: Limits(tokens=100), "lifetime": Limits(tokens=150)})
    world.open("t")
    world.spend("t", 100)
    assert world.refused("t", 2).account.startswith(f"organism@{per}:")

    world.clock.advance(length / NS_PER_S)

    world.spend("t", 50)
    assert world.refused("t", 2).account == "organism@lifetime"


def test_a_rolling_window_never_lets_more_pass_within_its_length() -> None:
    """Room comes back as spend gets older than the window, not at an hour of the clock."""
    world = World(windows={"6h": Limits(tokens=100)})
    world.open("t")
    world.spend("t", 60)
    world.clock.advance(5 * 3600)
    world.spend("t", 40)

    world.clock.advance(3600 - 1)
    assert world.refused("t", 2).spent == 100
    world.clock.advance(2)

    world.spend("t", 60)
    assert world.refused("t", 2).account == "organism@rolling:6h"
    state = world.registry.state("organism@rolling:6h")
    assert state.resets_ns is not None
    assert state.resets_ns > world.clock.now_ns() + 5 * H


def test_when_a_rolling_window_has_room_again_is_known_to_the_instant() -> None:
    """A refused call is told when the spend that is in its way counts no more."""
    world = World(windows={"6h": Limits(tokens=100)})
    world.open("t")
    for tokens in (60, 40):
        world.spend("t", tokens)
        world.clock.advance(3600)
    accounts = world.registry.accounts
    states = world.registry.scopes_of(Spender("t", "writer", "main"))

    found = relief(states, ask(50), world.plan, accounts.frees)

    assert found is not None
    assert found.at_ns is not None
    refusal = world.refused("t", 50)
    world.clock.advance((found.at_ns - world.clock.now_ns() - 1) / NS_PER_S)
    assert not accounts.room_came_back(refusal)
    world.clock.advance(1)
    assert accounts.room_came_back(refusal)


def test_one_call_may_be_limited_alone() -> None:
    """A limit per call refuses a call that is too large, however little was spent and however many run beside it."""
    world = World(windows={"call": Limits(tokens=50)}, agents={"writer": ScopedLimits(Limits(tokens=40), "call")})
    world.open("t")

    for _ in range(5):
        assert isinstance(world.take("t", 40), GrantedHold)
    refusal = world.refused("t", 41)

    assert (refusal.account, refusal.spent, refusal.held, refusal.needed) == ("agent:writer@call", 0, 0, 41)
    assert world.registry.notes.refused(refusal, "t")
    assert world.registry.notes.refused(refusal, "t"), "each call that is too large is told of"
    assert world.refused("t", 51).account in ("agent:writer@call", "organism@call")


def test_a_scope_in_audit_lets_pass_what_another_one_refuses() -> None:
    """Each scope does what its own mode says: one only tells where it would refuse, another refuses."""
    world = World(
        windows={"day": Limits(tokens=50), "lifetime": Limits(tokens=80)}, rules={"day": ScopeRule(mode="audit")}
    )
    world.open("t")
    world.spend("t", 50)

    held = world.take("t", 20)

    assert isinstance(held, GrantedHold)
    assert held.over is not None
    assert held.over.account.startswith("organism@day:")
    world.registry.settle(held, Amounts(20, 0, 1), Cost())
    assert world.refused("t", 11).account == "organism@lifetime"


def test_a_scope_may_refuse_where_the_organism_only_watches() -> None:
    """A tenant's limit is enforced although the organism is in audit or off, and nothing else is."""
    for mode in ("audit", "off"):
        label = LabelLimits(each=ScopedLimits(Limits(tokens=30), "lifetime", ScopeRule(mode="enforce")))
        world = World(mode, labels={"tenant": label}, windows={"day": Limits(tokens=10)})  # type: ignore[arg-type]
        world.open("t", {"tenant": "a"})

        world.spend("t", 30)

        assert world.refused("t", 2).account == "label:tenant=a@lifetime"


def test_a_scope_warns_at_its_own_thresholds() -> None:
    """Thresholds are a scope's own where it has some, and the organism's elsewhere."""
    world = World(
        windows={"day": Limits(tokens=100), "month": Limits(tokens=100)}, rules={"day": ScopeRule(thresholds=(50, 80))}
    )
    world.open("t")

    crossed = world.spend("t", 80)

    assert [threshold for account, threshold in crossed if "@day" in account] == [50, 80]
    assert [threshold for account, threshold in crossed if "@month" in account] == [75]


def test_audit_tells_again_at_each_further_whole_limit() -> None:
    """In audit spend goes on beyond a limit: each whole limit more is told once, however many one call passes."""
    world = World("audit", windows={"day": Limits(tokens=10)})
    world.open("t")

    told = [[threshold for _, threshold in world.spend("t", tokens)] for tokens in (9, 1, 5, 5, 31, 2)]

    assert told == [[75, 90], [95, 100], [], [200], [300, 400, 500], []]


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ((100,), [(100 * limit, 0) for limit in range(1, 11)]),
        ((110,), [(1100, 11)]),
        ((109, 12, 220), [*((100 * limit, 0) for limit in range(1, 11)), (1100, 0), (1200, 0), (3400, 22)]),
        ((10_000_000, 10), [(100_000_000, 1_000_000), (100_000_100, 0)]),
    ],
)
def test_of_very_many_whole_limits_one_notice_says_how_many(
    amounts: tuple[int, ...], expected: list[tuple[int, int]]
) -> None:
    """However far a call passes a limit in audit, it makes few notices, and together they count every whole limit."""
    world = World("audit", windows={"day": Limits(tokens=10)})
    world.open("t")
    told: list[tuple[int, int]] = []
    for tokens in amounts:
        held = world.take("t", tokens)
        assert isinstance(held, GrantedHold)
        settled = world.registry.settle(held, Amounts(tokens, 0, 1), Cost())
        told += [(warning.threshold, warning.limits_passed) for warning in settled.warnings if warning.threshold >= 100]

    assert told == expected


def test_a_rolling_window_warns_again_when_it_is_spent_again() -> None:
    """What was told of spend that counts no more is told anew, once for each length of the window."""
    world = World(windows={"1h": Limits(tokens=100)})
    world.open("t")

    assert [threshold for _, threshold in world.spend("t", 80)] == [75]
    world.clock.advance(3601)
    assert [threshold for _, threshold in world.spend("t", 50)] == []
    assert [threshold for _, threshold in world.spend("t", 30)] == [75]


def test_accounts_that_nobody_will_hold_on_again_are_closed() -> None:
    """A thousand tenants a day leave nothing behind: neither in memory nor in the next checkpoint."""
    world = World(labels=tenants("day"), windows={"day": Limits(tokens=10**6)})
    for number in range(50):
        world.open(f"t{number}", {"tenant": f"tenant-{number}"})
        world.spend(f"t{number}", 10)
        if number:
            world.registry.cleanup_thread(f"t{number}")
    pending = world.take("t0", 10)
    assert isinstance(pending, GrantedHold)

    world.clock.advance(86_400)
    world.registry.accounts.close_idle()

    left = [state.account for state in world.registry.states() if state.account.startswith("label:")]
    assert left == [pending.accounts[1]], "a call under way keeps its account"
    world.registry.settle(pending, Amounts(10, 0, 1), Cost())
    world.registry.accounts.close_idle()
    assert not [state for state in world.registry.states() if state.account.startswith("label:")]
    assert world.registry.budgets("t0")
    world.spend("t0", 100)


def test_many_accounts_are_looked_at_one_part_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tenants there were yesterday, no look at them holds up the calls of today for long."""
    monkeypatch.setattr("organism.budget.account_book._LOOK_MAX", 30)
    world = World(labels=tenants("day"))
    for number in range(50):
        world.open(f"t{number}", {"tenant": f"tenant-{number}"})
        world.spend(f"t{number}", 10)
        world.registry.cleanup_thread(f"t{number}")
    world.clock.advance(86_400)
    left = []
    for _ in range(3):
        world.registry.accounts.close_idle()
        left.append(len(world.registry.states()))
    assert left == [20, 0, 0]


STEP = st.tuples(st.integers(0, 5000), st.integers(0, 3), st.integers(2, 60), st.integers(0, 70), st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=60))
def test_no_window_and_no_label_is_ever_overspent(steps: list[tuple[int, int, int, int, bool]]) -> None:
    """Whatever is held, settled and left open over hours: books that add up every spend exactly find no limit passed.

    A ledger that is replayed from the same entries, or from a checkpoint in the middle, stands as the one that lived.
    """
    pools = {"all": PoolLimits(frozenset({"t1", "t2"}), ScopedLimits(Limits(tokens=150), "2h"))}
    label = LabelLimits(each=ScopedLimits(Limits(tokens=100), "1h"), pools=pools)
    world = World(labels={"tenant": label}, windows={"3h": Limits(tokens=220), "hour": Limits(tokens=300)})
    for number in range(4):
        world.open(str(number), {"tenant": f"t{number}"})
    waiting: list[GrantedHold] = []
    for seconds, thread, tokens, spent, later in steps:
        world.clock.advance(seconds)
        answer = world.take(str(thread), tokens)
        if isinstance(answer, GrantedHold):
            waiting.append(answer)
        if waiting and not later:
            held = waiting.pop(0)
            world.registry.settle(held, Amounts(min(spent, held.amounts.tokens), 0, 1), Cost())
        if len(world.entries) % 7 == 0:
            world.registry.checkpoint(0)

    now_ns = world.clock.now_ns()
    lived = {state.account: (state.spent, state.held) for state in world.registry.states()}
    for entries in (world.entries, from_checkpoint(world.entries)):
        again = Ledger.replay(entries)
        assert {
            name: (again.balance(name).spent_at(now_ns), again.balance(name).held_now) for name in again.accounts
        } == lived


def from_checkpoint(entries: list[AnyEntry]) -> list[AnyEntry]:
    places = [place for place, entry in enumerate(entries) if isinstance(entry, Checkpoint)]
    return entries[places[-1] :] if places else entries


def test_a_thread_is_shown_whatever_of_its_windows_was_closed_meanwhile() -> None:
    """A rolling window that counts nothing any more is closed, and opened anew by the next call."""
    world = World(labels=tenants("6h"))
    world.open("t", {"tenant": "a"})
    world.spend("t", 10)
    assert len(world.registry.budgets("t")) == 2

    world.clock.advance(7 * 3600)
    world.registry.accounts.close_idle()

    assert [state.account for state in world.registry.budgets("t")] == ["thread:t"]
    world.spend("t", 10)
    assert len(world.registry.budgets("t")) == 2


def test_the_present_account_is_of_a_scope_that_is_limited() -> None:
    """The day of now, whatever day is named; no account of what no limit is for, nor of an agent of no thread."""
    plan = BudgetPlan(
        windows={"day": Limits(tokens=9)},
        agents={"a": ScopedLimits(Limits(tokens=5), "thread"), "b": ScopedLimits(Limits(), "day")},
    )
    now_ns = ManualClock().now_ns()
    day, limits = present_account(plan, "organism@day:2020-01-01", now_ns) or ("", None)

    assert day == f"organism@{period('day', now_ns, UTC)}"
    assert limits == Limits(tokens=9)
    assert present_account(plan, "organism@month", now_ns) is None
    assert present_account(plan, "agent:b@day", now_ns) is None
    assert present_account(plan, "agent:a@thread", now_ns) is None
    assert present_account(plan, "agent:a@thread:t", now_ns) == ("agent:a@thread:t", Limits(tokens=5))
    assert present_account(plan, "thread:t", now_ns) is None
