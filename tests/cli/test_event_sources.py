"""A report finds what is recorded wherever it is: in a journal, in a file of events, in envelopes."""

import json
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from organism import ConfigError, Context, Limits, Organism, Text, agent
from organism.cli import exit_codes
from organism.cli.app import call
from organism.cli.client import path_to
from organism.cli.event_sources import recorded_events
from organism.daemon.journal_file import JOURNAL_FILE
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider
from organism.testing.postgres_server import PostgresServer
from organism.usage.event_log import Store
from organism.usage.events import AnyEvent

AGENT = """
name: house
entry: writer
llm: {providers: {local: {type: local}}, models: {small: local/smollm2-135m}}
agents: {writer: {model: small, system: Write.}}
"""


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


async def work(journal: Store) -> None:
    """Make three calls."""
    organism = Organism(
        [writer],
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(["one two three"])},
        provider_kinds={"scripted": "local"},
        journal=journal,
    )
    async with organism:
        for _ in range(3):
            await organism.run("write about tides")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The folder of an organism that has worked and ended."""
    anyio.run(work, SqliteJournal(tmp_path / JOURNAL_FILE))
    return tmp_path


def test_journal_lines_and_envelopes_tell_the_same(state: Path) -> None:
    """The same report comes of a state folder, of its journal, of events as lines and of CloudEvents."""
    kept: list[AnyEvent] = list(recorded_events(None, state))
    lines, envelopes = state / "lines", state / "envelopes"
    lines.write_bytes(b"\n".join(msgspec.json.encode(event) for event in kept))
    envelopes.write_bytes(b"\n".join(msgspec.json.encode({"specversion": "1.0", "data": event}) for event in kept))

    pages = []
    for source in (state / JOURNAL_FILE, lines, envelopes):
        assert call(["usage", "report", str(source), "--output", str(state / "report.md")]) == 0
        pages.append((state / "report.md").read_text())
    assert "**3** model calls" in pages[0]
    assert pages[0] == pages[1] == pages[2]


@pytest.mark.parametrize(
    "options", [{}, {"time-zone": "Europe/Berlin"}, {"since": "2020-01-01"}, {"thread": "t"}, {"bill": "bill.csv"}]
)
def test_report_as_json_is_json(
    state: Path, options: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every form of a report can be read by a program, its time zone by name."""
    monkeypatch.chdir(state)
    (state / "bill.csv").write_text("date,model,cost\n2026-11-10,m,1\n")
    given = [f"--{name}={value}" for name, value in options.items()]

    assert call(["usage", "report", "--state", str(state), "--json", *given]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["report"]["period"]["time_zone"] == options.get("time-zone", "UTC")
    assert (told["drift"] is not None) == ("bill" in options)


def test_nothing_recorded_is_said(tmp_path: Path) -> None:
    """A folder without a journal, a missing file and a file of something else are told apart."""
    (tmp_path / "other").write_text("other\n")
    for source, complaint in (
        (None, "nothing is recorded here"),
        (tmp_path / "missing", "cannot be read"),
        (tmp_path / "other", "not an event"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            list(recorded_events(source, tmp_path))


@pytest.mark.debian
def test_a_journal_in_a_database_is_reported(
    tmp_path: Path, postgres: PostgresServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no daemon runs, a report is made of the database that organism.yaml names."""
    from organism.stores.postgres.postgres_journal import PostgresJournal

    url = postgres.database()
    anyio.run(work, PostgresJournal(url))
    monkeypatch.setenv("DATABASE_URL", url)
    (tmp_path / "organism.yaml").write_text("store: postgres\n" + AGENT)

    assert call(["usage", "report", "--file", str(tmp_path / "organism.yaml")]) == 0

    assert "**3** model calls" in capsys.readouterr().out


BROKEN = AGENT.replace("entry: writer", "entry: nobody")


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("store: postgres\n" + BROKEN, "nobody"),
        ('store: "${env:NOT_SET}"\n' + AGENT, "NOT_SET"),
        ("store: postgres\n" + AGENT, "which database"),
        (BROKEN, "nothing is recorded here"),
        ("store: sqlite\n" + BROKEN, "nothing is recorded here"),
    ],
    ids=["wrong elsewhere", "no such variable", "no database", "a file's", "said to be a file's"],
)
def test_a_wrong_configuration_hides_no_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, file: str, complaint: str
) -> None:
    """Where the journal is in a database, a mistake in the file is told, and no file is looked for instead."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    (tmp_path / "organism.yaml").write_text(file)

    assert call(["usage", "report", "--file", str(tmp_path / "organism.yaml")]) != 0

    assert complaint in capsys.readouterr().err


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> object:
    """Run a command and return the JSON it prints."""
    capsys.readouterr()
    assert call([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_state_folder_answers_when_no_daemon_runs(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Threads, status, usage and budgets are read from the journal, whose sums are those of its events."""
    folder = ("--state", str(state))
    usage: Any = told(capsys, "usage", *folder)
    assert usage["total"]["calls"] == usage["groups"]["writer"]["calls"] == 3
    by_day: Any = told(capsys, "usage", "--by", "day", *folder)
    assert sum(day["calls"] for day in by_day["groups"].values()) == 3
    assert told(capsys, "threads", *folder) == []
    ended: Any = told(capsys, "threads", "--all", *folder)
    assert [thread["state"] for thread in ended] == ["completed"] * 3
    assert sum(thread["budget"]["spent"]["calls"] for thread in ended) == 3
    status: Any = told(capsys, "status", *folder)
    assert not status["running"]
    assert status["usage"]["calls"] == 3
    last: Any = told(capsys, "usage", "--by", "day", "--since", "1d", *folder)
    assert (last["total"], last["groups"]) == (by_day["total"], by_day["groups"])
    earlier: Any = told(capsys, "usage", "--until", "1d", *folder)
    assert (earlier["total"]["calls"], earlier["groups"]) == (0, {})
    assert call(["usage", "--since", "1d", "--until", "2d", *folder]) == exit_codes.USAGE
    assert "--since: it must be before --until" in capsys.readouterr().err
    assert isinstance(told(capsys, "budget", "show", *folder), list)


def test_thread_that_waits_is_told_without_a_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a thread waits for and what it has spent stand in the list, and its budget is shown by its id."""

    async def wait() -> None:
        organism = Organism(
            [writer],
            models={"main": "scripted/m"},
            providers={"scripted": ScriptedProvider(["one"])},
            provider_kinds={"scripted": "local"},
            journal=SqliteJournal(tmp_path / JOURNAL_FILE),
            limits=Limits(calls=0),
        )
        async with organism:
            await organism.control.open_thread(Text("go"), thread_id="poor", labels={"tenant": "a"})
            await organism.pump.wait_rest("poor")

    anyio.run(wait)
    folder = ("--state", str(tmp_path))
    threads: Any = told(capsys, "threads", "--label", "tenant=a", *folder)
    assert [(thread["thread_id"], thread["state"]) for thread in threads] == [("poor", "blocked")]
    assert threads[0]["blocked_by"]["dimension"] == "calls"
    assert told(capsys, "threads", "--label", "tenant=b", *folder) == []
    budget: Any = told(capsys, "budget", "show", "poor", *folder)
    assert (budget["account"], budget["limits"]["calls"]) == ("thread:poor", 0)
    assert call(["status", *folder]) == 0
    assert "poor" in capsys.readouterr().out
    assert call(["budget", "show", "nobody", *folder]) == exit_codes.USAGE


@pytest.mark.parametrize("command", [["threads"], ["status"], ["usage"], ["budget", "show"]])
def test_folder_in_which_nothing_happened_is_an_error(command: list[str], tmp_path: Path) -> None:
    """Without a daemon and without a journal there is nothing to tell, and the command says so by its code."""
    assert call([*command, "--state", str(tmp_path)]) == 4


def test_line_of_a_file_ends_at_a_line_feed_alone(tmp_path: Path) -> None:
    """What text takes for a break may stand in a label: JSON does not escape it, and the event is read whole."""
    event = {
        "type": "ThreadOpened",
        "id": "1",
        "thread_id": "t",
        "entry": "a",
        "labels": {"tenant": "a\u2028b\x85c\x0bd"},
    }
    (tmp_path / "events").write_text(f"{json.dumps(event, ensure_ascii=False)}\n" * 2)
    found = list(recorded_events(tmp_path / "events", tmp_path))
    assert len(found) == 2


@pytest.mark.parametrize("name", ["a/b", "../threads", "a?b=1", "a#b", "a b", "\x1b[2J", "\udcff", "é"])
def test_name_in_a_path_leads_nowhere_else(name: str) -> None:
    """Whatever an operator types as a name is one part of the path, so that no order goes to another route."""
    path = path_to("dead-letters", name, "retry")
    assert path.isascii()
    assert path.isprintable()
    assert path.count("/") == 4
    assert not set("?# ") & set(path)
