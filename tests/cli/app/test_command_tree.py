"""Every command, whatever it is called: the tree of commands is walked, so that none is forgotten."""

import inspect
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cyclopts import App

from organism.cli import exit_codes
from organism.cli.app import call, command_tree
from organism.cli.commands import SYNONYMS, Command, every_command

ROOT = Path(__file__).parents[3]
OPERATING = (ROOT / "docs" / "OPERATING.md").read_text(encoding="utf-8")

NO_JSON = {
    "daemon": "prints nothing; its log is JSON with --log-format json",
    "ledger export": "prints JSON, or with --form csv something else",
}


def commands(tree: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Callable[..., int]]]:
    """Yield every command that does something, with its whole name; aliases are left out."""
    aliases = {alias for command in every_command() for alias in command.aliases} if not path else set()
    for name in tree:
        if name in aliases:
            continue
        if not name.startswith("-"):
            if (command := tree[name].default_command) is not None:
                yield " ".join((*path, name)), command
            yield from commands(tree[name], (*path, name))


COMMANDS = dict(commands(command_tree()))


def test_overview_names_every_command_and_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing, --help, -h and help show one page: each command with its other names, as narrow as the terminal is."""
    monkeypatch.setenv("COLUMNS", "60")
    pages = []
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        assert call(arguments) == exit_codes.OK
        pages.append(capsys.readouterr().out)
    assert set(pages) == {pages[0]}
    assert max(map(len, pages[0].splitlines())) <= 60
    for command in every_command():
        assert re.search(
            rf"^  {', '.join((command.name, *command.aliases))}  +{command.summary[:10]}", pages[0], re.MULTILINE
        )


def test_overview_is_there_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """It may take 150 ms: neither the library that reads command lines nor the one that draws is imported for it."""
    command = [sys.executable, "-X", "importtime", "-m", "organism", "--help"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "organism" in imported
    assert not {"cyclopts", "rich", "msgspec", "structlog", "anyio", "asyncio", "inspect"} & imported


@pytest.mark.parametrize("command", every_command(), ids=lambda command: command.name)
def test_summary_is_what_the_command_says_of_itself(command: Command) -> None:
    """The overview and a command's own page tell the same, though the overview imports none of them."""
    found = command_tree()[command.name]
    if found.default_command is not None and not command.target.endswith(":app"):
        assert (inspect.getdoc(found.default_command) or "").partition("\n")[0] == command.summary
    else:
        assert found.help == command.summary


@pytest.mark.parametrize("command", [one for one in every_command() if one.aliases], ids=lambda command: command.name)
def test_alias_calls_its_command(command: Command) -> None:
    """The names that users try first work: validate, logs, kill."""
    for alias in command.aliases:
        assert command_tree()[alias] is command_tree()[command.name]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("statsu", "status"),
        ("thread2", "thread"),
        ("vaildate", "validate"),
        *((tried, command) for command, names in SYNONYMS.items() for tried in names),
    ],
)
def test_mistyped_or_foreign_name_leads_to_the_command(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no command is answered in one line with the command that was probably meant."""
    assert call([typed, "--json"]) == exit_codes.USAGE
    said = capsys.readouterr().err
    assert said.startswith(f"organism: unknown command '{typed}'; did you mean '{meant}'")
    assert said.count("\n") == 1


def test_synonyms_are_no_commands() -> None:
    """A suggestion is made only for what calls nothing, and always of a command that there is."""
    names = {name for command in every_command() for name in (command.name, *command.aliases)}
    tried = [name for names_tried in SYNONYMS.values() for name in names_tried]
    assert not names & set(tried)
    assert {command.partition(" ")[0] for command in SYNONYMS} <= names
    for command in SYNONYMS:
        assert call([*command.split(), "--help"]) == exit_codes.OK
    assert len(tried) == len(set(tried))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "standard input is empty; say what to do"),
        (["ask", "-"], "standard input is empty; say what to do"),
        (["token", "revoke"], "organism token revoke needs NAME. See: organism token revoke --help"),
        (["budget", "raise", "x", "--calls", "-1"], "perhaps: organism budget lower x --calls 1"),
        (["budget", "raise", "x", "--usd=-0.50"], "perhaps: organism budget lower x --usd 0.50"),
        (["budget", "raise", "x", "--percent", "-5"], "perhaps: organism budget lower x --percent 5"),
        (["budget", "lower", "x", "--tokens", "-1"], "perhaps: organism budget raise x --tokens 1"),
        (["run", "x", "--nope"], "Unknown option: --nope"),
        (["mode", "of"], '"of"'),
        (["budget", "rase", "x"], 'Did you mean "raise"?'),
        (["budget", "raise", "x", "--tokens", "1e3"], "no whole number"),
        (["token", "make", "x", "--scope", "nope"], "organism token make --help"),
    ],
)
def test_wrong_command_line_is_one_line_that_names_the_page(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing, unknown or unreadable argument is told in one line, with code 2 and nothing done."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert call(arguments) == exit_codes.USAGE
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("organism: ")
    assert error.count("\n") == 1


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
def test_every_command_ends_with_a_code_of_its_own_where_there_is_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No daemon, no file, no state: each does its work or says in one line what is missing, with a documented code."""
    parameters = inspect.signature(COMMANDS[name]).parameters.values()
    places = [one for one in parameters if one.default is one.empty and one.kind is not one.KEYWORD_ONLY]
    given = ["audit"] if name == "mode" else ["x" for _ in places]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("x"))
    code = call([*name.split(), *given, *OPTIONS.get(name, ()), "--json"])
    out, error = capsys.readouterr()
    known = {exit_codes.OK, exit_codes.FAILED, exit_codes.USAGE, exit_codes.UNREACHABLE, exit_codes.NOT_FOUND}
    assert code in known, error
    if out:
        json.loads(out)
    if code != exit_codes.OK:
        assert error.startswith("organism: "), error
        assert error.count("\n") == 1


def test_exit_codes_are_documented_as_they_are() -> None:
    """Every code of the code is in the sentence of the documents, and no other."""
    sentence = OPERATING[OPERATING.index("Exit codes: ") :].partition(".")[0]
    documented = {int(code) for code in re.findall(r"\b(\d+) [a-z]", sentence)}
    assert documented == {value for name, value in vars(exit_codes).items() if name.isupper()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_each_shell_knows_every_command(shell: str) -> None:
    """The script that --install-completion installs offers the commands, those within others too."""
    script = command_tree().generate_completion(shell=shell)
    words = {word for name in COMMANDS for word in name.split()}
    assert {word for word in words if word not in script} == set()


def test_every_command_is_in_the_documents() -> None:
    """Whoever reads about operating meets each command once at least."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rest = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    assert [name for name in COMMANDS if name.split()[0] not in readme + rest] == []


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        (["thread"], "organism thread needs THREAD"),
        (["budget", "raise"], "organism budget raise needs ACCOUNT"),
        (["approvals", "deny"], "organism approvals deny needs APPROVAL"),
        (["mode"], "organism mode needs MODE"),
    ],
)
def test_argument_that_is_lacking_is_called_as_the_help_calls_it(
    command: list[str], needs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no option, and is not said to be one; the line ends with the page that explains it."""
    assert call(command) == exit_codes.USAGE
    assert capsys.readouterr().err == f"organism: {needs}. See: organism {' '.join(command)} --help\n"
    assert call([*command, "--help"]) == exit_codes.OK
    assert needs.rpartition(" ")[2] in capsys.readouterr().out.splitlines()[0]
