"""Tools of LLM agents: what the model is shown, what runs, what it is told, and the bounds on all of it."""

import threading
from typing import Annotated, Any

import anyio
import msgspec
import pytest
from msgspec import Meta

from organism import Agent, Limits, Message, Organism, Text, agent, llm_agent
from organism.agents.context import Context
from organism.agents.llm_agent import LLMAgent, LLMSettings
from organism.agents.tools.function_tool import function_tool
from organism.agents.tools.peer_tool import ask_tool, message_for, send_tool
from organism.agents.tools.tool import ToolRules, cut
from organism.errors import ConfigError, UnboundedError
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest, ImagePart, TextPart, ToolCall, ToolResult
from organism.messages import Gathered, ThreadResult
from organism.testing import ScriptedAnswer, ScriptedProvider, run


class Order(Message, frozen=True):
    """What a cook is asked for."""

    dish: str
    guests: int = 1


def add(a: int, b: Annotated[int, Meta(description="the other number")] = 2) -> int:
    """Add two numbers."""
    return a + b


def calls(*wanted: tuple[str, str]) -> ScriptedAnswer:
    """Let the model ask for tools."""
    made = tuple(ToolCall(f"c{place}", name, arguments) for place, (name, arguments) in enumerate(wanted))
    return ScriptedAnswer(tool_calls=made)


def converse(
    script: list[str | ScriptedAnswer], *agents: Agent, **options: Any
) -> tuple[ThreadResult, ScriptedProvider]:
    """Run a task through agents, the first of them the entry."""
    provider = ScriptedProvider(script, repeat=False)

    async def main() -> ThreadResult:
        async with Organism(agents, models={"m": "p/m"}, providers={"p": provider}, **options) as organism:
            return await organism.run("do it")

    return run(main), provider


def results(request: CompletionRequest) -> list[ToolResult]:
    """Return what the model was told last."""
    return [part for part in request.messages[-1].parts if isinstance(part, ToolResult)]


def told(name: str, arguments: str, *tools: Any, **options: Any) -> ToolResult:
    """Let the model ask for one tool and return what it was told."""
    _, provider = converse([calls((name, arguments)), "fine"], llm_agent("a", tools=tools), **options)
    return results(provider.requests[1])[0]


def test_model_is_shown_functions_and_told_their_results() -> None:
    """A function's schema comes from its annotations, its description from its docstring; the answer ends the loop."""
    result, provider = converse([calls(("add", '{"a": 1, "b": 4}')), "five"], llm_agent("a", tools=[add]))

    (tool,) = provider.requests[0].tools
    assert (tool.name, tool.description) == ("add", "Add two numbers.")
    assert tool.parameters["required"] == ["a"]
    assert tool.parameters["properties"]["b"]["description"] == "the other number"
    assert results(provider.requests[1]) == [ToolResult("c0", "5")]
    assert provider.requests[1].messages[-2].parts == (ToolCall("c0", "add", '{"a": 1, "b": 4}'),)
    assert result.outputs == (Text("five"),)
    assert result.budget.spent.tokens == provider.billed.total


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{}", "missing required field `a`"),
        ('{"a": "one"}', "Expected `int`, got `str`"),
        ('{"a": 1, "c": 3}', "unknown field `c`"),
        ("nonsense", "wrong arguments"),
        ("[1]", "wrong arguments"),
    ],
)
def test_wrong_arguments_are_told_not_run(arguments: str, said: str) -> None:
    """What does not fit the annotations never reaches the function."""
    result = told("add", arguments, add)

    assert result.is_error
    assert said in result.content


def test_unknown_tool_is_told_with_what_there_is() -> None:
    """A model that makes a tool up learns which there are."""
    result = told("sub", "{}", add)

    assert (result.is_error, result.content) == (True, "there is no tool 'sub'; there are: add")


def test_failing_tool_is_told_and_the_work_goes_on() -> None:
    """An exception of a tool is the model's to deal with, not the end of the handler."""

    def divide(a: int) -> int:
        """Divide."""
        return a // 0

    result = told("divide", '{"a": 1}', divide)

    assert result.is_error
    assert "ZeroDivisionError" in result.content


def test_slow_tool_is_given_up() -> None:
    """A tool has its own deadline, shorter than the handler's."""

    async def sleepy() -> None:
        """Sleep."""
        await anyio.sleep(1000)

    result = told("sleepy", "{}", function_tool(sleepy, rules=ToolRules(timeout_s=3)))

    assert (result.is_error, result.content) == (True, "it took longer than 3 s")


def test_large_result_is_cut_and_says_so() -> None:
    """A result is input of every following call, so it is bounded."""

    def flood() -> str:
        """Flood."""
        return "ü" * 50_000

    result = told("flood", "{}", function_tool(flood, rules=ToolRules(result_bytes=101)))

    assert result.content == "ü" * 50 + "\n[cut here: 100,000 bytes in all]"


def test_images_that_do_not_fit_are_left_out() -> None:
    """Among several parts each counts towards the bound, and what is missing is said."""
    small, large = ImagePart("image/png", b"x" * 10), ImagePart("image/png", b"x" * 100)

    assert cut((TextPart("hello"), small, large), 50) == (
        TextPart("hello"), small, TextPart("[an image of 100 bytes left out]")
    )  # fmt: skip


def test_denied_tool_never_runs() -> None:
    """What is denied is refused to the model, which goes on without it."""
    ran: list[int] = []

    def erase() -> None:
        """Erase everything."""
        ran.append(1)

    result = told("erase", "{}", function_tool(erase, rules=ToolRules(approval="deny")))

    assert result.is_error
    assert "not allowed" in result.content
    assert not ran


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "done"),
        ("words", "words"),
        ({"a": [1]}, '{"a":[1]}'),
        (Order("tea"), '{"type":"Order","dish":"tea","guests":1}'),
    ],
    ids=["nothing", "text", "json", "struct"],
)
def test_results_are_text_or_json(value: object, said: str) -> None:
    """Text is shown as it is, everything else as JSON."""

    def give() -> object:
        """Give."""
        return value

    assert told("give", "{}", give).content == said


def test_image_reaches_the_model_as_one() -> None:
    """A function can show the model a picture."""
    image = ImagePart("image/png", b"\x89PNG")

    def look() -> ImagePart:
        """Look."""
        return image

    assert told("look", "{}", look).content == (image,)


class ReadsNoImages(ScriptedProvider):
    """A server of which nobody knows what an image costs there."""

    def extra_tokens(self, request: Request) -> int:
        """Bound nothing but text."""
        if not isinstance(request, EmbeddingRequest) and any(True for _ in request.attachments()):
            raise UnboundedError("p", "an image", "set 'image_tokens' of the provider")
        return 0


def test_agent_goes_on_without_an_image_that_no_route_can_hold() -> None:
    """A tool that shows a picture unasked does not end the work that is done by then; the model is told."""

    def look() -> tuple[TextPart, ImagePart]:
        """Look."""
        return TextPart("a cat"), ImagePart("image/png", b"\x89PNG")

    provider = ReadsNoImages([calls(("look", "{}")), calls(("look", "{}")), "a cat"], repeat=False)

    async def main() -> ThreadResult:
        agents = [llm_agent("a", tools=[look])]
        async with Organism(agents, models={"m": "p/m"}, providers={"p": provider}) as organism:
            return await organism.run("what is there?")

    result = run(main)

    assert (result.outcome, result.outputs) == ("completed", (Text("a cat"),))
    assert len(provider.requests) == 3
    for request in provider.requests[1:]:
        (told,) = results(request)
        assert told.content[0] == TextPart("a cat")
        assert isinstance(told.content[1], TextPart)
        assert "an image left out" in told.content[1].text


def test_function_may_use_the_context() -> None:
    """A parameter for the context is filled in by us, hidden from the model, and charged to the same thread."""

    async def deeper(topic: str, ctx: Context) -> str:
        """Think deeper."""
        return (await ctx.llm.complete(topic)).text

    script = [calls(("deeper", '{"topic": "tides"}')), "the moon", "so it is"]
    result, provider = converse(script, llm_agent("a", tools=[deeper]))

    assert list(provider.requests[0].tools[0].parameters["properties"]) == ["topic"]
    assert results(provider.requests[2])[0].content == "the moon"
    assert result.budget.spent.tokens == provider.billed.total


def test_tools_of_one_answer_run_side_by_side_in_order() -> None:
    """Two slow tools take as long as one, and their results stand in the order of the calls."""

    async def wait(seconds: int) -> int:
        """Wait."""
        await anyio.sleep(seconds)
        return seconds

    provider = ScriptedProvider([calls(("wait", '{"seconds": 20}'), ("wait", '{"seconds": 10}')), "done"])

    async def main() -> float:
        async with Organism([llm_agent("a", tools=[wait])], models={"m": "p/m"}, providers={"p": provider}) as organism:
            await organism.run("go")
            return anyio.current_time()

    assert 20 <= run(main) < 25
    assert [result.content for result in results(provider.requests[1])] == ["20", "10"]


def test_plain_functions_do_not_hold_up_the_loop() -> None:
    """A function that blocks runs on a worker thread."""

    def block() -> str:
        """Block."""
        return "on another" if threading.current_thread() is not threading.main_thread() else "on the loop's"

    assert told("block", "{}", block).content == "on another"


def test_last_round_must_answer() -> None:
    """The number of model calls is bounded; in the last one no tool may be asked for."""
    settings = LLMSettings(tool_rounds=3)
    script = [calls(("add", '{"a": 1}')), calls(("add", '{"a": 2}')), "three"]
    result, provider = converse(script, llm_agent("a", tools=[add], settings=settings))

    assert [request.tool_choice for request in provider.requests] == ["auto", "auto", "none"]
    assert result.outputs == (Text("three"),)


def test_model_that_never_answers_is_given_up() -> None:
    """A loop without end costs so many calls and no more."""
    settings = LLMSettings(tool_rounds=2)
    asking = calls(("add", '{"a": 1}'))
    result, provider = converse([asking] * 12, llm_agent("a", tools=[add], settings=settings))

    assert result.outcome == "failed"
    assert "gave no answer" in str(result.reason)
    assert len(provider.requests) % 2 == 0


def test_peer_is_asked_by_a_typed_message() -> None:
    """The model fills in the message a peer accepts, and gets its reply; all of it on one thread and budget."""

    @agent()
    async def cook(message: Order, ctx: Context) -> Text:
        return Text(f"{message.dish} for {message.guests}, {ctx.sender}")

    head = llm_agent("head", tools=[ask_tool("cook", Order, description="Cooks anything.")])
    script = [calls(("ask_cook", '{"dish": "soup", "guests": 3}')), "served"]
    result, provider = converse(script, head, cook)

    (tool,) = provider.requests[0].tools
    assert tool.description == "Give the agent 'cook' a task and get its answer. Cooks anything."
    assert set(tool.parameters["properties"]) == {"dish", "guests"}
    assert results(provider.requests[1])[0].content == "soup for 3, head"
    assert result.outputs == (Text("served"),)


def test_peer_can_be_sent_a_message() -> None:
    """Work can be handed on without waiting; the message leaves when the handler is done."""

    @agent()
    async def archive(message: Text, ctx: Context) -> None:
        kept.append(message.text)

    kept: list[str] = []
    script = [calls(("send_archive", '{"text": "keep this"}')), "done"]
    result, _ = converse(script, llm_agent("a", tools=[send_tool("archive")]), archive)

    assert kept == ["keep this"]
    assert Text("done") in result.outputs


def test_peer_that_fails_is_told_to_the_model() -> None:
    """What goes wrong with a peer does not end the agent that asked."""

    @agent()
    async def broken(message: Text, ctx: Context) -> Text:
        raise ValueError("no")

    head = llm_agent("head", tools=[ask_tool("broken")])
    result, provider = converse([calls(("ask_broken", '{"text": "x"}')), "without it then"], head, broken)

    assert results(provider.requests[1])[0].is_error
    assert result.outputs == (Text("without it then"),)


def test_message_a_model_can_write_is_chosen() -> None:
    """Text where it is accepted, else the agent's own type, never the runtime's."""
    assert message_for((Message,)) is Text
    assert message_for((Order, Text)) is Text
    assert message_for((Gathered, Order)) is Order
    with pytest.raises(ConfigError, match="accepts no message that another agent could write"):
        message_for((Gathered,))


def test_parked_and_resumed_message_pays_no_call_twice() -> None:
    """When the budget runs out between two rounds, what was answered before is not asked again."""
    provider = ScriptedProvider([calls(("add", '{"a": 1}')), "three"], repeat=False)

    async def main() -> ThreadResult:
        organism = Organism([llm_agent("a", tools=[add])], models={"m": "p/m"}, providers={"p": provider},
                            limits=Limits(calls=1))  # fmt: skip
        async with organism:
            thread = await organism.open_thread("go")
            await organism.pump.wait_rest(thread)
            await organism.set_limits(thread, Limits(calls=2))
            return await organism.wait(thread)

    result = run(main)

    assert result.outputs == (Text("three"),)
    assert len(provider.bill) == 2
    assert result.budget.spent.tokens == provider.billed.total


def test_typed_answer_comes_after_the_tools() -> None:
    """An agent with tools and a type answers in that type, and its message goes on as such."""
    settings = LLMSettings(response_type=Order)
    script = [calls(("add", '{"a": 1}')), '{"type": "Order", "dish": "tea", "guests": 3}']
    result, provider = converse(script, llm_agent("a", tools=[add], settings=settings))

    assert result.outputs == (Order("tea", 3),)
    assert provider.requests[0].response_format is not None


def test_memory_survives_json() -> None:
    """What an agent keeps of its conversation is plain JSON, and is read back after it was."""
    remembering = LLMAgent(LLMSettings()).handle
    provider = ScriptedProvider(["one", "two"])

    @agent()
    async def chatty(message: Text, ctx: Context) -> Message | None:
        stored = msgspec.json.encode(ctx.state)
        ctx.state.clear()
        ctx.state.update(msgspec.json.decode(stored))
        return await remembering(message, ctx)

    async def main() -> None:
        async with Organism([chatty], models={"m": "p/m"}, providers={"p": provider}) as organism:
            thread = await organism.open_thread("first")
            await organism.send(thread, "second")
            await organism.wait(thread)

    run(main)

    assert [turn.text for turn in provider.requests[1].messages] == ["first", "one", "second"]


def nameless(a: int) -> int:
    return a


def loose(a) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Take anything."""
    return int(a)


def many(*numbers: int) -> int:
    """Take many."""
    return sum(numbers)


def strange(a: complex) -> str:
    """Take what JSON cannot say."""
    return str(a)


@pytest.mark.parametrize("function", [nameless, loose, many, strange])
def test_function_a_model_could_not_use_is_refused(function: Any) -> None:
    """A missing docstring or annotation is refused when the agent is made, with what is missing."""
    with pytest.raises(ConfigError, match=function.__name__):
        llm_agent("a", tools=[function])


def test_two_tools_of_one_name_are_refused() -> None:
    """Tools of an agent have different names."""
    result, _ = converse(["x"] * 9, llm_agent("a", tools=[add, function_tool(nameless_two, name="add")]))

    assert "two tools of an agent are called 'add'" in str(result.reason)


def nameless_two() -> None:
    """Do nothing."""


def test_peers_asked_in_one_answer_work_side_by_side() -> None:
    """Two agents that take long are asked at once; parked half way, neither is asked again nor paid twice."""
    asked: list[str] = []

    @agent("left")
    async def left(message: Text, ctx: Context) -> Text:
        asked.append("left")
        await anyio.sleep(20)
        return Text("from the left")

    @agent("right")
    async def right(message: Text, ctx: Context) -> Text:
        asked.append("right")
        await anyio.sleep(10)
        return Text((await ctx.llm.complete("right")).text)

    head = llm_agent("head", tools=[ask_tool("left"), ask_tool("right")])
    both = calls(("ask_left", '{"text": "l"}'), ("ask_right", '{"text": "r"}'))
    provider = ScriptedProvider([both, "from the right", "both"], repeat=False)

    async def main() -> tuple[ThreadResult, float]:
        organism = Organism([head, left, right], models={"m": "p/m"}, providers={"p": provider},
                            limits=Limits(calls=1))  # fmt: skip
        async with organism:
            thread = await organism.open_thread("go")
            await organism.pump.wait_rest(thread)
            spent_s = anyio.current_time()
            await organism.set_limits(thread, Limits(calls=3))
            return await organism.wait(thread), spent_s

    for seed in range(10):
        asked.clear()
        provider = ScriptedProvider([both, "from the right", "both"], repeat=False)
        result, spent_s = run(main, seed=seed)

        assert spent_s < 25
        assert [told.content for told in results(provider.requests[-1])] == ["from the left", "from the right"]
        assert result.outputs == (Text("both"),)
        assert asked.count("left") == 1
        assert len(provider.bill) == 3


def test_model_is_warned_among_its_tools() -> None:
    """A model that works through tools learns that its budget runs low with the next result, once a threshold."""
    wanted = [calls(("add", '{"a": 1}')) for _ in range(5)]
    settings = LLMSettings(tool_rounds=6)
    _, provider = converse([*wanted, "six"], llm_agent("a", tools=[add], settings=settings), limits=Limits(calls=6))

    notes = [request.messages[-1].text for request in provider.requests[1:]]

    assert notes[:3] == ["", "", ""]
    assert notes[3].startswith("[Note: 66 % of the budget is used; 2 calls left, enough for 2 more calls")
    assert notes[4].startswith("[Note: this is the last call that the budget has room for.")
