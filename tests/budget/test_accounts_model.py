"""Labels, pools, windows and what happens at thresholds against a reference model, through restarts and odd clocks."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from organism.amounts import NS_PER_S, Amounts, Limits
from organism.budget.budget_hold import BudgetHold
from organism.budget.guards.freezes import Freeze, scope_of
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import SteadyClock
from organism.errors import BudgetExhaustedError, Refusal
from organism.ledger.entries import AnyEntry, CallRecord, Checkpoint
from organism.ledger.ledger import Cost, Ledger
from organism.router.planning.plan import Degrade, ModelPlan, degraded
from organism.testing.books import Books
from tests.budget.accounts_model import (
    DAY_NS,
    FREEZES,
    PLAN,
    SLACK_NS,
    THREADS,
    Scope,
    Spend,
    WallClock,
    end_ns,
    instant_ns,
    period,
    same,
    scopes,
)

T = TypeVar("T")

BREAKER = Refusal("breaker", "calls", 0, 0, 0, 1, cause="breaker", note="it goes round and round")
MODEL = ModelPlan(name="main", routes=(), degrade=Degrade(None, "cheap"))
LONG_UNUSED_NS = 390 * DAY_NS


class Held(NamedTuple):
    """What is held: by a call, or by a block of a handler's own."""

    hold_id: str
    by: GrantedHold | BudgetHold
    spend: Spend


def at_once(step: Coroutine[Any, Any, T]) -> T:
    """Take a step that waits for nobody."""
    try:
        step.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("it waits for nobody")


class AccountsAgainstModel(RuleBasedStateMachine):
    """The model keeps one list of what was charged and one of what is held, and adds up what counts now."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[AnyEntry] = []
        self.books = Books(self.wrong, enforced=False)
        self.wall = WallClock()
        self.now_ns = self.wall.now_ns()
        self.spent: list[Spend] = []
        self.held: list[Held] = []
        self.raised: dict[str, int] = {}
        self.passed: dict[str, dict[int, int]] = {}
        """Of each scope what a person has let pass, and when."""
        self.frozen: dict[str, dict[str, str]] = {}
        self.stopped: set[str] = set()
        self.registry = self.made(Ledger(self.note))
        for thread, labels in THREADS.items():
            self.registry.open_thread(thread, labels=labels)

    def wrong(self, what: str) -> None:
        raise AssertionError(what)

    def note(self, entry: AnyEntry) -> None:
        self.entries.append(entry)
        self.books.enter(entry)

    def made(self, ledger: Ledger) -> ThreadBudgetRegistry:
        self.clock = SteadyClock(self.wall)
        self.clock.not_before(self.entries[-1].time_ns if self.entries else 0)
        return ThreadBudgetRegistry(PLAN, ledger, self.clock, wait_s=0)

    # -- the model ------------------------------------------------------------------------------------------------

    def scopes(self, thread: str) -> list[Scope]:
        return list(scopes(THREADS[thread], self.now_ns))

    def limit(self, scope: Scope) -> int:
        return self.raised.get(scope.name, scope.limit)

    def used(self, scope: Scope, *, slack_ns: int = 0, held: bool = True) -> int:
        """Return what counts on a scope now, or has counted until so long ago."""
        if scope.counts_ns == 0:
            return 0
        since_ns = 0 if scope.counts_ns is None else self.now_ns - scope.counts_ns - slack_ns
        spent = sum(each.tokens for each in self.spent if scope.name in each.scopes and each.at_ns >= since_ns)
        return spent + sum(each.spend.tokens for each in self.held if held and scope.name in each.spend.scopes)

    def fits(self, scope: Scope, tokens: int, *, slack_ns: int = 0) -> bool:
        return self.used(scope, slack_ns=slack_ns) + tokens <= self.limit(scope) * scope.end // 100

    def due(self, scope: Scope, *, slack_ns: int = 0) -> int:
        """Return the first per cent that spend has reached and that nobody has let pass; 0 for none."""
        spent, limit = self.used(scope, slack_ns=slack_ns, held=False), self.limit(scope)
        since_ns = 0 if scope.counts_ns is None else self.now_ns - scope.counts_ns + 1
        passed = self.passed.get(scope.name, {})
        stands = max(passed, default=0) if max(passed.values(), default=0) >= since_ns else 0
        waiting = (each for each in scope.approve if each > stands and limit and spent * 100 >= limit * each)
        return next(waiting, 0)

    def expected(self, thread: str, tokens: int, slack_ns: int = 0) -> str:
        """Return why a call is refused; empty where it is let out."""
        if any(freeze.items() <= THREADS[thread].items() for freeze in self.frozen.values()):
            return "freeze"
        if thread in self.stopped:
            return "breaker"
        enforced = [scope for scope in self.scopes(thread) if scope.enforced]
        if any(self.due(scope, slack_ns=slack_ns) for scope in enforced):
            return "approval"
        return "" if all(self.fits(scope, tokens, slack_ns=slack_ns) for scope in enforced) else "limit"

    def spend(self, thread: str, tokens: int) -> Spend:
        return Spend(frozenset(scope.name for scope in self.scopes(thread)), tokens, self.now_ns)

    def account(self, scope: str) -> str | None:
        """Return the open account of a scope."""
        now_ns = self.now_ns
        return next((each.account for each in self.registry.states() if same(scope, each.account, now_ns)), None)

    # -- what happens ---------------------------------------------------------------------------------------------

    def decided(self, thread: str, tokens: int, ask: Callable[[], T | Refusal]) -> T | None:
        """Ask for what is decided at once, and compare with the model: let out, or refused and why."""
        expected = self.expected(thread, tokens)
        certain = expected == self.expected(thread, tokens, SLACK_NS)
        if (not certain or expected == "limit") and self.held:
            return None  # it may wait in line for what others hold
        answer = ask()
        if not isinstance(answer, Refusal):
            assert not expected, "it passes a limit, a freeze, or what a person must let go on"
            return answer
        if certain:
            assert answer.cause == expected, "there is room, or something else refuses it"
        if certain and expected == "limit":
            self.check_refusal(thread, tokens, answer)
        return None

    def check_refusal(self, thread: str, tokens: int, refusal: Refusal) -> None:
        (scope,) = (each for each in self.scopes(thread) if same(each.name, refusal.account, self.now_ns))
        assert not self.fits(scope, tokens, slack_ns=SLACK_NS), "it has room"
        assert (refusal.action, refusal.threshold) == (scope.action, scope.end % 100)

    @rule(thread=st.sampled_from(sorted(THREADS)), tokens=st.integers(2, 70))
    def call(self, thread: str, tokens: int) -> None:
        """A call is let out exactly if nothing has stopped it and each scope that refuses has room for it."""
        spender, ask = Spender(thread, "writer", "main"), Ask(input_tokens=tokens - 1, output_cap=1)
        self.check_model(thread, spender)
        held = self.decided(thread, tokens, lambda: at_once(self.registry.reserve(spender, ask)))
        if held is None and (self.held or self.expected(thread, tokens)):
            held = self.registry.reserve_now(spender, ask)
            if self.expected(thread, tokens):
                assert held is None, "it passes a limit"
            elif not self.expected(thread, tokens, SLACK_NS):
                assert held is not None, "there is room"
        if held is not None:
            self.registry.dispatch(held.hold_id)
            self.held.append(Held(held.hold_id, held, self.spend(thread, tokens)))

    def check_model(self, thread: str, spender: Spender) -> None:
        """A cheaper model takes over as soon as one scope is spent so far that it says so."""
        states = self.registry.scopes_of(spender)
        takes_over = degraded(MODEL, states, self.registry.accounts.actions_of) is not None
        spent = [scope for scope in self.scopes(thread) if scope.degrade]
        assert takes_over == any(
            self.limit(scope) and self.used(scope, held=False) * 100 >= self.limit(scope) * scope.degrade
            for scope in spent
        )

    @rule(thread=st.sampled_from(sorted(THREADS)), tokens=st.integers(1, 70))
    def enter_hold(self, thread: str, tokens: int) -> None:
        """A block of a handler's own holds as a call does, and has left at once."""

        def enter() -> BudgetHold | Refusal:
            try:
                return at_once(self.registry.hold(thread, tokens=tokens, agent="writer", model="main").__aenter__())
            except BudgetExhaustedError as error:
                return error.refusal

        before = {hold.hold_id for hold in self.registry.open_holds()}
        if (block := self.decided(thread, tokens, enter)) is not None:
            (hold,) = (each for each in self.registry.open_holds() if each.hold_id not in before)
            assert hold.dispatched, "after a crash it is charged"
            self.held.append(Held(hold.hold_id, block, self.spend(thread, tokens)))

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), actual=st.integers(0, 90))
    def settle(self, which: int, actual: int) -> None:
        """What a call has cost counts on the windows it left in, also when they are over, and however it was capped."""
        by, spend = self.held.pop(which % len(self.held))[1:]
        if isinstance(by, BudgetHold):
            settled = by.settle(tokens=actual)
        else:
            settled = self.registry.settle(by, Amounts(actual, 0, 1), Cost())
        assert settled.overrun.tokens == max(0, actual - spend.tokens)
        self.spent.append(spend._replace(tokens=actual, at_ns=self.now_ns))

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), fails=st.booleans())
    def release(self, which: int, fails: bool) -> None:
        """What nobody has bought is given back; a block that fails is charged all that it held."""
        hold_id, by, spend = self.held.pop(which % len(self.held))
        if not isinstance(by, BudgetHold):
            self.registry.release(hold_id)
        elif fails:
            at_once(by.__aexit__(RuntimeError, RuntimeError(), None))
            self.spent.append(spend._replace(at_ns=self.now_ns))
        else:
            by.release()

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

    def pass_ns(self, passed_ns: int) -> None:
        self.wall.pass_ns(passed_ns)
        self.now_ns = instant_ns(self.now_ns, passed_ns, self.wall.now_ns())
        # As any process does many times a second: read a day later only, a clock set back by a day has stood still.
        self.clock.now_ns()
        self.registry.serve_lines()

    @rule(seconds=st.sampled_from([1, 59, 600, 3599, 3600, 6 * 3600, 86_400, 7 * 86_400, 31 * 86_400]))
    def pass_time(self, seconds: int) -> None:
        self.pass_ns(seconds * NS_PER_S)

    @rule(seconds=st.sampled_from([1, 200, 301, 3600, 86_400]))
    def set_clock_back(self, seconds: int) -> None:
        """A clock that is set back opens no window twice: time stands still, or goes on evenly."""
        self.wall.back_ns += seconds * NS_PER_S
        self.pass_ns(0)

    @rule(
        per=st.sampled_from(["hour", "day", "week", "month"]),
        early_ns=st.sampled_from([-1, 0, 1]),
        restart=st.booleans(),
    )
    def come_to_the_end(self, per: str, early_ns: int, restart: bool) -> None:
        """A window ends at its instant, neither before nor after, also if the process is another one by then."""
        self.pass_ns(end_ns(per, self.now_ns) + early_ns - self.now_ns)
        if restart:
            self.restart(checkpoint=True)

    @rule(name=st.sampled_from(["tenant=a", "tenant=b", "tenant=d", "hour", "pool"]), limit=st.integers(0, 300))
    def set_limit(self, name: str, limit: int) -> None:
        """What an operator sets is for its present window only; what a person has let pass is asked for again."""
        if name == "pool":
            scope = "pool small"
        else:
            scope = period("hour", self.now_ns) if name == "hour" else f"{name} {period('day', self.now_ns)}"
        if (account := self.account(scope)) is not None:
            self.registry.set_limits(account, Limits(tokens=limit))
            self.raised[scope] = limit
            self.passed.pop(scope, None)

    def all_due(self, but: str = "") -> Iterator[tuple[str, str, int]]:
        for scope in {scope for thread in THREADS for scope in self.scopes(thread)}:
            account, threshold = self.account(scope.name), self.due(scope)
            if account is not None and threshold and scope.name != but:
                yield scope.name, account, threshold

    @precondition(lambda self: next(self.all_due(), None))
    @rule(which=st.integers(0, 99))
    def let_pass(self, which: int, but: str = "") -> None:
        """A person's word is for one threshold of one account, for all who spend there, until its limit changes."""
        due = sorted(self.all_due(but))
        scope, account, threshold = due[which % len(due)]
        asked = self.registry.stops.approval_due(account)
        assert asked is not None
        assert (asked.cause, asked.threshold) == ("approval", threshold)
        self.registry.stops.let_pass(account, threshold, "operator")
        self.passed.setdefault(scope, {})[threshold] = self.now_ns

    @rule(labels=st.sampled_from(FREEZES))
    def freeze_or_lift(self, labels: dict[str, str]) -> None:
        freezes, scope = self.registry.stops.freezes, scope_of(labels)
        if self.frozen.pop(scope, None) is None:
            self.frozen[scope] = labels
            assert freezes.add(self.freeze(labels))
        else:
            assert freezes.lift(scope) is not None

    def freeze(self, labels: dict[str, str]) -> Freeze:
        return Freeze(labels=labels, by="operator", since_ns=self.now_ns)

    @rule(thread=st.sampled_from(["a", "none"]))
    def trip_or_let_go(self, thread: str) -> None:
        """A thread whose breaker has tripped spends nothing, and the others go on."""
        self.stopped ^= {thread}
        self.registry.stops.stop(thread, BREAKER if thread in self.stopped else None)

    @rule()
    def close_idle(self) -> None:
        """Closing what counts nothing any more changes no decision."""
        self.registry.accounts.close_idle()

    @rule(checkpoint=st.booleans())
    def restart(self, checkpoint: bool) -> None:
        """A ledger read again, from its beginning or its last checkpoint, decides as the one before.

        What a block of a handler's own held is charged whole: nobody knows what it has bought.
        """
        if self.wall.now_ns() - self.entries[-1].time_ns > LONG_UNUSED_NS:
            return
        if checkpoint:
            self.registry.checkpoint(0)
            places = [place for place, entry in enumerate(self.entries) if isinstance(entry, Checkpoint)]
            self.entries = self.entries[places[-1] if places else 0 :]
        self.now_ns = max(self.wall.now_ns(), self.entries[-1].time_ns)
        self.registry = self.made(Ledger.replay(self.entries, self.note))
        for thread, labels in THREADS.items():
            self.registry.restore_thread(thread, parent=None, carve=None, open_ns=0, labels=labels)
        for labels in self.frozen.values():
            self.registry.stops.freezes.add(self.freeze(labels))
        for thread in self.stopped:
            self.registry.stops.stop(thread, BREAKER)
        for lost in [each for each in self.held if isinstance(each.by, BudgetHold)]:
            hold = next(hold for hold in self.registry.open_holds() if hold.hold_id == lost.hold_id)
            held = GrantedHold(hold_id=hold.hold_id, accounts=hold.accounts, amounts=hold.amounts, output_cap=0)
            self.registry.settle(held, hold.amounts, Cost("worst_case"))
            self.held.remove(lost)
            self.spent.append(lost.spend._replace(at_ns=self.now_ns))

    # -- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def what_counts_is_the_model_s(self) -> None:
        states: dict[str, Any] = {state.account: state for state in self.registry.states()}
        now_ns = self.now_ns
        for scope in {scope for labels in THREADS.values() for scope in scopes(labels, now_ns)}:
            found = [state for account, state in states.items() if same(scope.name, account, now_ns)]
            counted = sum(state.spent.tokens + state.held.tokens for state in found) if scope.counts_ns != 0 else 0
            most = self.used(scope, slack_ns=SLACK_NS) if scope.counts_ns else self.used(scope)
            assert self.used(scope) <= counted <= most, scope

    @invariant()
    def each_thread_has_all_of_its_spend(self) -> None:
        for thread in THREADS:
            assert self.registry.budget(thread).limits == Limits()


AccountsAgainstModel.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestAccountsAgainstModel = AccountsAgainstModel.TestCase


Story = list[tuple[str, dict[str, Any]]]

STORIES: dict[str, Story] = {
    "an account ends before its limit": [
        ("charge", {"thread": "c", "tokens": 40}),
        ("call", {"thread": "c", "tokens": 20}),
    ],
    "a person's word is asked for again under another limit": [
        ("charge", {"thread": "a", "tokens": 70}),
        ("let_all_pass", {}),
        ("call", {"thread": "a", "tokens": 5}),
        ("settle", {"which": 0, "actual": 0}),
        ("set_limit", {"name": "tenant=a", "limit": 90}),
        ("call", {"thread": "a", "tokens": 5}),
    ],
    "a person's word is good for one window": [
        ("charge", {"thread": "a", "tokens": 40}),
        ("charge", {"thread": "b", "tokens": 40}),
        ("let_all_pass", {}),
        ("pass_time", {"seconds": 5 * 3600}),
        ("charge", {"thread": "a", "tokens": 40}),
        ("charge", {"thread": "b", "tokens": 40}),
        ("pass_time", {"seconds": 3600}),
        ("let_all_pass", {"but": "pool small"}),
        ("call", {"thread": "a", "tokens": 10}),
    ],
    "a person's word outlives the spend, a checkpoint and an account that counts nothing": [
        ("charge", {"thread": "a", "tokens": 40}),
        ("charge", {"thread": "b", "tokens": 40}),
        ("pass_time", {"seconds": 5 * 3600}),
        ("let_all_pass", {}),
        ("pass_time", {"seconds": 4000}),
        ("close_idle", {}),
        ("restart", {"checkpoint": True}),
        ("charge", {"thread": "a", "tokens": 40}),
        ("charge", {"thread": "b", "tokens": 40}),
        ("let_all_pass", {"but": "pool small"}),
        ("call", {"thread": "a", "tokens": 10}),
    ],
    "what an operator has set outlives an account that counts nothing": [
        ("charge", {"thread": "a", "tokens": 1}),
        ("set_limit", {"name": "pool", "limit": 10}),
        ("pass_time", {"seconds": 7 * 3600}),
        ("close_idle", {}),
        ("call", {"thread": "a", "tokens": 20}),
    ],
    "a breaker stops its thread, and no other": [
        ("trip_or_let_go", {"thread": "a"}),
        ("call", {"thread": "a", "tokens": 5}),
        ("call", {"thread": "d", "tokens": 5}),
        ("restart", {"checkpoint": True}),
        ("enter_hold", {"thread": "a", "tokens": 5}),
        ("trip_or_let_go", {"thread": "a"}),
        ("call", {"thread": "a", "tokens": 5}),
    ],
    "a clock that is set back a little is waited for": [
        ("come_to_the_end", {"per": "hour", "early_ns": 1, "restart": False}),
        ("charge", {"thread": "none", "tokens": 50}),
        ("set_clock_back", {"seconds": 200}),
        ("call", {"thread": "none", "tokens": 50}),
    ],
    "a clock that is set back far is not waited for": [
        ("charge", {"thread": "none", "tokens": 50}),
        ("set_clock_back", {"seconds": 86_400}),
        ("pass_time", {"seconds": 3600}),
        ("charge", {"thread": "none", "tokens": 50}),
    ],
    "a clock that is set back between two processes opens no window twice": [
        ("come_to_the_end", {"per": "day", "early_ns": 0, "restart": False}),
        ("charge", {"thread": "a", "tokens": 50}),
        ("set_clock_back", {"seconds": 3600}),
        ("restart", {"checkpoint": False}),
        ("charge", {"thread": "a", "tokens": 10}),
    ],
    "a block that dies is charged all that it held": [
        ("enter_hold", {"thread": "a", "tokens": 10}),
        ("release", {"which": 0, "fails": True}),
        ("enter_hold", {"thread": "a", "tokens": 10}),
        ("restart", {"checkpoint": True}),
    ],
    "a cheaper model takes over": [
        ("charge", {"thread": "d", "tokens": 50}),
        ("call", {"thread": "d", "tokens": 5}),
    ],
}
STORIES |= {
    f"a {per} ends at its instant {'for the next process' if restart else ''}": [
        ("charge", {"thread": "a", "tokens": 55}),
        ("come_to_the_end", {"per": per, "early_ns": -1, "restart": restart}),
        ("charge", {"thread": "c", "tokens": 1}),
        ("come_to_the_end", {"per": per, "early_ns": 0, "restart": restart}),
        ("call", {"thread": "c", "tokens": 40}),
        ("charge", {"thread": "a", "tokens": 40}),
    ]
    for per in ("hour", "day", "week", "month")
    for restart in (False, True)
}  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_each_guard_is_met_in_every_run(story: str) -> None:
    """What chance comes upon now and then happens here each time, against the same model."""
    machine = AccountsAgainstModel()
    for step, arguments in STORIES[story]:
        if step == "let_all_pass":
            while next(machine.all_due(but=arguments.get("but", "")), None):
                machine.let_pass(0, **arguments)
        else:
            getattr(machine, step)(**arguments)
        machine.what_counts_is_the_model_s()
