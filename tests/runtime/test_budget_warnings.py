"""Thresholds are told wherever they can be crossed: once, ascending, as an event and to the agents concerned."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import BudgetPlan, BudgetWarning, Context, Limits, Organism, ScopedLimits, Text
from organism import agent as make_agent
from organism.amounts import Amounts, TokenUsage
from organism.budget.scopes import LabelLimits, ScopeRule
from organism.control.reload import switch_mode
from organism.stores.sqlite import SqliteJournal
from organism.testing import CrashingJournal, ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.usage.events import ThresholdCrossed

Told = list[tuple[str, int]]


class Scenery:
    """An agent that spends what it is told to and writes down what it is warned of, and what is told outside."""

    def __init__(self, plan: BudgetPlan | Limits, labels: dict[str, str] | None = None, **options: Any) -> None:
        self.labels = labels
        self.events: Told = []
        self.messages: Told = []
        self.heard: list[tuple[str, str]] = []
        self.provider = ScriptedProvider(self._answer)
        spender = make_agent(name="spender", peers=["spender"])(self._handle)
        self.organism = Organism(
            [spender],
            models={"m": "s/x"},
            providers={"s": self.provider},
            provider_kinds={"s": "local"},
            limits=plan,
            clock=VirtualClock(),
            **options,
        )
        self.organism.usage.subscribe(self._note, ThresholdCrossed)

    def _note(self, event: Any) -> None:
        self.events.append((event.account, event.threshold))

    def _answer(self, request: Any) -> ScriptedAnswer:
        """Take as many tokens as the prompt says, whatever the cap is."""
        took = int(request.messages[-1].content.split()[-1])
        return ScriptedAnswer(text="w", usage=TokenUsage(input=1, output=max(1, took - 1)))

    async def _handle(self, message: Text | BudgetWarning, ctx: Context) -> None:
        if isinstance(message, BudgetWarning):
            self.messages.append((message.account, message.threshold))
            self.heard.append((ctx.thread_id, message.account))
            return
        verb, _, rest = message.text.partition(" ")
        if verb == "keep":
            ctx.send("spender", Text("end"), delay_s=10_000_000)
        elif verb == "rest":
            await anyio.sleep(float(rest))
        elif verb == "spend":
            took, _, cap = rest.partition(" of ")
            await ctx.llm.complete(took, max_output_tokens=int(cap or took))
        elif verb in ("carved", "shared"):
            limits = Limits(tokens=900) if verb == "carved" else None
            await ctx.spawn("spender", Text(rest), limits=limits, budget=verb)  # type: ignore[arg-type]

    async def say(self, text: str) -> None:
        """Have the agent do something, and wait until it has."""
        await self.organism.send("t", text)
        await anyio.sleep(100)


Act = Callable[[Scenery], Awaitable[object]]


def played(plan: BudgetPlan | Limits, act: Act, **options: Any) -> Scenery:
    """Let something happen to a thread that stays open, and return what came of it."""

    async def main() -> Scenery:
        scenery = Scenery(plan, **options)
        async with scenery.organism:
            await scenery.organism.open_thread("keep", thread_id="t", labels=scenery.labels)
            await act(scenery)
            await anyio.sleep(100)
            await scenery.organism.terminate("t")
        return scenery

    return run(main)


def plan(tokens: int | None = 1000, **scopes: Any) -> BudgetPlan:
    return BudgetPlan(thread=Limits(tokens=tokens), final_reserve_percent=0, warn_ahead=0, **scopes)


async def a_settle(scenery: Scenery) -> None:
    await scenery.say("spend 800")


async def a_jump(scenery: Scenery) -> None:
    await scenery.say("spend 960")


async def an_overrun(scenery: Scenery) -> None:
    await scenery.say("spend 920 of 100")


async def a_correction(scenery: Scenery) -> None:
    await scenery.organism.control.adjust_budget("t", Amounts(tokens=950), "an invoice")


async def a_correction_that_comes_twice(scenery: Scenery) -> None:
    for change in (800, -800, 800):
        await scenery.organism.control.adjust_budget("t", Amounts(tokens=change), "an invoice")


async def a_lowered_limit(scenery: Scenery) -> None:
    await scenery.say("spend 500")
    await scenery.organism.set_limits("t", Limits(tokens=550))


async def a_limit_raised_and_lowered(scenery: Scenery) -> None:
    await scenery.say("spend 800")
    await scenery.organism.set_limits("t", Limits(tokens=4000))
    await scenery.organism.set_limits("t", Limits(tokens=850))


async def a_little_raise(scenery: Scenery) -> None:
    await scenery.say("spend 960")
    await scenery.organism.set_limits("t", Limits(tokens=1100))
    await scenery.say("spend 50")


async def lower_thresholds_where_none_was_told(scenery: Scenery) -> None:
    await scenery.say("spend 700")
    scenery.organism.control.components.orders.budget_changes.replan(scenery.organism.budgets.plan, (50, 60, 90))


async def lower_thresholds_where_a_higher_one_was_told(scenery: Scenery) -> None:
    await scenery.say("spend 800")
    scenery.organism.control.components.orders.budget_changes.replan(scenery.organism.budgets.plan, (50, 60, 78, 90))
    await scenery.say("spend 110")


async def the_same_thresholds_again(scenery: Scenery) -> None:
    await scenery.say("spend 800")
    for _ in range(3):
        scenery.organism.control.components.orders.budget_changes.replan(scenery.organism.budgets.plan, (75, 90, 95))


async def a_change_of_mode(scenery: Scenery) -> None:
    switch_mode(scenery.organism.control.components, "off")
    await scenery.say("spend 920")
    for mode in ("audit", "enforce", "off", "audit"):
        switch_mode(scenery.organism.control.components, mode)  # type: ignore[arg-type]


async def time_alone(scenery: Scenery) -> None:
    await scenery.organism.set_limits("t", Limits(elapsed_ns=1_000 * 10**9))
    await anyio.sleep(760)
    await scenery.say("spend 1")
    await scenery.say("spend 1")


async def the_final_warning_ahead(scenery: Scenery) -> None:
    scenery.organism.control.components.orders.budget_changes.replan(BudgetPlan(final_reserve_percent=30), (75, 90, 95))
    await scenery.say("spend 690")
    await scenery.say("spend 250")


async def the_final_warning_ahead_after_another(scenery: Scenery) -> None:
    scenery.organism.control.components.orders.budget_changes.replan(BudgetPlan(final_reserve_percent=15), (75, 90, 95))
    await scenery.say("spend 840")
    await scenery.say("spend 100")


async def a_carved_child(scenery: Scenery) -> None:
    await scenery.say("carved spend 850")


async def a_carved_child_of_a_carved_child(scenery: Scenery) -> None:
    await scenery.say("shared carved spend 850")


async def a_shared_child(scenery: Scenery) -> None:
    await scenery.say("shared spend 850")


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (a_settle, [75]),
        (a_jump, [75, 90, 95]),
        (an_overrun, [75, 90]),
        (a_correction, [75, 90, 95]),
        (a_correction_that_comes_twice, [75]),
        (a_lowered_limit, [75, 90]),
        (a_limit_raised_and_lowered, [75, 75, 90]),
        (a_little_raise, [75, 90, 95, 90]),
        (lower_thresholds_where_none_was_told, [50, 60]),
        (lower_thresholds_where_a_higher_one_was_told, [75, 78, 90]),
        (the_same_thresholds_again, [75]),
        (a_change_of_mode, [75, 90]),
        (time_alone, [75]),
        (the_final_warning_ahead, [75, 90, 95]),
        (the_final_warning_ahead_after_another, [75, 90, 95]),
        (a_carved_child, [75]),
        (a_carved_child_of_a_carved_child, [75]),
        (a_shared_child, [75]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_crosses_a_thread_s_thresholds_is_told_once_ascending_in_both_ways(act: Act, expected: list[int]) -> None:
    """Whatever makes a thread reach a threshold, an event says so, and its agent is told, each as often."""
    scenery = played(plan(), act)

    assert [threshold for account, threshold in scenery.events if account == "thread:t"] == expected
    heard = [
        threshold
        for (thread, _), (account, threshold) in zip(scenery.heard, scenery.messages, strict=True)
        if account == "thread:t" and thread == "t"
    ]
    assert heard == expected


SCOPES: dict[str, dict[str, Any]] = {
    "agent:spender@thread:t": {"agents": {"spender": ScopedLimits(Limits(tokens=1000))}},
    "agent:spender@day:2026-01-01": {"agents": {"spender": ScopedLimits(Limits(tokens=1000), per="day")}},
    "model:m@thread:t": {"models": {"m": ScopedLimits(Limits(tokens=1000))}},
    "model:m@month:2026-01": {"models": {"m": ScopedLimits(Limits(tokens=1000), per="month")}},
    "provider:s@thread:t": {"providers": {"s": ScopedLimits(Limits(tokens=1000))}},
    "organism@day:2026-01-01": {"windows": {"day": Limits(tokens=1000)}},
    "organism@month:2026-01": {"windows": {"month": Limits(tokens=1000)}},
}


@pytest.mark.parametrize("account", SCOPES)
@pytest.mark.parametrize("how", ["settle", "lowered", "corrected", "reload", "thresholds", "mode"])
def test_every_scope_tells_its_thresholds_to_those_who_spend_from_it(account: str, how: str) -> None:
    """Days, months, agents, models and providers warn like threads do, whatever makes them reach a threshold."""
    whole = plan(None, **SCOPES[account])

    async def act(scenery: Scenery) -> None:
        organism = scenery.organism
        if how == "mode":
            switch_mode(organism.control.components, "off")
        await scenery.say("spend 800" if how in ("settle", "mode") else "spend 500")
        match how:
            case "lowered":
                await organism.control.set_limits(account, Limits(tokens=600))
            case "corrected":
                await organism.control.adjust_budget(account, Amounts(tokens=300), "an invoice")
            case "thresholds":
                organism.control.components.orders.budget_changes.replan(whole, (40, 90))
            case "mode":
                switch_mode(organism.control.components, "enforce")
            case "reload":
                organism.control.components.orders.budget_changes.replan(
                    plan(None, **lowered(SCOPES[account])), (75, 90, 95)
                )

    scenery = played(whole, act)

    expected = [(account, 40 if how == "thresholds" else 75)]
    assert scenery.events == expected
    assert scenery.messages == expected


def lowered(scopes: dict[str, Any]) -> dict[str, Any]:
    """Write the same scopes with a lower limit."""
    less = Limits(tokens=600)
    return {
        kind: {
            name: ScopedLimits(less, limited.per) if isinstance(limited, ScopedLimits) else less
            for name, limited in named.items()
        }
        for kind, named in scopes.items()
    }


@pytest.mark.parametrize("change", ["none", "thresholds", "limit", "mode"])
def test_what_a_start_crosses_is_told_once_through_restarts(change: str, tmp_path: Path) -> None:
    """Other limits, thresholds or another mode at a start, and calls it charges whole, warn then, and never again."""
    day = "organism@day:2026-01-01"
    told: Told = []

    async def life(number: int) -> None:
        later = number > 0
        limit = 600 if later and change == "limit" else 1000
        scenery = Scenery(
            plan(None, windows={"day": Limits(tokens=limit)}),
            journal=SqliteJournal(tmp_path / "journal.db"),
            thresholds=(40, 90) if later and change == "thresholds" else (75, 90, 95),
            mode="off" if change == "mode" and not later else "enforce",
        )
        try:
            async with scenery.organism:
                if not later:
                    await scenery.organism.open_thread("keep", thread_id="t", labels=scenery.labels)
                    await scenery.say("spend 800" if change == "mode" else "spend 500")
                await anyio.sleep(100)
        finally:
            told.extend(scenery.events)
            assert scenery.messages == scenery.events

    for number in range(3):
        run(life, number)

    expected = {"none": [], "thresholds": [(day, 40)], "limit": [(day, 75)], "mode": [(day, 75)]}
    assert told == expected[change]


def test_the_last_word_is_left_to_a_thread_whose_final_warning_no_call_of_its_own_has_crossed() -> None:
    """A thread that a child or a correction has brought to its end may still sum up, by any agent of it."""

    async def act(scenery: Scenery) -> None:
        await scenery.organism.control.adjust_budget("t", Amounts(tokens=95_500), "an invoice")
        await scenery.say("spend 2000")
        await scenery.say("spend 2000")

    scenery = played(BudgetPlan(thread=Limits(tokens=100_000), final_reserve_percent=5), act)

    assert [threshold for _, threshold in scenery.events] == [75, 90, 95]
    assert len(scenery.provider.bill) == 1


@pytest.mark.parametrize("scopes", [{}, {"windows": {"day": Limits(tokens=1000)}}], ids=["thread", "day"])
def test_a_call_that_a_start_charges_whole_warns_once_through_crashes(scopes: dict[str, Any]) -> None:
    """A process that dies during a call, and the one that takes it up too: its thresholds are told by one of them."""

    async def main() -> tuple[Told, Told]:
        events: Told = []
        messages: Told = []
        kept = None
        for life in range(4):
            journal = CrashingJournal(kept)
            scenery = Scenery(plan(**scopes), journal=journal)
            scenery.provider._latency_s = 0 if life else 1000
            async with scenery.organism:
                if not life:
                    await scenery.organism.open_thread("keep", thread_id="t", labels=scenery.labels)
                    await scenery.organism.send("t", "spend 800")
                await anyio.sleep(5)
                kept = journal.kept
                events += scenery.events
                messages += scenery.messages
                if life < 3:
                    journal.kept = type(kept)(capacity=1)  # what is written from here on is lost
        return events, messages

    events, messages = run(main)

    first = [account for account in ("thread:t", "organism@day:2026-01-01") if account in dict(events)]
    assert len(first) == 1 + bool(scopes)
    for account in first:
        told = [threshold for name, threshold in events if name == account]
        assert told == sorted(set(told))
        assert [threshold for name, threshold in messages if name == account] == told


DAY = {"day": Limits(tokens=1000)}
WATCHED: dict[str, dict[str, Any]] = SCOPES | {
    "thread:t": {"tokens": 1000},
    "label:tenant=a@lifetime": {
        "labels": {"tenant": LabelLimits(each=ScopedLimits(Limits(tokens=1000), per="lifetime"))}
    },
    "organism@6h": {"windows": {"6h": Limits(tokens=1000)}},
    "organism@lifetime": {"windows": {"lifetime": Limits(tokens=1000)}},
}
JUMPED = [75, 90, 95, 100, 200, 300, 400, 500]


def beyond(scopes: dict[str, Any], mode: str) -> Scenery:
    """Let calls jump from 90 % of a limit to 450 %, and pass another whole limit after that."""

    async def act(scenery: Scenery) -> None:
        for tokens in (900, 3600, 400, 200, 700):
            await scenery.say(f"spend {tokens}")

    return played(plan(**{"tokens": None, **scopes}), act, mode=mode, labels={"tenant": "a"})


@pytest.mark.parametrize("account", WATCHED)
def test_in_audit_each_further_whole_limit_is_told_however_far_a_call_jumps(account: str) -> None:
    """Where nothing is refused, each whole limit that is passed is an event and a message, and none is left out."""
    scenery = beyond(WATCHED[account], "audit")

    for told in (scenery.events, scenery.messages):
        assert [threshold for _, threshold in told] == JUMPED


@pytest.mark.parametrize("mode", ["audit", "enforce"])
def test_so_it_is_where_one_scope_alone_is_watched(mode: str) -> None:
    """A scope's own mode decides, whatever the organism's is; one that refuses tells nothing beyond its limit."""
    scenery = beyond({"windows": DAY, "rules": {"day": ScopeRule(mode="audit")}, "tokens": 1_000_000}, mode)

    assert [threshold for name, threshold in scenery.events if "@day" in name] == JUMPED


def test_a_model_reads_of_the_last_whole_limit_and_of_none_twice() -> None:
    """An agent whose tools' rounds pass several whole limits reads of the highest, once."""
    heard: list[list[int]] = []

    async def work(message: Text, ctx: Context) -> None:
        for tokens in message.text.split():
            await ctx.llm.complete(tokens, max_output_tokens=int(tokens))
            heard.append([warning.threshold for warning in ctx.take_warnings()])

    async def main() -> None:
        async with Organism(
            [make_agent(name="worker")(work)],
            models={"m": "s/x"},
            providers={"s": ScriptedProvider(took)},
            provider_kinds={"s": "local"},
            limits=plan(1000),
            mode="audit",
            clock=VirtualClock(),
        ) as organism:
            await organism.open_thread("900 3600 1 500", thread_id="t")
            await anyio.sleep(100)

    run(main)

    assert heard == [[90], [400], [], [500]]


def took(request: Any) -> ScriptedAnswer:
    """Take as many tokens as the prompt says."""
    return ScriptedAnswer(text="w", usage=TokenUsage(input=1, output=int(request.messages[-1].text) - 1))
