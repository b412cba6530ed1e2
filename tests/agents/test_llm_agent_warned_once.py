"""A model with tools reads of each threshold once: in the rounds of its tools, or with its next message."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import BudgetPlan, Context, Limits, Organism, Text
from organism import agent as make_agent
from organism.agents.llm_agent import LLMSettings, llm_agent
from organism.amounts import Amounts, TokenUsage
from organism.llm.requests import ToolCall, ToolResult
from organism.stores.memory import MemoryJournal
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.testing.crashing_journal import CrashingJournal

LIMIT = Limits(tokens=100_000)


def rounds(request: Any) -> ScriptedAnswer:
    """Take for each call what the message says, in thousands of tokens; all calls but the last run a tool."""
    question = next(turn.text for turn in reversed(request.messages) if turn.role == "user" and turn.text[:1] == "#")
    costs = question.split("\n")[0].removeprefix("#").split()
    done = sum(isinstance(part, ToolResult) for turn in request.messages for part in turn.parts)
    cost, _, word = costs[done].partition(":")
    usage = TokenUsage(input=1, output=int(cost) * 1_000 - 1)
    if done == len(costs) - 1:
        return ScriptedAnswer(text="done", usage=usage)
    return ScriptedAnswer(tool_calls=(ToolCall(f"c{done}", "work", f'{{"what": "{word}"}}'),), usage=usage)


class House:
    """A model with a tool, and an agent that spends in the same thread."""

    def __init__(self, plan: BudgetPlan | None = None, **options: Any) -> None:
        async def work(what: str) -> str:
            """Work."""
            if what.startswith("correct"):
                await self.organism.control.adjust_budget("t", Amounts(tokens=int(what[7:]) * 1_000), "an invoice")
            elif what.startswith("raise"):
                await self.organism.set_limits("t", Limits(tokens=int(what[5:]) * 1_000))
            elif what == "wait":
                await anyio.sleep(1_000)
            return "some result"

        self.provider = ScriptedProvider(rounds)
        model = llm_agent("model", tools=[work], settings=LLMSettings(max_output_tokens=90_000, memory_tokens=0))
        spender = make_agent(name="spender", peers=["model", "spender"])(self._spend)
        self.organism = Organism(
            [spender, model],
            models={"m": "s/x"},
            providers={"s": self.provider},
            provider_kinds={"s": "local"},
            limits=plan or BudgetPlan(thread=LIMIT, final_reserve_percent=0, warn_ahead=0),
            clock=VirtualClock(),
            **options,
        )

    async def _spend(self, message: Text, ctx: Context) -> None:
        match message.text.partition(" "):
            case ("keep", _, _):
                ctx.send("spender", Text("end"), delay_s=10_000_000)
            case ("spend", _, thousands):
                await ctx.llm.complete(f"#{thousands}", max_output_tokens=int(thousands) * 1_000)
            case ("each", _, items):
                await ctx.for_each("model", items.split(","))

    async def open(self) -> None:
        await self.organism.open_thread("keep", to="spender", thread_id="t")

    async def say(self, text: str, to: str = "model") -> None:
        """Say something to an agent, and wait until it is done."""
        await self.organism.send("t", text, to=to)
        await anyio.sleep(100)

    def notes(self) -> list[str]:
        """Return what the last turn of each of the model's requests says of its budget, by its per cent."""
        asked = (request for request in self.provider.requests if request.tools)
        return ["+".join(re.findall(r"\[Note: (\d+) %", _text(request.messages[-1]))) for request in asked]


def _text(turn: Any) -> str:
    return turn.content if isinstance(turn.content, str) else "".join(getattr(part, "text", "") for part in turn.parts)


Act = Callable[[House], Awaitable[object]]


async def in_its_tools_rounds(house: House) -> None:
    await house.say("#50 26 1 1")
    await house.say("#1 1")


async def before_its_message(house: House) -> None:
    await house.say("spend 80", to="spender")
    await house.say("#1 1 1")
    await house.say("#1")


async def with_its_last_answer(house: House) -> None:
    await house.say("#1 77")
    await house.say("#1 1 1")


async def one_after_the_other(house: House) -> None:
    await house.say("#76 15 5 1 1")
    await house.say("#1")


async def in_a_jump(house: House) -> None:
    await house.say("#1 95 1 1")
    await house.say("#1")


async def by_what_others_spend_meanwhile(house: House) -> None:
    await house.say("#1:correct80 1:correct10 1")
    await house.say("#1 1")


async def by_a_raise_and_anew(house: House) -> None:
    await house.say("#80:raise200 1 80 1 1")
    await house.say("#1")


async def by_a_raise_of_what_it_has_not_read(house: House) -> None:
    await house.say("#1 80")
    await house.organism.set_limits("t", Limits(tokens=200_000))
    await house.say("#1 1")


async def beside_itself(house: House) -> None:
    await house.say("each #40 1 1,#40 1 1", to="spender")


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (in_its_tools_rounds, ["", "", "76", "", "", ""]),
        (before_its_message, ["80", "", "", ""]),
        (with_its_last_answer, ["", "", "78", "", ""]),
        (one_after_the_other, ["", "76", "91", "96", "", ""]),
        (in_a_jump, ["", "", "96", "", ""]),
        (by_what_others_spend_meanwhile, ["", "81", "92", "", ""]),
        (by_a_raise_and_anew, ["", "", "", "80", "", ""]),
        (by_a_raise_of_what_it_has_not_read, ["", "", "", ""]),
        (beside_itself, ["", "", "80", "80", "", ""]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_model_with_tools_reads_of_a_threshold_once(act: Act, expected: list[str]) -> None:
    """Whichever way a model hears of a threshold first, it hears in no other; each of two conversations does once."""

    async def main() -> list[str]:
        house = House()
        async with house.organism:
            await house.open()
            await act(house)
        return house.notes()

    assert run(main) == expected


def test_each_unit_of_a_limit_is_a_threshold_of_its_own() -> None:
    """A model hears of its tokens and of its calls, also when both run short with one call, in either way."""
    plan = BudgetPlan(thread=Limits(tokens=100_000, calls=4), final_reserve_percent=0, warn_ahead=0)

    async def main(message: str) -> list[str]:
        house = House(plan)
        async with house.organism:
            await house.open()
            await house.say(message)
            await house.say("#1")
        return house.notes()

    assert run(main, "#1 1 80 1") == ["", "", "", "82+75"]
    assert run(main, "#1 1 80") == ["", "", "", "82+75"]


def test_what_a_model_has_read_in_its_tools_rounds_no_restart_tells_again(tmp_path: Path) -> None:
    """A message that a stop cuts short goes on with the note it had, and no message after it brings that again."""
    told: list[str] = []

    async def life(number: int) -> None:
        house = House(journal=SqliteJournal(tmp_path / "journal.db"))
        async with house.organism:
            if not number:
                await house.open()
                await house.organism.send("t", "#76 1:wait 1", to="model")
                await anyio.sleep(100)
            else:
                await anyio.sleep(2_000)
                await house.say("#1 1")
        told.extend(house.notes())

    for number in range(3):
        run(life, number)

    assert told == ["", "76", "", "", "", "", ""]


def test_no_crash_tells_a_threshold_again_or_loses_it() -> None:
    """Wherever a process dies, a model reads one note of what it has spent, before or after."""
    kept = MemoryJournal()

    async def life(groups: int | None) -> tuple[list[str], bool]:
        with anyio.CancelScope() as scope:
            journal = CrashingJournal(kept, groups=groups, on_crash=scope.cancel)
            house = House(journal=journal)
            async with house.organism:
                if groups is not None:
                    await house.open()
                    await house.say("#76 1 1")
                else:
                    await anyio.sleep(100)
                if house.organism.threads():
                    await house.say("#1 1")
        return house.notes(), journal.crashed

    groups, crashed, seen = 0, True, 0
    while crashed:
        kept, groups = MemoryJournal(), groups + 1
        notes, crashed = run(life, groups)
        if crashed:
            notes += run(life, None)[0]
        noted = [note for note in notes if note]
        seen += len(noted)
        assert len(noted) <= 1, (groups, notes)

    assert groups - seen <= 3  # before that the message, or its first call, was not there yet
