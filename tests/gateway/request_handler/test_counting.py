"""How many tokens a request has: by its vendor's own count if there is one, else by the estimate, always for free."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import anyio
import pytest

from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider
from organism.router import input_counting
from organism.testing import HTTPStep
from organism.testing.http_provider import ReceivedRequest
from tests.gateway.conftest import UPSTREAM

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
ASKED: dict[str, Any] = {
    "model": "main",
    "max_tokens": 400,
    "temperature": 0.5,
    "system": "one two",
    "messages": [{"role": "user", "content": "three four five"}],
    "tools": [{"name": "weather", "description": "six", "input_schema": {"type": "object"}}],
}
COUNT = "/v1/messages/count_tokens"
CLAUDE = partial(AnthropicProvider, "double", UPSTREAM)


def responses(url: str) -> OpenAIProvider:
    return OpenAIProvider("double", UPSTREAM, f"{url}/v1", api="responses")


def open_models(url: str, vendor: str) -> OpenAIProvider:
    return OpenAIProvider("double", UPSTREAM, f"{url}/v1", vendor=vendor)


def counting(step: HTTPStep) -> Callable[[ReceivedRequest], HTTPStep]:
    return lambda request: step if "tokens" in request.path else HTTPStep()


@pytest.mark.parametrize(
    ("upstream", "path", "seen"),
    [
        (CLAUDE, COUNT, {"model", "system", "messages", "tools", "tool_choice"}),
        (responses, "/v1/responses/input_tokens", {"model", "input", "tools", "tool_choice"}),
        (partial(open_models, vendor="vllm"), COUNT, {"model", "system", "messages", "tools", "tool_choice"}),
        (partial(open_models, vendor="llamacpp"), COUNT, {"model", "system", "messages", "tools", "tool_choice"}),
    ],
    ids=["messages", "responses", "vllm", "llamacpp"],
)
async def test_vendor_that_counts_is_asked(served: Serve, upstream: Any, path: str, seen: set[str]) -> None:
    """Its own number is answered; it sees what is counted and nothing else, and nobody pays."""
    async with served(counting(HTTPStep(body='{"input_tokens": 4321}')), upstream=upstream) as gateway:
        answer = await gateway.http.post(COUNT, json=ASKED)

        assert answer.json() == {"input_tokens": 4321}
        (request,) = gateway.provider.requests
        assert (request.path, request.body["model"]) == (path, "m")
        assert request.body.keys() <= seen | {"parallel_tool_calls"}
        assert {"model", "tools"} <= request.body.keys()
        assert (gateway.organism.threads(), gateway.provider.bill) == ((), [])


async def test_fields_of_a_server_s_own_do_not_keep_it_from_counting(served: Serve) -> None:
    """A long request of chat completions with sampling that only vLLM knows is counted by it, and held close."""
    upstream = partial(open_models, vendor="vllm")
    text = "The tide comes in and goes out again. " * 2000
    async with served(counting(HTTPStep(body='{"input_tokens": 16000}')), upstream=upstream) as gateway:
        body = {"model": "main", "messages": [{"role": "user", "content": text}], "min_p": 0.1, "max_tokens": 9}
        answer = await gateway.http.post("/v1/chat/completions", json=body)

        assert answer.status_code == 200, answer.text
        counted, asked = gateway.provider.requests
        assert (counted.path, asked.path) == (COUNT, "/v1/chat/completions")
        assert "min_p" not in counted.body


async def test_input_of_responses_is_counted_too(served: Serve) -> None:
    """OpenAI's SDK asks for the input of a request, that of the answer it goes on from included."""

    def answer(request: ReceivedRequest) -> HTTPStep:
        counted = {"object": "response.input_tokens", "input_tokens": len(request.body.get("input", ()))}
        return HTTPStep(body=json.dumps(counted)) if "tokens" in request.path else HTTPStep()

    async with served(answer, upstream=responses) as gateway:
        first = await gateway.client.responses.create(model="main", input="one two")
        plain = await gateway.client.responses.input_tokens.count(model="main", input="three")
        more = await gateway.client.responses.input_tokens.count(
            model="main", input="three", previous_response_id=first.id
        )
        odd = await gateway.http.post("/v1/responses/input_tokens", json={"model": "nope", "input": "a"})

    assert (plain.object, plain.input_tokens, more.input_tokens) == ("response.input_tokens", 1, 3)
    assert (odd.status_code, odd.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("step", "asked_again"),
    [
        (HTTPStep(status=404, body="{}"), False),
        (HTTPStep(status=405, body="no"), False),
        (HTTPStep(status=429, body='{"error": {"message": "slow down"}}'), False),
        (HTTPStep(status=500, body="broken"), False),
        (HTTPStep(fault="reset"), False),
        (HTTPStep(fault="hang"), False),
        (HTTPStep(status=400, body='{"error": {"message": "not this one"}}'), True),
        (HTTPStep(body="this is no JSON"), True),
        (HTTPStep(body='{"input_tokens": true}'), True),
        (HTTPStep(body='{"input_tokens": -3}'), True),
        (HTTPStep(body='{"input_tokens": 99999999999}'), True),
        (HTTPStep(body='{"tokens": 5}'), True),
    ],
    ids=["404", "405", "429", "500", "reset", "hang", "400", "garbage", "bool", "negative", "insane", "other"],
)
async def test_estimate_stands_where_the_vendor_does_not_count(
    served: Serve, monkeypatch: pytest.MonkeyPatch, step: HTTPStep, asked_again: bool
) -> None:
    """Within the deadline, whatever it says; a vendor that cannot is not asked again soon, and calls go on."""
    if step.fault == "hang":
        monkeypatch.setattr(input_counting, "COUNT_S", 1.0)  # time enough to reach the vendor on a busy machine
    async with served(counting(step), upstream=CLAUDE) as gateway:
        with anyio.fail_after(60):
            counts = [(await gateway.http.post(COUNT, json=ASKED)).json()["input_tokens"] for _ in range(2)]
        asked = len(gateway.provider.requests)
        assert (await gateway.http.post("/v1/messages", json=ASKED)).status_code == 200

        assert counts[0] == counts[1]
        assert 5 < counts[0] < 2000
        assert asked == (2 if asked_again else 1)


async def test_server_of_another_make_is_not_asked(served: Serve) -> None:
    """A server that only speaks chat completions has no such address; nothing is sent to it."""
    async with served() as gateway:
        assert 5 < (await gateway.http.post(COUNT, json=ASKED)).json()["input_tokens"] < 2000
        assert gateway.provider.requests == []


@pytest.mark.parametrize("failure", [SystemExit(), RuntimeError("strange"), "no number", None])
async def test_strange_adapter_costs_the_estimate_and_no_more(served: Serve, failure: object) -> None:
    """Whatever an adapter's count raises or returns, the daemon goes on."""

    class Strange(OpenAIProvider):
        async def count_input(self, _request: Any) -> Any:
            if isinstance(failure, BaseException):
                raise failure
            return failure

    def upstream(url: str) -> OpenAIProvider:
        return Strange("double", UPSTREAM, f"{url}/v1")

    async with served(upstream=upstream) as gateway:
        assert (await gateway.http.post(COUNT, json=ASKED)).status_code == 200
        assert (await gateway.http.post("/v1/messages", json=ASKED)).status_code == 200
