"""Operating a running daemon from the command line, as an operator would: real processes on a real journal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.commands import daemon, until_said
from tests.cli.commands import organism as command_line

ORGANISM = """\
name: desk
entry: clerk
python_path: [.]
limits: {thread: {calls: 2}, day: {usd: 5}}
prices: {"fake/any": {input: 1, output: 2}}
llm:
  providers:
    fake: {type: scripted, answers: ["one two three"]}
  models:
    main: fake/any
agents:
  clerk: {handler: "desk:clerk"}
"""
CLERK = """\
import anyio
from organism import Context, Text

async def clerk(message: Text, ctx: Context) -> Text:
    if message.text == "bad":
        raise ValueError("no good")
    answer = await ctx.llm.complete(message.text, max_output_tokens=16)
    if message.text == "wait":
        await anyio.sleep_forever()
    if message.text == "greedy":
        for _ in range(3):
            await ctx.llm.complete("more", max_output_tokens=16)
    return Text(answer.text)
"""

Organism = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def organism(tmp_path: Path) -> Iterator[Organism]:
    """Run a daemon, and hand out a way to run commands beside it."""
    (tmp_path / "organism.yaml").write_text(ORGANISM)
    (tmp_path / "desk.py").write_text(CLERK)
    with daemon(tmp_path) as process:

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            return command_line(tmp_path, *arguments, COLUMNS="160")

        run.folder = tmp_path  # type: ignore[attr-defined]
        run.process = process  # type: ignore[attr-defined]
        yield run


def until(organism: Organism, phrase: str, *arguments: str) -> str:
    """Run a command until it says something: what it tells of happens in another process."""
    return until_said(phrase, lambda: organism(*arguments).stdout)


def test_ledger_of_a_running_daemon_is_verified_and_exported(organism: Organism) -> None:
    """An auditor needs no stop of the daemon: the same commands read the ledger through it, hashes included."""
    organism("ask", "hello")

    assert "entries are right" in organism("ledger", "verify").stdout
    exported = [json.loads(line)["seq"] for line in organism("ledger", "export").stdout.splitlines()]
    assert exported == list(range(1, len(exported) + 1))
    assert len(exported) > 3


def test_day_of_an_operator(organism: Organism) -> None:
    """Ask, look, raise, pause, end, clean up, stop: every step says what it did, and exits as documented."""
    asked = organism("ask", "hello")
    assert (asked.returncode, asked.stdout) == (0, "one two three\n")
    greedy = organism("ask", "greedy", "--json")
    assert greedy.returncode == 3
    blocked = json.loads(organism("threads", "--json").stdout)[0]["thread_id"]
    assert "blocked" in organism("threads").stdout.splitlines()[1].split(), "and no marks of colour beside it"
    shown = organism("thread", blocked).stdout
    assert [word for word in ("blocked", "waits for budget", "user -> clerk") if word not in shown] == []
    assert "calls" in organism("budget", "show", blocked).stdout
    assert "refused a call" in organism("budget", "explain", blocked).stdout
    nothing = organism("budget", "lower", blocked, "--calls", "1000")
    assert (nothing.returncode, "to nothing, so that it refuses every call; say --yes" in nothing.stderr) == (2, True)
    assert organism("budget", "lower", blocked, "--calls", "1").returncode == 0
    raised = json.loads(organism("budget", "raise", blocked, "--calls", "5", "--json").stdout)
    assert raised["limits"]["calls"] == 6
    until(organism, "completed", "threads", "--all")

    waiting = organism("send", "wait").stdout.strip()
    assert waiting in organism("pause", waiting).stdout
    assert "paused" in organism("thread", waiting).stdout
    assert organism("unpause", waiting).returncode == 0
    assert "ended" in organism("terminate", waiting, "--reason", "enough").stdout
    assert "enough" in organism("thread", waiting).stdout

    organism("ask", "bad")
    letters = json.loads(organism("dead-letters", "--json").stdout)
    assert {letter["reason"] for letter in letters} == {"handler_failed", "thread_terminated"}
    for letter in letters:
        assert organism("dead-letters", "discard", letter["message_id"]).stdout == "discarded\n"
    assert organism("dead-letters").stdout == "no dead letters\n"

    status = organism("status").stdout
    assert ("desk mode enforce" in status, "day usd" in status, "warn at 75 and" in status) == (True, True, True)
    assert organism("mode", "audit").stdout == "mode audit\n"
    assert "clerk" in organism("agents").stdout
    assert organism("usage", "--by", "model", "--csv").stdout.startswith("model,calls,input")
    assert json.loads(organism("usage", "--by", "day", "--json").stdout)["by"] == "day"
    assert "all" in organism("usage").stdout
    assert len(organism("token", "make", "ci", "--scope", "send").stdout.strip()) >= 40
    limited = organism("token", "limit", "ci", "--calls", "9").stdout
    assert limited.partition("\n")[0] in organism("token", "list").stdout.splitlines()
    assert organism("token", "revoke", "ci").returncode == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#session=\S+\n", organism("dashboard").stdout)

    events = [json.loads(line) for line in organism("events", "--type", "OperatorAction").stdout.splitlines()]
    assert {"budget.limits", "thread.pause", "thread.terminate", "mode"} <= {event["action"] for event in events}
    after = events[-1]["id"]
    assert organism("events", "--after", after, "--type", "UsageEvent").stdout == ""
    assert json.loads(organism("events", "--envelope").stdout.splitlines()[0])["specversion"] == "1.0"

    assert organism("stop").stdout == "stopped\n"
    assert organism.process.wait(timeout=60) == 0  # type: ignore[attr-defined]
    assert organism("status").stdout.startswith("no daemon runs; ")
    assert re.search(r"day usd .* left, resets \d{4}-\d\d-\d\d 00:00 UTC", organism("budget", "show").stdout)
    assert organism("agents").returncode == 4


def test_usage_over_time_is_the_same_without_the_daemon(organism: Organism) -> None:
    """What a running daemon answers is in the journal it leaves behind: each step, with its sums."""
    organism("ask", "hello")
    command = ("usage", "series", "--measure", "calls", "--step", "minute", "--json")
    running = json.loads(organism(*command).stdout)["series"]
    assert [(line["name"], sum(line["values"])) for line in running] == [("clerk", 1)]
    assert organism("usage", "series", "--csv").stdout.startswith("start,clerk\n")
    assert organism("stop").stdout == "stopped\n"
    kept = json.loads(organism(*command).stdout)["series"]
    assert [(line["name"], sum(line["values"])) for line in kept] == [("clerk", 1)]
    assert organism("usage", "series", "--by", "tool").returncode == 2


def test_configuration_is_read_again_as_a_whole_or_not_at_all(organism: Organism) -> None:
    """New limits and modes are in force at once; a mistake, or what needs a restart, changes nothing and is named."""
    file: Path = organism.folder / "organism.yaml"  # type: ignore[attr-defined]
    organism("ask", "hello")

    assert organism("reload").stdout == "nothing has changed\n"
    file.write_text(ORGANISM.replace("usd: 5", "usd: 7") + "mode: audit\n")
    assert organism("reload").stdout == "mode changed\nlimits changed\n"
    (day,) = json.loads(organism("status", "--json").stdout)["windows"]
    assert day["limits"]["cost_nanousd"] == 7_000_000_000
    assert day["spent"]["calls"] == 1

    for mistake, phrase in (
        ("mode: loud\n", "organism.yaml:"),
        ("journal: {events_days: 3}\n", "cannot change journal"),
    ):
        file.write_text(ORGANISM.replace("usd: 5", "usd: 9") + mistake)
        refused = organism("reload")
        assert (refused.returncode, phrase in refused.stderr) == (2, True), refused.stderr
    status = json.loads(organism("status", "--json").stdout)
    assert (status["mode"], status["windows"][0]["limits"]["cost_nanousd"]) == ("audit", 7_000_000_000)

    file.write_text(ORGANISM)
    organism.process.send_signal(signal.SIGHUP)  # type: ignore[attr-defined]
    until(organism, "mode enforce", "status")


@pytest.mark.parametrize(
    "arguments",
    [
        ("thread", "nope"),
        ("terminate", "nope"),
        ("budget", "raise", "nope", "--calls", "1"),
        ("budget", "raise", "nope"),
        ("dead-letters", "retry", "nope"),
        ("pause", "nope", "--agent"),
        ("events", "--after", "99999"),
        ("token", "revoke", "owner"),
    ],
    ids=" ".join,
)
def test_what_the_daemon_refuses_is_said_in_one_line(organism: Organism, arguments: tuple[str, ...]) -> None:
    """A refusal is the daemon's own sentence and exit code 2."""
    result = organism(*arguments)

    assert result.returncode == 2
    assert result.stderr.startswith("organism: ")
    assert result.stderr.count("\n") == 1


def test_top_shows_budgets_and_obeys_keys(organism: Organism) -> None:
    """In a terminal, top draws what is going on; p pauses, r raises, t and y end a thread, q leaves."""
    thread = organism("send", "wait").stdout.strip()
    until(organism, '"calls":1', "threads", "--json")
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    # Not `pty.fork`: a child of a process with threads may wait for ever for a lock that one of them held.
    top = subprocess.Popen(
        [sys.executable, "-m", "organism", "top"],
        cwd=organism.folder,  # type: ignore[attr-defined]
        env={**os.environ, "COLUMNS": "140", "LINES": "40"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen = ""

    def see(phrase: str) -> None:
        nonlocal seen
        deadline = time.monotonic() + 60
        while phrase not in seen:
            assert time.monotonic() < deadline, seen[-2000:]
            if select.select([master], [], [], 1)[0]:
                seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(master, 65536).decode("utf-8", "replace"))
        seen = ""

    try:
        see("q leave")
        os.write(master, b"p")
        see(f"{thread} paused")
        os.write(master, b"r")
        see("by 25 %? y to do it")
        os.write(master, b"y")
        see("raised by 25 %")
        os.write(master, b"t")
        see(f"end {thread}? y to do it")
        os.write(master, b"y")
        see(f"{thread} ended")
        os.write(master, b"\t")
        see("tokens/min")
        os.write(master, b"q")
        assert top.wait(30) == 0
    finally:
        top.kill()
        top.wait()
        os.close(master)
    assert organism("threads").stdout.startswith("no threads are open; with --all")


def test_help_is_there_at_once() -> None:
    """The list of commands loads neither the organism nor its libraries: that is what makes it quick."""
    heavy = ("anyio", "structlog", "litestar", "httpx2", "yaml", "organism.app", "organism.runtime.pump")
    program = (
        "import sys, organism.cli.app as cli; code = cli.call(['--help']);"
        f"print('loaded:', [name for name in {heavy!r} if name in sys.modules], code)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.endswith("loaded: [] 0\n"), result.stdout
    for command in ("ask", "top", "budget", "dead-letters", "dashboard", "stop"):
        assert re.search(rf"^\W*{command}\b", result.stdout, re.MULTILINE), command


def test_spend_is_corrected_with_a_yes_and_a_reason(organism: Organism) -> None:
    """Correcting spend takes a yes; the story of the budget then names amount, person and reason."""
    thread = organism("send", "wait").stdout.strip()
    organism("budget", "raise", thread, "--calls", "1")

    unasked = organism("budget", "adjust", thread, "--usd", "-0.000001", "--reason", "refund 17")
    done = organism("budget", "adjust", thread, "--usd", "+0.25", "--tokens", "10", "--reason", "invoice 9", "--yes")

    assert (unasked.returncode, "say --yes" in unasked.stderr) == (2, True)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^thread:{thread} has spent \d+ tokens, \$0\.25", done.stdout, re.MULTILINE)
    assert "organism@day:" in done.stdout
    story = organism("budget", "explain", thread).stdout
    assert "adjusted by +10 tokens, +$0.25: owner: invoice 9" in story
    assert "refund 17" not in story


def test_daemon_whose_log_nobody_reads_any_more_goes_on(organism: Organism) -> None:
    """When the reader of its standard error has gone, the daemon works as before and ends in good order."""
    organism.process.stderr.close()  # type: ignore[attr-defined]
    answers = [organism("ask", "hello") for _ in range(3)]
    assert [answer.stdout for answer in answers] == ["one two three\n"] * 3
    organism("ask", "bad")  # which is logged as a warning, and as an error
    assert json.loads(organism("status", "--json").stdout)["usage"]["calls"] == 3
    organism.process.send_signal(signal.SIGTERM)  # type: ignore[attr-defined]
    assert organism.process.wait(60) == 0  # type: ignore[attr-defined]


def test_labels_of_a_message_are_on_its_thread_and_on_the_bill(organism: Organism) -> None:
    """What is written as --label name=value can be listed and summed by; what is no label is refused."""
    sent = organism("send", "wait", "--label", "tenant=a", "--label", "shop=b").stdout.strip()
    organism("ask", "hello", "--label", "tenant=c")
    listed = json.loads(organism("threads", "--label", "tenant=a", "--json").stdout)
    assert [(one["thread_id"], one["labels"]) for one in listed] == [(sent, {"tenant": "a", "shop": "b"})]
    assert "tenant=c" in organism("usage", "--by", "label").stdout
    for wrong in (("--label", "tenant"), ("--label", "=a"), ("--label", "a=b", "--thread", sent)):
        refused = organism("send", "hello", *wrong)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr


def test_drain_is_told_and_undone(organism: Organism) -> None:
    """A drained daemon refuses new threads and keeps the open ones, until it is told to take new ones again."""
    organism("send", "wait")
    assert organism("drain").stdout == "takes no new threads; 1 thread is left\n"
    refused = organism("send", "hello")
    assert (refused.returncode, "no new threads" in refused.stderr or "stopping" in refused.stderr) == (2, True)
    assert organism("drain", "--undo").stdout == "takes new threads\n"
    assert organism("ask", "hello").stdout == "one two three\n"
