"""Conversations of OpenAI's responses that are kept here: a client names one and sends only what is new."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest

from organism.stores.sqlite import SqliteJournal
from tests.gateway.conftest import OTHER_KEY

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
REPLY = "one two three"
FIRST = {"type": "message", "role": "user", "content": "first"}


def said(request: Any) -> list[str]:
    """Return the words that reached the provider; turns of one side that follow each other are one turn there."""
    contents = (turn["content"] for turn in request.body["messages"])
    return [
        word for said in contents for word in ([said] if isinstance(said, str) else [part["text"] for part in said])
    ]


@pytest.mark.parametrize("as_object", [False, True], ids=["id", "object"])
@pytest.mark.parametrize("store", [None, False], ids=["kept", "store false"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_conversation_goes_on_with_each_request(
    served: Serve, *, stream: bool, store: bool | None, as_object: bool
) -> None:
    """The provider gets all that was said before, what was put in elsewhere too, and all of it is held and paid."""
    async with served() as gateway:
        client = gateway.client
        begun = await client.conversations.create(items=[FIRST], metadata={"topic": "tides"})
        named: Any = {"id": begun.id} if as_object else begun.id
        for words in ("second", "third"):
            options: dict[str, Any] = {"model": "main", "input": words, "conversation": named, "store": store}
            if stream:
                events = [event async for event in await client.responses.create(**options, stream=True)]
                answer = events[-1].response
            else:
                answer = await client.responses.create(**options)
            assert answer.conversation.id == begun.id

        assert said(gateway.provider.requests[-1]) == ["first", "second", REPLY, "third"]
        listed = [item async for item in client.conversations.items.list(begun.id, order="asc", limit=2)]
        assert [item.content[0].text for item in listed] == ["first", "second", REPLY, "third", REPLY]
        assert len({item.id for item in listed}) == len(listed)
        assert gateway.organism.usage.total.usage.total == gateway.provider.billed.total


async def test_two_requests_at_once_lose_nothing_of_each_other(served: Serve) -> None:
    """Whichever ends last goes on from the other."""
    async with served() as gateway:
        begun = await gateway.client.conversations.create()

        async def ask(words: str) -> None:
            await gateway.client.responses.create(model="main", input=words, conversation=begun.id)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(ask, f"words {number}")
        listed = [item async for item in gateway.client.conversations.items.list(begun.id)]
    assert len(listed) == 10


async def test_what_was_said_is_added_shown_and_taken_out(served: Serve) -> None:
    """Sessions of OpenAI's agents keep what was said in one: they add items, list them, and take the last one out."""
    async with served() as gateway:
        conversations = gateway.client.conversations
        begun = await conversations.create(metadata={"a": "b"})
        assert (begun.object, begun.metadata) == ("conversation", {"a": "b"})
        added = await conversations.items.create(begun.id, items=[FIRST, {"role": "user", "content": "second"}])
        last = added.data[-1]
        assert (await conversations.items.retrieve(last.id, conversation_id=begun.id)).content[0].text == "second"
        await conversations.items.delete(last.id, conversation_id=begun.id)
        await gateway.client.responses.create(model="main", input="third", conversation=begun.id)
        assert said(gateway.provider.requests[0]) == ["first", "third"]
        assert (await conversations.update(begun.id, metadata={"c": "d"})).metadata == {"c": "d"}
        assert (await conversations.retrieve(begun.id)).metadata == {"c": "d"}
        assert (await conversations.delete(begun.id)).deleted
        with pytest.raises(openai.NotFoundError, match=r"Conversation with id 'conv_.+' not found"):
            await conversations.retrieve(begun.id)


async def test_conversation_is_the_key_s_own_and_outlives_a_restart(served: Serve, tmp_path: Path) -> None:
    """Nobody else finds it by its id, and a daemon that starts again goes on with it."""
    path = tmp_path / "journal.db"
    async with served(journal=SqliteJournal(path)) as gateway:
        begun = await gateway.client.conversations.create(items=[FIRST])
        await gateway.client.responses.create(model="main", input="second", conversation=begun.id)
        other = gateway.client.with_options(api_key=OTHER_KEY)
        for strange in (
            other.conversations.retrieve(begun.id),
            other.conversations.delete(begun.id),
            other.responses.create(model="main", input="hi", conversation=begun.id),
        ):
            with pytest.raises(openai.NotFoundError) as missing:
                await strange
            assert missing.value.code == "conversation_not_found"
    async with served(journal=SqliteJournal(path)) as gateway:
        await gateway.client.responses.create(model="main", input="third", conversation=begun.id)
        assert said(gateway.provider.requests[0]) == ["first", "second", REPLY, "third"]


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/responses", {"conversation": "conv_no"}, 404, "conv_no"),
        ("/v1/responses", {"conversation": 7}, 400, "conversation"),
        ("/v1/responses", {"conversation": "conv_no", "previous_response_id": "resp_1"}, 400, "leave one of them out"),
        ("/v1/conversations", {"metadata": {"a": 1}}, 400, "metadata"),
        ("/v1/conversations", {"items": [7]}, 400, "items"),
        ("/v1/conversations", {"items": [FIRST] * 101}, 400, "items"),
        ("/v1/conversations/conv_no/items", {"items": [FIRST]}, 404, "conv_no"),
        ("/v1/conversations/resp_1", {"metadata": {}}, 404, "resp_1"),
    ],
)
async def test_what_names_no_conversation_says_so(
    served: Serve, path: str, body: dict[str, Any], status: int, says: str
) -> None:
    """A wrong name or body is refused in the format's words, and nothing is asked or charged."""
    async with served() as gateway:
        asked = {"model": "main", "input": "hi"} if path == "/v1/responses" else {}
        answer = await gateway.http.post(path, json=asked | body)
        assert (answer.status_code, says in answer.json()["error"]["message"]) == (status, True), answer.text
        assert not gateway.provider.requests


async def test_gateway_that_keeps_nothing_keeps_no_conversation(served: Serve) -> None:
    """Where no answers are kept a conversation cannot be begun, and the client hears what to do instead."""
    async with served(gateway={"keep_answers": 0}) as gateway:
        answer = await gateway.http.post("/v1/conversations", json={})
    assert (answer.status_code, "keeps no answers" in answer.json()["error"]["message"]) == (400, True), answer.text


async def test_conversations_count_among_what_a_key_may_keep(served: Serve) -> None:
    """The one that was not referred to for the longest time goes first; what is kept stays bounded."""
    async with served(gateway={"keep_answers": 3}) as gateway:
        first, *_, last = [await gateway.client.conversations.create() for _ in range(4)]
        with pytest.raises(openai.NotFoundError, match=r"Conversation with id 'conv_.+' not found"):
            await gateway.client.conversations.retrieve(first.id)
        assert (await gateway.client.conversations.retrieve(last.id)).id == last.id


@pytest.mark.parametrize("kind", [["message"], {}, 5, None])
async def test_an_item_whose_type_is_no_text_is_refused_by_name(served: Serve, kind: object) -> None:
    """What begins a conversation, or is put into one, is looked at before it is kept."""
    async with served() as gateway:
        wrong = {"items": [FIRST, {**FIRST, "type": kind}]}
        begun = await gateway.http.post("/v1/conversations", json={"items": [FIRST]})
        for path in ("/v1/conversations", f"/v1/conversations/{begun.json()['id']}/items"):
            answer = await gateway.http.post(path, json=wrong)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "items[1].type")
