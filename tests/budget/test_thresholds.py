"""Thresholds, warnings ahead and carved children against a reference model, over random sequences of what happens."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from organism.amounts import Amounts, Limits
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.errors import Refusal
from organism.ledger.entries import AnyEntry, CallRecord, ThresholdFired
from organism.ledger.ledger import Cost, Ledger
from organism.messages import BudgetWarning
from organism.testing import ManualClock

THRESHOLDS = ((75, 90, 95), (50, 75, 95), (30, 60), (10, 20, 30, 99))
CARVED = 40


class ThresholdsAgainstModel(RuleBasedStateMachine):
    """The model knows of each thread what it has spent, its limit, its last call, and what stands as told under it."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[AnyEntry] = []
        plan = BudgetPlan(thread=Limits(tokens=100), final_reserve_percent=0)
        self.registry = ThreadBudgetRegistry(plan, Ledger(self.entries.append), ManualClock(), wait_s=0)
        self.registry.open_thread("t")
        self.thresholds: tuple[int, ...] = THRESHOLDS[0]
        self.warn_ahead = plan.warn_ahead
        self.spent, self.limit, self.fired = {"t": 0}, {"t": 100}, {"t": set[int]()}
        self.last: dict[str, int] = {"t": 0}
        self.ahead: dict[str, dict[int, int]] = {"t": {}}
        """What a call took when a threshold came ahead."""
        self.told: list[tuple[str, int]] = []
        self.expected: list[tuple[str, int]] = []

    def expect(self, thread: str) -> None:
        """Note what a thread has reached above all that it was told, and the first threshold if few calls fit."""
        limit, spent = self.limit[thread], self.spent[thread]
        for threshold in self.thresholds if limit else ():
            if spent * 100 >= limit * threshold:
                self.tell(thread, threshold, 0)
        self.expect_ahead(thread, self.last[thread])

    def expect_ahead(self, thread: str, call: int) -> None:
        """Note the first threshold if fewer calls of this size fit than are to."""
        if self.limit[thread] and self.left(thread) < call * self.warn_ahead:
            self.tell(thread, self.thresholds[0], call)

    def left(self, thread: str) -> int:
        return self.limit[thread] - self.spent[thread]

    def tell(self, thread: str, threshold: int, call: int) -> None:
        if threshold > max(self.fired[thread], default=0):
            self.fired[thread].add(threshold)
            self.expected.append((f"thread:{thread}", threshold))
            if call:
                self.ahead[thread][threshold] = call

    def heard(self, warnings: tuple[BudgetWarning, ...]) -> None:
        self.told += [(warning.account, warning.threshold) for warning in warnings]

    def payers(self, thread: str) -> tuple[str, ...]:
        return ("shared", "t") if thread == "shared" else (thread,)

    def reserve(self, spender: Spender, ask: Ask) -> Any:
        """Ask for a hold as a call does that does not wait: what waits has nothing to do with warnings."""
        if any(self.registry.budget(payer).held.tokens for payer in self.payers(spender.thread_id)):
            return self.registry.reserve_now(spender, ask)
        try:
            self.registry.reserve(spender, ask).send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("it waits for nobody")

    @rule(thread=st.sampled_from(["t", "shared", "carved"]), tokens=st.integers(2, 60), over=st.integers(0, 30))
    def call(self, thread: str, tokens: int, over: int) -> None:
        """Make a call as the router does: the warnings before it, its hold or its refusal, its settlement."""
        if thread not in self.spent:
            return
        spender, ask = Spender(thread, "a", "m"), Ask(input_tokens=tokens - 1, output_cap=1)
        self.heard(self.registry.warn_before(spender, ask))
        for payer in self.payers(thread):
            self.expect_ahead(payer, tokens)
        held = self.reserve(spender, ask)
        if isinstance(held, Refusal):
            self.heard(self.registry.warn_refused(spender, ask, held)[0])
            refusing = held.account.removeprefix("thread:")
            assert self.left(refusing) < tokens
            for threshold in self.thresholds if self.limit[refusing] else ():
                self.tell(refusing, threshold, tokens)
        if not isinstance(held, GrantedHold):
            return
        self.heard(self.registry.settle(held, Amounts(tokens + over, 0, 1), Cost(), "a").warnings)
        for payer in self.payers(thread):
            self.spent[payer] += tokens + over
            self.last[payer] = tokens + over
            self.expect(payer)

    @rule(thread=st.sampled_from(["t", "shared", "carved"]), tokens=st.integers(0, 90))
    def charge(self, thread: str, tokens: int) -> None:
        """Spend what nobody has asked for: it counts whatever the limit says, and no hold passes one."""
        if thread not in self.spent:
            return
        state = self.registry.budget(thread)
        free = [each.limits.tokens - each.spent.tokens - each.held.tokens for each in self.registry.budgets(thread)]  # type: ignore[operator]
        record = CallRecord(
            thread_id=thread, root_thread_id="t", agent="a", message_id="", call_id="c", attempt=1, provider="",
            model="", request_model="", input_tokens=tokens, output_cap=0, price_source=None, tool="search",
        )  # fmt: skip
        settled = self.registry.charge(Spender(thread, "a", ""), Amounts(tokens), record, Cost())
        self.heard(settled.warnings)
        assert settled.overrun.tokens == tokens - max(0, min(tokens, *free))
        assert self.registry.budget(thread).spent.calls == state.spent.calls
        for payer in self.payers(thread):
            self.spent[payer] += tokens
            self.expect(payer)

    @rule(kind=st.sampled_from(["shared", "carved"]))
    def open_child(self, kind: str) -> None:
        if kind in self.spent:
            return
        refused = self.registry.open_thread(kind, parent="t", limits=Limits(tokens=CARVED), child_budget=kind)  # type: ignore[arg-type]
        if refused is None:
            self.spent[kind], self.limit[kind], self.fired[kind] = 0, CARVED, set()
            self.last[kind], self.ahead[kind] = 0, {}

    @rule(kind=st.sampled_from(["shared", "carved"]))
    def close_child(self, kind: str) -> None:
        if kind not in self.spent:
            return
        closed = self.registry.cleanup_thread(kind)
        self.heard(closed.warnings)
        assert closed.state.spent.tokens == self.spent[kind]
        if kind == "carved":
            self.spent["t"] += self.spent[kind]
            self.expect("t")
        del self.spent[kind], self.limit[kind], self.fired[kind]

    @rule(tokens=st.integers(-40, 60))
    def correct(self, tokens: int) -> None:
        if self.spent["t"] + tokens < 0:
            return
        self.heard(self.registry.adjust("thread:t", Amounts(tokens=tokens), "an invoice")[1])
        self.spent["t"] += tokens
        self.expect("t")

    @rule(tokens=st.integers(0, 300))
    def change_limit(self, tokens: int) -> None:
        self.heard(self.registry.set_limits("thread:t", Limits(tokens=tokens)))
        self.limit["t"] = tokens
        self.fired["t"] = {each for each in self.fired["t"] if tokens and self.stands(each)}
        self.ahead["t"] = {each: call for each, call in self.ahead["t"].items() if each in self.fired["t"]}
        self.expect("t")

    def stands(self, threshold: int) -> bool:
        """Whether what was told under an earlier limit is so still: spend is there, or no more calls fit than then."""
        if threshold in self.thresholds and self.spent["t"] * 100 >= self.limit["t"] * threshold:
            return True
        call = self.ahead["t"].get(threshold, 0)
        return call > 0 and self.left("t") < call * (self.warn_ahead if threshold == self.thresholds[0] else 1)

    @rule(warn_ahead=st.integers(0, 5))
    def change_how_far_ahead(self, warn_ahead: int) -> None:
        self.registry.replan(replace(self.registry.plan, warn_ahead=warn_ahead), self.thresholds)
        self.heard(self.registry.fire_reached())
        self.warn_ahead = warn_ahead
        for thread in self.spent:
            self.expect(thread)

    @rule(thresholds=st.sampled_from(THRESHOLDS))
    def change_thresholds(self, thresholds: tuple[int, ...]) -> None:
        self.registry.replan(self.registry.plan, thresholds)
        self.heard(self.registry.fire_reached())
        self.thresholds = thresholds
        for thread in self.spent:
            self.expect(thread)

    @rule()
    def switch_off_and_on(self) -> None:
        self.registry.mode = "off"
        assert self.registry.fire_reached() == ()
        self.registry.mode = "enforce"
        self.heard(self.registry.fire_reached())

    @invariant()
    def what_is_told_is_the_model_s_and_in_the_ledger(self) -> None:
        assert self.told == self.expected
        kept = [(entry.account, entry.threshold) for entry in self.entries if isinstance(entry, ThresholdFired)]
        assert kept == self.told

    @invariant()
    def none_is_told_twice_under_a_limit(self) -> None:
        fired = [(e.account, e.threshold, e.revision) for e in self.entries if isinstance(e, ThresholdFired)]
        carved = {account for account, _, _ in fired if account != "thread:t"}  # these are opened again and again
        assert carved or len(fired) == len(set(fired))

    @invariant()
    def who_has_room_for_few_calls_was_warned(self) -> None:
        for thread, limit in self.limit.items():
            assert not limit or self.left(thread) >= self.last[thread] * self.warn_ahead or self.fired[thread]

    @invariant()
    def what_is_held_is_what_was_carved(self) -> None:
        assert self.registry.budget("t").held.tokens == (CARVED if "carved" in self.spent else 0)
        assert self.registry.budget("t").spent.tokens == self.spent["t"]


ThresholdsAgainstModel.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestThresholdsAgainstModel = ThresholdsAgainstModel.TestCase
