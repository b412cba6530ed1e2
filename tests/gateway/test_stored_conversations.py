"""Conversations that are kept between requests: a client goes on from an answer without sending it again."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import openai
import pytest

from organism.llm.requests import ToolCall
from organism.testing import HTTPStep

from .conftest import OTHER_KEY

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


def said(request: Any) -> list[tuple[str, Any]]:
    """Return the turns that reached the provider, by role and what is in them."""
    return [(turn["role"], (turn.get("tool_calls") and "call") or turn["content"]) for turn in request.body["messages"]]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_request_goes_on_from_an_answer(served: Serve, *, stream: bool) -> None:
    """The provider gets the whole conversation, three turns deep, whether answers were streamed or not; all is paid."""
    async with served() as gateway:
        previous = None
        for words in ("first", "second", "third"):
            options: dict[str, Any] = {"model": "main", "input": words, "previous_response_id": previous}
            if stream:
                events = [event async for event in await gateway.client.responses.create(**options, stream=True)]
                previous = events[-1].response.id
            else:
                previous = (await gateway.client.responses.create(**options)).id

        reply = ("assistant", "one two three")
        assert said(gateway.provider.requests[-1]) == [
            ("user", "first"), reply, ("user", "second"), reply, ("user", "third")
        ]  # fmt: skip
        assert gateway.organism.usage.total.usage.total == gateway.provider.billed.total


async def test_results_of_tools_go_on_from_the_calls(served: Serve) -> None:
    """A tool loop sends only the result, and the provider gets the call before it."""
    async with served([HTTPStep(text="", tool_calls=(CALL,)), "It rains."]) as gateway:
        first = await gateway.client.responses.create(model="main", input="go", tools=[WEATHER])
        result = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
        answer = await gateway.client.responses.create(
            model="main", input=[result], tools=[WEATHER], previous_response_id=first.id
        )

        assert answer.output_text == "It rains."
        assert said(gateway.provider.requests[-1]) == [("user", "go"), ("assistant", "call"), ("tool", "rain")]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_items_are_referred_to_by_their_ids(served: Serve, *, stream: bool) -> None:
    """Every item of an answer can be named in place of being sent, by the id that the client was told."""
    async with served([HTTPStep(text="so", reasoning="hm", tool_calls=(CALL,)), "done"]) as gateway:
        options: dict[str, Any] = {"model": "main", "input": "go", "tools": [WEATHER]}
        if stream:
            events = [event async for event in await gateway.client.responses.create(**options, stream=True)]
            output = [event.item for event in events if event.type == "response.output_item.done"]
        else:
            output = (await gateway.client.responses.create(**options)).output
        await gateway.client.responses.create(**options | {"input": [
            {"role": "user", "content": "go"},
            *({"type": "item_reference", "id": item.id} for item in output),
            {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        ]})  # fmt: skip

        turns = gateway.provider.requests[-1].body["messages"]
        assert [turn["role"] for turn in turns] == ["user", "assistant", "tool"]
        assert (turns[1]["content"], turns[1]["tool_calls"][0]["id"]) == ("so", "call_1")


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found"),
        ({"previous_response_id": ""}, "previous_response_id", "previous_response_not_found"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input", "item_not_found"),
        ({"input": [{"id": "rs_1"}]}, "input", "item_not_found"),
        ({"input": [{"type": "item_reference"}]}, "input", "item_not_found"),
    ],
)
async def test_what_is_not_kept_is_said_in_the_vendors_words(
    served: Serve, options: Any, param: str, code: str
) -> None:
    """An unknown id is answered with 404 in the words that clients know, names what is missing, and costs nothing."""
    async with served() as gateway:
        with pytest.raises(openai.NotFoundError) as refused:
            await gateway.client.responses.create(**{"model": "main", "input": "hi", **options})

        assert (refused.value.param, refused.value.code) == (param, code)
        assert "not found" in refused.value.message
        assert gateway.provider.requests == []


async def test_nobody_finds_anothers_answer(served: Serve) -> None:
    """Another key's answer is as unknown as one that never was, in whichever way it is asked for."""
    async with served() as gateway:
        answer = await gateway.client.responses.create(model="main", input="secret")
        other = gateway.client.with_options(api_key=OTHER_KEY)
        attempts = [
            lambda: other.responses.create(model="main", input="hi", previous_response_id=answer.id),
            lambda: other.responses.create(model="main", input=[{"type": "item_reference", "id": answer.output[0].id}]),
            lambda: other.responses.retrieve(answer.id),
            lambda: other.responses.delete(answer.id),
        ]
        for attempt in attempts:
            with pytest.raises(openai.NotFoundError, match=r"with id '(resp|msg)_.+' not found"):
                await attempt()

        assert (await gateway.client.responses.retrieve(answer.id)).output_text == "one two three"


async def test_an_answer_can_be_looked_at_and_deleted(served: Serve) -> None:
    """What is kept is what the client was given; deleted, it is gone for every request."""
    async with served() as gateway:
        answer = await gateway.client.responses.create(model="main", input="hi")
        assert (await gateway.client.responses.retrieve(answer.id)).output == answer.output
        deleted = await gateway.http.delete(f"/v1/responses/{answer.id}")

        assert deleted.json() == {"id": answer.id, "object": "response", "deleted": True}
        with pytest.raises(openai.NotFoundError, match=r"Response with id 'resp_.+' not found"):
            await gateway.client.responses.retrieve(answer.id)
        with pytest.raises(openai.NotFoundError, match=r"Previous response with id 'resp_.+' not found"):
            await gateway.client.responses.create(model="main", input="more", previous_response_id=answer.id)


async def test_models_with_slashes_in_their_names_are_found(served: Serve) -> None:
    """A model's page is found whatever its name is, written plainly or with escapes."""
    async with served(gateway={"models": ("main", "org/main", "a/b/c")}) as gateway:
        for name in ("main", "org/main", "a/b/c", "a%2Fb%2Fc"):
            shown: httpx2.Response = await gateway.http.get(f"/v1/models/{name}")
            assert (shown.status_code, shown.json()["id"]) == (200, name.replace("%2F", "/"))
        assert (await gateway.http.get("/v1/models/a/b")).status_code == 404


async def test_operator_who_keeps_nothing_has_nothing(served: Serve) -> None:
    """With ``keep_answers: 0`` no prompt and no answer is in the journal, and a client is told what to send instead."""
    async with served(gateway={"keep_answers": 0}) as gateway:
        answer = await gateway.client.responses.create(model="main", input="a secret plan")
        assert answer.store is False
        with pytest.raises(openai.NotFoundError) as missing:
            await gateway.client.responses.create(model="main", input="go on", previous_response_id=answer.id)
        with pytest.raises(openai.NotFoundError, match=r"Response with id 'resp_.+' not found"):
            await gateway.client.responses.retrieve(answer.id)
        reference = {"type": "item_reference", "id": answer.output[0].id}
        with pytest.raises(openai.NotFoundError) as lost:
            await gateway.client.responses.create(model="main", input=[reference])

        assert "keeps no answers: send the whole conversation" in missing.value.message
        assert "keeps no answers" in lost.value.message
        assert len(gateway.provider.requests) == 1
