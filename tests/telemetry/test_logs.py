"""What gets into the log: the right lines with the right ids, and no secret whatever way it takes."""

import io
import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from organism import Context, Organism, Text, agent
from organism.llm.requests import CompletionRequest
from organism.telemetry.logs import LogSettings, RepeatLimit, room_of, set_up
from organism.testing import ScriptedProvider, run

SECRET = "p/ss wörd+of\"tests'"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


def logged(settings: LogSettings, *secrets: str) -> io.StringIO:
    stream = io.StringIO()
    set_up(settings, secrets, stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_of_an_agent_carries_the_ids_of_its_work() -> None:
    """Thread, agent, message, call and trace are on every line that anybody logs while they are worked on."""

    @agent()
    async def writer(message: Text, ctx: Context) -> Text:
        ctx.log.info("thinking")
        logging.getLogger("some.library").warning("deep inside")
        return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)

    def answer(_request: CompletionRequest) -> str:
        structlog.get_logger("organism.provider").info("asked")
        return "secret answer"

    async def main() -> str:
        organism = Organism([writer], models={"main": "s/m"}, providers={"s": ScriptedProvider(answer)})
        async with organism:
            thread = await organism.open_thread("private question", trace=TRACE)
            await organism.wait(thread)
            return thread

    stream = logged(LogSettings(format="json"))
    thread = run(main)

    thinking, inside, asked = lines(stream)
    for line in (thinking, inside, asked):
        assert (line["thread_id"], line["agent"], line["trace_id"]) == (thread, "writer", TRACE[3:35])
        assert line["message_id"].startswith("msg_")
    assert (thinking["logger"], inside["logger"]) == ("organism.agent", "some.library")
    assert asked["call_id"].startswith("call_")
    assert "call_id" not in thinking
    assert "private" not in stream.getvalue()
    assert "answer" not in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secret_is_nowhere_not_even_in_a_traceback(log_format: Any) -> None:
    """A registered secret is masked plain, escaped, encoded for a URL and in base64: in fields, errors, tracebacks."""
    stream = logged(LogSettings(format=log_format), SECRET)
    log = structlog.get_logger("organism.pump")
    basic = b64encode(f"user:{SECRET}".encode()).decode()

    def fail() -> None:
        raise ValueError(f"cannot use {SECRET}")

    log.warning("field", value=SECRET, nested={"deep": [SECRET]}, url=f"http://h/?key={quote(SECRET)}", header=basic)
    try:
        fail()
    except ValueError:
        log.exception("raised")

    text = stream.getvalue()
    assert "***" in text
    assert "Traceback" in text
    for form in (SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], quote(SECRET), basic, "wörd+of"):
        assert form not in text


def test_rooms_have_levels_of_their_own() -> None:
    """One room can be made talkative, or silent, without the others."""
    stream = logged(LogSettings(format="json", level="warning", rooms={"pump": "debug", "event": "error"}))
    for name in ("organism.pump", "organism.usage", "organism.event"):
        log = structlog.get_logger(name)
        log.debug("debug")
        log.warning("warning")

    assert [(line["logger"], line["level"]) for line in lines(stream)] == [
        ("organism.pump", "debug"),
        ("organism.pump", "warning"),
        ("organism.usage", "warning"),
    ]
    assert room_of("organism.pump.inner") == "pump"
    assert room_of("httpx2") == "libraries"


def test_storm_of_one_warning_is_cut_and_counted() -> None:
    """A warning that repeats is written so often per period; the next line says how many were left out."""
    seconds = 0.0
    limit = RepeatLimit(3, 10, lambda: seconds)
    written = []
    for number in range(100):
        try:
            written.append(limit(None, "warning", {"event": "again", "number": number}))
        except structlog.DropEvent:
            continue
    written.extend(limit(None, "info", {"event": "again"}) for _ in range(5))
    seconds = 11.0
    last = limit(None, "warning", {"event": "again"})

    assert [line["number"] for line in written[:3]] == [0, 1, 2]
    assert len(written) == 8
    assert last["left_out"] == 97


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_text_can_forge_a_line(log_format: Any) -> None:
    """Whatever an agent, a provider or a library says, it is one line, and no terminal obeys it."""
    stream = logged(LogSettings(format=log_format))
    forged = "said\n2026-01-31T12:00:00Z [error    ] forged \x1b[2J\x9b31m\r"
    structlog.get_logger("organism.agent").info(forged, error=forged, nested={forged: [forged]})
    logging.getLogger("some.library").warning("%s", forged)

    text = stream.getvalue()
    assert text.count("\n") == 2
    assert not {"\x1b", "\x9b", "\r"} & set(text)


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "forged", ["a\x1b[2J", "a\x9b2J", "a\nb", "a\rb", "a\u2028b", "a\x85b", "a\x0bb", "\u202eabc", "a\u200bb", "a\x7fb"]
)
def test_no_field_and_no_stack_can_forge_a_line(log_format: Any, forged: str) -> None:
    """Also in a field without a space, and in the names of files and errors of a traceback, text is only text."""
    stream = logged(LogSettings(format=log_format))
    log = structlog.get_logger("organism.agent")
    log.info("field", tenant=forged)
    log.info("name", **{forged: 1})
    stack = logged(LogSettings(format=log_format))
    try:
        exec(compile(f"raise type({forged!r}, (ValueError,), {{}})({forged!r})", forged.replace("\0", ""), "exec"))  # noqa: S102
    except ValueError:
        structlog.get_logger("organism.agent").exception("raised")

    for text in (stream.getvalue(), stack.getvalue()):
        assert all(one.isprintable() or one == "\n" for one in text) or log_format == "json"
        assert not {"\x1b", "\x9b", "\r", "\u2028", "\x85", "\u202e"} & set(text)
    assert len(stream.getvalue().splitlines()) == 2
    if log_format == "console":
        assert all(line.startswith(("    | ", "20")) for line in stack.getvalue().splitlines())


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_what_people_say_is_in_no_line_though_an_error_quotes_it(log_format: Any) -> None:
    """Errors are logged by their type and place: their texts, and those of their causes, may quote a message."""
    stream = logged(LogSettings(format=log_format))
    log = structlog.get_logger("organism.pump")
    said = "my diagnosis"  # lines of code are shown, and hold what they hold
    log.warning("failed", error="ValueError: cannot parse 'my diagnosis'", detail="Boom: my diagnosis")
    try:
        try:
            raise ValueError(said)
        except ValueError as error:
            raise KeyError(said) from error
    except KeyError as error:
        log.exception("raised")
        log.warning("raised", exc_info=error)
        logging.getLogger("some.library").exception("deep inside")
        logging.getLogger("asyncio").warning("Task exception was never retrieved\nfuture: <Task exception=%r>", error)

    text = stream.getvalue()
    assert "my diagnosis" not in text
    assert text.count("ValueError") >= 3
    assert text.count("KeyError") >= 3
    assert f"{__file__}" in text
