"""Nothing that comes from outside moves the operator's terminal, forges a line or becomes markup, in any command."""

import contextlib
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest
import structlog

from organism import Bounds, Context, Organism, Text, agent
from organism.amounts import Amounts, BudgetState, Limits, TokenUsage
from organism.api.application import Options
from organism.api.server import ControlServer, bind, url_of
from organism.api.tokens import TokenBook
from organism.cli import answering, asking, exits, operating, output
from organism.cli.client import Client
from organism.cli.ledger import print_story
from organism.cli.live import LiveView
from organism.cli.summary import print_report
from organism.cli.terminal import Terminal, markup
from organism.cli.top import Screen
from organism.errors import ConfigError, Shortfall
from organism.ledger.explain import BudgetTrace, Note
from organism.telemetry.logs import LogSettings, set_up
from organism.testing import ScriptedProvider
from organism.usage.events import (
    AgentSaid,
    AgentStopped,
    AnyEvent,
    ApprovalRequested,
    BudgetExceeded,
    DeadLetterEvent,
    LLMFailover,
    LLMRetry,
    ModelDegraded,
    ThreadBlocked,
    ThresholdCrossed,
    UsageEvent,
)
from organism.usage.report import build_report

TOKEN = "a-token-of-the-tests-of-the-terminal"
EVIL = (
    "a\x1b[2J\x1b]52;c;cm0=\x07\x9b31m\u202eb\u2066c\u200bd\x7f\n"
    "FORGED 1\r\nFORGED 2\rFORGED 3\u2028FORGED 4\x85FORGED 5\x0bFORGED 6\x0cFORGED 7\u2029FORGED 8 "
    "[bold red]x[/] [link=http://evil]y[/link] [/] \\ :boom: [1] \\[blink]"
)


def check(text: str, *, keeps: str = "[bold red]x[/]") -> None:
    """See that text which was printed is harmless, and that what looks like markup is there to read."""
    assert all(one.isprintable() or one in "\n\t" for one in text), repr(text)
    assert not [line for line in text.splitlines() if line.strip(" |\t").startswith("FORGED") and "    | " not in line]
    assert "FORGED" in text
    assert keeps in text


@agent()
async def head(message: Text, ctx: Context) -> Text:
    """Ask a person, fail or wait, with what it was sent."""
    kind, _, said = message.text.partition(" ")
    if kind == "ask":
        await ctx.approval(said, said)
    if kind == "wait":
        await anyio.sleep_forever()
    raise ValueError(said)


@pytest.fixture
async def client(tmp_path: Path) -> Any:
    """Serve an organism whose every text is hostile, and give a client of it as commands use."""
    organism = Organism(
        [head],
        models={"main": "s/m"},
        providers={"s": ScriptedProvider(["one"])},
        provider_kinds={"s": "local"},
        bounds=Bounds(attempts=1),
    )
    handlers, level = logging.root.handlers[:], logging.root.level
    set_up(LogSettings(level="error"))  # as commands do
    tokens = TokenBook(organism.clock.now_ns)
    tokens.know("owner", TOKEN, ("admin",))
    with bind("127.0.0.1", 0) as listener:
        server = ControlServer(organism.control, tokens, listener, Options())
        async with anyio.create_task_group() as tasks:
            async with organism:
                tasks.start_soon(server.serve)
                async with httpx2.AsyncClient(
                    base_url=url_of(listener), headers={"authorization": f"Bearer {TOKEN}"}
                ) as api:
                    for kind in ("ask", "wait", "fail"):
                        body = {"text": f"{kind} {EVIL}", "thread_id": kind, "labels": {"tenant": EVIL[:200]}}
                        assert (await api.post("/v1/threads", json=body)).status_code == 202
                with anyio.fail_after(10):
                    while not (organism.approvals.waiting() and organism.dead_letters()):  # noqa: ASYNC110
                        await anyio.sleep(0.01)
                yield Client(url_of(listener), TOKEN, tmp_path)
            server.stop()
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


Command = Callable[[Client], int]
COMMANDS: dict[str, Command] = {
    "threads": lambda client: operating.list_threads(client, ended=True, label=None, as_json=False),
    "thread": lambda client: operating.show_thread(client, "wait", content=True, as_json=False),
    "thread that ended": lambda client: operating.show_thread(client, "fail", content=True, as_json=False),
    "usage by label": lambda client: operating.show_usage(client, "label", "table"),
    "approvals": lambda client: answering.list_approvals(client, as_json=False),
    "dead letters": lambda client: answering.list_letters(client, content=True, as_json=False),
}


async def printed(capsys: pytest.CaptureFixture[str], command: Command, client: Client) -> str:
    await anyio.to_thread.run_sync(command, client)
    return capsys.readouterr().out


@pytest.mark.anyio
async def test_no_command_prints_what_a_terminal_obeys(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels, answers, errors, and what a person is asked come out as letters, one line each or quoted."""
    for name in ("threads", "thread", "approvals", "dead letters"):
        text = await printed(capsys, COMMANDS[name], client)
        assert all(one.isprintable() or one in "\n\t" for one in text), name
        assert "FORGED" in text, name
        assert not [
            line for line in text.splitlines() if line.lstrip().startswith("FORGED") and not line.startswith("    | ")
        ], name
    for name in ("thread that ended", "usage by label"):
        text = await printed(capsys, COMMANDS[name], client)
        assert all(one.isprintable() or one in "\n\t" for one in text), name


@pytest.mark.anyio
async def test_json_of_every_command_is_harmless_and_true(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON says exactly what there is, with escapes where a terminal could obey."""
    commands: list[Command] = [
        lambda client: operating.list_threads(client, ended=True, label=None, as_json=True),
        lambda client: operating.show_thread(client, "wait", content=True, as_json=True),
        lambda client: answering.list_approvals(client, as_json=True),
        lambda client: answering.list_letters(client, content=True, as_json=True),
    ]
    for command in commands:
        text = await printed(capsys, command, client)
        assert text.rstrip("\n").isprintable()
        assert "\x1b[2J" in str(json.loads(text)).encode().decode("unicode_escape", "replace")
    wanted = asking.Wanted(thread=None, types=(), after=None, content=True, envelope=False)
    text = await printed(capsys, lambda client: asking.print_events(client, wanted), client)
    assert [json.loads(line) for line in text.splitlines()]
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.anyio
async def test_top_draws_hostile_names_as_letters(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """The screen of the live view holds what is chosen, refused and named, and obeys none of it."""

    def draw(client: Client) -> int:
        screen = Screen(client, 120)
        screen._note = EVIL
        Terminal().show(*screen.parts())
        return exits.OK

    check(await printed(capsys, draw, client))


EVENTS: list[AnyEvent] = [
    AgentSaid(agent=EVIL, recipient=EVIL, text=EVIL, message_type="Text"),
    AgentStopped(agent=EVIL, reason=EVIL),
    ApprovalRequested(agent=EVIL, approval_id=EVIL, what=EVIL),
    DeadLetterEvent(message_id="m", message_type="Text", sender="s", recipient=EVIL, reason="r", detail=EVIL),
    LLMRetry(agent=EVIL, call_id="c", attempt=1, delay_s=1, provider="p", next_provider="p", reason=EVIL),
    LLMFailover(agent=EVIL, call_id="c", model="m", from_provider="p", to_provider=EVIL, reason=EVIL),
    ModelDegraded(agent=EVIL, call_id="c", model="m", to_model=EVIL, account=EVIL, dimension="tokens", threshold=80),
    ThreadBlocked(agent=EVIL, shortfall=Shortfall(EVIL, "tokens", 1, 1, 1, 1)),
    BudgetExceeded(agent=EVIL, shortfall=Shortfall(EVIL, "tokens", 1, 1, 1, 1), enforced=True),
    ThresholdCrossed(agent=EVIL, account=EVIL, dimension="tokens", threshold=80, level="warning", limit=10, spent=8),
    UsageEvent(
        agent=EVIL,
        call_id="c",
        attempt=1,
        provider="p",
        model="m",
        request_model="m",
        response_model=None,
        usage=TokenUsage(),
        cost_nanousd=0,
        price_source=None,
        latency_ns=0,
        outcome="released",
        error=EVIL,
    ),
]


@contextlib.contextmanager
def captured() -> Iterator[io.StringIO]:
    before, sys.stdout = sys.stdout, io.StringIO()
    try:
        yield sys.stdout
    finally:
        sys.stdout = before


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("in_terminal", [False, True])
def test_line_of_a_live_run_is_a_line(event: AnyEvent, in_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of event that a run shows comes out as one line of letters, in a pipe and in a terminal."""
    monkeypatch.setenv("COLUMNS", "4000")
    with captured() as out:
        console = Terminal()
        console._force_terminal = in_terminal
        view = LiveView(console, quiet=False)
        view.on_event(event)
        view.progress(EVIL)
        view.on_text("t", EVIL, EVIL)
        for part in view._parts():
            console.show(part)
    lines = out.getvalue().replace("\x1b[0m", "")
    for style in ("1", "2", "31", "33", "36", "1;31", "1;33", "1;36"):
        lines = lines.replace(f"\x1b[{style}m", "")
    assert len(lines.splitlines()) == 3
    check(lines)


def test_report_and_story_of_hostile_names_are_letters(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed at the end of a run, and what explains a budget, is as harmless."""
    state = BudgetState(EVIL, Limits(tokens=10), Amounts(tokens=5), Amounts())
    report = build_report(EVENTS, "t", (state,))
    print_report(Terminal(), report, 1000)
    check(capsys.readouterr().out)
    note = Note(seq=1, time_ns=0, account=EVIL, text=EVIL)
    print_story(Terminal(), BudgetTrace(thread_id="t", holds=(), notes=(note,), charged=Amounts(), open_held=Amounts()))
    check(capsys.readouterr().out)


def test_error_is_one_line_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """What ends a command is said in one line of letters, whoever has written its words."""
    assert exits.explain(ConfigError(EVIL + " Bearer abcdefghijkl")) == exits.USAGE
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 1
    assert "abcdefghijkl" not in text
    check(text)
    output.write_bug(ValueError, ValueError(EVIL), None)
    assert all(one.isprintable() or one == "\n" for one in capsys.readouterr().err)


@pytest.mark.parametrize("value", ["[bold]x[/]", "[link=http://e]x[/link]", "[/]", "x\\", "[1]", ":boom:", "{0}", "%s"])
def test_value_in_a_template_is_text(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is put into a template's place is read by people as it was written."""
    Terminal().say("[bold]{}[/] and [red]{name}[/]", value, name=value)
    assert capsys.readouterr().out == f"{value} and {value}\n"
    assert str(markup("{}", markup("[bold]{}[/]", 1))) == "[bold]1[/]"
