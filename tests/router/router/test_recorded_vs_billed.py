"""The headline: whatever a provider does, what is recorded is at least what is billed. Real HTTP, real SDKs."""

from datetime import UTC, datetime

import anyio
import msgspec
import pytest

from organism import Limits, Organism, Text, ThreadResult, TokenUsage, agent
from organism.agents.context import Context
from organism.errors import ProviderError
from organism.llm.requests import ToolCall
from organism.pricing.book import PriceBook
from organism.pricing.rates import flat_rates
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider
from organism.router.call import RouterSettings
from organism.router.limits.provider_settings import ProviderSettings, Timeouts
from organism.testing import HTTPStep, ScriptedHTTPProvider
from organism.usage.events import UsageEvent

pytestmark = pytest.mark.anyio


def chat_stream(*usages: str) -> str:
    """Write a stream of chat completions in which usage comes again and again."""
    chunks = [
        f'{{"model": "s", "choices": [{{"delta": {{"content": "{word}"}}, "finish_reason": null}}], "usage": {usage}}}'
        for word, usage in zip("ab", usages[:2], strict=True)
    ]
    chunks.append(f'{{"choices": [{{"delta": {{}}, "finish_reason": "stop"}}], "usage": {usages[2]}}}')
    return "".join(f"data: {chunk}\n\n" for chunk in (*chunks, "[DONE]"))


def counted(prompt: int, completion: int) -> str:
    return f'{{"prompt_tokens": {prompt}, "completion_tokens": {completion}}}'


FAULTS = [
    HTTPStep(text="one two three"),
    HTTPStep(status=400),
    *(HTTPStep(status=429, headers={"retry-after": wait}) for wait in ("0", "1e9", "-1", "NaN", "next week")),
    HTTPStep(status=503),
    HTTPStep(status=529),
    HTTPStep(status=500, billed=False),
    HTTPStep(status=502, body=""),
    HTTPStep(status=504),
    HTTPStep(status=408),
    HTTPStep(text="a b c d", fault="reset"),
    HTTPStep(text="a b c d", fault="reset", fault_after=2),
    HTTPStep(text="a b c d", fault="cut", fault_after=3),
    HTTPStep(text="a b c d", fault="hang", fault_after=2),
    HTTPStep(text="a b c d", fault="hang"),
    HTTPStep(body="<html>what</html>"),
    HTTPStep(body="a line of no JSON"),
    HTTPStep(body='{"choices": "ü"}'.encode("latin-1")),
    HTTPStep(body=b"\x00\x00\x00"),
    HTTPStep(body=b"\x1f\x8b\x08\x00\x00", headers={"content-encoding": "gzip"}),
    HTTPStep(headers={f"x-{number}": "y" * 100 for number in range(20_000)}),
    HTTPStep(text="\ud83d a\x00b"),
    HTTPStep(text="a b", body=chat_stream(counted(5, 1), counted(5, 2), "null")),
    HTTPStep(text="a b", body=chat_stream(counted(5, 7), counted(5, 2), counted(5, 2))),
    HTTPStep(text="a b c d", delay_s=30),
    HTTPStep(text="a b c d", drip_s=0.2),
    HTTPStep(text="a b c d", fault="flood", fault_after=1),
    HTTPStep(text="a b c d", usage=""),
    HTTPStep(text="a b c d", usage="null"),
    HTTPStep(text="a b c d", usage_first_only=True),
    HTTPStep(text="a b", reasoning="c d e f"),
    HTTPStep(text="a b", tool_calls=(ToolCall("c", "look", '{"at": "the sea and the sky"}'),), usage=""),
    HTTPStep(text="", tool_calls=(ToolCall("c", "look", "{}"),), usage='{"prompt_tokens": 0, "input_tokens": 0}'),
    HTTPStep(text="a b c d", usage='{"prompt_tokens": -1, "input_tokens": -1}'),
    HTTPStep(text="a b c d", usage='{"prompt_tokens": 1e400, "input_tokens": NaN}'),
    HTTPStep(
        text="a b c d", usage='{"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 0, "output_tokens": 0}'
    ),
]


@agent()
async def caller(message: Text, ctx: Context) -> Text:
    """Make one call; streamed if asked to."""
    pieces: list[str] = []
    on_text = pieces.append if message.text == "stream" else None
    try:
        await ctx.llm.complete("tell me of the sea", max_output_tokens=10, on_text=on_text)
    except ProviderError as error:
        return Text(f"failed: {error}")
    return Text("answered")


class Outcome(msgspec.Struct):
    """One call: what was recorded, the thread's last word, and what the provider bills."""

    events: list[UsageEvent]
    result: ThreadResult
    billed: TokenUsage


async def one_call(kind: str, how: str, step: HTTPStep, timeout_s: float = 0.3) -> Outcome:
    """Make one call through a whole organism."""
    rates = flat_rates(input=1_000_000, output=3_000_000, source="test")
    wise = flat_rates(input=10_000_000, output=20_000_000, source="test")
    book = PriceBook({"m": rates, "wise": wise}, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    async with ScriptedHTTPProvider([step]) as server:
        adapter = (
            AnthropicProvider("p", "k", server.url)
            if kind == "messages"
            else OpenAIProvider("p", "k", f"{server.url}/v1", api=kind)  # type: ignore[arg-type]
        )
        organism = Organism(
            [caller],
            models={"main": "p/m"},
            providers={"p": adapter},
            limits=Limits(tokens=100_000, cost_nanousd=10_000_000_000),
            prices=book,
            router=RouterSettings(
                timeout_s=timeout_s,
                attempts=1,
                providers={"p": ProviderSettings(timeouts=Timeouts(call_s=timeout_s))},
            ),
        )
        events: list[UsageEvent] = []
        organism.usage.subscribe(events.append, UsageEvent)  # type: ignore[arg-type]
        with anyio.fail_after(60):
            async with organism:
                result = await organism.run(how)
    return Outcome(events, result, server.billed)


def check(outcome: Outcome) -> None:
    """One entry for the one attempt, nothing held any more, and nothing billed that is not recorded."""
    (event,) = outcome.events
    spent, billed = outcome.result.budget.spent, outcome.billed
    assert spent.tokens >= billed.total
    assert spent.cost_nanousd >= billed.input_total + 3 * billed.output_total
    assert spent.tokens == event.usage.total
    assert outcome.result.budget.held.tokens == 0
    if event.outcome == "released":
        assert billed.total == 0


USED = {
    "chat": '{"prompt_tokens": 6, "completion_tokens": 3, "total_tokens": 9}',
    "responses": '{"input_tokens": 6, "output_tokens": 3, "total_tokens": 9}',
    "messages": '{"input_tokens": 6, "output_tokens": 3}',
}
FAILURE = '"error": {"type": "server_error", "code": "server_error", "message": "it broke on it"}'


def failed_in_order(kind: str) -> str:
    """Write the event with which a stream fails that is counted to its end."""
    if kind != "responses":
        return f'data: {{{FAILURE}, "usage": {USED[kind]}}}\n\n'
    return (
        f'data: {{"type": "response.failed", "response": {{"status": "failed", {FAILURE}, "usage": {USED[kind]}}}}}\n\n'
    )


@pytest.mark.parametrize("kind", ["chat", "responses", "messages"])
@pytest.mark.parametrize("how", ["whole", "stream"])
async def test_failure_that_is_counted_is_charged_as_counted(kind: str, how: str) -> None:
    """A provider that fails and says what it has used is believed; the rest of the hold comes back."""
    body = failed_in_order(kind) if how == "stream" else f'{{{FAILURE}, "usage": {USED[kind]}}}'
    outcome = await one_call(kind, how, HTTPStep(body=body))

    (event,) = outcome.events
    assert (event.outcome, event.usage.input_total, event.usage.output_total) == ("settled", 6, 3)
    assert (outcome.result.budget.spent.tokens, outcome.result.budget.spent.cost_nanousd) == (9, 6 + 3 * 3)
    assert "it broke on it" in str(event.error), "it has failed all the same"
    assert outcome.result.outcome == "completed"
    assert "failed: provider" in str(outcome.result.text)


@pytest.mark.parametrize("kind", ["chat", "responses", "messages"])
@pytest.mark.parametrize(
    "usage", ['{"prompt_tokens": -1, "input_tokens": -1}', '{"prompt_tokens": 6, "input_tokens": 6}']
)
async def test_failure_that_is_counted_in_part_is_charged_its_hold(kind: str, usage: str) -> None:
    """What cannot be believed of a failed answer, or is left out of its count, may have been billed in full."""
    body = f'{{{FAILURE}, "usage": {usage}}}'
    outcome = await one_call(kind, "whole", HTTPStep(body=body))

    (event,) = outcome.events
    assert event.outcome in ("disputed", "estimated")
    assert event.usage.output_total == 10


@pytest.mark.parametrize(("model", "dollars_of_advice"), [("wise", 10 * 10 + 20 * 5), ("nobody knows", 10 + 3 * 5)])
async def test_advice_of_another_model_costs_what_that_model_costs(model: str, dollars_of_advice: int) -> None:
    """A dear model that is asked for advice is charged by its own price; one without a price as the answering model."""
    rounds = [{"type": "advisor_message", "model": model, "input_tokens": 10, "output_tokens": 5}]
    usage = msgspec.json.encode({"input_tokens": 6, "output_tokens": 2, "iterations": rounds}).decode()
    outcome = await one_call("messages", "whole", HTTPStep(text="a b", usage=usage))

    (event,) = outcome.events
    assert (event.outcome, event.usage.total) == ("settled", 6 + 2 + 15)
    assert outcome.result.budget.spent.cost_nanousd == 6 + 3 * 2 + dollars_of_advice


@pytest.mark.parametrize("kind", ["chat", "responses", "messages"])
@pytest.mark.parametrize("how", ["whole", "stream"])
@pytest.mark.parametrize("step", FAULTS, ids=range(len(FAULTS)))
async def test_recorded_is_at_least_billed(kind: str, how: str, step: HTTPStep) -> None:
    """No failure of a provider makes work free that it charges for."""
    check(await one_call(kind, how, step))


@pytest.mark.parametrize("kind", ["chat", "responses", "messages"])
@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_stream_that_ends_anywhere_is_charged(kind: str, fault: str) -> None:
    """A stream cut or reset after any of its pieces leaves one entry that covers the bill, and no hold."""
    call = ToolCall("c", "look", '{"at": "sea"}')
    for after in range(14):
        step = HTTPStep(text="a b c", tool_calls=(call,), fault=fault, fault_after=after)  # type: ignore[arg-type]
        check(await one_call(kind, "stream", step))


@pytest.mark.parametrize("kind", ["chat", "responses", "messages"])
@pytest.mark.parametrize("how", ["whole", "stream"])
@pytest.mark.parametrize("bad", ["-2", "NaN", "1e400", "9" * 5000, "true", '"3x"', str(2**63), "[[1]]"])
async def test_insane_usage_is_disputed_and_charged_the_hold(kind: str, how: str, bad: str) -> None:
    """A number that cannot be one reaches no arithmetic; the hold is charged and the reason is recorded."""
    read, written = ("prompt", "completion") if kind == "chat" else ("input", "output")
    usage = f'{{"{read}_tokens": {bad}, "{written}_tokens": 2}}'

    outcome = await one_call(kind, how, HTTPStep(text="a b", usage=usage), timeout_s=15)

    check(outcome)
    assert outcome.events[0].outcome == "disputed"
    assert f"{read}_tokens" in str(outcome.events[0].error)


async def test_answer_after_the_caller_gave_up_is_charged_as_billed() -> None:
    """A caller's own deadline does not hide what the provider charges: the answer is awaited quietly and settled."""
    gave_up = anyio.Event()

    @agent(timeout_s=1)
    async def hasty(message: Text, ctx: Context) -> None:
        try:
            await ctx.llm.complete("tell me of the sea", max_output_tokens=10)
        finally:
            gave_up.set()

    async with ScriptedHTTPProvider([HTTPStep(text="one two three", delay_s=1.6)]) as server:
        organism = Organism(
            [hasty],
            models={"main": "p/m"},
            providers={"p": OpenAIProvider("p", "k", f"{server.url}/v1")},
            provider_kinds={"p": "local"},
        )
        async with organism:
            thread = await organism.open_thread("go")
            with anyio.fail_after(60):
                await gave_up.wait()
            result = await organism.terminate(thread)

    assert len(server.bill) >= 1
    assert result.budget.spent.tokens == server.billed.total
