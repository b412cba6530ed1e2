"""Every command, with hostile text wherever text can come from: in names, answers, errors, and in its own arguments.

One table has all commands; a command that is in no row fails a test. What is printed, on either stream and into files,
in every form a command has, must hold no character that a terminal obeys or nobody sees.
"""

import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest
import structlog
from cyclopts import App

from organism import Bounds, Context, Limits, Organism, Text, agent
from organism.api.application import Options
from organism.api.server import ControlServer, bind, url_of
from organism.api.tokens.first_token import load_or_make_token
from organism.api.tokens.token_book import TokenBook
from organism.cli.app import call, command_tree
from organism.daemon.process import log_event
from organism.daemon.state_folder import write_address
from organism.telemetry.logs import LogFormat, LogSettings, set_up
from organism.testing import ScriptedProvider
from tests.api.conftest import NO_TLS
from tests.cli.test_terminal import EVENTS, EVIL

SHORT = EVIL[:60]
"""What fits where names may not be long; everything that a terminal obeys is in it."""


TOOL = "a\x1b[2J\x9b31m\u202eb\nFORGED 1\rFORGED 2\u2028FORGED 3"
"""Likewise, in as many bytes as what is paid for may have."""


def leaves(app: App, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield every command that can be called."""
    below = [name for name in app if not name.startswith("-")]
    for name in below:
        yield from leaves(app[name], (*path, name))
    if path and (not below or app.default_command is not None):
        yield " ".join(path)


SHOWN: dict[str, tuple[str, ...]] = {
    "threads": ("threads --all", "threads --all --json"),
    "thread": ("thread wait --content", "thread fail --content", "thread fail --content --json", "thread paid"),
    "status": ("status", "status --json"),
    "agents": ("agents", "agents --json"),
    "approvals": ("approvals", "approvals --json"),
    "dead-letters": ("dead-letters --content", "dead-letters --content --json"),
    "events": ("events", "events --thread fail"),
    "logs": ("logs",),
    "budget show": ("budget show", "budget show wait", "budget show --json"),
    "budget explain": ("budget explain paid", "budget explain paid --json"),
    "usage": (
        *(f"usage --by {by}{form}" for by in ("agent", "model", "tool", "day", "thread", "label")
          for form in ("", " --json", " --csv")),
        "usage --by label --since 1h", "usage --by tool --since 1h --csv",
    ),
    "usage series": (
        *(f"usage series --measure {measure} --by {by}{form}" for measure in ("cost", "refusals", "latency")
          for by in ("agent", "model", "key", "label:tenant") for form in ("", " --json", " --csv")),
        "usage series --since 1h --step minute", "usage series --step day --until 1h",
    ),
    "usage report": (
        "usage report", "usage report --json", "usage report --csv",
        *(f"usage report --output {{folder}}/report.{suffix}" for suffix in ("html", "md", "csv", "json")),
    ),
    "ledger verify": ("ledger verify",),
    "ledger export": ("ledger export",),
    "ledger quarantine": ("ledger quarantine",),
    "replay": ("replay paid", "replay paid --calls", "replay paid --json"),
    "prices": (),
    "prices check": (),
    "token make": (
        "token make {short} --scope send --label tenant={evil}",
        "token make plain --scope send --label tenant={evil}",
    ),
    "token list": ("token list", "token list --json"),
    "token limit": ("token limit plain --calls 3",),
    "token revoke": ("token revoke plain",),
    "exporters": ("exporters", "exporters --json"),
    "exporters retry": ("exporters retry {evil}",),
    "pause": ("pause wait",),
    "unpause": ("unpause wait",),
    "freeze": ("freeze --reason {evil}", "freeze --label tenant={evil} --reason {evil}", "freeze --json"),
    "unfreeze": ("status", "threads --all", "unfreeze --label tenant={evil}", "unfreeze"),
    "send": ("send {evil} --to {evil}", "send {evil} --label tenant={evil}"),
    "ask": ("ask fail", "ask say", "ask say --json", "ask say --to {evil}"),
    "budget raise": ("budget raise wait --calls 5", "budget raise {evil} --calls 5"),
    "budget lower": ("budget lower wait --calls 1 --yes",),
    "budget adjust": ("budget adjust paid --usd 1 --reason {evil}",),
    "mode": ("mode {evil}", "mode enforce"),
    "approvals allow": ("approvals allow {evil}",),
    "approvals deny": ("approvals deny {approval} --note {evil}",),
    "dead-letters retry": ("dead-letters retry {evil}",),
    "dead-letters discard": ("dead-letters discard {letter}",),
    "terminate": ("terminate wait --reason {evil}", "thread wait"),
    "kill": ("kill {evil}",),
    "drain": ("drain",),
    "reload": ("reload",),
    "dashboard": ("dashboard",),
}  # fmt: skip
"""What each command is called with where a daemon of hostile names runs, in this order; words are split at spaces."""

IN_A_FOLDER: dict[str, tuple[str, ...]] = {
    "check": ("check", "check --json"),
    "validate": ("validate",),
    "run": ("run {evil} --label tenant={evil}", "run {evil} --json", "run {evil} --quiet", "run {evil} --to broken"),
    "resume": ("resume",),
    "prices": ("prices", "prices --json"),
    "prices check": ("prices check",),
    "exec": ("exec --budget-usd 1 -- {evil}",),
    "models list": ("models list",),
    "init": ("init {short}",),
    "version": ("version",),
    "dashboards export": ("dashboards export {folder}/{short}",),
}
"""Likewise where no daemon runs, beside an ``organism.yaml`` that is hostile."""

ELSEWHERE = {
    "top": "test_terminal.test_top_draws_hostile_names_as_letters",
    "daemon": "what it writes is its log: below",
    "models fetch": "downloads",
    "stop": "waits for the end of a daemon, and says so in words of our own",
    "cluster status": "nodes and partitions have names that are checked",
    "cluster drain": "likewise",
    "cluster resume": "likewise",
    "cluster forget-rates": "names of providers are checked, and what is typed is shown as every answer is",
    "cluster dev": "starts daemons",
}
"""What is called here with wrong arguments only, and why."""


def test_every_command_is_in_the_table() -> None:
    """A new command has a row, or a reason to have none."""
    assert set(leaves(command_tree())) == SHOWN.keys() | IN_A_FOLDER.keys() | ELSEWHERE.keys()


def harm(text: str) -> list[str]:
    """Return the lines of a text that a terminal would obey, or that hide something."""
    return [line for line in text.split("\n") if not all(one.isprintable() or one == "\t" for one in line)]


def written(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.glob("report.*")}


def words(line: str, **known: object) -> list[str]:
    return [part.format(evil=EVIL, short=SHORT, **known) for part in line.split(" ")]


@agent()
async def head(message: Text, ctx: Context) -> Text:
    """Ask a person, pay, say, fail or wait, with hostile words."""
    match message.text:
        case "ask":
            await ctx.approval(EVIL, EVIL)
        case "wait":
            await anyio.sleep_forever()
        case "paid":
            await ctx.charge(usd="0.01", what=TOOL)
            return Text((await ctx.llm.complete(EVIL, max_output_tokens=16)).text)
        case "say":
            return Text(EVIL)
    raise ValueError(EVIL)


@asynccontextmanager
async def hostile(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Serve an organism whose every name and text is hostile; give what the table's words stand for."""
    organism = Organism(
        [head],
        name=SHORT,
        models={SHORT: f"{SHORT}/{SHORT}"},
        providers={SHORT: ScriptedProvider([EVIL])},
        provider_kinds={SHORT: "local"},
        bounds=Bounds(attempts=1, restarts=100),
        limits=Limits(calls=9),
    )
    secret = load_or_make_token(folder)
    tokens = TokenBook.open(folder, organism.clock.now_ns)
    with bind("127.0.0.1", 0) as listener:
        server = ControlServer(organism.control, tokens, listener, Options())
        async with anyio.create_task_group() as tasks:
            async with organism:
                tasks.start_soon(server.serve)
                headers = {"authorization": f"Bearer {secret}"}
                async with httpx2.AsyncClient(
                    base_url=url_of(listener), headers=headers, timeout=60, verify=NO_TLS
                ) as api:
                    for kind in ("ask", "wait", "fail", "paid"):
                        body = {"text": kind, "thread_id": kind, "labels": {"tenant": EVIL[:200]}}
                        assert (await api.post("/v1/threads", json=body)).status_code == 202
                    with anyio.fail_after(60):
                        while not (organism.approvals.waiting() and organism.dead_letters()):  # noqa: ASYNC110
                            await anyio.sleep(0.01)
                        await organism.wait("paid")
                    for event in EVENTS:
                        organism.outbox.emit(event)
                    await organism.journal.commit()
                    letters = (await api.get("/v1/dead-letters")).json()
                write_address(folder, url_of(listener))
                asked = organism.approvals.waiting()[0].id
                yield {"folder": folder, "approval": asked, "letter": letters[0]["message_id"]}
            server.stop()


@pytest.fixture
def commands_log() -> Iterator[None]:
    """Log as commands do, and put it back."""
    handlers, level = logging.root.handlers[:], logging.root.level
    set_up(LogSettings(level="error"))
    yield
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


@pytest.mark.anyio
@pytest.mark.usefixtures("commands_log")
async def test_no_command_prints_what_a_terminal_obeys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All commands that ask a daemon, in all their forms: what strangers have written comes out as letters."""
    found: dict[str, list[str]] = {}
    hostile_words = 0
    async with hostile(tmp_path) as known:
        for lines in SHOWN.values():
            for line in lines:
                if line == "ledger export":  # into a pipe it goes letter by letter: its hashes are known
                    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
                await anyio.to_thread.run_sync(call, [*words(line, **known), "--state", str(tmp_path)])
                monkeypatch.undo()
                out, err = capsys.readouterr()
                assert "Traceback" not in err, (line, err)
                found[line] = harm(out) + harm(err)
                hostile_words += "FORGED" in out + err
                if "--json" in line and out:
                    json.loads(out)
    reports = written(tmp_path)
    assert reports.keys() == {"report.html", "report.md", "report.csv", "report.json"}
    found |= {name: harm(text) for name, text in reports.items()}
    assert all("FORGED" in text for text in reports.values())
    assert {line: lines for line, lines in found.items() if lines} == {}
    assert hostile_words > 50


YAML = """\
name: {evil}
entry: writer
python_path: [.]
prices: {{"fake/any": {{input: 1, output: 2}}}}
llm:
  providers:
    fake: {{type: scripted, answers: [{evil}]}}
  models:
    {evil}: fake/any
agents:
  writer: {{model: {evil}, description: {evil}, system: {evil}}}
  broken: {{handler: "hostile_handler:fail", description: {evil}}}
"""
HANDLER = """\
from organism import Context, Text

async def fail(message: Text, ctx: Context) -> Text:
    ctx.log.error(message.text, value=message.text)
    raise ValueError(message.text)
"""


@pytest.mark.usefixtures("commands_log")
def test_no_command_without_a_daemon_prints_what_a_terminal_obeys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where a file of strangers is checked and run: its names, its answers, its errors, and our arguments."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "organism.yaml").write_text(YAML.format(evil=json.dumps(SHORT)))
    (tmp_path / "hostile_handler.py").write_text(HANDLER)
    found = {}
    hostile_words = 0
    for lines in IN_A_FOLDER.values():
        for line in lines:
            call(words(line, folder=tmp_path))
            out, err = capsys.readouterr()
            assert "Traceback" not in err, (line, err)
            found[line] = harm(out) + harm(err)
            hostile_words += "FORGED" in out + err
    assert {line: lines for line, lines in found.items() if lines} == {}
    assert hostile_words >= 10


@pytest.mark.usefixtures("commands_log")
@pytest.mark.parametrize("command", sorted(leaves(command_tree())))
def test_wrong_arguments_are_repeated_as_letters(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that is called with what it does not take says so, and what it repeats is harmless."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(EVIL))
    for wrong in ([EVIL, EVIL, EVIL, f"--{EVIL}"], [f"--bogus-{SHORT}", EVIL], ["--state", EVIL], ["--file", EVIL]):
        if command.startswith("init") and wrong[0] in ("--state", "--file"):
            continue
        arguments = [*command.split(), *wrong]
        if command in ("daemon", "cluster dev", "models fetch", "top"):
            arguments.append(f"--bogus-{SHORT}")  # so that it comes to nothing
        code = call(arguments)
        out, err = capsys.readouterr()
        assert harm(out) + harm(err) == [], wrong
        assert "Traceback" not in err
        assert code != 0 or not err or command in ("version", "init", "dashboards export", "models list")


@pytest.mark.usefixtures("commands_log")
@pytest.mark.parametrize("log_format", ["console", "json"])
def test_log_of_every_event_is_a_line_of_letters(log_format: LogFormat) -> None:
    """What the daemon logs of an event that is hostile in all of its fields is one harmless line."""
    stream = io.StringIO()
    set_up(LogSettings(format=log_format), stream=stream)
    for event in EVENTS:
        log_event(event)
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(EVENTS)
    assert harm(stream.getvalue()) == []
    assert sum("FORGED" in line for line in lines) >= len(EVENTS) - 1  # what a dead letter says is not logged
