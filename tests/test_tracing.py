"""Trace contexts are read as the standard says, and travel with the work."""

import pytest

from organism import Context, Organism, Text, agent
from organism.providers.openai import OpenAIProvider
from organism.testing import ScriptedHTTPProvider, run
from organism.tracing import current_work, parse_trace
from organism.usage.events import ThreadClosed, UsageEvent

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (TRACE, True),
        (TRACE.replace("-01", "-00"), True),
        ("cc" + TRACE[2:] + "-what-comes-next", True),
        (TRACE + "-more", False),
        ("ff" + TRACE[2:], False),
        (TRACE.upper(), False),
        ("00-" + "0" * 32 + TRACE[35:], False),
        (TRACE[:36] + "0" * 16 + "-01", False),
        (TRACE + " ", False),
        ("", False),
        (None, False),
        ("x" * 100_000, False),
    ],
)
def test_traceparent_is_read_as_the_standard_says(text: str | None, is_one: bool) -> None:
    """What W3C Trace Context calls valid is taken, anything else is ignored and harms nobody."""
    found = parse_trace(text)

    assert (found is not None) == is_one
    if found is not None:
        assert found.sampled == (text is not None and not text.endswith("-00"))


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Answer with one call, and say what is being worked on."""
    work = current_work()
    assert work is not None
    assert (work.thread_id, work.agent, work.message_id) == (ctx.thread_id, "writer", ctx.envelope.id)
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


@pytest.mark.anyio
async def test_incoming_trace_reaches_events_and_the_provider() -> None:
    """A caller's trace is on the usage event and on the HTTP request, without any tracing library."""
    async with ScriptedHTTPProvider(["fine"]) as server:
        provider = OpenAIProvider("scripted", "key", server.url)
        organism = Organism([writer], models={"main": "scripted/m"}, providers={"scripted": provider})
        heard: list[object] = []
        organism.usage.subscribe(heard.append)
        async with organism:
            result = await organism.wait(await organism.open_thread("go", trace=TRACE))
    assert result.outcome == "completed", result.reason
    assert server.requests[0].headers["traceparent"] == TRACE
    assert [event.trace_id for event in heard if isinstance(event, UsageEvent)] == [TRACE[3:35]]
    assert [event.parent_trace for event in heard if isinstance(event, ThreadClosed)] == [TRACE]
    assert current_work() is None


@pytest.mark.anyio
async def test_without_a_trace_nothing_is_sent() -> None:
    """Nobody's requests carry a header that nobody asked for, and a malformed trace is no error."""
    async with ScriptedHTTPProvider(["fine"]) as server:
        provider = OpenAIProvider("scripted", "key", server.url)
        organism = Organism([writer], models={"main": "scripted/m"}, providers={"scripted": provider})
        async with organism:
            await organism.wait(await organism.open_thread("go", trace="nonsense"))
    assert "traceparent" not in server.requests[0].headers


def test_work_is_over_when_its_message_is() -> None:
    """What the runtime does between messages, such as closing a thread, is not said to be any agent's work."""
    seen: dict[str, object] = {}

    @agent(next="second")
    async def first(message: Text, ctx: Context) -> Text:
        return message

    @agent()
    async def second(message: Text, ctx: Context) -> Text:
        seen["handling"] = current_work()
        return message

    async def main() -> None:
        organism = Organism([first, second])
        organism.usage.subscribe(lambda _event: seen.update(closing=current_work()), ThreadClosed)
        async with organism:
            await organism.run("go")

    run(main)
    assert getattr(seen["handling"], "agent", None) == "second"
    assert seen["closing"] is None
