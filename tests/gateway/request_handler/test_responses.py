"""Responses through the gateway, by OpenAI's own SDK: the same call in the newer format."""

from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

from organism import Limits
from organism.llm.requests import ToolCall
from organism.router.call import RouterSettings
from organism.testing import HTTPStep

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Says the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
CALL = ToolCall("call_1", "weather", '{"city": "Oslo"}')


async def test_answer_repeats_what_was_asked_and_counts_what_was_charged(served: Serve) -> None:
    """The answer has the text, the options it was asked with and the tokens that the thread has paid."""
    async with served() as gateway:
        answer = await gateway.client.responses.create(
            model="main", input="hi there", instructions="be brief", temperature=0.5, max_output_tokens=9
        )

        assert (answer.output_text, answer.status, answer.model) == ("one two three", "completed", "scripted")
        assert (answer.instructions, answer.temperature, answer.max_output_tokens) == ("be brief", 0.5, 9)
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 3)
        assert gateway.organism.usage.total.usage.total == gateway.provider.billed.total == 7
        assert answer.store is True


async def test_stream_builds_up_the_same_response(served: Serve) -> None:
    """Text comes piece by piece, calls of tools at the end, each event with its number; the last holds everything."""
    step = HTTPStep(text="one two three", reasoning="hm", tool_calls=(CALL,))
    async with served([step]) as gateway:
        events = [
            event
            async for event in await gateway.client.responses.create(
                model="main", input="hi", tools=[WEATHER], reasoning={"effort": "low"}, stream=True
            )
        ]

        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[0].type == "response.created"
        assert [event.delta for event in events if event.type == "response.output_text.delta"] == [
            "one",
            " two",
            " three",
        ]
        final = events[-1].response
        assert events[-1].type == "response.completed"
        assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
        done = {event.output_index: event.item for event in events if event.type == "response.output_item.done"}
        assert [done[place] for place in range(3)] == final.output
        added = {event.output_index: event.item.type for event in events if event.type == "response.output_item.added"}
        assert added == {place: item.type for place, item in enumerate(final.output)}
        assert final.usage.total_tokens == gateway.provider.billed.total

        async with gateway.client.responses.stream(model="main", input="hi", tools=[WEATHER]) as stream:
            whole = await stream.get_final_response()
        assert whole.output_text == "one two three"


async def test_what_was_answered_can_be_sent_back(served: Serve) -> None:
    """A client sends output items back just as it got them, with the result of the tool, and the model goes on."""

    def script(request: Any) -> HTTPStep:
        told = [turn["content"] for turn in request.body["messages"] if turn["role"] == "tool"]
        return HTTPStep(text=f"It is {told[0]}.") if told else HTTPStep(text="Let me see.", tool_calls=(CALL,))

    async with served(script) as gateway:
        said: list[Any] = [{"role": "user", "content": "how is Oslo?"}]
        first = await gateway.client.responses.create(model="main", input=said, tools=[WEATHER], tool_choice="required")
        said += [item.model_dump() for item in first.output]
        said.append({"type": "function_call_output", "call_id": "call_1", "output": "raining"})
        second = await gateway.client.responses.create(model="main", input=said, tools=[WEATHER])

        assert second.output_text == "It is raining."
        turns = gateway.provider.requests[-1].body["messages"]
        assert [turn["role"] for turn in turns] == ["user", "assistant", "tool"]
        assert turns[1]["content"] == "Let me see."
        assert turns[1]["tool_calls"][0]["function"]["arguments"] == CALL.arguments


async def test_everything_that_is_asked_reaches_a_provider_of_the_same_format(served: Serve) -> None:
    """Pictures, documents, sealed reasoning, tools and the form of the answer arrive as they were meant."""
    picture = f"data:image/png;base64,{b64encode(b'not really a picture').decode()}"
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    async with served(api="responses") as gateway:
        await gateway.client.responses.create(
            model="main",
            input=[
                {"role": "developer", "content": "be brief"},
                {"role": "user", "content": [
                    {"type": "input_text", "text": "what is it?"},
                    {"type": "input_image", "image_url": picture, "detail": "low"}]},
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
                    {"type": "output_text", "text": "a dog", "annotations": []}]},
                {"role": "user", "content": "sure?"},
            ],
            tools=[WEATHER],
            tool_choice={"type": "function", "name": "weather"},
            reasoning={"effort": "high", "summary": "auto"},
            text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}},
            include=["reasoning.encrypted_content"],
            store=False,
            truncation="disabled",
            metadata={"a": "b"},
        )  # fmt: skip

        sent = gateway.provider.requests[0].body
        kinds = [item.get("role") or item["type"] for item in sent["input"]]
        assert kinds == ["system", "user", "reasoning", "assistant", "user"]
        assert sent["input"][1]["content"][1] == {"type": "input_image", "image_url": picture, "detail": "low"}
        assert sent["input"][2]["encrypted_content"] == "sealed"
        assert sent["tools"] == [WEATHER]
        assert sent["tool_choice"] == {"type": "function", "name": "weather"}
        assert sent["text"]["format"]["schema"] == schema
        assert sent["reasoning"] == {"effort": "high", "summary": "auto"}


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"top_logprobs": 50}, "top_logprobs"),
        ({"service_tier": "ultrafast"}, "service_tier"),
        ({"tools": [{"type": "telepathy"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "telepathy"}}, "tool_choice.type"),
        ({"text": {"verbosity": "endless"}}, "text.verbosity"),
        ({"input": []}, "input"),
        ({"input": [{"type": "telepathy_call", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}]},
         "input[0].content[0].file_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
async def test_what_cannot_be_honoured_is_refused_by_name(served: Serve, options: Any, param: str) -> None:
    """What refers to something kept elsewhere, or would change the answer or its price, is refused and not ignored."""
    async with served() as gateway:
        with pytest.raises(openai.BadRequestError) as refused:
            await gateway.client.responses.create(**{"model": "main", "input": "hi", **options})

        assert refused.value.param == param
        assert gateway.provider.requests == []


async def test_what_was_not_to_be_stored_cannot_be_fetched_later(served: Serve) -> None:
    """Asking for a response that was not to be stored is answered with 404: the key is right, there only is nothing."""
    async with served() as gateway:
        answer = await gateway.client.responses.create(model="main", input="hi", store=False)
        assert answer.store is False
        with pytest.raises(openai.NotFoundError, match=r"Response with id 'resp_.+' not found"):
            await gateway.client.responses.retrieve(answer.id)
        with pytest.raises(openai.NotFoundError, match="no such path: nothing is served at"):
            await gateway.client.responses.cancel(answer.id)


async def test_an_answer_that_was_cut_says_so(served: Serve) -> None:
    """An answer that came to its cap is incomplete, with the reason where the format has it."""
    body = '{"choices": [{"message": {"content": "one"}, "finish_reason": "length"}], "usage": {"prompt_tokens": 1}}'
    async with served([HTTPStep(body=body)]) as gateway:
        answer = await gateway.client.responses.create(model="main", input="hi")

        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")


async def test_refusals_and_failures_are_the_formats_own(served: Serve) -> None:
    """A spent budget is a 402 before the stream begins; what breaks in its middle is an error event that is raised."""
    async with served(limits=Limits(tokens=10)) as gateway:
        with pytest.raises(openai.APIStatusError) as refused:
            await gateway.client.responses.create(model="main", input="hi", stream=True)
        assert refused.value.body["organism"]["scope"] == "thread:key-ci"
    async with served([HTTPStep(text="one two three four", fault="cut", fault_after=3)]) as gateway:
        with pytest.raises(openai.APIError) as failed:
            async with gateway.client.responses.stream(model="main", input="hi") as stream:
                await stream.get_final_response()
        assert failed.value.code == "upstream_uncertain"


@pytest.mark.parametrize("api", ["chat.completions", "responses"])
async def test_a_stream_that_is_begun_anew_is_never_taken_for_an_answer(served: Serve, api: str) -> None:
    """When an attempt breaks in the middle and another answers, the client hears that it has heard neither."""
    steps = [HTTPStep(text="one two three four", fault="cut", fault_after=4), HTTPStep(text="uno dos tres")]
    async with served(steps, router=RouterSettings(attempts=2, retry_uncertain=True)) as gateway:
        heard = ""

        async def listen() -> None:
            nonlocal heard
            if api == "responses":
                async for event in await gateway.client.responses.create(model="main", input="hi", stream=True):
                    heard += event.delta if event.type == "response.output_text.delta" else ""
            else:
                messages = [{"role": "user", "content": "hi"}]
                stream = await gateway.client.chat.completions.create(model="main", messages=messages, stream=True)
                async for chunk in stream:
                    heard += chunk.choices[0].delta.content or ""

        with pytest.raises(openai.APIError, match="begun anew"):
            await listen()

        assert len(gateway.provider.requests) == 2
        assert heard.startswith("one")
        assert gateway.organism.usage.total.usage.total >= gateway.provider.billed.total
