"""What a trace shows, and that it costs nothing and imports nothing until the environment asks for it."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from organism import BudgetWarning, ConfigError, Context, Limits, Organism, Text, To, agent
from organism.errors import RejectedError
from organism.telemetry.otel import otel_exporting, read_settings
from organism.testing import ScriptedAnswer, ScriptedProvider
from organism.tracing import parse_trace

pytestmark = pytest.mark.anyio

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@agent(next=["left", "right"], peers=["left", "right", "expert"])
async def planner(message: Text | BudgetWarning, ctx: Context) -> list[Text | To] | None:
    if isinstance(message, BudgetWarning):
        return None
    await ctx.ask("expert", Text("what is a tide"))
    await ctx.spawn("expert", Text("and the moon"))
    return [Text("work")]


@agent()
async def left(message: Text, ctx: Context) -> None:
    await ctx.llm.complete(message.text, max_output_tokens=20)


@agent()
async def right(message: Text, ctx: Context) -> Text:
    return message


@agent()
async def expert(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=20)).text)


@asynccontextmanager
async def traced(script: object = ("one two three",), **options: Any) -> AsyncIterator[Organism]:
    """Run an organism that sends what it does to wherever the environment says, and flush at its end."""
    organism = Organism(
        [planner, left, right, expert],
        name="tides",
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(script)},  # type: ignore[arg-type]
        provider_kinds={"scripted": "local"},
        **options,
    )
    async with otel_exporting(organism, os.environ), organism:
        yield organism


async def test_one_trace_nests_and_links_as_the_work_does(otlp: Any) -> None:
    """Thread, handlers, questions, child threads and calls are nested; a message that was passed on is a link."""
    async with traced(limits=Limits(tokens=10_000)) as organism:
        thread = await organism.open_thread("go", trace=TRACE, labels={"tenant": "a"})
        await organism.wait(thread)

    outer, child = otlp.named("invoke_workflow tides")
    (planning,) = otlp.named("invoke_agent planner")
    question, childs_run = otlp.named("invoke_agent expert")
    (lefts_run,) = otlp.named("invoke_agent left")
    calls = otlp.named("chat m")
    assert {span.trace_id for span in otlp.spans} == {TRACE[3:35]}
    assert outer.parent_id == TRACE[36:52]
    assert planning.parent_id == lefts_run.parent_id == outer.span_id
    assert question.parent_id == child.parent_id == planning.span_id
    assert childs_run.parent_id == child.span_id
    assert [call.parent_id for call in calls] == [question.span_id, childs_run.span_id, lefts_run.span_id]
    assert lefts_run.links == otlp.named("invoke_agent right")[0].links == [planning.span_id]
    assert outer.attributes["gen_ai.conversation.id"] == thread
    assert outer.attributes["organism.label.tenant"] == "a"
    assert calls[0].attributes["gen_ai.usage.output_tokens"] == 3
    assert calls[0].attributes["organism.budget.limit"] == 10_000
    assert otlp.resources[0]["service.name"] == "tides"
    assert "one two three" not in str([span.raw for span in otlp.spans])


async def test_attempts_are_events_of_their_call(otlp: Any) -> None:
    """A call that was tried again is one span with an event per attempt, each naming its usage event."""
    busy = ScriptedAnswer(error=RejectedError("scripted", "busy", again=True, retry_after_s=0))
    heard: list[str] = []
    async with traced([busy, "one two"]) as organism:
        organism.usage.subscribe(lambda event: heard.append(event.id))
        await organism.run("go", to="left")

    (call,) = otlp.named("chat m")
    assert [event["organism.budget.outcome"] for event in call.events] == ["released", "settled"]
    assert {event["organism.event.id"] for event in call.events} <= set(heard)
    assert call.attributes["gen_ai.usage.output_tokens"] == 2


async def test_refused_call_is_a_span_with_every_number(otlp: Any) -> None:
    """A call that a budget refused is in the trace, with the scope that refused it."""
    async with traced(limits=Limits(tokens=5), on_exhausted="fail") as organism:
        await organism.run("a text that does not fit", to="left")

    (call,) = otlp.named("chat main")
    assert call.attributes["organism.budget.outcome"] == "refused"
    assert call.attributes["organism.budget.remaining"] == 5
    assert call.attributes["error.type"] == "BudgetExhaustedError"


async def test_content_is_captured_only_when_asked_for(otlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts and answers are on spans when the conventions' own variable says so."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    async with traced() as organism:
        await organism.run("what are tides", to="left")

    (call,) = otlp.named("chat m")
    assert "what are tides" in call.attributes["gen_ai.input.messages"]
    assert "one two three" in call.attributes["gen_ai.output.messages"]


async def test_caller_that_is_not_sampled_is_not_traced(otlp: Any) -> None:
    """The sampling decision of whoever calls holds for everything below, and is handed on."""
    async with traced() as organism:
        await organism.wait(await organism.open_thread("go", trace=TRACE[:-2] + "00"))

    assert otlp.spans == []


async def test_new_names_come_with_the_official_opt_in(otlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans and metrics change their GenAI names together."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    async with traced() as organism:
        await organism.run("go", to="left")

    (call,) = otlp.named("chat m")
    assert "gen_ai.usage.cache_write.input_tokens" in call.attributes
    assert "gen_ai.usage.cache_creation.input_tokens" not in call.attributes
    assert otlp.total("gen_ai.client.inference.usage.output_tokens") == 3


async def test_metrics_are_those_of_prometheus(otlp: Any) -> None:
    """Counters, histograms and readings arrive over OTLP under the same names, with dots."""
    async with traced(limits=Limits(tokens=10_000)) as organism:
        await organism.run("go", to="left")
        await organism.run("go", to="left")

    assert otlp.total("organism.threads", outcome="completed") == 2
    assert otlp.total("organism.llm.tokens", agent="left", type="output") == 6
    assert otlp.total("organism.messages", agent="left") == 2
    (durations,) = otlp.metrics["gen_ai.client.operation.duration"].histogram.data_points
    assert durations.count == 2
    assert otlp.metrics["organism.mailbox.depth"].gauge.data_points


def test_command_line_sends_what_the_environment_asks_for(otlp: Any, tmp_path: Path) -> None:
    """``organism run`` needs nothing but OpenTelemetry's variables to be seen."""
    (tmp_path / "organism.yaml").write_text(
        "name: quick\nentry: writer\n"
        "llm: {providers: {fake: {type: scripted, answers: [one two]}}, models: {main: fake/any}}\n"
        "agents: {writer: {model: main}}\n"
    )
    command = [sys.executable, "-m", "organism", "run", "Write about tides", "--ephemeral"]
    environment = {**os.environ, "TRACEPARENT": TRACE}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert result.returncode == 0, result.stderr
    (thread,) = otlp.named("invoke_workflow")
    assert (thread.name, thread.parent_id) == ("invoke_workflow quick", TRACE[36:52])
    assert otlp.total("organism.threads", outcome="completed") == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("none", "none")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, ("otlp", "otlp")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "TRUE"}, ("none", "none")),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, ("otlp", "none")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_METRICS_EXPORTER": "none"}, ("otlp", "none")),
        ({"OTEL_TRACES_EXPORTER": "console"}, ("console", "none")),
    ],
)
def test_environment_decides(environment: dict[str, str], expected: tuple[str, str]) -> None:
    """OpenTelemetry's own variables switch it on and off, signal by signal."""
    settings = read_settings(environment)

    assert (settings.traces, settings.metrics) == expected


@pytest.mark.parametrize("wrong", [{"OTEL_TRACES_EXPORTER": "zipkin"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}])
def test_what_is_not_there_is_refused(wrong: dict[str, str]) -> None:
    """An exporter or protocol that does not exist is said at the start, not found missing on the day of need."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", **wrong})


def test_nothing_is_imported_when_it_is_off() -> None:
    """An organism that nobody traces does not even load the library."""
    code = (
        "import sys; from organism.telemetry.otel import start_otel\n"
        "assert start_otel(None, {}) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


async def test_thread_keeps_its_trace_in_another_process(otlp: Any) -> None:
    """What was written before a crash and what is written after it hang on the same span, which is written once."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    from organism.amounts import UNLIMITED, ZERO, BudgetState
    from organism.telemetry.conventions import Conventions
    from organism.telemetry.traces.otel_traces import TraceWriter
    from organism.usage.events import ThreadClosed

    def writer(exporter: InMemorySpanExporter) -> TraceWriter:
        return TraceWriter(
            SimpleSpanProcessor(exporter), ALWAYS_ON, Resource({}), workflow="w", conventions=Conventions()
        )

    spans = InMemorySpanExporter()
    first, second = writer(InMemorySpanExporter()), writer(spans)
    carried = first.begin(None)
    budget = BudgetState("thread:t", UNLIMITED, ZERO, ZERO)
    second.on_event(ThreadClosed(thread_id="t", outcome="completed", budget=budget, opened_ns=1, trace=carried))

    (span,) = spans.get_finished_spans()
    place = parse_trace(carried)
    assert place is not None
    assert (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}") == (place.trace_id, place.span_id)
