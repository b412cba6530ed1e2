"""Every remedy that a command prints is a command that works when it is pasted where the user stands."""

import json
import re
import shlex
from contextlib import closing
from pathlib import Path

import pytest

from organism.cli import exit_codes
from organism.cli.app import call
from tests.cli.commands import daemon, organism, start

YAML = """\
name: quick
entry: head
python_path: [.]
llm:
  providers: {fake: {type: scripted, answers: ["one two three"]}}
  models: {main: fake/any}
agents:
  head: {handler: "hands:head"}
"""

HANDS = '''\
from organism import Context, Text


async def head(message: Text, ctx: Context) -> Text:
    """Ask for more, ask before doing it, or make two calls."""
    if message.text == "more":
        return Text(f"granted {(await ctx.request_budget(tokens=5)).tokens}")
    if message.text == "wipe":
        return Text("wiped" if (await ctx.approval("wipe", "the disk")).allowed else "left alone")
    for _ in range(2):
        await ctx.llm.complete(message.text, max_output_tokens=16)
    return Text("done")
'''


@pytest.fixture(params=[(), ("--file", "other one.yaml"), ("--state", "kept here")], ids=["plain", "file", "state"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return a folder with an organism, and what each command needs to find it."""
    options: tuple[str, ...] = request.param
    (tmp_path / "hands.py").write_text(HANDS)
    (tmp_path / (options[1] if "--file" in options else "organism.yaml")).write_text(YAML)
    return tmp_path, options


def paste(folder: Path, command: str) -> tuple[int, str]:
    """Run a command as it was printed."""
    name, *arguments = shlex.split(command)
    assert name == "organism"
    result = organism(folder, *arguments)
    return result.returncode, result.stdout + result.stderr


LIMITS = [("--budget-calls", "1"), ("--budget-tokens", "20"), ("--budget-seconds", "0")]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit[0])
def test_run_without_budget_prints_what_lets_it_go_on(
    place: tuple[Path, tuple[str, ...]], limit: tuple[str, str]
) -> None:
    """The command names the limit, the file and the folder, and the run is done after it; JSON has it too."""
    folder, options = place
    refused = organism(folder, "run", "hello", *limit, *options)
    found = re.search(r"go on with a higher limit: (organism resume .*)", refused.stdout)
    assert found is not None, refused.stdout
    again = organism(folder, "run", "hello", *limit, *options, "--json")
    (way,) = json.loads(again.stdout)["go_on"]

    assert (refused.returncode, again.returncode) == (exit_codes.EXHAUSTED, exit_codes.EXHAUSTED)
    for command in (found[1], way):
        code, said = paste(folder, command)
        assert (code, "done" in said) == (0, True), said


@pytest.mark.parametrize(("task", "answer"), [("wipe", "wiped"), ("more", "granted 5")])
def test_run_that_waits_for_a_person_says_so_with_a_code_and_a_command(
    place: tuple[Path, tuple[str, ...]], task: str, answer: str
) -> None:
    """Code 4; the id of the question and the command that answers it are in JSON."""
    folder, options = place
    asked = organism(folder, "run", task, *options, "--json")
    report = json.loads(asked.stdout)
    (approval,), (way,) = report["approvals"], report["go_on"]

    assert (asked.returncode, report["outcome"]) == (exit_codes.WAITS, "waiting")
    assert approval["id"] in way
    code, said = paste(folder, way)
    assert (code, answer in said) == (0, True), said


def test_ask_prints_what_answers_raises_and_shows(place: tuple[Path, tuple[str, ...]]) -> None:
    """A question and a refusal in a daemon come with commands that go to just that daemon."""
    folder, options = place
    with daemon(folder, *options):
        with closing(start(folder, "ask", "wipe", *options)) as asking:
            assert asking.stderr is not None
            told = asking.stderr.readline()
            found = re.search(r"to answer \(allow or deny\): (organism approvals allow .*)", told)
            assert found is not None, told
            assert paste(folder, found[1]) == (0, "allowed\n")
            assert asking.communicate()[0] == "wiped\n"
        refused = organism(folder, "ask", "hello", "--budget-calls", "1", *options)
        ways = re.search(r"to go on: (organism budget raise .*)\n.*says: (organism thread .*)\n", refused.stderr)
        assert ways is not None, refused.stderr
        assert refused.returncode == exit_codes.EXHAUSTED
        assert paste(folder, ways[1])[0] == 0
        assert paste(folder, ways[2])[0] == 0
        waits = organism(folder, "send", "wipe", *options).stdout.strip()
        listed = organism(folder, "threads", *options).stdout
        shown = organism(folder, "thread", waits, *options).stdout
        found = re.search(r"waits for a person \(allow or deny\): (organism approvals allow (\S+).*)", shown)
        assert found is not None, shown
        assert f"head 1 for a person: {found[2]}" in listed
        assert paste(folder, found[1]) == (0, "allowed\n")


@pytest.mark.parametrize("dash", [(), ("-",)], ids=["nothing", "dash"])
@pytest.mark.parametrize("command", ["run", "ask", "send"])
def test_misspelt_option_is_no_task(
    command: str, dash: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the task from standard input never makes a task of an option that does not exist."""
    monkeypatch.setattr("sys.stdin", None)
    assert call([command, *dash, "--budgt-usd", "1"]) == exit_codes.USAGE
    assert "Unknown option" in capsys.readouterr().err
