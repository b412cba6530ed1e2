"""Fields of chat completions that are one server's own: to those who know them, translated, or refused by name."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import pytest

from organism.formats import server_formats
from organism.llm.requests import ToolCall
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import API, OpenAIProvider
from organism.testing import HTTPStep
from tests.gateway.conftest import BOUNDS, UPSTREAM

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
Upstream = Callable[[str], Any]
HI: list[Any] = [{"role": "user", "content": "hi"}]
CHAT = "/v1/chat/completions"


def upstream_of(make: str) -> Upstream:
    """Return what makes an upstream of a make, or of one that speaks another format."""
    if make == "messages":
        return lambda url: AnthropicProvider("double", UPSTREAM, url, bounds=BOUNDS)
    api: API = "responses" if make == "responses" else "chat"
    vendor = None if make in {"responses", "compatible"} else make
    return lambda url: OpenAIProvider("double", UPSTREAM, f"{url}/v1", vendor=vendor, api=api, bounds=BOUNDS)


VLLM, LLAMA, OPENROUTER, OPENAI = "vllm", "llamacpp", "openrouter", "openai"
DEEPSEEK, GEMINI, GROQ, ANY = "deepseek", "gemini", "groq", "compatible"
MESSAGES, RESPONSES = "messages", "responses"
OFF = {"chat_template_kwargs": {"enable_thinking": False}}
TOLD = {"chat_template_kwargs": {"persona": "a"}}
GOOGLE = {"extra_body": {"google": {"thinking_config": {"thinking_budget": 2000}}}}
NOTHING: dict[str, Any] = {}
BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 2000}}


@pytest.mark.parametrize(
    ("make", "fields", "sent"),
    [
        (VLLM, {"min_p": 0.1, "repetition_penalty": 1.1, "stop_token_ids": [7]}, None), (VLLM, TOLD, None),
        (VLLM, OFF, None), (LLAMA, OFF, None), (LLAMA, {"min_p": 0.1, "mirostat": 2, "grammar": "root ::= x"}, None),
        (ANY, {"min_p": 0.1, "top_a": 0.2, "enable_thinking": False, "thinking_budget": 20}, None),
        (ANY, {"thinking": {"type": "disabled"}}, None), (OPENROUTER, {"min_p": 0.1, "top_a": 0.2}, None),
        (OPENROUTER, {"reasoning": {"effort": "high", "exclude": True}}, None), (OPENAI, {"transforms": []}, NOTHING),
        (ANY, {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}, None),
        (DEEPSEEK, {"thinking": {"type": "enabled"}}, None), (GROQ, {"reasoning_format": "parsed"}, None),
        (GEMINI, GOOGLE, None), (OPENAI, GOOGLE, NOTHING), (OPENAI, {"prompt_cache_key": "k"}, None),
        (VLLM, {"prompt_cache_key": "k", "safety_identifier": "s"}, NOTHING),
        (OPENAI, {"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        (OPENAI, {"reasoning": {"enabled": True}}, {"reasoning_effort": "medium"}),
        (OPENAI, {"reasoning": {"enabled": False}}, {"reasoning_effort": "none"}),
        (OPENAI, {"reasoning": {"max_tokens": 500}}, NOTHING), (OPENAI, OFF, {"reasoning_effort": "none"}),
        (OPENAI, {"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        (OPENAI, {"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}), (OPENAI, BUDGET, NOTHING),
        (OPENAI, {"enable_thinking": True}, {"reasoning_effort": "medium"}),
        (RESPONSES, {"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low"}}),
        (MESSAGES, BUDGET, BUDGET), (MESSAGES, {"reasoning": {"max_tokens": 2000}}, BUDGET),
        (MESSAGES, {"enable_thinking": True, "thinking_budget": 2000}, BUDGET), (MESSAGES, GOOGLE, BUDGET),
        (MESSAGES, {"enable_thinking": False, "thinking_budget": 2000}, {"thinking": {"type": "disabled"}}),
        (MESSAGES, {"thinking": {"type": "adaptive"}, "reasoning_effort": "high"}, {"thinking": {"type": "adaptive"}}),
        (MESSAGES, {"top_k": 4, "min_p": None, "thinking": None}, {"top_k": 4}),
    ],
    ids=str,
)  # fmt: skip
async def test_each_server_is_told_in_its_own_words(served: Serve, make: str, fields: Any, sent: Any) -> None:
    """What a server has a word for reaches it as the client wrote it; thinking is translated for all others, once."""
    async with served(upstream=upstream_of(make)) as gateway:
        answer = await gateway.http.post(CHAT, json={"model": "main", "messages": HI, "max_tokens": 3000, **fields})
        body = gateway.provider.requests[-1].body

    assert answer.status_code == 200, answer.text
    expected = fields if sent is None else sent
    assert {name: body[name] for name in expected} == expected
    told = {*fields, "reasoning_effort", "reasoning", "thinking"} & body.keys()
    assert told == expected.keys() & told


@pytest.mark.parametrize("make", [OPENAI, GEMINI, MESSAGES, RESPONSES])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
@pytest.mark.parametrize("fields", [{"min_p": 0.1}, {"repetition_penalty": 1.1}, TOLD, {"guided_json": {}}], ids=str)
async def test_what_a_server_has_no_word_for_is_refused_by_name(
    served: Serve, make: str, path: str, fields: Any
) -> None:
    """Nothing that changes an answer is left out in silence, and nothing is held or sent for the refusal."""
    async with served(upstream=upstream_of(make)) as gateway:
        asked = {"messages": HI} if path == CHAT else {"prompt": "hi"}
        answer = await gateway.http.post(path, json={"model": "main", **asked, **fields})

        assert (answer.status_code, gateway.provider.requests) == (400, [])
        assert next(iter(fields)) in answer.json()["error"]["message"]


def test_words_for_a_template_are_held() -> None:
    """A template may write them into the prompt, so they count as input like any text."""
    told = {"chat_template_kwargs": {"persona": "pirate"}}
    asked = server_formats.CHAT.read({"model": "main", "messages": HI, **told}, 10)

    assert any("pirate" in text for text in asked.request.texts())


THINKS = HTTPStep(text="yes", reasoning="so it is")


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({}, ["reasoning_content"]), ({"reasoning": {}}, ["reasoning", "reasoning_content"]),
        ({"include_reasoning": True}, ["reasoning", "reasoning_content"]),
        ({"include_reasoning": False}, []), ({"reasoning": {"exclude": True}}, []),
        ({"reasoning_format": "hidden"}, []), ({"reasoning_format": "parsed"}, ["reasoning_content"]),
    ],
    ids=str,
)  # fmt: skip
async def test_thoughts_stand_where_the_client_looks(served: Serve, fields: Any, where: list[str]) -> None:
    """In OpenRouter's field for those who write its words, and nowhere for those who want none; whole and streamed."""
    async with served([THINKS, THINKS]) as gateway:
        body = {"model": "main", "messages": HI, **fields}
        whole = (await gateway.http.post(CHAT, json=body)).json()["choices"][0]["message"]
        stream = await gateway.http.post(CHAT, json={**body, "stream": True})
        pieces = [
            choice["delta"]
            for line in stream.text.splitlines()
            if line.startswith("data: {")
            for choice in msgspec.json.decode(line[6:])["choices"]
        ]

    fields_of_thought = ("reasoning", "reasoning_content")
    assert [name for name in fields_of_thought if whole.get(name) == "so it is"] == where
    streamed = {name: "".join(piece.get(name, "") for piece in pieces) for name in fields_of_thought}
    assert [name for name, text in streamed.items() if text == "so it is"] == where
    assert [name for name, text in streamed.items() if text] == where


FUNCTIONS = [{"name": "f", "description": "x", "parameters": {"type": "object"}}, {"name": "g"}]
CALLED = HTTPStep(text="", tool_calls=(ToolCall("call_1", "f", '{"a": 1}'),))


@pytest.mark.parametrize("make", [ANY, MESSAGES, RESPONSES])
async def test_functions_from_before_there_were_tools_work(served: Serve, make: str) -> None:
    """An old program's functions are called and answered in its own words, with every provider, whole and streamed."""
    async with served([CALLED, CALLED, "done"], upstream=upstream_of(make)) as gateway:
        chat = gateway.client.chat.completions
        asked: dict[str, Any] = {"model": "main", "functions": FUNCTIONS, "function_call": {"name": "f"}}
        first = (await chat.create(messages=HI, **asked)).choices[0]
        called = first.message.function_call
        assert (first.finish_reason, first.message.tool_calls) == ("function_call", None)
        assert (called.name, msgspec.json.decode(called.arguments)) == ("f", {"a": 1})
        body = gateway.provider.requests[-1].body
        assert body["tool_choice"] != "auto"
        pieces = [each async for each in await chat.create(messages=HI, stream=True, **asked)]
        told = [piece.choices[0] for piece in pieces if piece.choices]
        calls = [choice.delta.function_call for choice in told if choice.delta.function_call is not None]
        assert calls[0].name == "f"
        assert msgspec.json.decode("".join(call.arguments for call in calls)) == {"a": 1}
        assert told[-1].finish_reason == "function_call"
        assert all(choice.delta.tool_calls is None for choice in told)
        turns = [*HI, first.message.model_dump(exclude_none=True), {"role": "function", "name": "f", "content": "2"}]
        last = (await chat.create(model="main", messages=turns, functions=FUNCTIONS)).choices[0]
        assert (last.message.content, last.finish_reason) == ("done", "stop")
        text = msgspec.json.encode(gateway.provider.requests[-1].body).decode()
        assert text.count("call_1") == 2, "the call and its result belong together"


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = f"data:image/png;base64,{PIXEL}"


@pytest.mark.parametrize("make", [ANY, MESSAGES, RESPONSES])
@pytest.mark.parametrize("picture", [PICTURE, {"url": PICTURE}], ids=["address", "object"])
async def test_pictures_in_results_of_tools_are_seen(served: Serve, make: str, picture: Any) -> None:
    """A screenshot that a tool has made reaches the model with its words, and is held like any picture."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    result = [{"type": "text", "text": "seen"}, {"type": "image_url", "image_url": picture}]
    turns = [*HI, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": result}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    async with served(upstream=upstream_of(make)) as gateway:
        answer = await gateway.http.post(CHAT, json={"model": "main", "messages": turns, "tools": tools})
        sent = msgspec.json.encode(gateway.provider.requests[-1].body).decode()

    assert answer.status_code == 200, answer.text
    assert PIXEL in sent
    assert "seen" in sent


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, "json_schema"),
        ({"tool_choice": "any", "tools": [{"type": "function", "function": {"name": "f"}}]}, "required"),
        ({"stream_options": {"continuous_usage_stats": True}}, "main"), ({"keep_alive": "5m"}, "main"),
        ({"session_id": "s", "trace": {"a": 1}}, "main"), ({"cache_control": {"type": "ephemeral"}}, "main"),
    ],
    ids=str,
)  # fmt: skip
async def test_other_spellings_are_read(served: Serve, fields: Any, sent: str) -> None:
    """What relays and older servers write in another way means the same here."""
    async with served() as gateway:
        answer = await gateway.http.post(CHAT, json={"model": "main", "messages": HI, **fields})
        body = msgspec.json.encode({"main": 0, **gateway.provider.requests[-1].body}).decode()

    assert answer.status_code == 200, answer.text
    assert sent in body


async def test_the_wish_to_keep_all_of_a_conversation_marks_its_end(served: Serve) -> None:
    """One mark for the whole request is one on its last turn, where a vendor's cache has to end."""
    async with served(upstream=upstream_of(MESSAGES)) as gateway:
        wish = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
        await gateway.http.post(CHAT, json={"model": "main", "messages": HI, **wish})
        last = gateway.provider.requests[-1].body["messages"][-1]

    assert last["content"][-1]["cache_control"] == wish["cache_control"]
