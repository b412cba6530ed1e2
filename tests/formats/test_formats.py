"""What a request may hold arrives at the server, and what an answer may hold arrives here, in every format."""

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

from organism.amounts import TokenUsage
from organism.llm.answers import Completion
from organism.llm.provider import Provider
from organism.llm.requests import (
    ChatMessage,
    CompletionRequest,
    FilePart,
    ImagePart,
    OneTool,
    Reasoning,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
    ToolResult,
)
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider
from organism.testing import HTTPStep, ScriptedHTTPProvider, ScriptedProvider

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("weather", "Tell the weather of a city.", SCHEMA)
CALL = ToolCall("call_7", "weather", '{"city":"Kiel"}')
IMAGE = ImagePart("image/png", b"\x89PNG")
CONVERSATION = (
    ChatMessage("system", "be brief"),
    ChatMessage("user", (TextPart("what is this"), IMAGE, FilePart("text/plain", b"notes", "notes.txt"))),
    ChatMessage("assistant", (TextPart("let me see"), CALL)),
    ChatMessage("user", (ToolResult("call_7", "sunny"),)),
)
FULL = CompletionRequest(
    model="m",
    messages=CONVERSATION,
    max_output_tokens=2000,
    temperature=0.5,
    top_p=0.9,
    tools=(WEATHER,),
    tool_choice="required",
    parallel_tool_calls=False,
    response_format=ResponseFormat(SCHEMA, name="place", strict=True),
    reasoning_effort="low",
)
KINDS = ["chat", "responses", "messages"]
Connect = Callable[[str], Provider]


def connected(kind: str, url: str) -> Provider:
    if kind == "messages":
        return AnthropicProvider("p", "k", url)
    return OpenAIProvider("p", "k", f"{url}/v1", api=kind)  # type: ignore[arg-type]


async def sent(kind: str, request: CompletionRequest, step: HTTPStep | None = None) -> dict[str, Any]:
    """Send a request and return the body that arrived."""
    async with ScriptedHTTPProvider([step or HTTPStep()]) as server:
        adapter = connected(kind, server.url)
        await adapter.complete(request)
        await adapter.aclose()
    return server.requests[0].body


async def answered(kind: str, step: HTTPStep, pieces: list[str] | None) -> Completion:
    async with ScriptedHTTPProvider([step]) as server:
        adapter = connected(kind, server.url)
        with anyio.fail_after(60):
            answer = await adapter.complete(FULL, None if pieces is None else pieces.append)
        await adapter.aclose()
    return answer


def test_everything_survives_json() -> None:
    """A request and an answer come back from JSON as they were, so a journal can keep them."""
    completion = Completion(
        text="t", model="m", finish_reason="tool_calls", usage=TokenUsage(1, 2, 3, 4, 5), tool_calls=(CALL,),
        reasoning=(Reasoning("hm", "seal", "id"),), cost_nanousd=7,
    )  # fmt: skip

    for value in (FULL, completion, *CONVERSATION):
        raw = msgspec.json.encode(value)
        assert msgspec.json.decode(raw, type=type(value)) == value
        assert msgspec.convert(msgspec.json.decode(raw), type(value)) == value


async def test_chat_request_holds_everything() -> None:
    """Chat completions get each part in their own words; results of tools are turns of their own."""
    body = await sent("chat", FULL)

    assert body["messages"][0] == {"role": "system", "content": "be brief"}
    text, image, file = body["messages"][1]["content"]
    assert text == {"type": "text", "text": "what is this"}
    assert image["image_url"] == {"url": "data:image/png;base64,iVBORw==", "detail": "auto"}
    assert file == {"type": "text", "text": "[file notes.txt]\nnotes"}
    function = {"name": "weather", "arguments": '{"city":"Kiel"}'}
    assert body["messages"][2]["tool_calls"] == [{"id": "call_7", "type": "function", "function": function}]
    assert body["messages"][3] == {"role": "tool", "tool_call_id": "call_7", "content": "sunny"}
    assert body["tools"][0]["function"]["parameters"] == SCHEMA
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    assert (body["temperature"], body["top_p"], body["reasoning_effort"]) == (0.5, 0.9, "low")
    assert body["response_format"]["json_schema"] == {"name": "place", "schema": SCHEMA, "strict": True}


async def test_responses_request_holds_everything() -> None:
    """Responses get calls and results as items, and keep nothing at the provider."""
    body = await sent("responses", FULL)

    system, user, said, call, result = body["input"]
    assert system == {"type": "message", "role": "system", "content": "be brief"}
    assert [part["type"] for part in user["content"]] == ["input_text", "input_image", "input_text"]
    assert said["content"] == [{"type": "output_text", "text": "let me see"}]
    assert (call["type"], call["call_id"], call["name"]) == ("function_call", "call_7", "weather")
    assert result == {"type": "function_call_output", "call_id": "call_7", "output": "sunny"}
    assert body["tools"][0]["name"] == "weather"
    assert body["text"]["format"]["schema"] == SCHEMA
    assert (body["reasoning"], body["store"]) == ({"effort": "low"}, False)


async def test_messages_request_holds_everything() -> None:
    """Messages get instructions apart, arguments as an object, and the schema in words where it is not enforced."""
    body = await sent("messages", FULL)

    assert body["system"][0] == {"type": "text", "text": "be brief"}
    assert '"city"' in body["system"][1]["text"]
    assert [block["type"] for block in body["messages"][0]["content"]] == ["text", "image", "text"]
    assert body["messages"][1]["content"][1] == {
        "type": "tool_use", "id": "call_7", "name": "weather", "input": {"city": "Kiel"}
    }  # fmt: skip
    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "call_7", "content": "sunny"}]
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})


async def test_anthropic_itself_enforces_the_schema() -> None:
    """At Anthropic's own address the form of the answer is asked for as such."""
    from organism.formats.anthropic_messages.request import encode

    body = encode(FULL, stream=False)

    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    assert body["system"] == "be brief"


@pytest.mark.parametrize("kind", KINDS)
async def test_one_tool_can_be_chosen(kind: str) -> None:
    """The choice of one tool names it, in each format's way."""
    request = msgspec.structs.replace(FULL, tool_choice=OneTool("weather"), parallel_tool_calls=None)

    choice = (await sent(kind, request))["tool_choice"]

    assert choice.get("name") or choice["function"]["name"] == "weather"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_tool_calls_arrive_whole(kind: str, streamed: bool) -> None:
    """Calls of tools come with their ids and whole arguments, however many pieces these came in."""
    first = ToolCall("call_9", "weather", CALL.arguments)
    second = ToolCall("call_8", "weather", '{"city": "Oslo"}')
    pieces: list[str] | None = [] if streamed else None

    answer = await answered(kind, HTTPStep(text="one moment", tool_calls=(first, second)), pieces)

    assert (answer.text, answer.finish_reason) == ("one moment", "tool_calls")
    assert [(call.id, call.name, msgspec.json.decode(call.arguments)) for call in answer.tool_calls] == [
        ("call_9", "weather", {"city": "Kiel"}),
        ("call_8", "weather", {"city": "Oslo"}),
    ]
    assert answer.usage is not None
    assert pieces is None or [piece for piece in pieces if isinstance(piece, str) and piece] == ["one", " moment"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_reasoning_is_kept_apart_from_the_answer(kind: str, streamed: bool) -> None:
    """What a model thinks first is no part of its text, and goes back with its seal where the format has one."""
    pieces: list[str] | None = [] if streamed else None
    answer = await answered(kind, HTTPStep(text="four", reasoning="two and two", tool_calls=(CALL,)), pieces)

    assert answer.text == "four"
    assert [thought.text for thought in answer.reasoning] == ["two and two"]
    request = msgspec.structs.replace(FULL, messages=(*CONVERSATION[:2], answer.turn, CONVERSATION[3]))
    body = await sent(kind, request)
    match kind:
        case "messages":
            thinking = {"type": "thinking", "thinking": "two and two", "signature": "sealed"}
            assert body["messages"][1]["content"][0] == thinking
        case "responses":
            assert {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"} in body["input"]
        case _:
            # Servers of several makes think on with it, or refuse a result without it.
            assert body["messages"][2]["reasoning_content"] == "two and two"


@pytest.mark.parametrize(("cap", "budget"), [(4000, 3000), (2500, 2499), (1000, None)])
async def test_thinking_stays_within_the_cap(cap: int, budget: int | None) -> None:
    """However far the router has shrunk the cap, what is thought is part of it."""
    messages = (ChatMessage("user", "two and two?"),)
    request = msgspec.structs.replace(FULL, messages=messages, max_output_tokens=cap, reasoning_tokens=3000)

    body = await sent("messages", request)

    assert body.get("thinking", {}).get("budget_tokens") == budget
    assert body["max_tokens"] == cap


async def test_prompt_cache_is_asked_for_where_it_has_to_be() -> None:
    """A mark on a turn becomes Anthropic's mark on its last block; others cache of their own accord."""
    marked = (ChatMessage("system", "long rules", cache=True), ChatMessage("user", "go", cache=True))
    request = CompletionRequest(model="m", messages=marked, max_output_tokens=5)

    body = await sent("messages", request)

    assert body["system"] == [{"type": "text", "text": "long rules", "cache_control": {"type": "ephemeral"}}]
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in str(await sent("chat", request)) + str(await sent("responses", request))


async def test_scripted_provider_speaks_the_whole_port() -> None:
    """The double in the process answers with calls and thoughts too, and bills every word of them."""
    from organism.testing import ScriptedAnswer

    provider = ScriptedProvider([ScriptedAnswer(text="a b", tool_calls=(CALL,), reasoning="x y z")])

    answer = await provider.complete(FULL)

    assert (answer.finish_reason, answer.tool_calls, answer.reasoning[0].text) == ("tool_calls", (CALL,), "x y z")
    assert (answer.usage.output, answer.usage.reasoning) == (4, 3)
    assert provider.billed == answer.usage
