"""Fields, tools and items as clients send them: taken, passed on, translated, or refused by name."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import openai
import pytest

from organism.llm.requests import ToolCall
from organism.providers.anthropic import AnthropicProvider
from organism.testing import HTTPStep
from tests.gateway.conftest import BOUNDS, UPSTREAM

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
FUNCTION = {"type": "function", "name": "spawn", "description": "x", "parameters": {"type": "object"}, "strict": False}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /x+/"}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files.", "format": GRAMMAR}
AGENTS = {"type": "namespace", "name": "agents", "description": "Others.", "tools": [FUNCTION]}
WEB = {"type": "web_search", "external_web_access": True}
SEARCH = {"type": "tool_search", "execution": "client", "description": "x", "parameters": {"type": "object"}}


def messages(url: str) -> AnthropicProvider:
    """Return an upstream of another make."""
    return AnthropicProvider("double", UPSTREAM, url, bounds=BOUNDS)


def answer_of(*items: dict[str, Any]) -> str:
    """Return an answer of OpenAI's responses with these items in it."""
    usage = {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}
    whole = {"id": "r", "status": "completed", "model": "m", "output": items, "usage": usage}
    return msgspec.json.encode(whole).decode()


HARMLESS: list[dict[str, Any]] = [
    {"client_metadata": {"session_id": "x"}}, {"store": True}, {"store": False}, {"metadata": {"a": "b"}},
    {"user": "u"}, {"safety_identifier": "s"}, {"prompt_cache_key": "k"}, {"prompt_cache_retention": "24h"},
    {"service_tier": "auto"}, {"service_tier": "default"},
]  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        *HARMLESS,
        {"truncation": "auto"}, {"context_management": [{"type": "compaction", "compact_threshold": 100_000}]},
        {"reasoning": {"effort": "low", "context": "auto"}}, {"reasoning": {"summary": "auto"}},
        {"include": ["reasoning.encrypted_content", "web_search_call.action.sources", "file_search_call.results"]},
        {"stream_options": {"include_obfuscation": False}}, {"text": {"verbosity": "medium"}},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_responses_take_what_changes_neither_answer_nor_price(served: Serve, api: Any, fields: Any) -> None:
    """Labels, hints and wishes that are granted anyway never cost a client its answer."""
    async with served(api=api) as gateway:
        sent = await gateway.http.post("/v1/responses", json={"model": "main", "input": "hi", **fields})

        assert sent.status_code == 200, sent.text


@pytest.mark.parametrize(
    "fields",
    [
        *HARMLESS, {"verbosity": "medium"}, {"logprobs": False}, {"n": 1}, {"presence_penalty": 0}, {"logit_bias": {}},
        {"stream_options": None}, {"modalities": ["text"]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "{}", "parsed": {"n": 1},
                       "refusal": None, "annotations": [], "audio": None, "function_call": None},
                      {"role": "user", "content": "b"}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}", "parsed_arguments": {}}}]},
            {"role": "tool", "tool_call_id": "c", "content": "b"}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "images": [],
                       "thinking_blocks": [], "provider_specific_fields": {"refusal": None}},
                      {"role": "user", "content": "c"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, *(
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png", **more}}
            for more in ({"format": "image/png"}, {"detail": "original"}, {"detail": None}))]}]},
        {"usage": {"include": True}},
    ],
    ids=str,
)  # fmt: skip
async def test_chat_takes_what_changes_neither_answer_nor_price(served: Serve, fields: Any) -> None:
    """So it is in chat completions, down to what the helpers of OpenAI's SDK add to what they send back."""
    async with served() as gateway:
        body = {"model": "main", "messages": [{"role": "user", "content": "hi"}], **fields}
        sent = await gateway.http.post("/v1/chat/completions", json=body)

        assert sent.status_code == 200, sent.text


MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "b"}
ASKS = [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [CALL]}]
TOOL = {"type": "function", "function": {"name": "f"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": "a", **MARK}, {"role": "user", "content": "b"}]},
        {"messages": [{"role": "user", "content": "a", **MARK}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", **MARK}]}]},
        {"messages": [{"role": "user", "content": [PICTURE | MARK]}]},
        {"messages": [*ASKS, RESULT | MARK], "tools": [TOOL]},
        {"messages": [*ASKS, RESULT | {"content": [{"type": "text", "text": "b", **MARK}]}], "tools": [TOOL]},
        {"messages": [ASKS[0], {"role": "assistant", "tool_calls": [CALL | MARK]}, RESULT], "tools": [TOOL]},
        {"messages": [*ASKS[:1], {"role": "assistant", "content": "b", **MARK}, *ASKS[:1]]},
        {"messages": ASKS[:1], "tools": [TOOL | MARK]},
    ],
    ids=["system", "turn", "text", "picture", "result", "result's text", "call", "answer", "tool"],
)
async def test_wish_to_keep_a_conversation_reaches_a_model_with_such_a_cache(served: Serve, body: Any) -> None:
    """Clients of chat completions mark turns, parts, calls and tools for Anthropic's models: the mark gets there."""
    async with served(upstream=messages) as gateway:
        sent = await gateway.http.post("/v1/chat/completions", json={"model": "main", **body})

        assert sent.status_code == 200, sent.text
        assert str(gateway.provider.requests[0].body).count(str(MARK["cache_control"])) == 1


@pytest.mark.parametrize(
    ("block", "wanted"),
    [
        ({"type": "thinking", "thinking": "so", "signature": "s"}, {"thinking": "so", "signature": "s"}),
        ({"type": "redacted_thinking", "data": "d"}, {"type": "redacted_thinking", "data": "d"}),
    ],
    ids=["shown", "sealed"],
)
async def test_thoughts_that_litellm_keeps_go_back_with_their_seal(served: Serve, block: Any, wanted: Any) -> None:
    """A conversation of LiteLLM's, whose messages carry Anthropic's own blocks, goes on as it was."""
    turns = [ASKS[0], {"role": "assistant", "content": "b", "reasoning_content": "so", "thinking_blocks": [block]}]
    async with served(upstream=messages) as gateway:
        body = {"model": "main", "messages": [*turns, ASKS[0]], "reasoning_effort": "low"}
        sent = await gateway.http.post("/v1/chat/completions", json=body)

        assert sent.status_code == 200, sent.text
        assert wanted.items() <= gateway.provider.requests[0].body["messages"][1]["content"][0].items()


CHAT_FIELDS: list[dict[str, Any]] = [
    {"verbosity": "low"}, {"verbosity": "high"}, {"presence_penalty": 0.5}, {"frequency_penalty": -0.5},
    {"logit_bias": {"50256": -100.0}}, {"top_k": 3}, {"reasoning_effort": "xhigh"}, {"seed": 7},
]  # fmt: skip


@pytest.mark.parametrize("fields", CHAT_FIELDS, ids=str)
async def test_what_matters_reaches_an_upstream_that_has_a_word_for_it(served: Serve, fields: Any) -> None:
    """What changes the answer is sent on as it was written."""
    async with served() as gateway:
        body = {"model": "main", "messages": [{"role": "user", "content": "hi"}], **fields}
        assert (await gateway.http.post("/v1/chat/completions", json=body)).status_code == 200

        assert fields.items() <= gateway.provider.requests[0].body.items()


@pytest.mark.parametrize(
    ("fields", "upstream"),
    [
        ({"verbosity": "low"}, messages), ({"presence_penalty": 0.5}, messages), ({"seed": 7}, messages),
        ({"frequency_penalty": 1}, messages), ({"logit_bias": {"1": 2}}, messages), ({"top_k": 3}, None),
        ({"presence_penalty": 0.5}, None), ({"seed": 7}, None), ({"stop": ["x"]}, None),
        ({"logit_bias": {"1": 2}}, None),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)  # fmt: skip
async def test_what_matters_is_refused_by_name_where_there_is_no_word_for_it(
    served: Serve, fields: Any, upstream: Any
) -> None:
    """A provider whose format lacks a field gets no call without it, and the client hears which field it was."""
    async with served(api="responses", upstream=upstream) as gateway:
        body = {"model": "main", "messages": [{"role": "user", "content": "hi"}], **fields}
        sent = await gateway.http.post("/v1/chat/completions", json=body)

        assert sent.status_code == 400
        assert f"'{next(iter(fields))}'" in sent.json()["error"]["message"]
        assert gateway.provider.requests == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_what_is_usual_anyway_needs_no_word_for_it(served: Serve, path: str) -> None:
    """Agents that write the usual verbosity into each request get their answer from models without such a field."""
    asked = {"verbosity": "medium", "messages": ASKS[:1]} if "chat" in path else {"input": "a"}
    text = {} if "chat" in path else {"text": {"verbosity": "medium"}}
    async with served(upstream=messages) as gateway:
        sent = await gateway.http.post(path, json={"model": "main", **asked, **text})

    assert sent.status_code == 200, sent.text


@pytest.mark.parametrize("value", ["low", "high"])
async def test_verbosity_crosses_from_one_of_openais_formats_to_the_other(served: Serve, value: str) -> None:
    """Each has its own place for it."""
    for api, place in (("chat", lambda body: body["verbosity"]), ("responses", lambda body: body["text"]["verbosity"])):
        async with served(api=api) as gateway:
            await gateway.client.responses.create(model="main", input="hi", text={"verbosity": value})
            await gateway.client.chat.completions.create(
                model="main", messages=[{"role": "user", "content": "hi"}], verbosity=value
            )

            assert [place(request.body) for request in gateway.provider.requests] == [value, value]


NATIVE: list[dict[str, Any]] = [
    PATCH, {"type": "custom", "name": "plain"}, AGENTS, {**AGENTS, "tools": [PATCH]}, WEB, SEARCH,
    {"type": "web_search_preview"}, {"type": "file_search", "vector_store_ids": ["v"]}, {"type": "local_shell"},
    {"type": "code_interpreter", "container": {"type": "auto"}}, {"type": "image_generation"}, {"type": "apply_patch"},
    {"type": "mcp", "server_label": "s", "server_url": "https://example.org"},
    {**FUNCTION, "defer_loading": True},
]  # fmt: skip


@pytest.mark.parametrize("tool", NATIVE, ids=lambda tool: f"{tool['type']}-{tool.get('name')}")
async def test_tools_reach_a_provider_of_the_same_format_as_they_are(served: Serve, tool: Any) -> None:
    """Whatever tool responses have a provider of responses gets, whether listed or standing in the conversation."""
    async with served(api="responses") as gateway:
        await gateway.client.responses.create(model="main", input="hi", tools=[FUNCTION, tool])
        turn = {"role": "user", "content": "hi"}
        items: Any = [{"type": "additional_tools", "tools": [tool]}, turn]
        await gateway.client.responses.create(model="main", input=items, tools=[FUNCTION])

        assert [request.body["tools"] for request in gateway.provider.requests] == [[FUNCTION, tool]] * 2


@pytest.mark.parametrize("tool", [tool for tool in NATIVE if tool["type"] not in {"custom", "namespace", "function"}],
                         ids=lambda tool: tool["type"])  # fmt: skip
@pytest.mark.parametrize("upstream", [None, messages], ids=["chat", "messages"])
async def test_tools_of_the_vendor_are_refused_by_name_elsewhere(served: Serve, tool: Any, upstream: Any) -> None:
    """No other format can run them: the client hears which it was and what to change, and nothing is paid."""
    async with served(upstream=upstream) as gateway:
        with pytest.raises(openai.BadRequestError, match=tool["type"]) as refused:
            await gateway.client.responses.create(model="main", input="hi", tools=[FUNCTION, tool])

        assert "take them out" in refused.value.message
        assert gateway.provider.requests == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("upstream", [None, messages], ids=["chat", "messages"])
@pytest.mark.parametrize(
    ("tool", "called", "arguments", "item"),
    [
        (PATCH, "apply_patch", '{"input": "*** \\"x\\""}',
         {"type": "custom_tool_call", "name": "apply_patch", "input": '*** "x"'}),
        ({"type": "custom", "name": "plain"}, "plain", '{"input": ""}',
         {"type": "custom_tool_call", "name": "plain", "input": ""}),
        (AGENTS, "agents__spawn", '{"n":1}',
         {"type": "function_call", "name": "spawn", "namespace": "agents", "arguments": '{"n":1}'}),
        ({**AGENTS, "tools": [PATCH]}, "agents__apply_patch", '{"input": "x"}',
         {"type": "custom_tool_call", "name": "apply_patch", "namespace": "agents", "input": "x"}),
        ({**FUNCTION, "defer_loading": True}, "spawn", '{"n":1}',
         {"type": "function_call", "name": "spawn", "arguments": '{"n":1}'}),
    ],
    ids=["grammar", "custom", "namespace", "namespaced custom", "deferred"],
)  # fmt: skip
async def test_tools_with_a_faithful_translation_work_with_every_provider(
    served: Serve, tool: Any, called: str, arguments: str, item: Any, upstream: Any, stream: bool
) -> None:
    """The model is given a function and calls it; the client sees its own tool called, and its result comes back."""
    script = [HTTPStep(text="", tool_calls=(ToolCall("call_1", called, arguments),)), "done"]
    async with served(script, upstream=upstream) as gateway:
        options: dict[str, Any] = {"model": "main", "input": "go", "tools": [tool]}
        if stream:
            events = [event async for event in await gateway.client.responses.create(**options, stream=True)]
            output = events[-1].response.output
            whole = [event.item for event in events if event.type == "response.output_item.done"]
            assert whole == output
        else:
            output = (await gateway.client.responses.create(**options)).output
        call = output[-1].to_dict()
        assert item.items() <= call.items()
        await gateway.client.responses.create(**options | {"input": [
            {"role": "user", "content": "go"}, call,
            {"type": f"{call['type'].removesuffix('_call')}_call_output", "call_id": call["call_id"], "output": "ok"},
        ]})  # fmt: skip

        first, second = (msgspec.json.encode(request.body).decode() for request in gateway.provider.requests)
        assert called in first
        assert (tool is not PATCH) or "start: /x+/" in first
        assert called in second
        assert "call_1" in second


@pytest.mark.parametrize(
    ("tool", "item"),
    [
        (PATCH, {"type": "custom_tool_call", "id": "c", "call_id": "call_1", "name": "apply_patch", "input": "x",
                 "status": "completed"}),
        (AGENTS, {"type": "function_call", "id": "c", "call_id": "call_1", "name": "spawn", "namespace": "agents",
                  "arguments": "{}", "status": "completed"}),
        (WEB, {"type": "web_search_call", "id": "ws_1", "status": "completed",
               "action": {"type": "search", "query": "q"}}),
        (SEARCH, {"type": "tool_search_call", "id": "ts", "call_id": "call_1", "execution": "client",
                  "arguments": {"query": "x"}, "status": "completed"}),
        ({"type": "local_shell"}, {"type": "local_shell_call", "id": "ls", "call_id": "call_1", "status": "completed",
                                   "action": {"type": "exec", "command": ["ls"], "env": {}}}),
        ({"type": "image_generation"}, {"type": "image_generation_call", "id": "ig", "status": "completed",
                                        "result": "AAAA"}),
    ],
    ids=lambda value: value["type"],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_items_of_a_provider_of_the_same_format_come_back_and_go_on_unchanged(
    served: Serve, tool: Any, item: Any, stream: bool
) -> None:
    """The client gets the item just as the provider wrote it, and the provider gets it again with the next turn."""
    async with served([HTTPStep(body=answer_of(item)), "done"], api="responses") as gateway:
        options: dict[str, Any] = {"model": "main", "input": "go", "tools": [tool]}
        if stream:
            events = [event async for event in await gateway.client.responses.create(**options, stream=True)]
            answer = events[-1].response
            assert [event.item.type for event in events if event.type == "response.output_item.done"] == [item["type"]]
        else:
            answer = await gateway.client.responses.create(**options)
        told = answer.output[0].to_dict()
        assert {**told, "id": ""} == {**item, "id": ""}
        await gateway.client.responses.create(**options | {"input": "more"}, previous_response_id=answer.id)

        sent = gateway.provider.requests[-1].body["input"]
        own = next(each for each in sent if each.get("type") == item["type"])
        assert {**own, "id": 0, "status": 0} == {**item, "id": 0, "status": 0}
        assert sent[-1]["content"] == "more"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "custom", "name": "apply_patch"}, {"type": "custom", "name": "apply_patch"}),
        ({"type": "function", "name": "spawn"}, {"type": "function", "name": "spawn"}),
        ({"type": "web_search"}, {"type": "web_search"}),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "spawn"}]}, "required"),
        ("required", "required"), ("none", "none"),
    ],
    ids=str,
)  # fmt: skip
async def test_the_choice_among_tools_is_kept(served: Serve, choice: Any, sent: Any) -> None:
    """Whichever tool a client insists on is the one that the provider is told; what is not allowed is not offered."""
    async with served(api="responses") as gateway:
        await gateway.client.responses.create(
            model="main", input="hi", tools=[FUNCTION, PATCH, WEB], tool_choice=choice
        )

        body = gateway.provider.requests[0].body
        assert body["tool_choice"] == sent
        allowed = isinstance(choice, dict) and choice["type"] == "allowed_tools"
        assert body["tools"] == ([FUNCTION] if allowed else [FUNCTION, PATCH, WEB])


LEARNT: list[dict[str, Any]] = [
    {"type": "bash_20250124", "name": "bash"}, {"type": "bash_20241022", "name": "bash"},
    {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 10_000},
    {"type": "text_editor_20250124", "name": "str_replace_editor"}, {"type": "memory_20250818", "name": "memory"},
]  # fmt: skip


@pytest.mark.parametrize("tool", LEARNT, ids=lambda tool: tool["type"])
async def test_tools_that_anthropics_models_have_learnt_work_there(served: Serve, tool: Any) -> None:
    """A tool that the client runs goes to a server of messages as it is, is called, and its result goes back."""
    script = [HTTPStep(text="", tool_calls=(ToolCall("toolu_1", tool["name"], '{"command":"ls"}'),)), "done"]
    async with served(script, upstream=messages) as gateway:
        turns: list[Any] = [{"role": "user", "content": "go"}]
        body = {"model": "main", "max_tokens": 99, "tools": [tool, {"name": "own", "input_schema": {}}]}
        answer = (await gateway.http.post("/v1/messages", json={**body, "messages": turns})).json()
        assert answer["content"][-1]["input"] == {"command": "ls"}
        result = {"type": "tool_result", "tool_use_id": answer["content"][-1]["id"], "content": "a"}
        turns += [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": [result]}]
        assert (await gateway.http.post("/v1/messages", json={**body, "messages": turns})).status_code == 200

        for request in gateway.provider.requests:
            assert tool in request.body["tools"]
            assert len(request.body["tools"]) == 2


@pytest.mark.parametrize("tool", LEARNT, ids=lambda tool: tool["type"])
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_tools_that_anthropics_models_have_learnt_are_refused_elsewhere(
    served: Serve, api: Any, tool: Any
) -> None:
    """No other model knows how to call them: the refusal names the kind and what to do."""
    async with served(api=api) as gateway:
        turns = [{"role": "user", "content": "go"}]
        body = {"model": "main", "max_tokens": 99, "tools": [tool], "messages": turns}
        refused = await gateway.http.post("/v1/messages", json=body)

        assert refused.status_code == 400
        assert tool["type"] in refused.text
        assert "type: anthropic" in refused.text
        assert gateway.provider.requests == []
