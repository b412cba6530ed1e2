"""The HTTP adapters, in each format they speak, against a real server that misbehaves on request."""

import socket
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest

from organism.amounts import TokenUsage
from organism.errors import ConfigError, ProviderError, RejectedError, UncertainError
from organism.formats.errors.retry_after import RETRY_AFTER_MAX_S
from organism.llm.provider import Provider
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.providers.anthropic import AnthropicProvider
from organism.providers.http import ConnectionSettings
from organism.providers.openai import OpenAIProvider
from organism.testing import HTTPStep, ScriptedHTTPProvider

pytestmark = pytest.mark.anyio

REQUEST = CompletionRequest(
    model="m", messages=(ChatMessage("system", "be brief"), ChatMessage("user", "say three words")), max_output_tokens=9
)
SECRET = "sk-very-secret-key"
Connect = Callable[[str], Provider]


@pytest.fixture(params=["chat", "responses", "messages"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Make an adapter for a server's address."""
    if request.param != "messages":
        return lambda url: OpenAIProvider("p", SECRET, f"{url}/v1", api=request.param)
    return lambda url: AnthropicProvider("p", SECRET, url)


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def pieces(request: pytest.FixtureRequest) -> list[str] | None:
    """Collect pieces when the answer is streamed."""
    return [] if request.param else None


async def ask(connect: Connect, step: HTTPStep, pieces: list[Any] | None) -> Any:
    """Make one attempt against one step; give the answer or the error."""
    async with ScriptedHTTPProvider([step]) as server:
        adapter = connect(server.url)
        try:
            with anyio.fail_after(60):
                return await adapter.complete(REQUEST, None if pieces is None else pieces.append)
        except ProviderError as error:
            return error
        finally:
            await adapter.aclose()
            assert len(server.requests) == 1, "one attempt makes one request: the SDK's own retries are off"


async def test_answer_and_usage_arrive_as_the_server_sent_them(connect: Connect, pieces: list[str] | None) -> None:
    """Text, model and usage of an answer are the provider's own, streamed or not."""
    answer = await ask(connect, HTTPStep(text="one two three"), pieces)

    assert (answer.text, answer.model, answer.finish_reason) == ("one two three", "scripted", "stop")
    assert answer.usage == TokenUsage(input=5, output=3)
    texts = [piece for piece in pieces or () if isinstance(piece, str) and piece]
    assert pieces is None or texts == ["one", " two", " three"]


async def test_output_cap_is_always_sent(connect: Connect) -> None:
    """The cap that the hold relies on is in every request."""
    async with ScriptedHTTPProvider() as server:
        adapter = connect(server.url)
        await adapter.complete(REQUEST)
        await adapter.aclose()

    body = server.requests[0].body
    assert [body[name] for name in ("max_tokens", "max_output_tokens") if name in body] == [9]


def test_without_a_key_there_is_no_provider() -> None:
    """An empty key is said at the start, not by the server's refusal of a call."""
    with pytest.raises(ConfigError, match="'p' is empty"):
        OpenAIProvider("p", "")


SDK_VARIABLES = {
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_API_KEY": "sk-of-somebody-else",
    "OPENAI_ADMIN_KEY": "sk-admin-of-everything",
    "OPENAI_ORG_ID": "org-of-somebody-else",
    "OPENAI_PROJECT_ID": "project-of-somebody-else",
    "OPENAI_CUSTOM_HEADERS": "x-custom: somebody-else",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "ANTHROPIC_API_KEY": "sk-of-somebody-else",
    "ANTHROPIC_AUTH_TOKEN": "token-of-somebody-else",
    "ANTHROPIC_CUSTOM_HEADERS": "x-custom: somebody-else",
}


async def test_no_variable_of_an_sdk_changes_where_a_call_goes_or_what_it_sends(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is set for other programs on the machine reaches neither the address nor the headers of a provider."""
    for name, value in SDK_VARIABLES.items():
        monkeypatch.setenv(name, value)
    async with ScriptedHTTPProvider() as server:
        adapter = connect(server.url)
        await adapter.complete(REQUEST)
        await adapter.aclose()

    (request,) = server.requests
    assert "somebody-else" not in str(request.headers)
    assert set(request.headers) <= {
        "host", "accept-encoding", "content-type", "user-agent", "content-length", "authorization", "x-api-key",
        "anthropic-version",
    }  # fmt: skip


async def test_openai_calls_the_cap_by_its_new_name_only_at_openai() -> None:
    """Compatible servers know ``max_tokens``, OpenAI's newer models only ``max_completion_tokens``."""
    assert OpenAIProvider("p", "k").vendor.cap == "max_completion_tokens"
    assert OpenAIProvider("p", "k", "http://127.0.0.1/v1").vendor.cap == "max_tokens"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_refused_requests_are_rejected_for_good(connect: Connect, status: int) -> None:
    """A 4xx did no work and is not tried again."""
    error = await ask(connect, HTTPStep(status=status), None)

    assert isinstance(error, RejectedError)
    assert (error.status, error.again) == (status, False)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_overload_with_an_error_body_is_rejected_for_now(connect: Connect, status: int) -> None:
    """Overload that the provider itself reports did no work and may be tried again."""
    error = await ask(connect, HTTPStep(status=status, headers={"retry-after": "7"}), None)

    assert isinstance(error, RejectedError)
    assert (error.status, error.again, error.retry_after_s) == (status, True, 7)


async def test_date_to_ask_again_counts_from_when_it_came(connect: Connect) -> None:
    """Many gateways leave the date of their answer out, and say one on which to come back."""
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    error = await ask(connect, HTTPStep(status=429, headers={"retry-after": then}), None)

    assert isinstance(error, RejectedError)
    assert error.retry_after_s == pytest.approx(20, abs=5)


@pytest.mark.parametrize(
    ("value", "expected"), [("1e9", RETRY_AFTER_MAX_S), ("-1", None), ("NaN", None), ("soon", None), ("0", 0.0)]
)
async def test_retry_after_is_believed_within_bounds(connect: Connect, value: str, expected: float | None) -> None:
    """A provider cannot make us wait for ever, nor a negative time."""
    error = await ask(connect, HTTPStep(status=429, headers={"retry-after": value}), None)

    assert isinstance(error, RejectedError)
    assert error.retry_after_s == expected


@pytest.mark.parametrize(
    "step",
    [
        HTTPStep(status=408),
        HTTPStep(status=502, body="<html>bad gateway</html>"),
        HTTPStep(status=504),
        HTTPStep(status=500, body=""),
        HTTPStep(body="<html>hello</html>", headers={"content-type": "text/html"}),
        HTTPStep(body=""),
        HTTPStep(body='{"choices": '),
        HTTPStep(body="[1, 2]"),
        HTTPStep(fault="reset"),
        HTTPStep(text="a b c", fault="reset", fault_after=1, drip_s=0.0001),
        HTTPStep(body="x", headers={"content-encoding": "gzip"}),
        HTTPStep(body='{"a": "' + "x" * (17 * 1024 * 1024) + '"}'),
    ],
    ids=lambda step: f"{step.status}-{step.fault}-{(step.body or '')[:12]!r}",
)
async def test_whatever_may_have_been_billed_is_uncertain(
    connect: Connect, step: HTTPStep, pieces: list[str] | None
) -> None:
    """Timeouts, resets, gateways' errors and garbage may have cost money, so the hold is to be charged."""
    error = await ask(connect, step, pieces)

    assert isinstance(error, UncertainError), error


@pytest.mark.parametrize("after", range(5))
async def test_stream_cut_anywhere_is_uncertain(connect: Connect, after: int) -> None:
    """A stream that ends before its end is no answer, however much of it came."""
    error = await ask(connect, HTTPStep(text="a b c d e", fault="cut", fault_after=after), [])

    assert isinstance(error, UncertainError), error


async def test_refused_connection_is_rejected(connect: Connect) -> None:
    """Where nobody listens nothing was sent, so nothing is charged and another attempt may be made."""
    async with ScriptedHTTPProvider() as server:
        url = server.url
    adapter = connect(url)
    with pytest.raises(RejectedError, match="cannot connect") as caught:
        await adapter.complete(REQUEST)
    await adapter.aclose()

    assert caught.value.again


@pytest.mark.parametrize("kind", ["chat", "messages"])
async def test_connection_that_does_not_come_about_is_given_up_in_its_time(kind: str) -> None:
    """A host that lets one wait at the door is no host that has been asked: given up early, and nothing is owed."""
    with ExitStack() as sockets:
        door = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        for _ in range(4):  # more than the kernel lets in while nobody accepts
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(door.getsockname())
        adapter: Provider = (
            OpenAIProvider("p", SECRET, f"{url}/v1", connection=ConnectionSettings(connect_timeout_s=0.2))
            if kind == "chat"
            else AnthropicProvider("p", SECRET, url, connection=ConnectionSettings(connect_timeout_s=0.2))
        )
        with anyio.fail_after(60), pytest.raises(RejectedError, match="cannot connect") as caught:
            await adapter.complete(REQUEST)
        await adapter.aclose()

    assert caught.value.again


@pytest.mark.parametrize(
    "bad", ["-5", "NaN", "Infinity", "1e400", "true", '"12x"', "9" * 30, "9" * 5000, "[1]", "20000000"]
)
async def test_insane_usage_is_named_not_used(connect: Connect, pieces: list[str] | None, bad: str) -> None:
    """A count that is no sane natural number never reaches arithmetic."""
    usage = f'{{"prompt_tokens": {bad}, "completion_tokens": 1, "input_tokens": {bad}, "output_tokens": 1}}'

    answer = await ask(connect, HTTPStep(usage=usage), pieces)

    assert answer.usage is None
    assert "tokens is " in answer.usage_error


async def test_missing_usage_is_not_zero(connect: Connect, pieces: list[str] | None) -> None:
    """An answer without usage says so instead of counting nothing."""
    answer = await ask(connect, HTTPStep(usage=""), pieces)

    assert (answer.usage, answer.usage_error) == (None, None)


async def test_openai_buckets_are_disjoint() -> None:
    """Cached tokens come out of the prompt and reasoning out of the completion, so nothing counts twice."""
    usage = (
        '{"prompt_tokens": 36, "completion_tokens": 60, "total_tokens": 96,'
        ' "prompt_tokens_details": {"cached_tokens": 35}, "completion_tokens_details": {"reasoning_tokens": 20}}'
    )

    answer = await ask(lambda url: OpenAIProvider("p", "k", f"{url}/v1"), HTTPStep(usage=usage), None)

    assert answer.usage == TokenUsage(input=1, cached_input=35, output=40, reasoning=20)


async def test_anthropic_buckets_are_disjoint_and_the_last_count_holds() -> None:
    """Cached tokens stand beside the input, and cumulative counts of a stream are not added up."""
    usage = '{"input_tokens": 1, "cache_read_input_tokens": 35, "cache_creation_input_tokens": 4, "output_tokens": 60}'

    pieces: list[Any] | None
    for pieces in (None, []):
        answer = await ask(lambda url: AnthropicProvider("p", "k", url), HTTPStep(usage=usage), pieces)

        assert answer.usage == TokenUsage(input=1, cached_input=35, cache_write=4, output=60)


async def test_secret_never_shows_in_errors(connect: Connect) -> None:
    """A provider that repeats the key in its error does not get it into ours."""
    body = f'{{"error": {{"message": "bad key {SECRET}, again {SECRET}"}}}}'

    error = await ask(connect, HTTPStep(status=401, body=body), None)

    assert SECRET not in str(error) + repr(error)
    assert "***" in str(error)


async def test_lone_surrogates_are_replaced(connect: Connect, pieces: list[str] | None) -> None:
    """Text that no encoding knows becomes text that can be stored."""
    answer = await ask(connect, HTTPStep(text="a\ud800b"), pieces)

    assert answer.text.encode("utf-8") == b"a?b"
