"""Each agent that spends from an account hears of its thresholds once, before its next call, whichever call it was."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import (
    BudgetPlan,
    BudgetWarning,
    Context,
    Limits,
    Organism,
    ScopedLimits,
    Text,
)
from organism import agent as make_agent
from organism.agents.llm_agent import llm_agent
from organism.amounts import Amounts, TokenUsage
from organism.budget.scopes import LabelLimits, PoolLimits
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run


def took(request: Any) -> ScriptedAnswer:
    """Take a hundred times as many tokens as the first word of the last turn says."""
    tokens = int(request.messages[-1].text.split()[0]) * 100
    return ScriptedAnswer(text="w", usage=TokenUsage(input=1, output=tokens - 1))


class House:
    """A spender that takes no warnings, and two models that take them as notes in their prompts."""

    def __init__(self, plan: BudgetPlan, **options: Any) -> None:
        self.provider = ScriptedProvider(took)
        writers = [llm_agent(name) for name in ("first", "second")]
        spender = make_agent(name="spender", peers=["first", "second", "spender"])(self._spend)
        self.organism = Organism(
            [spender, *writers],
            models={"m": "s/x"},
            providers={"s": self.provider},
            provider_kinds={"s": "local"},
            limits=plan,
            clock=VirtualClock(),
            **options,
        )

    async def _spend(self, message: Text, ctx: Context) -> None:
        verb, _, rest = message.text.partition(" ")
        match verb:
            case "keep":
                ctx.send("spender", Text("end"), delay_s=10_000_000)
            case "spend":
                await ctx.llm.complete(rest, max_output_tokens=int(rest) * 100)
            case "carved":
                await ctx.spawn("spender", Text(rest), limits=Limits(tokens=90_000), budget="carved")
            case "shared":
                await ctx.spawn("spender", Text(rest))
            case "child":
                await ctx.spawn("first", Text(rest))

    async def open(self, thread: str = "t", **options: Any) -> None:
        await self.organism.open_thread("keep", to="spender", thread_id=thread, **options)

    async def say(self, text: str, to: str = "spender", thread: str = "t") -> None:
        """Say something to an agent, and wait until it is done."""
        await self.organism.send(thread, text, to=to)
        await anyio.sleep(100)

    def notes(self) -> list[str]:
        """Return what each prompt of a model says of its budget, by its per cent; empty where it says nothing."""
        prompts = (request.messages[-1].text for request in self.provider.requests)
        return [
            "+".join(part.split(" %")[0] for part in prompt.split("[Note: ")[1:])
            for prompt in prompts
            if not prompt.isdecimal()
        ]


def plan(tokens: int | None = 100_000, **scopes: Any) -> BudgetPlan:
    return BudgetPlan(thread=Limits(tokens=tokens), final_reserve_percent=0, warn_ahead=0, **scopes)


Act = Callable[[House], Awaitable[object]]


def played(plan: BudgetPlan, act: Act, **options: Any) -> House:
    async def main() -> House:
        house = House(plan, **options)
        async with house.organism:
            await act(house)
            for thread in house.organism.threads():
                await house.organism.terminate(thread.thread_id)
        return house

    return run(main)


async def a_call_of_another_agent(house: House) -> None:
    await house.open()
    await house.say("spend 800")
    for agent in ("first", "first", "second", "second"):
        await house.say("1 word", agent)


async def a_jump(house: House) -> None:
    await house.open()
    await house.say("spend 960")
    for _ in range(2):
        await house.say("1 word", "first")


async def one_after_the_other(house: House) -> None:
    await house.open()
    for amount in (760, 150, 50):
        await house.say(f"spend {amount}")
        await house.say("1 word", "first")


async def its_own_call(house: House) -> None:
    await house.open()
    for amount in (760, 1, 150, 1):
        await house.say(f"{amount} words", "first")
    await house.say("1 word", "second")


async def a_correction(house: House) -> None:
    await house.open()
    await house.organism.control.adjust_budget("t", Amounts(tokens=90_000), "an invoice")
    for _ in range(2):
        await house.say("1 word", "second")


async def a_correction_downwards(house: House) -> None:
    await house.open()
    await house.say("spend 800")
    await house.organism.control.adjust_budget("t", Amounts(tokens=-50_000), "an invoice")
    await house.say("1 word", "first")


async def a_lowered_limit(house: House) -> None:
    await house.open()
    await house.say("spend 400")
    await house.organism.set_limits("t", Limits(tokens=50_000))
    for agent in ("first", "second", "second"):
        await house.say("1 word", agent)


async def a_raise_that_is_enough(house: House) -> None:
    await house.open()
    await house.say("spend 800")
    await house.organism.set_limits("t", Limits(tokens=200_000))
    await house.say("1 word", "first")
    await house.say("spend 800")
    for _ in range(2):
        await house.say("1 word", "first")


async def a_raise_that_is_too_small(house: House) -> None:
    await house.open()
    await house.say("spend 920")
    await house.say("1 word", "first")
    await house.organism.set_limits("t", Limits(tokens=101_000))
    await house.say("1 word", "first")
    await house.say("1 word", "second")


async def a_carved_child(house: House) -> None:
    await house.open()
    await house.say("carved spend 800")
    for _ in range(2):
        await house.say("1 word", "first")


async def a_shared_child(house: House) -> None:
    await house.open()
    await house.say("shared spend 800")
    for _ in range(2):
        await house.say("1 word", "first")


async def a_child_that_comes_later(house: House) -> None:
    await house.open()
    await house.say("spend 800")
    await house.say("child 1 word")


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (a_call_of_another_agent, ["80", "", "80", ""]),
        (a_jump, ["96", ""]),
        (one_after_the_other, ["76", "91", "96"]),
        (its_own_call, ["", "76", "", "91", "91"]),
        (a_correction, ["90", ""]),
        (a_correction_downwards, [""]),
        (a_lowered_limit, ["80", "80", ""]),
        (a_raise_that_is_enough, ["", "80", ""]),
        (a_raise_that_is_too_small, ["92", "", "91"]),
        (a_carved_child, ["80", ""]),
        (a_shared_child, ["80", ""]),
        (a_child_that_comes_later, ["80"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_an_agent_hears_once_of_what_others_have_crossed_before_its_next_call(act: Act, expected: list[str]) -> None:
    """An agent that has had nothing to do so far is warned before its first call, and of each threshold once."""
    assert played(plan(), act).notes() == expected


LIMIT = Limits(tokens=100_000)
TENANTS = LabelLimits(
    each=ScopedLimits(Limits(), "day"),
    pools={"both": PoolLimits(frozenset({"acme", "beta"}), ScopedLimits(LIMIT, "day"))},
)
OF_MANY_THREADS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a day's": ({"windows": {"day": LIMIT}}, ["80", "80", "80"]),
    "a month's": ({"windows": {"month": LIMIT}}, ["80", "80", "80"]),
    "a rolling window's": ({"windows": {"6h": LIMIT}}, ["80", "80", "80"]),
    "the lifetime's": ({"windows": {"lifetime": LIMIT}}, ["80", "80", "80"]),
    "a label's": ({"labels": {"tenant": LabelLimits(each=ScopedLimits(LIMIT, "day"))}}, ["80", "80", ""]),
    "a pool's": ({"labels": {"tenant": TENANTS}}, ["80", "80", "80"]),
    "another agent's": ({"agents": {"spender": ScopedLimits(LIMIT, "day")}}, ["", "", ""]),
    "a model's within a thread": ({"models": {"m": ScopedLimits(LIMIT)}}, ["80", "", ""]),
    "a provider's within a thread": ({"providers": {"s": ScopedLimits(LIMIT)}}, ["80", "", ""]),
}


@pytest.mark.parametrize("scope", OF_MANY_THREADS)
def test_agents_of_other_threads_hear_of_what_they_share(scope: str) -> None:
    """An agent that spends from a day, a label or a pool that is nearly used up knows it before its first call."""
    scopes, expected = OF_MANY_THREADS[scope]

    async def act(house: House) -> None:
        for thread, tenant in (("t", "acme"), ("u", "acme"), ("v", "beta")):
            await house.open(thread, labels={"tenant": tenant})
        await house.say("spend 800")
        for thread in ("t", "u", "v"):
            for _ in range(2):
                await house.say("1 word", "first", thread)

    told = played(plan(None, **scopes), act).notes()

    assert told[::2] == expected
    assert not any(told[1::2])


def test_no_restart_tells_it_again_or_forgets_it(tmp_path: Path) -> None:
    """What an agent has heard it does not hear again after a restart; what it has not it hears then."""
    told: list[str] = []

    async def life(number: int) -> None:
        house = House(plan(), journal=SqliteJournal(tmp_path / "journal.db"))
        async with house.organism:
            if not number:
                await house.open()
                await house.say("spend 800")
            for agent in ("first", "second") if number else ("first",):
                await house.say("1 word", agent)
        told.extend(house.notes())

    for number in range(3):
        run(life, number)

    assert told == ["80", "", "80", "", ""]


def test_a_message_that_is_refused_waits_behind_the_note_of_what_another_has_used_up() -> None:
    """An agent whose call is refused for what another has spent meanwhile hears that at once, not after a raise."""
    heard: list[tuple[str, int]] = []

    async def work(message: Text | BudgetWarning, ctx: Context) -> None:
        if isinstance(message, BudgetWarning):
            heard.append((ctx.thread_id, message.threshold))
            return
        await anyio.sleep(50)
        await ctx.llm.complete("900", max_output_tokens=90_000)

    async def act() -> None:
        worker = make_agent(name="worker")(work)
        spender = make_agent(name="spender")(spend)
        async with Organism(
            [spender, worker],
            models={"m": "s/x"},
            providers={"s": ScriptedProvider(took)},
            provider_kinds={"s": "local"},
            limits=plan(None, windows={"day": LIMIT}),
            clock=VirtualClock(),
        ) as organism:
            await organism.open_thread("go", to="worker", thread_id="t")
            await anyio.sleep(10)
            await organism.open_thread("1000", to="spender")
            await anyio.sleep(100)
            assert organism.thread("t").status == "blocked"

    async def spend(message: Text, ctx: Context) -> None:
        await ctx.llm.complete(message.text, max_output_tokens=100_000)

    run(act)

    assert [threshold for thread, threshold in heard if thread == "t"] == [95]
