"""An LLM agent may use tools that its model's vendor runs: their fees are held and charged with its calls."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from organism import ConfigError, Context, Limits, LLMSettings, Organism, Text, llm_agent
from organism import agent as make_agent
from organism.agents.answer_stream import AnswerStream
from organism.agents.arguments import vendor_tools
from organism.llm.server_tools import asked_tools, server_tools
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run

FEE = 10_000_000
"""Nano-dollars of a search, by both vendors' price lists."""


def asked(vendor: str, model: str, tools: dict[str, int], limits: Limits, used: dict[str, int]) -> tuple[int, int]:
    """Run one message; return what was spent in nano-dollars, and how often the vendor was asked."""
    provider = ScriptedProvider([ScriptedAnswer(text="wet", tool_uses=used)], name=vendor)

    async def main() -> int:
        reader = llm_agent("reader", settings=LLMSettings(vendor_tools=tools, max_output_tokens=50))
        organism = Organism(
            [reader],
            models={"main": f"{vendor}/{model}"},
            providers={vendor: provider},
            limits=limits,
            on_exhausted="fail",
            clock=VirtualClock(),
        )
        async with organism:
            return (await organism.run("how is the sea?")).budget.spent.cost_nanousd

    return run(main), len(provider.requests)


VENDORS = [
    ("openai", "gpt-5", "web_search", "responses:web_search"),
    ("anthropic", "claude-sonnet-4-5", "web_search_20250305", "messages:web_search"),
]


@pytest.mark.parametrize(("vendor", "model", "kind", "fee"), VENDORS)
@pytest.mark.parametrize("searches", [0, 1, 3])
def test_searches_are_charged_as_they_were_made(vendor: str, model: str, kind: str, fee: str, searches: int) -> None:
    """A search that was made costs its fee beside the tokens; one that was not costs nothing."""
    spent, _ = asked(vendor, model, {kind: 3}, Limits(usd="5"), {fee: searches})

    assert searches * FEE < spent < searches * FEE + FEE // 2


WAYS: dict[str, Callable[[Context, Any], Awaitable[object]]] = {
    "complete": lambda ctx, tools: ctx.llm.complete("sea?", vendor_tools=tools, max_output_tokens=50),
    "stream": lambda ctx, tools: whole(ctx.llm.stream("sea?", vendor_tools=tools, max_output_tokens=50)),
    "response_type": lambda ctx, tools: ctx.llm.complete("sea?", vendor_tools=tools, response_type=Sea),
}


class Sea(msgspec.Struct):
    """How it is."""

    state: str


async def whole(stream: AnswerStream) -> str:
    return "".join([piece async for piece in stream])


def handled(way: str, vendor: str, model: str, tools: Any, limits: Limits, used: dict[str, int]) -> tuple[int, Any]:
    """Have a handler make one call; return what was spent in nano-dollars, and the request if it was sent."""
    answer = '{"state": "wet"}' if way == "response_type" else "wet"
    provider = ScriptedProvider([ScriptedAnswer(text=answer, tool_uses=used)], name=vendor)

    @make_agent
    async def reader(message: Text, ctx: Context) -> None:
        await WAYS[way](ctx, tools)

    async def main() -> int:
        models, providers = {"main": f"{vendor}/{model}"}, {vendor: provider}
        options: dict[str, Any] = {"limits": limits, "on_exhausted": "fail", "clock": VirtualClock()}
        async with Organism([reader], models=models, providers=providers, **options) as organism:
            return (await organism.run("go")).budget.spent.cost_nanousd

    return run(main), next(iter(provider.requests), None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("vendor", "model", "kind", "fee"), VENDORS)
def test_handler_asks_for_its_vendor_s_tools_as_an_agent_does(
    way: str, vendor: str, model: str, kind: str, fee: str
) -> None:
    """`ctx.llm.complete(..., vendor_tools=...)` sends them with their bound, and holds and charges their fees."""
    spent, request = handled(way, vendor, model, {kind: 3}, Limits(usd="5"), {fee: 2})

    assert 2 * FEE < spent < 2 * FEE + 2 * FEE
    assert [(tool.fee, tool.uses) for tool in server_tools(request)] == [(fee, 3)]
    assert handled(way, vendor, model, {kind: 9}, Limits(usd="0.09"), {fee: 1}) == (0, None)


def test_tools_named_without_a_number_are_bounded_all_the_same() -> None:
    """A list of names is as good as a table; each may be used as often as one of a client that says nothing."""
    _, request = handled("complete", "openai", "gpt-5", ["web_search"], Limits(usd="5"), {})

    assert [(tool.fee, tool.uses) for tool in server_tools(request)] == [("responses:web_search", 10)]


WRONG: list[Any] = ["web_search", {"": 1}, {1: 1}, 3, ["a", "a"], ["a", ""], [["a"]], [1], ["a", "a_20250101"]]
WRONG += [{"a": times} for times in (0, -1, True, 1.5, "2", None, 2**63)] + [{"a": 1, "a_20250101": 1}]


@pytest.mark.parametrize("wrong", WRONG)
def test_tools_that_are_none_are_the_handler_s_own_error(wrong: Any) -> None:
    """What is no tool by name, or of two vendors, is refused where it is written, before anything is held."""
    with pytest.raises(ConfigError, match=r"vendor|named twice|how often"):
        vendor_tools(wrong)
    with pytest.raises(ConfigError, match=r"vendor|named twice|how often"):
        llm_agent("reader", settings=LLMSettings(vendor_tools=wrong))


@pytest.mark.parametrize(("vendor", "model", "kind", "fee"), VENDORS)
def test_call_whose_searches_may_not_fit_is_not_made(vendor: str, model: str, kind: str, fee: str) -> None:
    """All that it may search is held before it leaves, so that no limit is passed."""
    assert asked(vendor, model, {kind: 9}, Limits(usd="0.09"), {fee: 1}) == (0, 0)
    assert asked(vendor, model, {kind: 1}, Limits(usd="0.09"), {fee: 1})[1] == 1


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview", "file_search", "code_interpreter"])
def test_uses_bound_tools_of_responses_together(kind: str) -> None:
    """OpenAI bounds them all by one field, and that is sent."""
    tools, fields = asked_tools({kind: 4})

    assert [item.value["type"] for item in tools] == [kind]
    assert fields is not None
    assert fields.value == {"max_tool_calls": 4}


@pytest.mark.parametrize("kind", ["web_search_20250305", "web_fetch_20250910"])
def test_uses_bound_each_tool_of_messages(kind: str) -> None:
    """Anthropic bounds each by a field of its own."""
    (tool,), fields = asked_tools({kind: 4})

    assert (tool.format, tool.value["max_uses"], fields) == ("messages", 4, None)


@pytest.mark.parametrize(("written", "uses"), [("{web_search: 2}", 2), ("[web_search]", 10)])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{web_search: 2, web_search_20250305: 2}", "tools of two vendors"),
        ("[web_search, web_search_20250305]", "tools of two vendors"),
        ("[web_search, web_search]", "named twice"),
        ("['']", "empty"),
        ("{web_search: 0}", "at least 1"),
        ("web_search", "a list, such as"),
    ],
)
def test_tools_stand_in_the_file_by_name_or_with_their_uses(
    written: str, uses: int, wrong: str, message: str, tmp_path: Path
) -> None:
    """`vendor_tools` in organism.yaml reaches the model, as list or table; what is wrong is refused with the line."""
    file = tmp_path / "organism.yaml"
    text = """\
name: sea
entry: reader
llm:
  providers: {openai: {type: openai, api: responses}}
  models: {main: openai/gpt-5}
agents:
  reader:
    model: main
    vendor_tools: TOOLS
"""
    provider = ScriptedProvider(["wet"])

    async def main() -> None:
        file.write_text(text.replace("TOOLS", written))
        key = {"OPENAI_API_KEY": "none"}
        async with Organism.from_yaml(file, environment=key, providers={"openai": provider}) as organism:
            await organism.run("how is the sea?")
        file.write_text(text.replace("TOOLS", wrong))
        with pytest.raises(ConfigError, match=rf"organism.yaml:9:[0-9]+: .*{message}"):
            Organism.from_yaml(file, environment=key)

    run(main)
    (request,) = provider.requests
    assert [(tool.fee, tool.uses) for tool in server_tools(request)] == [("responses:web_search", uses)]
