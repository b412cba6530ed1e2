"""Every command, whatever it is called: the tree of commands is walked, so that none is forgotten."""

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cyclopts import App

from organism.__main__ import HELP, HELP_COLUMNS
from organism.cli import app, exits

ROOT = Path(__file__).parent.parent.parent
OPERATING = (ROOT / "docs" / "OPERATING.md").read_text(encoding="utf-8")

NO_JSON = {
    "daemon": "prints nothing; its log is JSON with --log-format json",
    "ledger export": "prints JSON, or with --form csv something else",
}


def commands(tree: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Callable[..., int]]]:
    """Yield every command that does something, with its whole name."""
    for name in tree:
        if not name.startswith("-"):
            if (command := tree[name].default_command) is not None:
                yield " ".join((*path, name)), command
            yield from commands(tree[name], (*path, name))


COMMANDS = dict(commands(app))


def organism(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command where there is no daemon."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, "-m", "organism", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**kept, "COLUMNS": str(HELP_COLUMNS), "NO_COLOR": "1", **environment},
    )


def test_page_of_help_is_what_the_commands_make_of_it(tmp_path: Path) -> None:
    """The page that lies ready says what the command line would: remake it as the message says if this fails."""
    make = "import sys; sys.argv = ['organism', '--help']; from organism.cli import main; main()"
    kept = {**os.environ, "COLUMNS": str(HELP_COLUMNS), "NO_COLOR": "1"}
    made = subprocess.run(
        [sys.executable, "-c", make], capture_output=True, text=True, timeout=60, check=True, env=kept
    )
    how = f'COLUMNS={HELP_COLUMNS} NO_COLOR=1 python -c "{make}" > organism/cli/help.txt'
    assert made.stdout == HELP.read_text(encoding="utf-8"), how
    assert organism("--help", folder=tmp_path).stdout == organism(folder=tmp_path).stdout == made.stdout
    narrow = organism("--help", folder=tmp_path, COLUMNS="60").stdout
    assert max(map(len, narrow.splitlines())) <= 60


def test_help_is_there_before_the_command_line_is_imported(tmp_path: Path) -> None:
    """It takes a fifth of the 150 ms it may: nothing heavy is imported for it."""
    command = [sys.executable, "-X", "importtime", "-m", "organism", "--help"]
    environment = {**os.environ, "COLUMNS": "100"}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=environment)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "organism" in imported
    assert not {"cyclopts", "rich", "msgspec", "structlog", "anyio"} & imported


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_json(name: str, tmp_path: Path) -> None:
    """Each says what it does in a sentence, and prints JSON if asked to, or says why it need not."""
    command = COMMANDS[name]
    assert (inspect.getdoc(command) or "").partition("\n")[0].endswith(".")
    assert ("json" in inspect.signature(command).parameters) is (name not in NO_JSON)


OPTIONS = {
    "token make": ("--scope", "read"),
    "budget raise": ("--calls", "1"),
    "budget lower": ("--calls", "1"),
    "budget adjust": ("--reason", "a refund", "--usd=-0.50", "--yes"),
}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in NO_JSON])
def test_every_command_ends_with_a_code_of_its_own_where_there_is_nothing(name: str, tmp_path: Path) -> None:
    """No daemon, no file, no state: each does its work or says in one line what is missing, with a documented code."""
    parameters = inspect.signature(COMMANDS[name]).parameters.values()
    places = [one for one in parameters if one.default is one.empty and one.kind is not one.KEYWORD_ONLY]
    given = ["audit"] if name == "mode" else ["x" for _ in places]
    result = organism(*name.split(), *given, *OPTIONS.get(name, ()), "--json", folder=tmp_path)
    assert result.returncode in {exits.OK, exits.FAILED, exits.USAGE, exits.UNREACHABLE}, result.stderr
    assert "Traceback" not in result.stderr
    if result.stdout:
        json.loads(result.stdout)
    if result.returncode != exits.OK:
        assert result.stderr.startswith("organism: "), result.stderr
        assert result.stderr.count("\n") == 1


def test_exit_codes_are_documented_as_they_are() -> None:
    """Every code of the code is in the sentence of the documents, and no other."""
    sentence = OPERATING[OPERATING.index("Exit codes: ") :].partition(".")[0]
    documented = {int(code) for code in re.findall(r"\b(\d+) [a-z]", sentence)}
    assert documented == {value for name, value in vars(exits).items() if name.isupper()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_each_shell_knows_every_command(shell: str) -> None:
    """The script that --install-completion installs offers the commands, those within others too."""
    script = app.generate_completion(shell=shell)
    words = {word for name in COMMANDS for word in name.split()}
    assert {word for word in words if word not in script} == set()


def test_every_command_is_in_the_documents() -> None:
    """Whoever reads about operating meets each command once at least."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rest = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    assert [name for name in COMMANDS if name.split()[0] not in readme + rest] == []
