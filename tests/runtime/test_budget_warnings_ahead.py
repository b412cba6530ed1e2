"""Calls that grow: agents are warned before a call that no longer fits, once for each threshold."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from organism import (
    BudgetExhaustedError,
    BudgetPlan,
    BudgetWarning,
    ConfigError,
    Context,
    Limits,
    Organism,
    ScopedLimits,
    Text,
    agent,
)
from organism.amounts import TokenUsage
from organism.messages import Message
from organism.stores.memory import MemoryJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.usage.events import ThresholdCrossed

Heard = list[tuple[int, str, int | None]]


def usage(request: Any) -> ScriptedAnswer:
    """Take as many tokens as the prompt has words."""
    return ScriptedAnswer(text="w", usage=TokenUsage(input=request.messages[-1].content.count("w") - 1, output=1))


class Story:
    """An agent whose prompts have as many words as it is told, and what it hears."""

    def __init__(self, plan: BudgetPlan | Limits, **options: Any) -> None:
        self.heard: Heard = []
        self.events: Heard = []
        self.order: list[str] = []
        self.provider = ScriptedProvider(usage, name="openai")
        self.organism = Organism(
            [agent(name="writer")(self._write)],
            models={"main": "openai/gpt-4o"},
            providers={"openai": self.provider},
            limits=plan,
            clock=VirtualClock(),
            **options,
        )
        self.organism.usage.subscribe(self._note, ThresholdCrossed)

    def _note(self, event: Any) -> None:
        self.events.append((event.threshold, event.dimension, event.calls_left))

    async def _write(self, message: Text | BudgetWarning, ctx: Context) -> Message | None:
        if isinstance(message, BudgetWarning):
            self.heard.append((message.threshold, message.dimension, message.calls_left))
            self.order.append("warned")
            return None
        for words in message.text.split():
            await ctx.llm.complete("w " * int(words), max_output_tokens=16)
            self.order.append("called")
        return Text("ok")

    async def say(self, text: str) -> bool:
        """Have it make calls of these sizes one after the other; whether it could."""
        thread = await self.organism.open_thread(text)
        try:
            await self.organism.wait(thread)
        except BudgetExhaustedError:
            await anyio.sleep(60)
            return False
        return True


def told(plan: BudgetPlan | Limits, text: str, **options: Any) -> Story:
    async def main() -> Story:
        story = Story(plan, **options)
        async with story.organism:
            await story.say(text)
        return story

    return run(main)


GROWING = " ".join(str(200 * (turn + 1)) for turn in range(20))

SCOPES: dict[str, BudgetPlan | Limits] = {
    "tokens": Limits(tokens=6400),
    "usd": Limits(usd="0.016"),
    "both": Limits(tokens=6400, usd="0.016"),
    "no final reserve": BudgetPlan(thread=Limits(tokens=6400), final_reserve_percent=0),
    "an agent's": BudgetPlan(thread=Limits(), agents={"writer": ScopedLimits(Limits(tokens=6400))}),
    "a model's": BudgetPlan(thread=Limits(), models={"main": ScopedLimits(Limits(tokens=6400), "day")}),
    "a provider's": BudgetPlan(thread=Limits(), providers={"openai": ScopedLimits(Limits(tokens=6400))}),
    "a day's": BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=6400)}),
    "a month's": BudgetPlan(thread=Limits(), windows={"month": Limits(usd="0.016")}),
}


@pytest.mark.parametrize("scope", SCOPES)
def test_growing_calls_are_warned_of_before_one_is_refused(scope: str) -> None:
    """The first warning comes when few calls fit, and all with the call that does not: each once, also as an event."""
    story = told(SCOPES[scope], GROWING)

    for unit in {unit for _, unit, _ in story.heard}:
        mine = [(threshold, left) for threshold, each, left in story.heard if each == unit]
        assert [threshold for threshold, _ in mine] == sorted({threshold for threshold, _ in mine})
        assert mine[0][0] == 75
        assert mine[0][1] in (1, 2)
    assert 95 in [threshold for threshold, _, _ in story.heard]
    assert sorted(story.events) == sorted(story.heard)


@pytest.mark.parametrize(
    ("limits", "text", "expected"),
    [
        (Limits(calls=5), "9 9", []),
        (Limits(calls=5), "9 9 9", [(75, 2)]),
        (Limits(calls=5), "9 9 9 9", [(75, 2)]),
        (Limits(calls=5), "9 9 9 9 9", [(75, 2), (90, None), (95, None)]),
        (Limits(calls=5), "9 9 9 9 9 9", [(75, 2), (90, None), (95, None)]),
        (Limits(calls=1), "9", [(75, 1), (90, None), (95, None)]),
        (Limits(tokens=1000), "100 100 100 100", []),
        (Limits(tokens=1000), "300 10 10", [(75, 2)]),
        (Limits(tokens=1000), "5000", [(75, 0), (90, 0), (95, 0)]),
        (Limits(tokens=1000), "100 5000", [(75, 0), (90, 0), (95, 0)]),
        (Limits(tokens=0), "9", []),
        (Limits(calls=0), "9", []),
        (Limits(tokens=100_000), "9 " * 30, []),
    ],
)
def test_few_calls_are_those_of_the_present_size(
    limits: Limits, text: str, expected: list[tuple[int, int | None]]
) -> None:
    """Small calls under a large limit warn of nothing, a large one at once; what gets smaller takes nothing back."""
    story = told(BudgetPlan(thread=limits, final_reserve_percent=0), text)

    assert [(threshold, left) for threshold, _, left in story.heard] == expected


def test_slow_calls_warn_ahead_of_a_limit_in_seconds() -> None:
    """Where a call takes a third of the time, the warning comes after the first."""

    async def main() -> Heard:
        story = Story(Limits(seconds=100))
        story.provider._latency_s = 34
        async with story.organism:
            await story.say("9")
        return story.events

    assert run(main) == [(75, "seconds", 1)]


async def a_little_raise(story: Story, thread: str) -> None:
    await story.organism.set_limits(thread, Limits(tokens=1100))


async def several_little_raises(story: Story, thread: str) -> None:
    for tokens in (1100, 1150, 1200):
        await story.organism.set_limits(thread, Limits(tokens=tokens))
        await anyio.sleep(60)


async def the_same_limit_again(story: Story, thread: str) -> None:
    await story.organism.set_limits(thread, Limits(tokens=1000))


async def a_reload(story: Story, _thread: str) -> None:
    story.organism.control.components.orders.budget_changes.replan(story.organism.budgets.plan, (75, 90, 95))


MOVES: dict[str, Callable[[Story, str], Awaitable[None]]] = {
    each.__name__: each for each in (a_little_raise, several_little_raises, the_same_limit_again, a_reload)
}


@pytest.mark.parametrize("move", MOVES)
def test_what_was_told_of_a_refused_call_is_not_told_again_while_it_does_not_fit(move: str) -> None:
    """A parked message that is tried again after a raise too small, a resume or a reload warns of nothing new."""

    async def main() -> Story:
        story = Story(BudgetPlan(thread=Limits(tokens=1000), final_reserve_percent=0))
        async with story.organism:
            thread = await story.organism.open_thread("100 5000")
            await anyio.sleep(60)
            await MOVES[move](story, thread)
            await anyio.sleep(60)
        return story

    story = run(main)

    assert [threshold for threshold, _, _ in story.heard] == [75, 90, 95]
    assert story.events == story.heard


def test_raise_that_is_enough_arms_the_warnings_anew() -> None:
    """Under a limit that leaves room for many calls what comes near it again is told again."""

    async def main() -> Story:
        story = Story(BudgetPlan(thread=Limits(tokens=1000), final_reserve_percent=0))
        async with story.organism:
            thread = await story.organism.open_thread("100 1500 1500 10000")
            await anyio.sleep(60)
            await story.organism.set_limits(thread, Limits(tokens=12_000))
            await anyio.sleep(60)
        return story

    assert [threshold for threshold, _, _ in run(main).heard] == [75, 90, 95, 75, 90, 95]


def test_no_restart_tells_it_again() -> None:
    """What was told before a crash, and parked with its message, is not told by any process after it."""
    kept = MemoryJournal()
    heard: Heard = []

    async def life(number: int) -> None:
        story = Story(BudgetPlan(thread=Limits(tokens=1000), final_reserve_percent=0), journal=kept)
        async with story.organism:
            if not number:
                await story.organism.open_thread("100 5000", thread_id="t")
            await anyio.sleep(60)
        heard.extend(story.heard)
        assert story.events == story.heard

    for number in range(3):
        run(life, number)

    assert [threshold for threshold, _, _ in heard] == [75, 90, 95]


@pytest.mark.parametrize(("warn_ahead", "after"), [(0, None), (1, None), (3, 7), (8, 2)])
def test_how_far_ahead_is_a_setting(warn_ahead: int, after: int | None) -> None:
    """The warning comes as many calls ahead as is set; with 0 only when spend has reached a threshold."""
    plan = BudgetPlan(thread=Limits(calls=10), final_reserve_percent=0)
    for calls in range(1, 11):
        story = told(plan, "9 " * calls, warn_ahead=warn_ahead, thresholds=(100,))
        ahead = [left for _, _, left in story.heard if left is not None]
        assert bool(ahead) == (after is not None and calls > after), calls


@pytest.mark.parametrize("wrong", [-1, True, "3", 1.5])
def test_number_of_calls_that_is_none_is_refused(wrong: Any) -> None:
    """How far ahead to warn is a whole number from 0."""
    with pytest.raises(ConfigError, match="warn_ahead"):
        Organism([agent(name="a")(lambda _message, _ctx: None)], warn_ahead=wrong)


@pytest.mark.parametrize("mode", ["off", "audit"])
def test_modes_that_refuse_nothing_warn_as_they_warn_of_thresholds(mode: Any) -> None:
    """In audit the same is told, and the calls are made; in mode off nothing is."""
    story = told(BudgetPlan(thread=Limits(tokens=1000), final_reserve_percent=0), "100 5000 10", mode=mode)

    assert story.order.count("called") == 3
    assert [threshold for threshold, _, _ in story.heard if threshold < 100] == (
        [75, 90, 95] if mode == "audit" else []
    )


def test_handler_that_takes_long_sees_the_warning() -> None:
    """A handler that makes its calls in one go can look, and be brief, before the first is refused."""

    async def main() -> tuple[int | None, list[int | None]]:
        seen: list[int | None] = []

        @agent()
        async def writer(message: Text, ctx: Context) -> Text:
            for turn in range(20):
                seen.append(None if ctx.warning is None else ctx.warning.calls_left)
                if ctx.warning is not None:
                    break
                await ctx.llm.complete("w " * 200 * (turn + 1), max_output_tokens=16)
            return Text("brief")

        organism = Organism(
            [writer],
            models={"main": "openai/gpt-4o"},
            providers={"openai": ScriptedProvider(usage, name="openai")},
            limits=Limits(tokens=6400),
            clock=VirtualClock(),
        )
        async with organism:
            result = await organism.run("go")
        assert result.outputs == (Text("brief"),)
        return seen[-1], seen[:-1]

    last, before = run(main)
    assert last is not None
    assert 0 < last < 3
    assert before
    assert set(before) == {None}
