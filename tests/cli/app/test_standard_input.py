"""A task that is piped in is the task: for a run, and for what is sent to a daemon."""

import io
import json
from contextlib import closing
from pathlib import Path

import pytest

from organism.cli import exit_codes
from organism.cli.app import call
from tests.cli.commands import start

YAML = """\
name: echo
entry: echo
python_path: [.]
agents: {echo: {handler: "standard_input_echo:echo"}}
"""
HANDLER = '''\
from organism import Context, Text


async def echo(message: Text, ctx: Context) -> Text:
    """Say it again."""
    return message
'''


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a configuration of an agent that says again what it is told."""
    (tmp_path / "standard_input_echo.py").write_text(HANDLER)
    (tmp_path / "organism.yaml").write_text(YAML)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "organism.yaml"


@pytest.mark.parametrize("given", [(), ("-",)], ids=["nothing", "dash"])
def test_run_does_what_is_piped_in(
    given: tuple[str, ...], file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All lines of it, wherever the options stand."""
    monkeypatch.setattr("sys.stdin", io.StringIO("first\n\nsecond é\n"))
    code = call(["run", *given, "--file", str(file), "--ephemeral", "--json"])
    assert (code, json.loads(capsys.readouterr().out)["answer"]) == (exit_codes.OK, "first\n\nsecond é")


@pytest.mark.parametrize(
    ("piped", "said"), [("", "is empty"), (" \n\t", "is empty"), ("caf\udcff", "is no text in UTF-8")]
)
@pytest.mark.parametrize("command", ["run", "ask", "send"])
def test_what_is_no_task_is_refused(
    command: str, piped: str, said: str, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing, or bytes that are no text, are told in a line with code 2."""
    monkeypatch.setattr("sys.stdin", io.StringIO(piped))
    assert call([command, "-", "--file", str(file)]) == exit_codes.USAGE
    error = capsys.readouterr().err
    assert (error.count("\n"), f"standard input {said}" in error) == (1, True), error


@pytest.mark.parametrize("words", [("--help",), ("prices", "gpt-5-mini"), ("init", "--help")])
def test_full_disk_behind_standard_output_is_said_in_a_line(words: tuple[str, ...], tmp_path: Path) -> None:
    """What cannot be printed is the machine's trouble, and no traceback of ours."""
    with Path("/dev/full").open("w") as full, closing(start(tmp_path, *words, stdout=full)) as running:
        code = running.wait()
        assert running.stderr is not None
        said = running.stderr.read()
    assert (code, said) == (exit_codes.FAILED, "organism: what is printed cannot be written: No space left on device\n")


def test_run_whose_output_cannot_be_written_says_so_once(file: Path) -> None:
    """It goes on to its end, because it is paid for; then one line says what happened, and the log nothing."""
    with Path("/dev/full").open("w") as full, closing(start(file.parent, "run", "hi", stdout=full)) as running:
        code = running.wait()
        assert running.stderr is not None
        said = running.stderr.read()
    assert (code, said) == (exit_codes.FAILED, "organism: what is printed cannot be written: No space left on device\n")
    assert call(["threads", "--all", "--file", str(file)]) == exit_codes.OK
