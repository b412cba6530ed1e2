"""A provider that ignores its cap is stopped in mid-stream behind the gateway too, and each client sees why."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from organism import Limits
from organism.llm.answers import TRUNCATED
from organism.llm.requests import ToolCall
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider
from organism.testing import HTTPStep
from organism.usage.events import UsageEvent
from tests.waiting import until

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
CAP = 30
WORDS = 400
ENDLESS = HTTPStep(text="word " * WORDS, pause_s=0.004, metered=True)
HI = [{"role": "user", "content": "tell me of the sea"}]
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "main", "messages": HI, "max_tokens": CAP},
    "/v1/responses": {"model": "main", "input": "tell me of the sea", "max_output_tokens": CAP},
    "/v1/messages": {"model": "main", "messages": HI, "max_tokens": CAP},
    "/v1/completions": {"model": "main", "prompt": "tell me of the sea", "max_tokens": CAP},
}
UPSTREAMS: dict[str, Callable[[str], Any]] = {
    "chat": lambda url: OpenAIProvider("double", "k", f"{url}/v1"),
    "responses": lambda url: OpenAIProvider("double", "k", f"{url}/v1", api="responses"),
    "messages": lambda url: AnthropicProvider("double", "k", url),
}


def ends(path: str, said: str, *, stream: bool) -> object:
    """Return what an answer says of why it has ended, in the format of a path."""
    events = [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: {")] if stream else []
    whole = json.loads(said) if not stream else {}
    match path:
        case "/v1/messages":
            return next(each["delta"]["stop_reason"] for each in events if each["type"] == "message_delta")
        case "/v1/responses":
            whole = events[-1]["response"] if stream else whole
            return whole["status"], whole["incomplete_details"]["reason"]
        case _:
            choices = [each["choices"][0] for each in events if each["choices"]] or whole["choices"]
            return choices[-1]["finish_reason"], choices[-1].get("native_finish_reason")


ENDS = {
    "/v1/chat/completions": ("length", TRUNCATED),
    "/v1/responses": ("incomplete", "max_output_tokens"),
    "/v1/messages": "max_tokens",
    "/v1/completions": ("length", None),
}


@pytest.mark.parametrize(
    ("path", "upstream"),
    [*((path, "chat") for path in ASKED), ("/v1/responses", "responses"), ("/v1/messages", "messages")],
)
async def test_client_sees_a_stopped_stream_as_one_that_has_reached_its_cap(
    served: Serve, path: str, upstream: str
) -> None:
    """In every format the partial answer comes, ends as an answer at its cap ends, and is charged as what has come."""
    events: list[UsageEvent] = []
    async with served([ENDLESS], upstream=UPSTREAMS[upstream]) as gateway:
        gateway.organism.usage.subscribe(events.append, UsageEvent)
        async with gateway.http.stream("POST", path, json={**ASKED[path], "stream": True}) as response:
            assert response.status_code == 200
            said = (await response.aread()).decode()
        assert ends(path, said, stream=True) == ENDS[path]
        thread = gateway.organism.thread_budgets("key-ci")[0]
        billed = gateway.provider.billed.total
    (event,) = events
    assert (event.truncated, event.outcome) == (True, "estimated")
    assert thread.held.tokens == 0
    assert CAP < billed <= thread.spent.tokens == event.usage.total < WORDS


async def test_answer_that_comes_whole_is_stopped_where_a_limit_is_near(served: Serve) -> None:
    """Whoever does not stream cannot spend what is not there either: the rest of a key's budget, and little more."""
    async with served([ENDLESS], limits=Limits(tokens=150), upstream=UPSTREAMS["chat"]) as gateway:
        response = await gateway.http.post("/v1/chat/completions", json={**ASKED["/v1/chat/completions"]})
        assert response.status_code == 200
        assert ends("/v1/chat/completions", response.text, stream=False) == ENDS["/v1/chat/completions"]
        assert gateway.organism.thread_budgets("key-ci")[0].spent.tokens < 300


async def test_slow_reader_does_not_keep_a_stream_open(served: Serve) -> None:
    """What comes while a client does not read is counted as it comes, not as it is read."""
    async with served([ENDLESS], upstream=UPSTREAMS["chat"]) as gateway:
        asked = {**ASKED["/v1/chat/completions"], "stream": True}
        async with gateway.http.stream("POST", "/v1/chat/completions", json=asked) as response:
            await until(lambda: not gateway.organism.thread_budgets("key-ci")[0].held.tokens)
            assert gateway.provider.billed.total < WORDS
            assert "length" in (await response.aread()).decode()


CALL = ToolCall("c1", "write", json.dumps({"text": "word " * WORDS}))


@pytest.mark.parametrize("kind", ["chat", "messages"])
async def test_arguments_of_a_call_are_counted_and_never_look_whole(served: Serve, kind: str) -> None:
    """A call that is written without end is stopped as words are, and what there is of it is no call to be run."""
    step = HTTPStep(text="", tool_calls=(CALL,), pause_s=0.2, metered=True)
    tool = {"type": "function", "function": {"name": "write", "parameters": {"type": "object"}}}
    async with served([step], upstream=UPSTREAMS[kind]) as gateway:
        asked = {**ASKED["/v1/chat/completions"], "stream": True, "tools": [tool]}
        async with gateway.http.stream("POST", "/v1/chat/completions", json=asked) as response:
            said = (await response.aread()).decode()
        assert ends("/v1/chat/completions", said, stream=True) == ENDS["/v1/chat/completions"]
        assert "tool_calls" in said
