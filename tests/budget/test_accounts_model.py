"""Labels, pools and windows of every kind against a reference model, through restarts, freezes and closed accounts."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from organism.amounts import NS_PER_S, Amounts, Limits
from organism.budget.guards.freezes import Freeze, scope_of
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan, LabelLimits, PoolLimits, ScopedLimits, ScopeRule
from organism.ledger.entries import AnyEntry, CallRecord, Checkpoint
from organism.ledger.ledger import Cost, Ledger
from organism.testing import ManualClock
from organism.testing.books import Books

HOUR_NS = 3600 * NS_PER_S
ROLLING_NS = 6 * HOUR_NS
PLAN = BudgetPlan(
    thread=Limits(),
    final_reserve_percent=0,
    warn_ahead=0,
    windows={
        "call": Limits(tokens=60),
        "hour": Limits(tokens=150),
        "week": Limits(tokens=40),
        "6h": Limits(tokens=300),
        "lifetime": Limits(tokens=2000),
    },
    rules={"week": ScopeRule(mode="audit")},
    labels={
        "tenant": LabelLimits(
            each=ScopedLimits(Limits(tokens=100), "day"),
            values={"c": ScopedLimits(Limits(tokens=200), "month")},
            pools={"small": PoolLimits(frozenset({"a", "b"}), ScopedLimits(Limits(tokens=130), "6h"))},
        ),
        "team": LabelLimits(each=ScopedLimits(Limits(tokens=500), "lifetime")),
    },
)
THREADS: dict[str, dict[str, str]] = {
    "a": {"tenant": "a"},
    "b": {"tenant": "b", "team": "blue"},
    "c": {"tenant": "c", "team": "blue"},
    "d": {"tenant": "d"},
    "none": {},
}
FREEZES: tuple[dict[str, str], ...] = ({}, {"tenant": "a"}, {"team": "blue"}, {"tenant": "b", "team": "blue"})


class Scope(NamedTuple):
    """What a call counts on, by the model: a name that changes with its period, a limit, and how long spend counts."""

    name: str
    limit: int
    counts_ns: int | None = None
    enforced: bool = True


class Spend(NamedTuple):
    """What was charged, or is held."""

    scopes: frozenset[str]
    tokens: int
    at_ns: int


def period(per: str, now_ns: int) -> str:
    """Name a period of the calendar in UTC by arithmetic, where the product reads a calendar."""
    day = now_ns // (24 * HOUR_NS)
    local = datetime.fromtimestamp(now_ns // NS_PER_S, UTC)
    months = local.year * 12 + local.month
    return f"{per}:{({'hour': now_ns // HOUR_NS, 'day': day, 'week': (day + 3) // 7, 'month': months})[per]}"


def scopes(labels: Mapping[str, str], now_ns: int) -> Iterator[Scope]:
    """Yield what a call of a thread with these labels counts on."""
    yield Scope("call", 60, counts_ns=0)
    yield Scope(period("hour", now_ns), 150)
    yield Scope(period("week", now_ns), 40, enforced=False)
    yield Scope("6h", 300, ROLLING_NS)
    yield Scope("lifetime", 2000)
    tenant = labels.get("tenant")
    if tenant == "c":
        yield Scope(f"tenant=c {period('month', now_ns)}", 200)
    elif tenant:
        yield Scope(f"tenant={tenant} {period('day', now_ns)}", 100)
    if tenant in ("a", "b"):
        yield Scope("pool small", 130, ROLLING_NS)
    if "team" in labels:
        yield Scope("team=blue", 500)


def same(scope: str, account: str, now_ns: int) -> bool:
    """Whether an account of the product is the model's scope, of the periods that count now."""
    written = datetime.fromtimestamp(now_ns // NS_PER_S, UTC)
    return account == {
        "call": "organism@call",
        period("hour", now_ns): f"organism@hour:{written:%Y-%m-%dT%H}",
        period("week", now_ns): f"organism@week:{written:%G-W%V}",
        "6h": "organism@rolling:6h",
        "lifetime": "organism@lifetime",
        "pool small": "pool:tenant=small@rolling:6h",
        "team=blue": "label:team=blue@lifetime",
        f"tenant=c {period('month', now_ns)}": f"label:tenant=c@month:{written:%Y-%m}",
    }.get(scope, f"label:{scope.partition(' ')[0]}@day:{written:%Y-%m-%d}")


class AccountsAgainstModel(RuleBasedStateMachine):
    """The model keeps one list of what was charged and one of what is held, and adds up what counts now."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[AnyEntry] = []
        self.books = Books(self.wrong, enforced=False)
        self.clock = ManualClock()
        self.spent: list[Spend] = []
        self.held: list[tuple[GrantedHold, Spend]] = []
        self.raised: dict[str, int] = {}
        self.frozen: dict[str, dict[str, str]] = {}
        self.registry = self.made(Ledger(self.note))
        for thread, labels in THREADS.items():
            self.registry.open_thread(thread, labels=labels)

    def wrong(self, what: str) -> None:
        raise AssertionError(what)

    def note(self, entry: AnyEntry) -> None:
        self.entries.append(entry)
        self.books.enter(entry)

    def made(self, ledger: Ledger) -> ThreadBudgetRegistry:
        return ThreadBudgetRegistry(PLAN, ledger, self.clock, wait_s=0)

    def used(self, scope: Scope, *, slack_ns: int = 0) -> int:
        """Return what counts on a scope now, or has counted until so long ago."""
        if scope.counts_ns == 0:
            return 0
        since_ns = 0 if scope.counts_ns is None else self.clock.now_ns() - scope.counts_ns - slack_ns
        spent = sum(each.tokens for each in self.spent if scope.name in each.scopes and each.at_ns >= since_ns)
        return spent + sum(each.tokens for _, each in self.held if scope.name in each.scopes)

    def fits(self, thread: str, tokens: int, *, slack_ns: int = 0) -> bool:
        return all(
            self.used(scope, slack_ns=slack_ns) + tokens <= self.raised.get(scope.name, scope.limit)
            for scope in scopes(THREADS[thread], self.clock.now_ns())
            if scope.enforced
        )

    def is_frozen(self, thread: str) -> bool:
        labels = THREADS[thread].items()
        return any(freeze.items() <= labels for freeze in self.frozen.values())

    def spend(self, thread: str, tokens: int) -> Spend:
        now_ns = self.clock.now_ns()
        return Spend(frozenset(scope.name for scope in scopes(THREADS[thread], now_ns)), tokens, now_ns)

    @rule(thread=st.sampled_from(sorted(THREADS)), tokens=st.integers(2, 70))
    def call(self, thread: str, tokens: int) -> None:
        """A call is let out exactly if nothing is frozen and each scope that refuses has room for it."""
        held = self.registry.reserve_now(Spender(thread, "writer", "main"), Ask(input_tokens=tokens - 1, output_cap=1))
        if self.is_frozen(thread) or not self.fits(thread, tokens):
            assert held is None, "it passes a limit, or a freeze"
        elif self.fits(thread, tokens, slack_ns=ROLLING_NS // 60):
            assert held is not None, "there is room, and nothing is frozen"
        if held is not None:
            self.registry.dispatch(held.hold_id)
            self.held.append((held, self.spend(thread, tokens)))

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), actual=st.integers(0, 90))
    def settle(self, which: int, actual: int) -> None:
        """What a call has cost counts on the windows it left in, also when they are over, and however it was capped."""
        held, spend = self.held.pop(which % len(self.held))
        settled = self.registry.settle(held, Amounts(actual, 0, 1), Cost())
        assert settled.overrun.tokens == max(0, actual - spend.tokens)
        self.spent.append(spend._replace(tokens=actual, at_ns=self.clock.now_ns()))

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99))
    def release(self, which: int) -> None:
        held, _ = self.held.pop(which % len(self.held))
        self.registry.release(held.hold_id)

    @rule(thread=st.sampled_from(sorted(THREADS)), tokens=st.integers(0, 50))
    def charge(self, thread: str, tokens: int) -> None:
        """What has been spent already counts on every scope, full or frozen."""
        record = CallRecord(
            thread_id=thread, root_thread_id=thread, agent="writer", message_id="", call_id="c", attempt=1,
            provider="", model="main", request_model="", input_tokens=tokens, output_cap=0, price_source=None,
            tool="search",
        )  # fmt: skip
        self.registry.charge(Spender(thread, "writer", "main"), Amounts(tokens), record, Cost())
        self.spent.append(self.spend(thread, tokens))

    @rule(seconds=st.sampled_from([1, 59, 600, 3599, 3600, 6 * 3600, 86_400, 7 * 86_400, 31 * 86_400]))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.registry.serve_lines()

    @rule(tenant=st.sampled_from(["a", "b", "d"]), limit=st.integers(0, 300))
    def set_limit(self, tenant: str, limit: int) -> None:
        """What an operator sets for one value is for its present window only."""
        scope = f"tenant={tenant} {period('day', self.clock.now_ns())}"
        account = next((each.account for each in self.registry.states() if self.is_now(scope, each.account)), None)
        if account is not None:
            self.registry.set_limits(account, Limits(tokens=limit))
            self.raised[scope] = limit

    def is_now(self, scope: str, account: str) -> bool:
        return same(scope, account, self.clock.now_ns())

    @rule(labels=st.sampled_from(FREEZES))
    def freeze_or_lift(self, labels: dict[str, str]) -> None:
        freezes, scope = self.registry.reservations.freezes, scope_of(labels)
        if self.frozen.pop(scope, None) is None:
            self.frozen[scope] = labels
            assert freezes.add(self.freeze(labels))
        else:
            assert freezes.lift(scope) is not None

    def freeze(self, labels: dict[str, str]) -> Freeze:
        return Freeze(labels=labels, by="operator", since_ns=self.clock.now_ns())

    @rule()
    def close_idle(self) -> None:
        """Closing what counts nothing any more changes no decision."""
        self.registry.accounts.close_idle()

    @rule(checkpoint=st.booleans())
    def restart(self, checkpoint: bool) -> None:
        """A ledger read again, from its beginning or its last checkpoint, decides as the one before."""
        if checkpoint:
            self.registry.checkpoint(0)
            places = [place for place, entry in enumerate(self.entries) if isinstance(entry, Checkpoint)]
            self.entries = self.entries[places[-1] if places else 0 :]
        self.registry = self.made(Ledger.replay(self.entries, self.note))
        for thread, labels in THREADS.items():
            self.registry.restore_thread(thread, parent=None, carve=None, open_ns=0, labels=labels)
        for labels in self.frozen.values():
            self.registry.reservations.freezes.add(self.freeze(labels))

    @invariant()
    def what_counts_is_the_model_s(self) -> None:
        states: dict[str, Any] = {state.account: state for state in self.registry.states()}
        now_ns = self.clock.now_ns()
        for scope in {scope for labels in THREADS.values() for scope in scopes(labels, now_ns)}:
            found = [state for account, state in states.items() if same(scope.name, account, now_ns)]
            counted = sum(state.spent.tokens + state.held.tokens for state in found) if scope.counts_ns != 0 else 0
            most = self.used(scope, slack_ns=ROLLING_NS // 60) if scope.counts_ns else self.used(scope)
            assert self.used(scope) <= counted <= most, scope

    @invariant()
    def each_thread_has_all_of_its_spend(self) -> None:
        for thread in THREADS:
            assert self.registry.budget(thread).limits == Limits()


AccountsAgainstModel.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestAccountsAgainstModel = AccountsAgainstModel.TestCase
