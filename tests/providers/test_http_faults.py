"""What servers get wrong, and what it must not do to us: usage that cannot be right, garbage, and floods."""

from pathlib import Path

import anyio
import pytest

from organism.amounts import TokenUsage
from organism.errors import ProviderError, UncertainError
from organism.llm.answers import Completion
from organism.llm.provider import Provider
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider
from organism.testing import HTTPStep, ScriptedHTTPProvider

pytestmark = pytest.mark.anyio

KINDS = ["chat", "responses", "messages"]
REQUEST = CompletionRequest(model="m", messages=(ChatMessage("user", "say three words"),), max_output_tokens=9)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Speak each format."""
    return str(request.param)


async def ask(kind: str, step: HTTPStep, *, streamed: bool) -> Completion | ProviderError:
    async with ScriptedHTTPProvider([step]) as server:
        adapter: Provider = AnthropicProvider("p", "k", server.url)
        if kind != "messages":
            adapter = OpenAIProvider("p", "k", f"{server.url}/v1", api=kind)  # type: ignore[arg-type]
        try:
            with anyio.fail_after(60):
                return await adapter.complete(REQUEST, (lambda _piece: None) if streamed else None)
        except ProviderError as error:
            return error
        finally:
            await adapter.aclose()


def chat_stream(*chunks: str) -> HTTPStep:
    """Make a stream of chunks as they are."""
    return HTTPStep(body="".join(f"data: {chunk}\n\n" for chunk in (*chunks, "[DONE]")))


def chunk(text: str = "", usage: str = "", finish: str = "null") -> str:
    delta = f'{{"content": "{text}"}}' if text else "{}"
    counted = f', "usage": {usage}' if usage else ""
    return f'{{"model": "s", "choices": [{{"delta": {delta}, "finish_reason": {finish}}}]{counted}}}'


def counts(prompt: int, completion: int) -> str:
    return f'{{"prompt_tokens": {prompt}, "completion_tokens": {completion}}}'


@pytest.mark.parametrize("usage", ["", "null", "[]", '"many"', "7"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_usage_that_is_not_there_is_not_zero(kind: str, usage: str, streamed: bool) -> None:
    """Absent, null or no object at all: nothing was counted, which is for the router to estimate."""
    answer = await ask(kind, HTTPStep(text="a b c", usage=usage), streamed=streamed)

    assert isinstance(answer, Completion)
    assert (answer.usage, answer.usage_error) == (None, None)


@pytest.mark.parametrize("kind", ["chat", "messages"])
async def test_usage_from_before_the_answer_counts_none_of_it(kind: str) -> None:
    """A count of the output that came first and never again is no more than a lower bound of what followed."""
    answer = await ask(kind, HTTPStep(text="a b c", usage_first_only=True), streamed=True)

    assert isinstance(answer, Completion)
    assert "output" in answer.usage_missing


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((chunk("a", counts(5, 1)), chunk("b", counts(5, 2)), chunk(finish='"stop"')), (5, 2)),
        ((chunk("a"), chunk(usage=counts(5, 2), finish='"stop"'), chunk(usage=counts(5, 2))), (5, 2)),
        ((chunk("a", counts(5, 7)), chunk(usage=counts(5, 2), finish='"stop"')), (5, 7)),
        ((chunk("a", counts(5, 7)), chunk(usage='{"prompt_tokens": null}', finish='"stop"')), (5, 7)),
    ],
    ids=["cumulative", "twice", "decreasing", "null later"],
)
async def test_usage_told_more_than_once_is_counted_once(steps: tuple[str, ...], expected: tuple[int, int]) -> None:
    """Counts of a stream are cumulative: they are not added up, and the largest holds since none can fall."""
    answer = await ask("chat", chat_stream(*steps), streamed=True)

    assert isinstance(answer, Completion)
    assert answer.usage == TokenUsage(input=expected[0], output=expected[1])


@pytest.mark.parametrize("bad", ["-2", "NaN", "1e400", "9" * 5000, "true", '"many"', str(2**63), '{"a": {"b": 1}}'])
async def test_insane_count_later_on_is_not_hidden_by_a_sane_one(bad: str) -> None:
    """A provider that contradicts itself with nonsense is disputed."""
    steps = (chunk("a", counts(5, 1)), chunk(usage=f'{{"prompt_tokens": {bad}}}', finish='"stop"'))

    answer = await ask("chat", chat_stream(*steps), streamed=True)

    assert isinstance(answer, Completion)
    assert answer.usage is None
    assert "prompt_tokens" in str(answer.usage_error)


GARBAGE = {
    "html": "<!doctype html><title>Sign in</title>",
    "half json": '{"choices": [{"message": {"content": "a',
    "wrong charset": '{"choices": "ü"}'.encode("latin-1"),
    "utf-16": '{"choices": []}'.encode("utf-16"),
    "nul bytes": b"\x00\x00\x00",
    "deep nesting": "[" * 100_000,
    "only numbers": "9" * 100_000,
    "nothing": "",
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_garbage_is_an_uncertain_answer_not_a_crash(kind: str, body: str | bytes, streamed: bool) -> None:
    """Whatever comes with status 200 may have been billed, and never raises anything but our own error."""
    error = await ask(kind, HTTPStep(body=body), streamed=streamed)

    assert isinstance(error, UncertainError), error


async def test_half_a_gzip_stream_is_garbage(kind: str) -> None:
    """Compression that breaks off is an answer that breaks off: it may have been billed."""
    step = HTTPStep(body=b"\x1f\x8b\x08\x00\x00", headers={"content-encoding": "gzip"})

    assert isinstance(await ask(kind, step, streamed=False), UncertainError)


async def test_nul_and_duplicate_keys_are_text_and_the_last_one() -> None:
    """JSON that is merely odd is read as JSON."""
    body = (
        '{"choices": [{"message": {"content": "a\\u0000b"}}], "usage": {"prompt_tokens": 1},'
        ' "usage": {"prompt_tokens": 4, "completion_tokens": 2}}'
    )

    answer = await ask("chat", HTTPStep(body=body), streamed=False)

    assert isinstance(answer, Completion)
    assert (answer.text, answer.usage) == ("a\x00b", TokenUsage(input=4, output=2))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_endless_line_is_cut_off_in_bounded_memory(kind: str, streamed: bool) -> None:
    """A provider that sends and sends costs at most 64 MiB of memory before it is hung up on."""
    await ask(kind, HTTPStep(), streamed=streamed)  # what the SDK needs for itself
    before = _peak_mib()

    error = await ask(kind, HTTPStep(fault="flood", fault_after=1), streamed=streamed)

    assert isinstance(error, UncertainError)
    assert "16,777,216 bytes" in str(error)
    assert _peak_mib() - before <= 64


async def test_endless_headers_are_refused(kind: str) -> None:
    """The head of an answer is bounded too."""
    step = HTTPStep(headers={f"x-{number}": "y" * 100 for number in range(20_000)})

    error = await ask(kind, step, streamed=False)

    assert isinstance(error, UncertainError)


def _peak_mib() -> int:
    """Return the most memory this process has held; the kernel is told to begin anew."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024
