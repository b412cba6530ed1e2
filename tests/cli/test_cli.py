"""The command line as a user meets it: real processes, real exit codes, no tracebacks."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.commands import daemon, organism, start

NUMBERS = (
    "has 57 tokens left of 60 tokens (spent 0 tokens, held 0 tokens, "
    "reserved for a final call 3 tokens); the call needs"
)

SCRIPTED = """\
name: quick
entry: planner
limits: {thread: {calls: 4}}
llm:
  providers:
    fake: {type: scripted, answers: ["one two three"]}
  models:
    main: fake/any
agents:
  planner: {model: main, next: [left, right]}
  left: {model: main, next: writer}
  right: {model: main, next: writer}
  writer: {model: main, gather: [left, right]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "organism.yaml").write_text(SCRIPTED)
    return tmp_path


def test_run_shows_who_says_what_the_budget_and_the_sums(folder: Path) -> None:
    """A run shows each agent's words, the warning as it comes, the answer, and what it cost."""
    result = organism(folder, "run", "Write about tides")

    assert result.returncode == 0, result.stderr
    for expected in (
        "planner -> left",
        "writer -> user",
        "75 % of thread:",
        "warning sent to",
        "completed in",
        "4 of 4 calls",
        "largest writer",
    ):
        assert expected in result.stdout, expected


def test_run_as_json_is_one_document(folder: Path) -> None:
    """``--json`` prints one machine-readable result and nothing else."""
    result = organism(folder, "run", "Write about tides", "--json")

    report = json.loads(result.stdout)
    assert report["outcome"] == "completed"
    assert report["answer"] == "one two three"
    assert sum(line["totals"]["calls"] for line in report["agents"]) == report["totals"]["calls"] == 4


def test_exhausted_run_says_which_scope_with_every_number_and_exits_3(folder: Path) -> None:
    """A run out of budget explains itself and still reports what it used."""
    result = organism(folder, "run", "Write about tides", "--budget-tokens", "60")

    assert result.returncode == 3
    assert "planner was refused: thread:" in result.stdout
    assert (
        "has 57 tokens left of 60 tokens (spent 0 tokens, held 0 tokens, "
        "reserved for a final call 3 tokens); the call needs" in result.stdout
    )
    assert "0 of 60 tokens" in result.stdout
    assert "its thread has ended" not in result.stdout, "leaving ends the thread; that is no news to anybody"
    report = json.loads(organism(folder, "run", "x", "--budget-tokens", "85", "--json").stdout)
    assert report["outcome"] == "blocked"
    assert report["totals"]["usage"]["output"] > 0


@pytest.mark.parametrize("limit", [("tokens", "60"), ("calls", "1")])
def test_way_out_of_an_exhausted_run_works_when_it_is_pasted(folder: Path, limit: tuple[str, str]) -> None:
    """The command that a blocked run prints lets it go on; pasted as often as it is printed, it comes to the end."""
    unit, amount = limit
    result = organism(folder, "run", "Write about tides", f"--budget-{unit}", amount)
    pasted = 0
    while result.returncode == 3 and pasted < 5:
        _, _, command = result.stdout.rpartition("go on with a higher limit: organism ")
        result = organism(folder, *shlex.split(command))
        pasted += 1

    assert pasted > 0
    assert result.returncode == 0, result.stdout


def test_every_limit_has_its_bar(folder: Path) -> None:
    """Not only the thread's budget is drawn: whatever could refuse a call is."""
    limits = (
        "{thread: {calls: 4}, day: {usd: 5}, agents: {writer: {tokens: 300}}, models: {main: {calls: 9, per: day}}}"
    )
    (folder / "organism.yaml").write_text(SCRIPTED.replace("{thread: {calls: 4}}", limits))

    drawn = organism(folder, "run", "x").stdout

    for label in ("thread tokens ", "thread calls ", "day usd ", "writer tokens ", "model main per day calls "):
        assert f"\n{label}" in drawn, label


def test_answers_cannot_play_with_the_terminal(folder: Path) -> None:
    """What a model says is shown as text: no escape sequence, no markup, no turned-around writing."""
    evil = r"\e]0;title\a\e[2Jgone \u202Eback [red]red[/] [/nope]"
    (folder / "organism.yaml").write_text(SCRIPTED.replace("one two three", evil))

    shown = organism(folder, "run", "x").stdout

    assert not {"\x1b", "\a", "\u202e"} & set(shown)
    assert "[red]red[/] [/nope]" in shown
    with daemon(folder):
        sent = organism(folder, "send", "x", "--wait").stdout
    assert "gone" in sent
    assert "\x1b" not in sent


def test_what_an_agent_says_is_one_line_in_a_pipe(folder: Path) -> None:
    """Lines are folded for screens only, so that grep finds them whole; nothing is said twice."""
    words = "word " * 100
    (folder / "organism.yaml").write_text(SCRIPTED.replace("one two three", words))

    lines = organism(folder, "run", "x", COLUMNS="40").stdout.splitlines()

    assert f"planner -> left  {words.strip()}" in lines
    assert "planner -> right  (the same)" in lines


def test_run_goes_on_when_its_reader_has_gone(folder: Path) -> None:
    """``organism run ... | head`` ends without a word of complaint."""
    command = f"{sys.executable} -m organism run x | head -n 1"
    result = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S602

    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 1


def test_audit_goes_on_where_enforce_would_refuse(folder: Path) -> None:
    """``--mode audit`` shows what a limit would do, without doing it."""
    result = organism(folder, "run", "Write about tides", "--budget-tokens", "60", "--mode", "audit")

    assert result.returncode == 0
    assert "would be refused" in result.stdout


def test_failed_run_exits_1_and_reports(folder: Path) -> None:
    """A run whose agent fails says why and what it has used."""
    (folder / "bad.py").write_text(
        "from organism import Gathered\n"
        "async def boom(message: Gathered, ctx) -> None:\n    raise ValueError('no good')\n"
    )
    text = SCRIPTED.replace("writer: {model: main,", "writer: {handler: 'bad:boom',") + "python_path: [.]\n"
    (folder / "organism.yaml").write_text(text)

    result = organism(folder, "run", "Write about tides")

    assert result.returncode == 1
    assert "ValueError: no good" in result.stdout
    assert "failed in" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["run", ""], "message is empty"),
        (["run", "x", "--to", "nobody"], "there is no agent 'nobody'"),
        (["run", "x", "--budget-usd", "lots"], "not an amount of dollars"),
        (["run", "x", "--budget-tokens", "-1"], "must not be negative"),
        (["run", "x", "--file", "nope.yaml"], "organism init"),
        (["run", "x" * 110_000], "message_bytes"),
        (["init"], "already here: organism.yaml"),
        (["daemon", "--port", "70000"], "65535"),
        (["daemon", "--port", "-1"], ">= 0"),
        (["daemon", "--port", "1"], "cannot listen"),
        (["frobnicate"], "frobnicate"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_mistake_is_one_clear_error_and_exit_2(folder: Path, arguments: list[str], phrase: str) -> None:
    """What the user can mend is said in a sentence, without a traceback."""
    (folder / "organism.yaml").write_text(SCRIPTED + "bounds: {message_bytes: 100000}\n")
    if arguments == ["daemon", "--port", "1"]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            result = organism(folder, "daemon", "--port", str(taken.getsockname()[1]))
    else:
        result = organism(folder, *arguments)

    assert result.returncode == 2
    assert phrase in result.stderr + result.stdout


def test_missing_extra_is_named(folder: Path) -> None:
    """A package that is not installed is named with the command that installs it."""
    text = SCRIPTED.replace('{type: scripted, answers: ["one two three"]}', '{type: anthropic, api_key: "${env:K}"}')
    (folder / "organism.yaml").write_text(text)
    # A finder that hides the HTTP client is what not having installed it looks like.
    (folder / "sitecustomize.py").write_text(
        "import importlib.util\nreal = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'httpx2' else real(name, *a)\n"
    )

    # An interpreter of its own: only one that starts reads sitecustomize.
    command, environment = [sys.executable, "-m", "organism", "check"], {**os.environ, "K": "sk", "PYTHONPATH": "."}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert " install 'organism-runtime[anthropic]'" in result.stderr
    assert "organism.yaml:6" in result.stderr


def test_check_draws_the_organism(folder: Path) -> None:
    """``check`` shows agents, limits and the graph."""
    result = organism(folder, "check")

    assert result.returncode == 0
    assert "main (fake/any)" in result.stdout
    assert "└─> writer (waits for left, right)" in result.stdout.replace("(as above)", "").replace("│  ", "")


def test_init_writes_a_starter_that_is_right(tmp_path: Path) -> None:
    """``init`` writes what ``check`` finds right."""
    assert organism(tmp_path, "init").returncode == 0

    assert organism(tmp_path, "check").returncode == 0


def test_daemon_takes_messages_tells_events_and_stops_in_good_order(folder: Path) -> None:
    """The daemon answers send, follows events, logs lines of JSON without content, and drains on SIGTERM."""
    with daemon(folder) as process:
        follower = start(folder, "events", "--follow")
        deadline = time.monotonic() + 60
        sent = organism(folder, "send", "secret words", "--wait")
        assert (sent.returncode, sent.stdout) == (0, "one two three\n")
        thread = organism(folder, "send", "more").stdout.strip()
        assert thread.startswith("th_")
        assert organism(folder, "send", "x", "--to", "nobody").returncode == 2
        assert organism(folder, "threads").returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        log = [json.loads(line) for line in process.stderr.read().splitlines()]
        followed, _ = follower.communicate(timeout=max(1, deadline - time.monotonic()))

    assert [line["event"] for line in log][-1] == "stopped"
    assert log[-1]["calls"] == 8
    assert "secret words" not in json.dumps(log)
    events = [json.loads(line) for line in followed.splitlines()]
    assert {event["type"] for event in events} >= {"ThreadOpened", "UsageEvent", "ThresholdCrossed", "ThreadClosed"}
    assert "AgentSaid" not in {event["type"] for event in events}
    ids = [event["id"] for event in events]
    assert ids == sorted(set(ids))


def test_sender_learns_what_its_thread_waits_for(folder: Path) -> None:
    """``send --wait`` does not wait for budget that nobody raises: it says which scope refused, and every number."""
    (folder / "organism.yaml").write_text(SCRIPTED.replace("{calls: 4}", "{tokens: 60}"))
    with daemon(folder) as process:
        refused = organism(folder, "send", "x", "--wait")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        log = [json.loads(line) for line in process.stderr.read().splitlines()]

    assert refused.returncode == 3
    numbers = (
        "has 57 tokens left of 60 tokens (spent 0 tokens, held 0 tokens, "
        "reserved for a final call 3 tokens); the call needs"
    )
    assert numbers in refused.stderr
    assert [numbers in line["refused"] for line in log if line["event"] == "BudgetExceeded"] == [True]


def test_second_daemon_names_the_first(folder: Path) -> None:
    """A state folder has one owner, and whoever comes second is told who."""
    with daemon(folder) as process:
        second = organism(folder, "daemon", "--port", "0")

        assert second.returncode == 2
        assert f"process {process.pid}" in second.stderr


def test_killed_daemon_leaves_the_folder_usable(folder: Path) -> None:
    """After SIGKILL nothing has to be cleaned up by hand."""
    with daemon(folder) as process:
        process.kill()
        process.wait()
    assert organism(folder, "send", "x").returncode == 4
    with daemon(folder):
        assert organism(folder, "send", "x", "--wait").returncode == 0


def test_client_without_a_daemon_exits_4(folder: Path) -> None:
    """Where nobody answers, the error says how to start somebody."""
    result = organism(folder, "send", "x")

    assert result.returncode == 4
    assert "organism daemon" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_stops_its_work_and_reports(folder: Path, number: signal.Signals) -> None:
    """Ctrl-C stops a run in good order: what it has used is shown, and how to go on with it."""
    (folder / "slow.py").write_text(
        "import anyio\nfrom organism import Text\n"
        "async def wait(message: Text, ctx) -> None:\n"
        "    await ctx.llm.complete('x', max_output_tokens=16)\n    print('waiting', flush=True)\n"
        "    await anyio.sleep_forever()\n"
    )
    text = SCRIPTED.replace("planner: {model: main,", "planner: {handler: 'slow:wait',") + "python_path: [.]\n"
    (folder / "organism.yaml").write_text(text)
    with closing(start(folder, "run", "x")) as process:
        assert process.stdout is not None
        while "waiting" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 130

    assert "stopped; go on with: organism resume th_" in rest
    assert "1 call" in rest


def test_usage_report_of_recorded_events(folder: Path) -> None:
    """Events saved from a daemon become a report on the terminal and a page, and mistakes are one line."""
    event = (
        '{"type":"UsageEvent","id":"1","time_ns":1793491200000000000,"thread_id":"t","root_thread_id":"t","agent":"a",'
        '"call_id":"c","attempt":1,"provider":"p","model":"main","request_model":"m","response_model":"m",'
        '"usage":{"input":10,"output":5},"cost_nanousd":1000000000,"price_source":"x","latency_ns":1,"outcome":"settled"}'
    )
    (folder / "events.jsonl").write_text(f"{event}\n\n{event}\n")

    shown = organism(folder, "usage", "report", "events.jsonl")
    page = organism(folder, "usage", "report", "events.jsonl", "-o", "report.html", "--since", "2026-10-01")
    (folder / "broken.jsonl").write_text(f"{event}\nnonsense\n")
    broken = organism(folder, "usage", "report", "broken.jsonl")
    zone = organism(folder, "usage", "report", "events.jsonl", "--time-zone", "Mars/Olympus")

    assert "* **$1.00** cost" in shown.stdout
    assert page.returncode == 0
    assert "<!doctype html>" in (folder / "report.html").read_text()
    assert (broken.returncode, zone.returncode) == (2, 2)
    assert "broken.jsonl:2" in broken.stderr
    assert "Mars/Olympus" in zone.stderr


def test_usage_report_of_a_running_daemon_and_of_what_it_leaves(folder: Path) -> None:
    """A report needs no stop: the daemon is asked while it runs, and its journal afterwards, with the same numbers."""
    with daemon(folder) as process:
        for _ in range(2):
            assert organism(folder, "send", "Write about tides", "--wait").returncode == 0
        while_running = organism(folder, "usage", "report")
        process.terminate()
        process.wait(timeout=60)
    afterwards = organism(folder, "usage", "report")

    assert "* **8** model calls" in while_running.stdout
    assert (while_running.returncode, afterwards.returncode) == (0, 0)
    # Above its first figure a report says until when it counts, to the minute.
    figures = [
        said.partition("\n* ")[2].partition("## Forecast")[0] for said in (while_running.stdout, afterwards.stdout)
    ]
    assert figures[0] == figures[1] != ""


def test_handler_may_import_a_module_beside_it_while_it_runs(folder: Path) -> None:
    """What lies in the folders of ``python_path`` can be imported whenever a handler wants it, not only at start."""
    (folder / "lazy.py").write_text(
        "from organism import Text\n"
        "async def greet(message: Text, ctx) -> Text:\n    from beside_it import word\n    return Text(word)\n"
    )
    (folder / "beside_it.py").write_text("word = 'hello'\n")
    (folder / "organism.yaml").write_text(
        "name: lazy\nentry: greeter\npython_path: [.]\nagents:\n  greeter: {handler: 'lazy:greet'}\n"
    )

    result = organism(folder, "run", "x")

    assert result.returncode == 0, result.stdout
    assert "greeter -> user  hello" in result.stdout
