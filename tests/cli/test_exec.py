"""Any program under a budget: ``organism exec`` as a user types it, before a vendor that keeps its own bill."""

import os
import re
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest

from organism.cli.app import call
from organism.cli.programs.verdict import ProgramReport
from organism.daemon.state_folder import owned, write_address
from organism.testing import ScriptedHTTPProvider
from tests.cli.commands import Running, finished, start

pytestmark = pytest.mark.anyio

REAL = "sk-real-key-of-the-vendor"
CALL = """
import json, os, sys, urllib.request
def ask(path="/chat/completions", **more):
    body = {"model": "gpt-4o", "max_tokens": 20, "messages": [{"role": "user", "content": "hi there"}], **more}
    head = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "content-type": "application/json", **HEAD}
    data = json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(os.environ["OPENAI_BASE_URL"] + path, data, head)) as answer:
        return json.load(answer)
HEAD = {}
"""
"""A program that asks with nothing but Python's own library, because importing an SDK takes its time."""


@pytest.fixture
async def vendor() -> AsyncIterator[ScriptedHTTPProvider]:
    """Serve a vendor that answers everything in three words."""
    async with ScriptedHTTPProvider(("one two three",)) as provider:
        yield provider


def surroundings(vendor: ScriptedHTTPProvider | None = None, **more: str) -> dict[str, str]:
    """Return an environment in which only the keys are known that are given."""
    plain = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
    there = {} if vendor is None else {"OPENAI_API_KEY": REAL, "OPENAI_BASE_URL": f"{vendor.url}/v1"}
    return plain | {"COLUMNS": "200", "PYTHONWARNINGS": "ignore"} | there | more


class Ended(msgspec.Struct, frozen=True):
    """How a run has ended."""

    code: int
    out: str
    errors: str

    @property
    def report(self) -> ProgramReport:
        """The report, which ``--json`` prints last."""
        return msgspec.json.decode(self.errors.splitlines()[-1], type=ProgramReport)


async def execute(folder: Path, environment: Mapping[str, str], *arguments: str) -> Ended:
    """Run ``organism exec`` to its end, while the vendor in this event loop answers."""

    def run() -> Ended:
        done = finished(folder, "exec", "--state", str(folder / "kept"), *arguments, environment=environment)
        return Ended(done.returncode, done.stdout, done.stderr)

    ended = await anyio.to_thread.run_sync(run)
    assert "Traceback" not in ended.errors or "urllib" in ended.errors or "openai" in ended.errors, ended.errors
    return ended


def python(program: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", program)


async def test_official_clients_run_unchanged_and_spend_from_one_budget(
    vendor: ScriptedHTTPProvider, tmp_path: Path
) -> None:
    """OpenAI's and Anthropic's SDKs find the gateway by themselves; the vendors see their keys, the program never."""
    program = """
import os, openai, anthropic
client = openai.OpenAI()
say = [{"role": "user", "content": "hi there"}]
print(client.chat.completions.create(model="gpt-4o", messages=say).choices[0].message.content)
print(client.responses.create(model="gpt-5-mini", input="hi there").output_text)
claude = anthropic.Anthropic()
print(claude.messages.create(model="claude-sonnet-4-5", max_tokens=50, messages=say).content[0].text)
print([name for name, value in os.environ.items() if "real-key" in value])
"""
    environment = surroundings(vendor, ANTHROPIC_API_KEY=f"{REAL}-2", ANTHROPIC_BASE_URL=vendor.url)
    ended = await execute(tmp_path, environment, "--budget-usd", "5", "--label", "job=7", "--json", *python(program))

    assert (ended.code, ended.out) == (0, "one two three\n" * 3 + "[]\n"), ended.errors
    keys = [request.headers.get("x-api-key") or request.headers["authorization"] for request in vendor.requests]
    assert keys == [f"Bearer {REAL}", f"Bearer {REAL}", f"{REAL}-2"]
    assert [request.body["model"] for request in vendor.requests] == ["gpt-4o", "gpt-5-mini", "claude-sonnet-4-5"]
    report = ended.report
    assert report.run.totals.usage == vendor.billed
    assert (report.run.totals.calls, report.run.outcome, report.run.totals.unpriced_calls) == (3, "completed", 0)
    assert 0 < report.run.totals.cost_nanousd == report.run.budgets[0].spent.cost_nanousd
    assert (tmp_path / "kept" / "journal.db").is_file()
    assert REAL not in (tmp_path / "kept" / "organism.yaml").read_text()


@pytest.mark.parametrize(
    ("rest", "code", "own"),
    [
        ("ask(); ask(); ask()", 3, 1),
        ("try: ask(); ask(); ask()\nexcept OSError: sys.exit(0)", 3, 0),
        ("try: ask(); ask(); ask()\nexcept OSError: sys.exit(9)", 3, 9),
        ("try: ask(); ask(); ask()\nexcept OSError: os.kill(os.getpid(), 15)", 143, 143),
        ("ask(); ask(); sys.exit(9)", 9, 9),
        ("ask()\ntry: ask(max_tokens=9**9)\nexcept OSError: pass\nask(); sys.exit(0)", 0, 0),
        ("HEAD['organism-thread'] = 'a'; ask(); ask(); HEAD['organism-thread'] = 'b'; ask()", 3, 1),
    ],
    ids=["refused", "caught", "own code", "own signal", "not refused", "went on", "other threads"],
)
async def test_code_is_3_where_the_budget_had_the_last_word(
    vendor: ScriptedHTTPProvider, tmp_path: Path, rest: str, code: int, own: int
) -> None:
    """A program whose last call was refused has not done its work, whatever it exits with; no other thread pays."""
    options = ("--budget-calls", "2", "--json", *python(CALL + rest))
    ended = await execute(tmp_path, surroundings(vendor), *options)
    assert (ended.code, ended.report.program_exit_code) == (code, own), ended.errors
    assert len(vendor.bill) == 2
    assert ended.report.run.outcome == {3: "blocked", 143: "terminated", 9: "failed", 0: "completed"}[code]
    assert ("budget exhausted" in ended.errors) is (code in (3, 143))


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -9 $$"), 137),
        (("no-such-program", "--json"), 127),
        (("./plain.txt",), 126),
        (("sh", "-c", 'printf %s "$0,$1,$2" >&2', "--json", "--", "-x"), 0),
    ],
    ids=["own", "killed", "missing", "no program", "arguments"],
)
async def test_program_is_run_as_a_shell_runs_it(tmp_path: Path, command: tuple[str, ...], code: int) -> None:
    """Its arguments arrive as they are, and its end is told as shells tell it, without a call too."""
    (tmp_path / "plain.txt").write_text("no program", encoding="utf-8")
    ended = await execute(tmp_path, surroundings(), "--", *command)
    assert ended.code == code, ended.errors
    if code == 0:
        assert "--json,--,-x" in ended.errors


@pytest.mark.parametrize(
    "given",
    [
        ("--json", "--budget-calls", "3", "sh", "-c", "exit 5", "--json", "--state", "x"),
        ("--budget-calls=3", "--json", "--", "sh", "-c", "exit 5", "--", "--json"),
        ("--json", "sh", "-c", "exit 5"),
    ],
)
async def test_what_follows_the_program_is_its_own(tmp_path: Path, given: tuple[str, ...]) -> None:
    """With and without --, options after the program's name are none of ours."""
    ended = await execute(tmp_path, surroundings(), *given)
    own = given[given.index("sh") :]
    assert (ended.code, ended.report.command) == (5, own), ended.errors


WAITS = "trap 'echo stopped; exit 9' TERM INT HUP; echo ready; while :; do sleep 0.05; done"


async def begun(folder: Path, program: str) -> Running:
    """Start a program that says when it is ready, and return once it has."""
    options = ("exec", "--state", str(folder / "kept"), "--", "sh", "-c", program)
    running = start(folder, *options, environment=surroundings())
    assert running.stdout is not None
    assert await anyio.to_thread.run_sync(running.stdout.readline) == "ready\n"
    return running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_reach_the_program(tmp_path: Path, number: signal.Signals) -> None:
    """What would end the program reaches it, and its own end is the end: it may tidy up for as long as it likes."""
    running = await begun(tmp_path, WAITS)
    try:
        running.send_signal(number)
        out, errors = await anyio.to_thread.run_sync(running.communicate)
    finally:
        running.close()
    assert (running.returncode, out) == (9, "stopped\n"), errors
    assert "made no model call" in errors


async def test_nothing_listens_once_it_is_killed(tmp_path: Path) -> None:
    """A gateway whose owner is gone would be a way to the vendor that nobody watches: it goes with it."""
    program = "echo ready; echo $OPENAI_BASE_URL; echo $$; sleep 60"
    running = await begun(tmp_path, program)
    assert running.stdout is not None
    port, pid = (int(running.stdout.readline().removesuffix("/v1\n").rpartition(":")[2]) for _ in range(2))
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        running.kill()
        await anyio.to_thread.run_sync(running.wait)
        with pytest.raises(ConnectionRefusedError, match="Connection refused"):
            socket.create_connection(("127.0.0.1", port), timeout=5)
    finally:
        os.kill(pid, signal.SIGKILL)
        running.close()
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700


FILE = """\
name: shop
entry: clerk
limits: {thread: {usd: 1}}
llm:
  providers: {double: {type: openai, base_url: "%s/v1", api_key: "${env:UP}"}}
  models: {main: double/m}
  unpriced: {input: 1, output: 1}
agents: {clerk: {model: main}}
"""


@pytest.mark.parametrize(
    ("options", "model", "calls", "limit"),
    [
        ((), "main", 1, "1"),
        (("--budget-usd", "9"), "main", 1, "1"),
        (("--budget-usd", "0.5"), "main", 1, "0.5"),
        (("--model", "main"), "gpt-4o", 1, "1"),
        ((), "gpt-4o", 0, "1"),
    ],
    ids=["as written", "never above", "below", "another name", "unknown name"],
)
async def test_a_configuration_has_the_models_and_the_last_word_on_limits(
    vendor: ScriptedHTTPProvider, tmp_path: Path, options: tuple[str, ...], model: str, calls: int, limit: str
) -> None:
    """Beside an organism.yaml its models answer, and no option lifts its limits; a name it lacks is refused by name."""
    (tmp_path / "organism.yaml").write_text(FILE % vendor.url, encoding="utf-8")
    program = f"try: ask(model={model!r})\nexcept OSError as error: print(error.read().decode())"
    environment = surroundings(OPENAI_API_KEY=REAL, UP="sk-up")
    ended = await execute(tmp_path, environment, *options, "--json", *python(CALL + program))
    assert (ended.code, ended.report.run.totals.calls) == (0, calls), ended.errors + ended.out
    if calls:
        assert ended.report.run.budgets[0].limits.cost_nanousd == int(float(limit) * 10**9)
        assert vendor.requests[0].headers["authorization"] == "Bearer sk-up"
    else:
        assert "'gpt-4o' is not offered here; there are: main" in ended.out


async def test_person_hears_of_thresholds_and_where_the_ledger_lies(
    vendor: ScriptedHTTPProvider, tmp_path: Path
) -> None:
    """Standard error has how to raise the budget, what is used, the report and the ledger; standard output nothing."""
    ended = await execute(tmp_path, surroundings(vendor), "--budget-calls", "4", *python(CALL + "ask(); ask(); ask()"))
    assert (ended.code, ended.out) == (0, ""), ended.errors
    lines = ended.errors.splitlines()
    assert "4 calls for python" in lines[0]
    assert f"--calls 4 --state {tmp_path / 'kept'}" in lines[0]
    assert any("75 % of thread:exec-" in line and "left" in line for line in lines[1:4])
    assert lines[-1].startswith(f"ledger: {tmp_path / 'kept' / 'journal.db'}")


async def test_keys_of_a_dotenv_stay_with_the_gateway(vendor: ScriptedHTTPProvider, tmp_path: Path) -> None:
    """Where keys are in a .env and nowhere else, the vendor is asked with them, and the program has none."""
    path = tmp_path / ".env"
    path.write_text(f"OPENAI_API_KEY={REAL}\nOPENAI_BASE_URL={vendor.url}/v1\n", encoding="utf-8")
    path.chmod(0o600)
    ended = await execute(tmp_path, surroundings(), *python(CALL + "ask(); print(os.environ['OPENAI_API_KEY'][:12])"))
    assert (ended.code, ended.out) == (0, "sk-organism-\n"), ended.errors
    assert [request.headers["authorization"] for request in vendor.requests] == [f"Bearer {REAL}"]


async def test_model_without_a_price_is_refused_with_the_way_out(vendor: ScriptedHTTPProvider, tmp_path: Path) -> None:
    """Dollars cannot be held of an unknown price: the report says which model, and with a price it is called."""
    program = python(CALL + "ask(model='own-model')")
    refused = await execute(tmp_path, surroundings(vendor), "--budget-usd", "1", *program)
    assert (refused.code, len(vendor.requests)) == (1, 0)
    assert "no price is known for model 'own-model'" in refused.errors
    assert "say one with --price INPUT,OUTPUT" in refused.errors
    priced = await execute(tmp_path, surroundings(vendor), "--budget-usd", "1", "--price", "1,2", "--json", *program)
    assert (priced.code, len(vendor.requests)) == (0, 1)
    assert priced.report.run.totals.cost_nanousd > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a program: organism exec --budget-usd 5 -- python agent.py"),
        (("--budget-usd", "much", "--", "true"), "--budget-usd: "),
        (("--budget-calls", "-1", "--", "true"), "--budget-calls must not be negative"),
        (("--price", "1", "--", "true"), "--price: write dollars per million tokens as INPUT,OUTPUT"),
        (("--label", "x", "--", "true"), "write a label as name=value"),
        (("--file", "none.yaml", "--", "true"), "none.yaml"),
    ],
)
def test_mistake_is_told_in_a_line_and_nothing_is_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    """What is wrong with the command line is said before a gateway is made."""
    monkeypatch.chdir(tmp_path)
    assert call(["exec", "--state", str(tmp_path / "kept"), *arguments]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("limits", "code", "said"),
    [
        (
            "thread: {usd: 1}",
            0,
            r"process \d+ owns \S+/\.organism, so the ledger of this run is in \S+/tmp/organism-exec-",
        ),
        (
            "day: {usd: 1}",
            2,
            r"counts limits\.day there; run the program without exec, with OPENAI_BASE_URL=http://x/v1",
        ),
        (
            "labels: {tenant: {usd: 1, per: month}}",
            2,
            r"labels\.tenant per month there; run the program .* OPENAI_BASE_URL=http://x/v1 .* with --state",
        ),
    ],
    ids=["own ledger", "day", "label"],
)
async def test_daemon_in_the_same_folder_is_not_in_the_way(
    vendor: ScriptedHTTPProvider, tmp_path: Path, limits: str, code: int, said: str
) -> None:
    """The run keeps a ledger of its own; but limits over a time, which two ledgers would allow twice, are refused."""
    (tmp_path / "organism.yaml").write_text(
        FILE.replace("thread: {usd: 1}", limits) % vendor.url + "gateway: {}\n", encoding="utf-8"
    )
    (tmp_path / "tmp").mkdir()
    environment = surroundings(OPENAI_API_KEY=REAL, UP="sk-up", TMPDIR=str(tmp_path / "tmp"))

    def run() -> Ended:
        with owned(tmp_path / ".organism"):
            write_address(tmp_path / ".organism", "http://x")
            done = finished(tmp_path, "exec", *python(CALL + "ask(model='main')"), environment=environment)
        return Ended(done.returncode, done.stdout, done.stderr)

    ended = await anyio.to_thread.run_sync(run)
    assert ended.code == code, ended.errors
    assert re.search(said, ended.errors), ended.errors
    assert len(vendor.requests) == (1 if code == 0 else 0)


async def test_command_that_raises_needs_no_folder_where_it_is_the_usual_one(
    vendor: ScriptedHTTPProvider, tmp_path: Path
) -> None:
    """Beside a configuration the printed command works as it stands, and names no folder."""
    (tmp_path / "organism.yaml").write_text(FILE % vendor.url, encoding="utf-8")

    def run() -> str:
        environment = surroundings(OPENAI_API_KEY=REAL, UP="sk-up")
        return finished(tmp_path, "exec", "--budget-calls", "2", *python("pass"), environment=environment).stderr

    told = (await anyio.to_thread.run_sync(run)).splitlines()[0]
    assert re.search(r"organism budget raise exec-\w+ --calls 2$", told), told
