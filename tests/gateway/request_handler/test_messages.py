"""Anthropic's messages through the gateway, by Anthropic's own SDK: what it sends arrives, and it understands."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import anthropic
import httpx2
import pydantic
import pytest

from organism import Limits
from organism.formats.media.attachments import AttachmentBounds
from organism.llm.requests import ToolCall
from organism.providers.anthropic import AnthropicProvider
from organism.providers.local import LocalProvider
from organism.testing import HTTPStep
from tests.gateway.conftest import KEY, anthropic_sdk

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
HI: list[Any] = [{"role": "user", "content": "hi there"}]
PLACES = ("the attic", "the cellar", "the garden", "the shed")
KEPT = {"cache_control": {"type": "ephemeral"}}
WEATHER: Any = {
    "name": "weather",
    "description": "Says the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@asynccontextmanager
async def claude(gateway: Any, **options: Any) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Connect the official SDK, which is told a base URL and a key and nothing else."""
    url = str(gateway.http.base_url).rstrip("/")
    async with anthropic_sdk(url, **options) as client:
        yield client


async def test_answer_is_what_the_provider_said_and_usage_what_was_charged(served: Serve) -> None:
    """A program gets the answer, the model that gave it, and the tokens that its thread has paid."""
    async with served() as gateway, claude(gateway) as client:
        answer = await client.messages.create(model="main", max_tokens=50, messages=HI)

        assert [(block.type, block.text) for block in answer.content] == [("text", "one two three")]
        assert (answer.stop_reason, answer.model, answer.role) == ("end_turn", "scripted", "assistant")
        assert answer.id.startswith("msg_")
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 3)
        assert gateway.organism.usage.total.usage.total == gateway.provider.billed.total == 5
        assert gateway.provider.requests[0].body["max_tokens"] == 50


async def test_stream_has_the_formats_own_events(served: Serve) -> None:
    """Each word comes as it is said, between the events that clients wait for; usage comes with the last of them."""
    async with served() as gateway, claude(gateway) as client:
        async with client.messages.stream(model="main", max_tokens=50, messages=HI) as stream:
            pieces = [piece async for piece in stream.text_stream]
            answer = await stream.get_final_message()
        request = {"model": "main", "max_tokens": 50, "messages": HI, "stream": True}
        raw = (await gateway.http.post("/v1/messages?beta=true", json=request)).text

        assert pieces == ["one", " two", " three"]
        assert (answer.content[0].text, answer.stop_reason) == ("one two three", "end_turn")
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 3)
        names = [line.removeprefix("event: ") for line in raw.splitlines() if line.startswith("event: ")]
        assert names == [
            "message_start",
            "ping",
            "content_block_start",
            *["content_block_delta"] * 3,
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        told = [json.loads(line[6:])["type"] for line in raw.splitlines() if line.startswith("data: ")]
        assert told == names


async def test_tools_go_there_and_back(served: Serve) -> None:
    """The model's wish for a tool comes back whole, streamed or not, and the result goes on to the provider."""
    call = ToolCall("call_1", "weather", '{"city": "Oslo"}')

    def script(request: Any) -> HTTPStep:
        told = [turn["content"] for turn in request.body["messages"] if turn["role"] == "tool"]
        return HTTPStep(text=f"It is {told[-1]}.") if told else HTTPStep(text="let me see", tool_calls=(call,))

    async with served(script) as gateway, claude(gateway) as client:
        choice: Any = {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}
        first = await client.messages.create(
            model="main", max_tokens=50, messages=HI, tools=[WEATHER], tool_choice=choice
        )
        async with client.messages.stream(model="main", max_tokens=50, messages=HI, tools=[WEATHER]) as stream:
            streamed = await stream.get_final_message()

        sent = gateway.provider.requests[0].body
        assert sent["tools"][0]["function"]["parameters"] == WEATHER["input_schema"]
        assert sent["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
        assert sent["parallel_tool_calls"] is False
        for answer in (first, streamed):
            assert answer.stop_reason == "tool_use"
            assert [block.type for block in answer.content] == ["text", "tool_use"]
            assert (answer.content[1].name, answer.content[1].input) == ("weather", {"city": "Oslo"})

        result = {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "sunny"}]}
        turns = [*HI, {"role": "assistant", "content": streamed.content}, {"role": "user", "content": [result]}]
        last = await client.messages.create(model="main", max_tokens=50, messages=turns, tools=[WEATHER])
        assert last.content[0].text == "It is sunny."


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({"type": "auto"}, "auto"), ({"type": "any"}, "required"), ({"type": "none"}, "none")],
)
async def test_choice_of_tools_means_the_same(served: Serve, choice: Any, expected: str) -> None:
    """Whether a tool may, must or must not be called is said in the provider's words."""
    async with served() as gateway, claude(gateway) as client:
        await client.messages.create(model="main", max_tokens=9, messages=HI, tools=[WEATHER], tool_choice=choice)

        assert gateway.provider.requests[0].body["tool_choice"] == expected


async def test_everything_a_turn_may_hold_reaches_the_provider(served: Serve) -> None:
    """Instructions in blocks, pictures as bytes and by address, documents, failed tools: in the provider's words."""
    picture = b64encode(b"\x89PNG").decode()
    blocks: list[Any] = [
        {"type": "text", "text": "look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "document", "title": "notes", "source": {"type": "text", "media_type": "text/plain", "data": "a b"}},
        {"type": "tool_result", "tool_use_id": "c", "is_error": True, "content": [
            {"type": "text", "text": "no such file"},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "log"}},
        ]},
    ]  # fmt: skip
    use: Any = {"type": "tool_use", "id": "c", "name": "read", "input": {}}
    system: list[Any] = [{"type": "text", "text": "Be brief.", **KEPT}, {"type": "text", "text": "Be kind."}]
    async with served() as gateway, claude(gateway) as client:
        await client.messages.create(
            model="main",
            max_tokens=9,
            system=system,
            messages=[{"role": "assistant", "content": [use]}, {"role": "user", "content": blocks}],
            stop_sequences=["END"],
            metadata={"user_id": "u"},
            extra_body={"temperature": 0.5},
        )

        sent = gateway.provider.requests[0].body
        assert (sent["temperature"], sent["stop"]) == (0.5, ["END"])
        assert sent["messages"] == [
            {"role": "system", "content": "Be brief.\n\nBe kind."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "read", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "no such filelog"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {
                        "type": "image_url",
                        "image_url": {"url": f"data:image/png;base64,{picture}", "detail": "auto"},
                    },
                    {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "auto"}},
                    {"type": "text", "text": "[file notes]\na b"},
                ],
            },
        ]


def by_messages(url: str) -> AnthropicProvider:
    return AnthropicProvider("double", "sk-upstream", url, bounds=AttachmentBounds(image_tokens=100, file_tokens=900))


async def test_what_the_format_has_alone_survives_both_translations(served: Serve) -> None:
    """Before a provider of the same format: marks to keep, thinking with its seal, PDF files, the form of answers."""
    pdf = b64encode(b"%PDF-1.7").decode()
    form: Any = {"type": "json_schema", "schema": {"type": "object"}}
    turns: list[Any] = [
        {
            "role": "user",
            "content": [
                {
                    "type": "document",
                    "title": "report",
                    "context": "of May",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": pdf},
                },
                {"type": "text", "text": "read", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I shall"},
                {"type": "thinking", "thinking": "hm", "signature": "sealed"},
                {"type": "redacted_thinking", "data": "????"},
                {"type": "tool_use", "id": "c", "name": "weather", "input": {"city": "Oslo", "at": None}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "sunny"}]},
    ]
    async with served(upstream=by_messages) as gateway, claude(gateway) as client:
        await client.messages.create(
            model="main",
            max_tokens=4000,
            system=[{"type": "text", "text": "Be brief.", **KEPT}, {"type": "text", "text": "Today is Monday."}],  # type: ignore[typeddict-item]
            messages=turns,
            tools=[WEATHER],
            thinking={"type": "enabled", "budget_tokens": 2000},
            output_config={"format": form},
        )

        sent = gateway.provider.requests[0].body
        assert sent["thinking"] == {"type": "enabled", "budget_tokens": 2000}
        assert sent["system"][0] == {"type": "text", "text": "Be brief.", **KEPT}
        assert sent["system"][1] == {"type": "text", "text": "Today is Monday."}
        asked, said, told = sent["messages"]
        assert asked["content"] == [
            {"type": "text", "text": "of May"},
            {"type": "document", "title": "report", "source": turns[0]["content"][0]["source"]},
            {"type": "text", "text": "read", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ]
        assert [block["type"] for block in said["content"]] == ["thinking", "redacted_thinking", "text", "tool_use"]
        assert said["content"][0]["signature"] == "sealed"
        assert said["content"][3]["input"] == {"city": "Oslo", "at": None}
        assert told["content"][0] == {"type": "tool_result", "tool_use_id": "c", "content": "sunny"}


@pytest.mark.parametrize(
    ("thinking", "effort", "expected"),
    [
        ({"type": "disabled"}, None, ({"type": "disabled"}, None)),
        ({"type": "adaptive"}, None, ({"type": "adaptive"}, "high")),
        ({"type": "adaptive"}, "low", ({"type": "adaptive"}, "low")),
        ({"type": "adaptive"}, "max", ({"type": "adaptive"}, "max")),
    ],
)
async def test_thinking_is_asked_for_as_the_client_did(
    served: Serve, thinking: Any, effort: Any, expected: tuple[Any, str | None]
) -> None:
    """Whether and how much a model is to think before it answers."""
    async with served(upstream=by_messages) as gateway, claude(gateway) as client:
        config = {} if effort is None else {"output_config": {"effort": effort}}
        await client.messages.create(model="main", max_tokens=99, messages=HI, thinking=thinking, **config)

        sent = gateway.provider.requests[0].body
        assert (sent["thinking"], sent.get("output_config", {}).get("effort")) == expected


async def test_thoughts_come_back_with_their_seal(served: Serve) -> None:
    """What the model thought is a block of its own before its words: clients take the last block for the result."""
    async with (
        served([HTTPStep(text="two words", reasoning="let me see")], upstream=by_messages) as gateway,
        claude(gateway) as client,
    ):
        whole = await client.messages.create(model="main", max_tokens=99, messages=HI)
        async with client.messages.stream(model="main", max_tokens=99, messages=HI) as stream:
            streamed = await stream.get_final_message()

        assert [block.type for block in whole.content] == ["thinking", "text"]
        assert [block.type for block in streamed.content] == ["thinking", "text"]
        for thought in (whole.content[0], streamed.content[0]):
            assert (thought.thinking, thought.signature) == ("let me see", "sealed")


async def test_clients_of_tomorrow_are_served(served: Serve) -> None:
    """Unknown beta headers, parameters, fields of tools and of blocks change nothing; the key may come as a token."""
    headers = {"anthropic-beta": "claude-code-20250219,something-new-2027-01-01", "anthropic-version": "2099-01-01"}
    async with served() as gateway, claude(gateway, api_key=None, auth_token=KEY, default_headers=headers) as client:
        block = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}
        answer = await client.beta.messages.create(
            model="main",
            max_tokens=99,
            messages=[{"role": "user", "content": [block]}],  # type: ignore[list-item,typeddict-item]
            tools=[{**WEATHER, "type": "custom", "eager_input_streaming": True, "defer_loading": False}],
            metadata={"user_id": "user_1"},
            service_tier="auto",
            context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            extra_body={"diagnostics": {"id": 1}, "speed": None, "something_new": {"a": [1]}},
        )

        assert answer.content[0].text == "one two three"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "m"}]}, "tools[0].type"),
        ({"tools": [WEATHER, {"type": "computer_toolset_20260801"}]}, "tools[1].type"),
        ({"tools": [{"type": "telepathy_20280101", "name": "t"}]}, "tools[0].type"),
        ({"tools": [{"name": "no schema"}]}, "tools[0].name"),
        ({"speed": "fast"}, "speed"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"billing_policy": {"type": "billing_policy", "bill_to": "user_profile"}}, "billing_policy.bill_to"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
        ({"fallbacks": [{"model": "dear"}]}, "fallbacks"),
        ({"thread": {"type": "create"}}, "thread"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "native", "value": {}}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "compaction", "content": "x"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            "messages[0].content[0].source.type",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_honoured_is_refused_by_its_name(served: Serve, change: Any, param: str) -> None:
    """What would change the answer or its price is never passed over: nothing is sent, and the field is named."""
    request = {"model": "main", "max_tokens": 50, "messages": HI} | change
    async with served() as gateway, claude(gateway) as client:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.post("/v1/messages", body=request, cast_to=httpx2.Response)

        error = caught.value.body["error"]  # type: ignore[index]
        assert error["type"] == "invalid_request_error"
        assert error["organism"]["param"] == param
        assert param in error["message"]
        assert gateway.provider.requests == []


async def test_exhausted_budget_is_the_formats_own_refusal(served: Serve) -> None:
    """402 in the shape that clients know, with every number, and the word that trying again is no use."""
    async with served(limits=Limits(tokens=30)) as gateway, claude(gateway) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(
                model="main", max_tokens=99, messages=[{"role": "user", "content": "a " * 500}]
            )

        assert caught.value.response.headers["x-should-retry"] == "false"
        body: Any = caught.value.body
        assert (body["type"], body["error"]["type"]) == ("error", "billing_error")
        assert caught.value.status_code == 402
        assert body["request_id"] == caught.value.request_id
        numbers = body["error"]["organism"]
        assert (numbers["scope"], numbers["unit"], numbers["limit"]) == ("thread:key-ci", "tokens", 30)
        assert "organism budget raise" in numbers["remedy"]
        assert gateway.provider.requests == []


async def test_wrong_key_and_unknown_model_are_said_in_the_formats_words(served: Serve) -> None:
    """Who is not known, or asks for what is not there, hears it as from the vendor."""
    async with served() as gateway:
        async with claude(gateway, api_key="sk-wrong") as stranger:
            with pytest.raises(anthropic.AuthenticationError) as refused:
                await stranger.messages.create(model="main", max_tokens=9, messages=HI)
        async with claude(gateway) as client:
            with pytest.raises(anthropic.NotFoundError) as missing:
                await client.messages.create(model="nobody", max_tokens=9, messages=HI)

    assert refused.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
    assert missing.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]


async def test_stream_that_breaks_off_says_so(served: Serve) -> None:
    """A failure in the middle is an event of the stream, after which the client raises; the hold is charged."""
    step = HTTPStep(text="one two three", fault="reset", fault_after=3)
    async with served([step]) as gateway, claude(gateway) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            async with client.messages.stream(model="main", max_tokens=50, messages=HI) as stream:
                await stream.until_done()

        assert caught.value.body["error"]["type"] == "api_error"  # type: ignore[index]
        spent = gateway.organism.thread_budgets("key-ci")[0].spent.tokens
        assert spent >= gateway.provider.billed.total


async def test_tokens_are_counted_at_no_cost(served: Serve) -> None:
    """A count is close to what the call takes, so that clients cut nothing that fits; nobody is asked, nobody pays."""
    request: Any = {"model": "main", "system": "Be brief.", "messages": HI, "tools": [WEATHER]}
    async with served() as gateway, claude(gateway) as client:
        count = await client.messages.count_tokens(**request)
        assert (gateway.provider.requests, gateway.organism.threads()) == ([], ())

        answer = await client.messages.create(**request, max_tokens=9)
        assert answer.usage.input_tokens <= count.input_tokens
        longer = await client.messages.count_tokens(**request | {"messages": [*HI, *HI]})
        assert longer.input_tokens > count.input_tokens


async def test_count_that_cannot_be_made_says_why(served: Serve) -> None:
    """Unknown models and pictures that nothing bounds are refused as the call itself would be."""
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    turns: list[Any] = [{"role": "user", "content": [picture]}]
    unbounded = partial(AnthropicProvider, "double", "k")
    async with served(upstream=unbounded) as gateway, claude(gateway) as client:
        with pytest.raises(
            anthropic.NotFoundError, match="the model 'nobody' is not offered here; there are: main, other"
        ):
            await client.messages.count_tokens(model="nobody", messages=HI)
        with pytest.raises(anthropic.BadRequestError, match="image_tokens"):
            await client.messages.count_tokens(model="main", messages=turns)


async def test_models_are_listed(served: Serve) -> None:
    """Clients of either vendor find the models under one address."""
    async with served() as gateway, claude(gateway) as client:
        assert [model.id async for model in client.models.list()] == ["main", "other"]
        assert (await client.models.retrieve("main")).display_name == "main"


async def test_client_that_goes_away_pays_for_what_was_said(served: Serve) -> None:
    """A stream that is closed in the middle is charged as what the provider bills for it."""
    async with served([HTTPStep(text="one two three four", drip_s=0.002)]) as gateway, claude(gateway) as client:
        async with client.messages.stream(model="main", max_tokens=50, messages=HI) as stream:
            async for _piece in stream.text_stream:
                break
        await gateway.organism.router.wait_idle("key-ci")

        assert gateway.organism.usage.total.usage.total >= gateway.provider.billed.total > 0


async def test_real_model_answers_in_the_format(served: Serve) -> None:
    """Before llama.cpp, streamed and whole: words, a reason to end, and the model's own count of tokens."""
    async with served(upstream=lambda _url: LocalProvider("double")) as gateway, claude(gateway) as client:
        count = await client.messages.count_tokens(model="main", messages=HI)
        whole = await client.messages.create(model="main", max_tokens=8, messages=HI)
        async with client.messages.stream(model="main", max_tokens=8, messages=HI) as stream:
            pieces = [piece async for piece in stream.text_stream]
            streamed = await stream.get_final_message()

        assert "".join(pieces) == streamed.content[0].text
        for answer in (whole, streamed):
            assert answer.content[0].text
            assert 0 < answer.usage.output_tokens <= 8
            assert 0 < answer.usage.input_tokens <= count.input_tokens
            assert answer.stop_reason in {"end_turn", "max_tokens"}
        told = [answer.usage for answer in (whole, streamed)]
        spent = sum(each.input_tokens + (each.cache_read_input_tokens or 0) + each.output_tokens for each in told)
        assert gateway.organism.usage.total.usage.total == spent


async def test_a_program_that_works_through_tools_runs_to_its_end(served: Serve) -> None:
    """The SDK's own loop of tools, streamed, unchanged: it reads what the gateway says and sends all of it back."""
    looked: list[str] = []

    @anthropic.beta_async_tool
    async def look(place: str) -> str:
        """Look somewhere.

        Args:
            place: Where.
        """
        looked.append(place)
        return f"{place} is empty"

    def script(request: Any) -> HTTPStep:
        told = [block for turn in request.body["messages"] if isinstance(turn["content"], list)
                for block in turn["content"] if block["type"] == "tool_result"]  # fmt: skip
        if len(told) == len(PLACES):
            return HTTPStep(text="All of it is empty.", reasoning="so that is that")
        calls = tuple(ToolCall(f"c{at}", "look", json.dumps({"place": at})) for at in PLACES[len(told) : len(told) + 2])
        return HTTPStep(text="Let me look.", reasoning="hm", tool_calls=calls)

    async with served(script, upstream=by_messages) as gateway, claude(gateway) as client:
        runner = client.beta.messages.tool_runner(
            model="main",
            max_tokens=3000,
            system=[{"type": "text", "text": "You look around.", "cache_control": {"type": "ephemeral"}}],
            messages=[{"role": "user", "content": "look everywhere"}],
            tools=[look],
            thinking={"type": "enabled", "budget_tokens": 1024},
            betas=["interleaved-thinking-2025-05-14"],
            metadata={"user_id": "user_1"},
            stream=True,
        )
        answers = [await stream.get_final_message() async for stream in runner]

        assert looked == list(PLACES)
        assert [block.text for block in answers[-1].content if block.type == "text"] == ["All of it is empty."]
        assert len(gateway.provider.requests) == len(answers) == 3
        said = gateway.provider.requests[-1].body["messages"][1]["content"]
        assert [block["type"] for block in said] == ["thinking", "text", "tool_use", "tool_use"]
        assert gateway.organism.usage.total.usage.total == gateway.provider.billed.total


class Count(pydantic.BaseModel):
    """A form that an answer may have."""

    number: int


async def test_answer_of_a_form_is_parsed_by_the_sdk(served: Serve) -> None:
    """What the SDK makes of a type of its user's reaches the provider as a schema, and the answer fits."""
    async with served([HTTPStep(text='{"number": 3}')]) as gateway, claude(gateway) as client:
        answer = await client.messages.parse(model="main", max_tokens=20, messages=HI, output_format=Count)
        count = await client.beta.messages.count_tokens(model="main", messages=HI)

        assert answer.parsed_output == Count(number=3)
        form = gateway.provider.requests[0].body["response_format"]["json_schema"]
        assert form["schema"]["properties"]["number"]["type"] == "integer"
        assert count.input_tokens > 2
