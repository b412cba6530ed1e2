"""Nothing that comes from outside moves the operator's terminal, forges a line or becomes markup, in any command."""

import contextlib
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest
import structlog
from rich.text import Text as Drawn

from organism import Bounds, Context, Organism, Text, agent
from organism.amounts import NS_PER_S, Amounts, BudgetState, Limits, TokenUsage
from organism.api.application import Options
from organism.api.server import ControlServer, bind, url_of
from organism.api.tokens.first_token import load_or_make_token
from organism.api.tokens.token_book import TokenBook
from organism.cli import exit_codes, output
from organism.cli.app import call
from organism.cli.budget_bars import budget_lines
from organism.cli.client import Client
from organism.cli.commands.remote.budget import print_trace
from organism.cli.commands.remote.top import Screen, fitting_threads
from organism.cli.run_view import LiveView, print_report
from organism.cli.tables import thread_table
from organism.cli.terminal import Table, Terminal, markup
from organism.control.views import ThreadSummary
from organism.daemon.state_folder import write_address
from organism.errors import ConfigError, Refusal
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
from organism.usage.run_report import build_report

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
async def state(tmp_path: Path) -> Any:
    """Serve an organism whose every text is hostile, and give the state folder in which commands find it."""
    organism = Organism(
        [head],
        models={"main": "s/m"},
        providers={"s": ScriptedProvider(["one"])},
        provider_kinds={"s": "local"},
        bounds=Bounds(attempts=1),
    )
    handlers, level = logging.root.handlers[:], logging.root.level
    set_up(LogSettings(level="error"))  # as commands do
    secret = load_or_make_token(tmp_path)
    tokens = TokenBook.open(tmp_path, organism.clock.now_ns)
    with bind("127.0.0.1", 0) as listener:
        server = ControlServer(organism.control, tokens, listener, Options())
        async with anyio.create_task_group() as tasks:
            async with organism:
                tasks.start_soon(server.serve)
                async with httpx2.AsyncClient(
                    base_url=url_of(listener), headers={"authorization": f"Bearer {secret}"}, timeout=60
                ) as api:
                    for kind in ("ask", "wait", "fail"):
                        body = {"text": f"{kind} {EVIL}", "thread_id": kind, "labels": {"tenant": EVIL[:200]}}
                        assert (await api.post("/v1/threads", json=body)).status_code == 202
                with anyio.fail_after(60):
                    while not (organism.approvals.waiting() and organism.dead_letters()):  # noqa: ASYNC110
                        await anyio.sleep(0.01)
                write_address(tmp_path, url_of(listener))
                yield tmp_path
            server.stop()
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


async def printed(capsys: pytest.CaptureFixture[str], state: Path, *command: str) -> str:
    assert await anyio.to_thread.run_sync(call, [*command, "--state", str(state)]) == 0
    return capsys.readouterr().out


@pytest.mark.anyio
async def test_no_command_prints_what_a_terminal_obeys(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels, answers, errors, and what a person is asked come out as letters, one line each or quoted."""
    for command in ("threads --all", "thread wait --content", "approvals", "dead-letters --content"):
        text = await printed(capsys, state, *command.split())
        assert all(one.isprintable() or one in "\n\t" for one in text), command
        assert "FORGED" in text, command
        assert not [
            line for line in text.splitlines() if line.lstrip().startswith("FORGED") and not line.startswith("    | ")
        ], command
    for command in ("thread fail --content", "usage --by label", "status", "agents", "budget show"):
        text = await printed(capsys, state, *command.split())
        assert all(one.isprintable() or one in "\n\t" for one in text), command


@pytest.mark.anyio
async def test_json_of_every_command_is_harmless_and_true(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON says exactly what there is, with escapes where a terminal could obey."""
    for command in ("threads --all", "thread wait --content", "approvals", "dead-letters --content"):
        text = await printed(capsys, state, *command.split(), "--json")
        assert text.rstrip("\n").isprintable()
        assert "\x1b[2J" in str(json.loads(text)).encode().decode("unicode_escape", "replace")
    text = await printed(capsys, state, "events")
    assert [json.loads(line) for line in text.splitlines()]
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.anyio
async def test_top_draws_hostile_names_as_letters(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The screen of the live view holds what is chosen, refused and named, and obeys none of it."""

    def draw() -> None:
        screen = Screen(Client.of(state), 120)
        screen._note = EVIL
        Terminal().show(*screen.parts())

    await anyio.to_thread.run_sync(draw)
    check(capsys.readouterr().out)


@pytest.mark.parametrize("width", [40, 60, 62, 64, 66, 68, 70, 80])
def test_column_that_is_never_broken_pushes_no_sum_out(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An instant holds a space; where it and the sums do not fit side by side, they stand one below the other."""
    monkeypatch.setenv("COLUMNS", str(width))
    console = Terminal()
    console._force_terminal, console.soft_wrap, console._width = True, False, width
    sums = ("$0.00675", "$0.000495", "$0.00061125", "$0.02360625")
    table = Table("from (UTC)", "columnist", "researcher", "writer", "all", title_column=True)
    table.add_row("2026-11-29 20:18", *sums)
    console.show(table)
    shown = capsys.readouterr().out
    assert (set(sums) <= set(shown.split()), "2026-11-29 20:18" in shown) == (True, True)
    assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize("width", [60, 80, 120])
def test_top_fits_and_cuts_no_id(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id in the live view can be copied, however narrow the terminal; what there is no room for is left out."""
    monkeypatch.setenv("COLUMNS", str(width))
    console = Terminal()
    console._force_terminal, console.soft_wrap, console._width = True, False, width
    name = f"th_{'9' * 20}"
    budget = BudgetState("thread:t", Limits(calls=40), Amounts(12_345, 1_234_500, 39), Amounts())
    thread = ThreadSummary(thread_id=name, root_thread_id="t", parent_thread_id=None, state="blocked", budget=budget)
    console.show(fitting_threads([thread], name, (), width))
    head, row = capsys.readouterr().out.splitlines()
    assert (row.startswith(f"> {name}"), "97 % calls" in row) == (True, True)
    assert max(len(head), len(row)) <= width


EVENTS: list[AnyEvent] = [
    AgentSaid(agent=EVIL, recipient=EVIL, text=EVIL, message_type="Text"),
    AgentStopped(agent=EVIL, reason=EVIL),
    ApprovalRequested(agent=EVIL, approval_id=EVIL, what=EVIL),
    DeadLetterEvent(message_id="m", message_type="Text", sender="s", recipient=EVIL, reason="r", detail=EVIL),
    LLMRetry(agent=EVIL, call_id="c", attempt=1, delay_s=1, provider="p", next_provider="p", reason=EVIL),
    LLMFailover(agent=EVIL, call_id="c", model="m", from_provider="p", to_provider=EVIL, reason=EVIL),
    ModelDegraded(agent=EVIL, call_id="c", model="m", to_model=EVIL, account=EVIL, dimension="tokens", threshold=80),
    ThreadBlocked(agent=EVIL, shortfall=Refusal(EVIL, "tokens", 1, 1, 1, 1)),
    BudgetExceeded(agent=EVIL, shortfall=Refusal(EVIL, "tokens", 1, 1, 1, 1), enforced=True),
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
    print_trace(Terminal(), BudgetTrace(thread_id="t", holds=(), notes=(note,), charged=Amounts(), open_held=Amounts()))
    check(capsys.readouterr().out)


def test_error_is_one_line_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """What ends a command is said in one line of letters, whoever has written its words."""
    assert exit_codes.explain(ConfigError(EVIL + " Bearer abcdefghijkl")) == exit_codes.USAGE
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 1
    assert "abcdefghijkl" not in text
    check(text)
    output.write_bug(ValueError, ValueError(EVIL), None)
    assert all(one.isprintable() or one == "\n" for one in capsys.readouterr().err)


def test_file_that_may_not_be_used_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    """One who has no right to a file is told which, in one line."""
    error = PermissionError(13, "Permission denied", "/srv/.organism/journal.db")
    assert exit_codes.explain(error) == exit_codes.USAGE
    assert capsys.readouterr().err == (
        "organism: /srv/.organism/journal.db: may not be used by this user: Permission denied\n"
    )


@pytest.mark.parametrize("columns", [0, 80, 100, 200])
def test_bars_of_budgets_fit_into_the_terminal(columns: int) -> None:
    """No line is broken that can do with less; where nothing is broken, all is said."""
    used = Amounts(tokens=127, calls=3)
    state = BudgetState(
        "organism@day:2026-11-29",
        Limits(tokens=2_000_000, calls=40),
        used,
        Amounts(),
        resets_ns=1_796_000_000 * NS_PER_S,
    )
    drawn = [Drawn.from_markup(line).plain for line in budget_lines([state], columns)]
    assert all("127 of 2,000,000 tokens" in line or "3 of 40 calls" in line for line in drawn)
    assert len(drawn) == 2
    if columns:
        assert max(map(len, drawn)) <= columns
    if columns in (0, 200):
        assert all("left, resets 2026-11-30" in line for line in drawn)


@pytest.mark.parametrize("value", ["[bold]x[/]", "[link=http://e]x[/link]", "[/]", "x\\", "[1]", ":boom:", "{0}", "%s"])
def test_value_in_a_template_is_text(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is put into a template's place is read by people as it was written."""
    Terminal().say("[bold]{}[/] and [red]{name}[/]", value, name=value)
    assert capsys.readouterr().out == f"{value} and {value}\n"
    assert str(markup("{}", markup("[bold]{}[/]", 1))) == "[bold]1[/]"


@pytest.mark.parametrize("width", [30, 46, 60, 80, 120])
def test_no_width_cuts_a_sum_or_an_id(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads a list on a narrow terminal reads each sum and each id whole, and no line is longer than it."""
    monkeypatch.setenv("COLUMNS", str(width))
    console = Terminal()
    console._force_terminal, console.soft_wrap, console._width = True, False, width
    table = thread_table("thread", "labels")
    cells = ("ask-7f3a2b9c", "blocked", "12,345", "$0.012345", "1,234", "ask-7f3a2b9c.2", "tenant=acme")
    table.add_row(*cells)
    table.add_row("research", "open", "12", "~$12,345.10", "7", "", "")
    console.show(table)
    lines = capsys.readouterr().out.splitlines()
    words = " ".join(lines).split()
    assert set(cells) | {"~$12,345.10"} <= set(words)
    assert max(map(len, lines)) <= width
    assert (len(lines) == 3) == (width >= 80)
