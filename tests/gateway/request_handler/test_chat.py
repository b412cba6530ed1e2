"""Chat completions through the gateway, by OpenAI's own SDK: what it sends arrives, what comes back it understands."""

import json
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

from organism.llm.requests import ToolCall
from organism.testing import HTTPStep

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
HI = [{"role": "user", "content": "hi there"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Says the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}


async def test_answer_is_what_the_provider_said_and_usage_what_was_charged(served: Serve) -> None:
    """A program gets the answer, the model that gave it, and the tokens that its thread has paid."""
    async with served() as gateway:
        answer = await gateway.client.chat.completions.create(model="main", messages=HI)

        assert answer.choices[0].message.content == "one two three"
        assert (answer.choices[0].finish_reason, answer.model) == ("stop", "scripted")
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 3, 5)
        assert gateway.organism.usage.total.usage.total == gateway.provider.billed.total == 5


async def test_stream_comes_in_pieces_and_ends_with_usage_only_if_asked(served: Serve) -> None:
    """Each word comes as it is said; the last chunk has usage when the client wants it, and else there is none."""
    async with served() as gateway:
        for wanted in (True, False):
            options = {"stream_options": {"include_usage": True}} if wanted else {}
            stream = await gateway.client.chat.completions.create(model="main", messages=HI, stream=True, **options)
            chunks = [chunk async for chunk in stream]

            pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
            assert [piece for piece in pieces if piece] == ["one", " two", " three"]
            assert chunks[0].choices[0].delta.role == "assistant"
            assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
            assert len({chunk.id for chunk in chunks}) == 1
            told = [chunk.usage.total_tokens for chunk in chunks if chunk.usage is not None]
            assert told == ([5] if wanted else [])
        assert gateway.provider.billed.total == gateway.organism.usage.total.usage.total == 10


async def test_tools_go_there_and_back(served: Serve) -> None:
    """The model's wish for a tool comes back whole, streamed or not, and the result goes on to the provider."""
    call = ToolCall("call_1", "weather", '{"city": "Oslo"}')

    def script(request: Any) -> HTTPStep:
        told = [turn["content"] for turn in request.body["messages"] if turn["role"] == "tool"]
        return HTTPStep(text=f"It is {told[0]}.") if told else HTTPStep(text="", tool_calls=(call,))

    async with served(script) as gateway:
        create = gateway.client.chat.completions.create
        choice = {"type": "function", "function": {"name": "weather"}}
        first = await create(model="main", messages=HI, tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)

        sent = gateway.provider.requests[0].body
        assert sent["tools"] == [WEATHER]
        assert (sent["tool_choice"], sent["parallel_tool_calls"]) == (choice, False)
        message = first.choices[0].message
        assert first.choices[0].finish_reason == "tool_calls"
        assert message.tool_calls[0].function.arguments == '{"city": "Oslo"}'

        stream = await create(model="main", messages=HI, tools=[WEATHER], stream=True)
        deltas = [chunk.choices[0].delta async for chunk in stream]
        streamed, *rest = [each for delta in deltas for each in delta.tool_calls or ()]
        assert (streamed.index, streamed.id, streamed.function.name) == (0, "call_1", "weather")
        assert "".join(each.function.arguments for each in (streamed, *rest)) == '{"city": "Oslo"}'

        result = {"role": "tool", "tool_call_id": "call_1", "content": "raining"}
        said = message.model_dump(exclude_none=False)
        second = await create(model="main", messages=[*HI, said, result], tools=[WEATHER])

        assert second.choices[0].message.content == "It is raining."
        assert gateway.provider.requests[-1].body["messages"][1]["tool_calls"][0]["id"] == "call_1"


async def test_everything_that_is_asked_reaches_the_provider(served: Serve) -> None:
    """Instructions, pictures, sampling, caps, stops and the form of the answer are passed on as they were meant."""
    picture = f"data:image/png;base64,{b64encode(b'not really a picture').decode()}"
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    async with served(gateway={"max_output_tokens": 77}) as gateway:
        await gateway.client.chat.completions.create(
            model="other",
            messages=[
                {"role": "developer", "content": "be brief"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "what is it?"},
                        {"type": "image_url", "image_url": {"url": picture, "detail": "low"}},
                    ],
                },
            ],
            temperature=0.5,
            top_p=0.9,
            stop=["END"],
            seed=7,
            max_completion_tokens=33,
            reasoning_effort="low",
            response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}},
            user="somebody",
            metadata={"a": "b"},
            store=False,
            n=1,
        )
        await gateway.client.chat.completions.create(model="main", messages=HI)

        sent, plain = (request.body for request in gateway.provider.requests)
        assert (sent["model"], plain["model"]) == ("o", "m")
        assert [turn["role"] for turn in sent["messages"]] == ["system", "user"]
        assert sent["messages"][1]["content"][1]["image_url"] == {"url": picture, "detail": "low"}
        assert (sent["temperature"], sent["top_p"], sent["stop"], sent["seed"]) == (0.5, 0.9, ["END"], 7)
        assert sent["response_format"]["json_schema"]["schema"] == schema
        caps = [body.get("max_tokens") or body.get("max_completion_tokens") for body in (sent, plain)]
        assert caps == [33, 77]
        assert not {"user", "metadata", "store", "n"} & sent.keys()


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 200}, "n"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"50256": "never"}}, "logit_bias[...]"),
        ({"modalities": ["text", "audio"]}, "modalities[1]"),
        ({"service_tier": "ultrafast"}, "service_tier"),
        ({"verbosity": "endless"}, "verbosity"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"extra_body": {"plugins": [{"id": "web"}]}}, "plugins"),
        ({"extra_body": {"best_of": 3}}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"type": "telepathy", "telepathy": {"name": "x"}}]}, "tools[0].type"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "name": "f", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
         "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:nonsense"}}]}]},
         "messages[0].content[0].image_url.url"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
async def test_what_cannot_be_honoured_is_refused_by_name(served: Serve, options: Any, param: str) -> None:
    """A field that would change the answer or its price is never ignored in silence: the error names it, unpaid."""
    async with served() as gateway:
        with pytest.raises(openai.BadRequestError) as refused:
            await gateway.client.chat.completions.create(**{"model": "main", "messages": HI, **options})

        assert refused.value.param == param
        assert param in refused.value.body["message"]
        assert gateway.provider.requests == []


async def test_a_value_that_cannot_be_honoured_is_said_in_words_for_people(served: Serve) -> None:
    """Who asks for a tier without a known price hears that, and not the words of a parser."""
    async with served() as gateway:
        with pytest.raises(openai.BadRequestError) as refused:
            await gateway.client.chat.completions.create(
                model="main", messages=HI, extra_body={"service_tier": "ultrafast"}
            )

        assert (refused.value.code, refused.value.body["message"]) == (
            "unsupported_value",
            "service_tier: this gateway cannot honour 'ultrafast'",
        )


async def test_models_are_those_that_are_offered(served: Serve) -> None:
    """A program finds the models by their names here, and asking for another is its own mistake."""
    async with served(gateway={"models": ("main",)}) as gateway:
        assert [model.id async for model in gateway.client.models.list()] == ["main"]
        assert (await gateway.client.models.retrieve("main")).owned_by == "organism"
        with pytest.raises(openai.NotFoundError, match="the model 'other' is not offered here; there are: main"):
            await gateway.client.models.retrieve("other")
        with pytest.raises(openai.NotFoundError) as refused:
            await gateway.client.chat.completions.create(model="other", messages=HI)

        assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
        assert gateway.provider.requests == []


@pytest.mark.parametrize("body", [b"", b"nothing", b"[]", b'{"model": "main"', b'{"model": "\xff"}', b'{"a": 1e999}'])
async def test_a_body_that_is_no_request_is_the_callers_mistake(served: Serve, body: bytes) -> None:
    """What is no JSON object is answered with 400 in OpenAI's shape."""
    async with served() as gateway:
        headers = {"content-type": "application/json"}
        answer = await gateway.http.post("/v1/chat/completions", content=body, headers=headers)

        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_bodies_may_be_as_large_and_deep_as_pictures_and_schemas_are(served: Serve) -> None:
    """A request of some megabytes and a schema of sixty levels pass; the control API beside it keeps its own bounds."""
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(25):
        deep = {"type": "object", "properties": {"x": deep}}
    tool = {"type": "function", "function": {"name": "deep", "parameters": deep}}
    large = json.dumps({"model": "main", "messages": [{"role": "user", "content": "x" * 2_000_000}]})
    async with served() as gateway:
        answer = await gateway.client.chat.completions.create(model="main", messages=HI, tools=[tool])
        assert answer.choices[0].message.content == "one two three"
        headers = {"content-type": "application/json"}
        refused = await gateway.http.post("/v1/chat/completions", content=large, headers=headers)
        assert refused.json()["error"]["code"] == "insufficient_quota"  # understood, and too dear
        assert (await gateway.operator.post("/v1/threads", content=large, headers=headers)).status_code == 413
