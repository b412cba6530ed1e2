"""Tools that cost money: held before they run, charged by what they did, refused and taken up as model calls are."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import anyio
import pytest

from organism import BudgetExhaustedError, BudgetPlan, Context, Limits, Organism, Text, agent, llm_agent
from organism.agents.agent import Agent
from organism.agents.llm_agent import LLMSettings
from organism.llm.requests import Tool, ToolCall, ToolResult
from organism.messages import ThreadResult
from organism.pricing.tool_prices import tool_price
from organism.testing import ScriptedAnswer, ScriptedProvider, SequentialIds, VirtualClock, run
from organism.tools import AgentTool, ServedTools, ToolOutput, ToolRules, ask_tool, function_tool, tool
from organism.usage.events import BudgetExceeded, UsageEvent

CENT = 10_000_000


def wants(*names: str, arguments: str = "{}") -> ScriptedAnswer:
    made = tuple(ToolCall(f"c{place}", name, arguments) for place, name in enumerate(names))
    return ScriptedAnswer(tool_calls=made)


class Stage:
    """An organism with an agent that has tools, whose models and threads have a dollar."""

    def __init__(self, script: list[Any], *tools: Any, agents: tuple[Agent, ...] = (), **options: Any) -> None:
        self.provider = ScriptedProvider(script, repeat=False)
        self.used: list[UsageEvent] = []
        self._agents = (llm_agent("buyer", tools=tools), *agents)
        self._options = options

    @cached_property
    def organism(self) -> Organism:
        options = {"limits": BudgetPlan(thread=Limits(usd="1"), final_reserve_percent=0), "wait_s": 1, **self._options}
        made = Organism(
            self._agents,
            models={"main": "scripted/m"},
            providers={"scripted": self.provider},
            clock=VirtualClock(),
            ids=SequentialIds(),
            provider_kinds={"scripted": "local"},
            **options,
        )
        made.usage.subscribe(self._note, UsageEvent)
        return made

    def _note(self, event: UsageEvent) -> None:
        if event.tool:
            self.used.append(event)

    def run(self) -> ThreadResult:
        async def main() -> ThreadResult:
            async with self.organism:
                return await self.organism.run("go")

        return run(main)

    def told(self, request: int = -1) -> list[ToolResult]:
        """Return what the model was told of its tools."""
        parts = [part for turn in self.provider.requests[request].messages for part in turn.parts]
        return [part for part in parts if isinstance(part, ToolResult)]


@tool(price={"call": "0.05"})
async def lookup() -> str:
    """Look something up."""
    return "found"


@tool(price={"second": "0.01"}, timeout_s=20)
async def render() -> str:
    """Render something."""
    await anyio.sleep(3)
    return "done"


@tool(price={"unit": "0.01", "of": "results", "max_units": 30})
async def search() -> dict[str, list[int]]:
    """Search for something."""
    return {"results": [1, 2, 3, 4]}


@tool(price={"unit": "0.01", "max_units": 30})
async def read() -> str:
    """Read something."""
    return "four pages"


@tool(price="0.05")
async def broken() -> str:
    """Fail."""
    raise OSError("reset")


@tool(price={"second": "0.01"}, timeout_s=2)
async def endless() -> str:
    """Never come back."""
    await anyio.sleep(1000)
    return ""


@tool(price={"call": "0.02"}, name="both")
async def both(ctx: Context) -> str:
    """Cost something by itself and more by what it does."""
    ctx.charge(usd="0.01", what="stamps")
    return "sent"


@tool(price={"call": "0.05"})
async def typed(pages: int) -> str:
    """Take a number."""
    return str(pages)


@pytest.mark.parametrize(
    ("function", "held", "spent", "outcome", "note"),
    [
        (lookup, 5, 5, "settled", ""),
        (render, 20, 3, "settled", "3 s"),
        (search, 30, 4, "settled", "4 results"),
        (read, 30, 30, "estimated", "results that cannot be counted"),
        (broken, 5, 5, "worst_case", "it was cut short, and may have done its work"),
        (endless, 2, 2, "worst_case", "it was cut short, and may have done its work"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_tool_is_held_at_its_worst_case_and_charged_by_what_it_did(
    function: Any, held: int, spent: int, outcome: str, note: str
) -> None:
    """A call, seconds or units: what may be is held while it runs, what was is charged, and what is unknown is all."""
    seen: list[int] = []

    async def main() -> ThreadResult:
        stage = Stage([wants(function.__name__), "thanks"], function)
        async with stage.organism:
            thread = await stage.organism.open_thread("go")
            while not seen:
                await anyio.sleep(0.01)
                amounts = stage.organism.budgets.state(f"thread:{thread}") if not stage.used else None
                if amounts is None or amounts.held.cost_nanousd:
                    seen.append(0 if amounts is None else amounts.held.cost_nanousd)
            result = await stage.organism.wait(thread)
        (event,) = stage.used
        assert (event.tool, event.operation, event.agent) == (function.__name__, "execute_tool", "buyer")
        assert (event.outcome, event.usage_note, event.cost_nanousd) == (outcome, note, spent * CENT)
        return result

    result = run(main)
    assert seen in ([held * CENT], [0])
    assert (result.budget.spent.cost_nanousd, result.budget.spent.calls) == (spent * CENT, 2)


@pytest.mark.parametrize(
    ("name", "arguments", "options", "hint"),
    [
        ("typed", '{"pages": "three"}', {}, "wrong arguments"),
        ("typed", "not json", {}, "wrong arguments"),
        ("typed", '{"pages": 3}', {"approval": "deny"}, "not allowed"),
        ("nothing", "{}", {}, "there is no tool"),
    ],
)
def test_what_did_not_run_costs_nothing(name: str, arguments: str, options: dict[str, Any], hint: str) -> None:
    """Arguments that are wrong, a tool that is denied or is not there: the model is told, nobody pays."""
    rules = ToolRules(price=tool_price("0.05"), **options)
    stage = Stage([wants(name, arguments=arguments), "thanks"], function_tool(typed, rules=rules))
    result = stage.run()
    assert hint in str(stage.told()[0].content)
    assert result.budget.spent.cost_nanousd == 0
    assert [event.outcome for event in stage.used] in ([], ["released"])


def test_a_tool_that_does_not_fit_parks_its_thread_and_runs_when_the_limit_is_raised() -> None:
    """The thread waits as for a model call; what was paid, answers and other tools' results, is not paid again."""
    runs: list[str] = []

    @tool(price="0.30")
    async def cheap() -> str:
        """Do a cheap thing."""
        runs.append("cheap")
        await anyio.sleep(2)
        return "cheap thing"

    @tool(price="0.90")
    async def dear() -> str:
        """Do a dear thing."""
        runs.append("dear")
        return "dear thing"

    async def main() -> None:
        stage = Stage([wants("cheap", "dear"), "thanks"], cheap, dear)
        refused: list[BudgetExceeded] = []
        stage.organism.usage.subscribe(refused.append, BudgetExceeded)  # type: ignore[arg-type]
        async with stage.organism as organism:
            thread = await organism.open_thread("go")
            with pytest.raises(BudgetExhaustedError) as error:
                await organism.wait(thread)
            # Its sibling was let finish, though it was still at work when this one was refused.
            assert (runs, organism.budgets.budget(thread).spent.cost_nanousd) == (["cheap"], 30 * CENT)
            assert error.value.shortfall.needed == 90 * CENT
            await organism.set_limits(thread, Limits(usd="2"))
            result = await organism.wait(thread)
        assert (runs, result.budget.spent.cost_nanousd) == (["cheap", "dear"], 120 * CENT)
        assert (len(stage.provider.requests), len(refused)) == (2, 1)
        assert [each.content for each in stage.told()] == ["cheap thing", "dear thing"]

    run(main)


def test_tools_side_by_side_wait_for_each_other() -> None:
    """Three tools of fifty cents share a dollar and forty: each runs when there is room, none passes the limit."""

    @tool(price={"second": "0.05"}, timeout_s=10)
    async def slow() -> str:
        """Take two seconds."""
        await anyio.sleep(2)
        return "done"

    stage = Stage(
        [wants("slow", "slow", "slow"), "thanks"],
        slow,
        wait_s=30,
        limits=BudgetPlan(thread=Limits(usd="1.40"), final_reserve_percent=0),
    )
    result = stage.run()
    assert [event.cost_nanousd for event in stage.used] == [10 * CENT] * 3
    assert result.budget.spent.cost_nanousd == 30 * CENT


def test_an_organism_that_is_set_to_fail_tells_the_model() -> None:
    """With ``on_exhausted: fail`` the model hears that there is no budget for its tool, and may answer without."""
    stage = Stage([wants("lookup"), "then without"], lookup, on_exhausted="fail",
                  limits=BudgetPlan(thread=Limits(usd="0.04"), final_reserve_percent=0))  # fmt: skip
    result = stage.run()
    (told,) = stage.told()
    assert told.is_error
    assert "no budget" in str(told.content)
    assert (result.text, result.budget.spent.cost_nanousd, stage.used) == ("then without", 0, [])


def test_a_tool_never_takes_what_is_kept_for_the_final_call() -> None:
    """Where only the final reserve is left, the tool is refused to its model, which has its final call."""
    plan = BudgetPlan(thread=Limits(usd="1", tokens=100_000), final_reserve_percent=50)
    stage = Stage([wants("lookup", "lookup"), wants("dear"), "in short"], lookup, dear_tool(), limits=plan)
    result = stage.run()
    told = stage.told()
    assert [each.is_error for each in told] == [False, False, True]
    assert (result.text, result.budget.spent.cost_nanousd) == ("in short", 10 * CENT)


def dear_tool() -> AgentTool:
    async def dear() -> str:
        """Do a dear thing."""
        return "dear thing"

    return function_tool(dear, price="0.45")


@pytest.mark.parametrize("function", [lookup, both], ids=["plain", "by its context"])
def test_a_run_that_is_paid_for_is_not_paid_twice(function: Any) -> None:
    """A handler that waits for budget after its tool has run finds the result and pays nothing again."""
    limits = BudgetPlan(thread=Limits(usd="1", calls=1), final_reserve_percent=0)
    stage = Stage([wants(function.__name__), "thanks"], function, limits=limits)

    async def main() -> ThreadResult:
        async with stage.organism as organism:
            thread = await organism.open_thread("go")
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await organism.wait(thread)
            await organism.set_limits(thread, Limits(usd="1", calls=5))
            return await organism.wait(thread)

    assert run(main).outcome == "completed"
    cost = {event.tool: 0 for event in stage.used}
    for event in stage.used:
        cost[event.tool] += event.cost_nanousd or 0
    assert cost == ({"lookup": 5 * CENT} if function is lookup else {"both": 2 * CENT, "stamps": CENT})


def test_an_agent_as_a_tool_has_a_price_beside_what_it_spends() -> None:
    """Asking another agent costs what it says, and what that agent pays itself counts as well."""

    @agent("clerk")
    async def clerk(_message: Text, ctx: Context) -> Text:
        ctx.charge(usd="0.03", what="stamps")
        return Text("filed")

    asking = ask_tool("clerk", price={"call": "0.10"})
    stage = Stage([wants("ask_clerk", arguments='{"text": "file it"}'), "thanks"], asking, agents=(clerk,))
    result = stage.run()
    assert result.budget.spent.cost_nanousd == 13 * CENT
    assert {event.tool for event in stage.used} == {"ask_clerk", "stamps"}


class Shop:
    """A server of tools, one of which tells of its progress for ever and another of which fails."""

    name = "shop"

    async def run(self) -> None:
        await anyio.sleep_forever()

    async def tools(self) -> tuple[Tool, ...]:
        return tuple(Tool(name, f"{name} it", {"type": "object"}) for name in ("ping", "buy", "count", "crawl", "fail"))

    async def call(self, name: str, _arguments: str, progress: Callable[[], None]) -> ToolOutput:
        match name:
            case "count":
                return ToolOutput('{"results": [1, 2]}')
            case "crawl":
                for _ in range(100):
                    await anyio.sleep(1)
                    progress()
            case "fail":
                return ToolOutput("no such thing", is_error=True)
        return ToolOutput("done")


@pytest.mark.parametrize(("name", "cents"), [("ping", 1), ("buy", 25), ("count", 4), ("crawl", 5), ("fail", 1)])
def test_tools_of_a_server_have_a_price_each_or_all(name: str, cents: int) -> None:
    """A server has a price for its tools, and single ones their own; paid by the second, progress buys no time."""
    served = ServedTools(
        server=Shop(),
        rules=ToolRules(price=tool_price("0.01"), timeout_s=5),
        prices={
            "buy": tool_price("0.25"),
            "count": tool_price({"unit": "0.02", "of": "results"}),
            "crawl": tool_price({"second": "0.01"}),
        },
    )
    stage = Stage(
        [wants(f"shop_{name}"), "thanks"], served, limits=BudgetPlan(thread=Limits(usd="9"), final_reserve_percent=0)
    )
    assert stage.run().budget.spent.cost_nanousd == cents * CENT


def test_a_price_of_a_tool_that_a_server_has_not_is_told() -> None:
    """A misspelt name would leave the real tool without a price: nothing is run."""
    served = ServedTools(server=Shop(), prices={"pnig": tool_price("0.01")})
    stage = Stage(["hello"], served)
    assert stage.run().outcome == "failed"


def test_parallel_agents_of_one_thread_never_pass_its_limit() -> None:
    """Twenty agents whose tools cost ten cents share a dollar: at most ten runs are charged, whatever waits."""
    ran: list[str] = []

    @tool(price="0.10")
    async def spend() -> str:
        """Spend."""
        ran.append("x")
        await anyio.sleep(0.01)
        return "ok"

    buyers = [llm_agent(f"b{n}", tools=[spend], settings=LLMSettings()) for n in range(20)]

    @agent("boss", peers=[f"b{n}" for n in range(20)])
    async def boss(_message: Text, ctx: Context) -> None:
        for n in range(20):
            ctx.send(f"b{n}", Text("go"))

    def script(request: Any) -> ScriptedAnswer:
        last = request.messages[-1].parts
        return ScriptedAnswer(text="done") if any(isinstance(part, ToolResult) for part in last) else wants("spend")

    async def main() -> None:
        organism = Organism(
            [boss, *buyers],
            models={"main": "scripted/m"},
            providers={"scripted": ScriptedProvider(script)},
            clock=VirtualClock(),
            ids=SequentialIds(),
            provider_kinds={"scripted": "local"},
            wait_s=1,
            limits=BudgetPlan(thread=Limits(usd="1"), final_reserve_percent=0),
        )
        async with organism:
            thread = await organism.open_thread("go")
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await organism.wait(thread)
            state = organism.budgets.budget(thread)
        assert (len(ran), state.spent.cost_nanousd, state.held.cost_nanousd) == (10, 100 * CENT, 0)

    run(main)
