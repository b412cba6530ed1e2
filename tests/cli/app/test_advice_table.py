"""Every remedy in one table: the situation is made, the command is taken out of what is printed, and run as it stands.

What is printed must work from the folder where the user stands, with a configuration of another name and with another
state folder too; afterwards the situation is better.
"""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import venv
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx2
import pytest

from organism.cli import exit_codes
from organism.stores.batch import checksum
from tests.cli.app.test_advice import HANDS, YAML
from tests.cli.commands import daemon, organism, start, until_said

COMMAND = re.compile(r"(?:: |['`])(organism [a-z][^`\n]*)")
PLACES = {
    "plain": (),
    "file": ("--file", "other files/my organism.yaml"),
    "state": ("--state", "kept here"),
    "both": ("--file", "other files/my organism.yaml", "--state", "kept here"),
}


class Place:
    """A folder where a user stands, and the options with which each command is called there."""

    def __init__(self, folder: Path, options: tuple[str, ...]) -> None:
        self.folder, self.options = folder, options
        self.file = folder / (options[1] if "--file" in options else "organism.yaml")
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(YAML)
        (self.file.parent / "hands.py").write_text(HANDS)

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command with the options of this place; return its code and all that it prints."""
        result = organism(self.folder, *words, *self.options)
        return result.returncode, result.stdout + result.stderr

    def advised(self, said: str, verb: str) -> list[str]:
        """Return the words of the command with this verb that was printed."""
        found = [each.split("`")[0] for each in COMMAND.findall(said)]
        commands = [each for each in found if each.removeprefix("organism ").startswith(verb)]
        assert commands, said
        command = commands[-1]
        if f"'{command}" in said:  # in quotes, which end where the command does
            command = command.split("'")[0]
        return shlex.split(command)[1:]

    def paste(self, said: str, verb: str, code: int = exit_codes.OK) -> str:
        """Run the command with this verb that was printed, just as it was."""
        result = organism(self.folder, *self.advised(said, verb))
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    def program(self, secret: str) -> Callable[[], httpx2.Response]:
        """Return what asks the main model through the gateway of the daemon that runs here, with a token."""
        url = self.run("dashboard")[1].partition("/#")[0]
        return partial(
            httpx2.post,
            f"{url}/v1/chat/completions",
            json={"model": "main", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
            headers={"authorization": f"Bearer {secret}"},
        )


def no_daemon(place: Place) -> None:
    """What needs a daemon says how to start this one."""
    code, said = place.run("send", "hello")
    assert code == exit_codes.UNREACHABLE
    with closing(start(place.folder, *place.advised(said, "daemon"), "--port", "0", "--log-format", "json")) as running:
        assert running.stderr is not None
        while '"ready"' not in running.stderr.readline():
            assert running.poll() is None
        assert place.run("send", "hello")[0] == exit_codes.OK


def second_daemon(place: Place) -> None:
    """A folder with an owner says how to end that."""
    with daemon(place.folder, *place.options) as running:
        code, said = place.run("daemon")
        assert code == exit_codes.USAGE
        place.paste(said, "stop")
        assert running.wait() == 0
        with daemon(place.folder, *place.options):
            pass


def frozen(place: Place) -> None:
    """A freeze says how it is lifted: where it is made, in the status, and to whom waits for it."""
    with daemon(place.folder, *place.options):
        said = place.run("freeze", "--label", "tenant=a b")[1]
        assert "nothing is frozen" in place.paste(said, "unfreeze")
        place.run("freeze", "--label", "tenant=a b", "--reason", "it's late")
        assert "nothing is frozen" in place.paste(place.run("status")[1], "unfreeze")
        place.run("freeze")
        code, said = place.run("ask", "hello")
        assert code == exit_codes.EXHAUSTED
        thread = json.loads(place.run("threads", "--json")[1])[0]["thread_id"]
        assert place.advised(place.run("thread", thread)[1], "unfreeze") == place.advised(said, "unfreeze")
        assert "nothing is frozen" in place.paste(said, "unfreeze")


def wrong_way(place: Place) -> None:
    """A step whose sign says the opposite of its verb names the verb that is meant."""
    with daemon(place.folder, *place.options):
        thread = place.run("send", "wipe", "--budget-calls", "5")[1].strip()
        for verb, other, then in (("lower", "raise", 7), ("raise", "lower", 5)):
            code, said = place.run("budget", verb, thread, "--calls", "-2")
            assert code == exit_codes.USAGE
            place.paste(said, f"budget {other}")
            assert json.loads(place.run("budget", "show", thread, "--json")[1])["limits"]["calls"] == then


def asked(place: Place) -> None:
    """The status says where questions are listed."""
    with daemon(place.folder, *place.options):
        place.run("send", "wipe")
        assert "wipe" in place.paste(place.run("status")[1], "approvals")


def gateway(place: Place) -> None:
    """A key that gets other limits, and a program that is refused, are told how its thread goes on."""
    place.file.write_text(YAML + "gateway: {tokens: true}\n")
    with daemon(place.folder, *place.options) as running:
        secret = place.run("token", "make", "ci", "--scope", "send", "--calls", "1")[1].split()[-1]
        assert "budget raise" not in place.run("token", "limit", "ci", "--calls", "1")[1]
        call = place.program(secret)
        assert call().status_code == 200
        refused = call()
        assert refused.status_code == 402
        place.paste(place.run("token", "limit", "ci", "--calls", "2")[1], "budget raise")
        assert call().status_code == 200
        refused = call()
        if not place.options:  # who asks may be anybody: where the daemon's files are is told to its operator only
            place.paste(refused.json()["error"]["message"], "budget raise")
            assert call().status_code == 200
        assert running.poll() is None


def damaged(place: Place) -> None:
    """A ledger that cannot be read says what names the damage."""
    place.run("run", "hello")
    folder = Path(place.folder, "kept here") if "--state" in place.options else place.file.parent / ".organism"
    with closing(sqlite3.connect(folder / "journal.db")) as database:
        database.execute('UPDATE entries SET body = \'{"type":"no"}\' WHERE seq = 2')
        database.commit()
    code, said = place.run("run", "hello")
    assert code != exit_codes.OK
    told = place.paste(said, "ledger verify", exit_codes.FAILED)
    assert "2" in told


def no_file(place: Place) -> None:
    """A configuration that is not there says how one is got."""
    place.file.unlink()
    place.file.parent.joinpath("hands.py").unlink()
    code, said = place.run("run", "hello")
    assert code == exit_codes.USAGE
    place.paste(said, "init")
    assert (place.file.parent / "organism.yaml").is_file()


def nothing_here(place: Place) -> None:
    """Where there is neither a daemon nor a configuration, what needs a daemon says how one begins."""
    place.file.unlink()
    place.file.parent.joinpath("hands.py").unlink()
    for words in (("status",), ("threads",), ("send", "hello"), ("budget", "show")):
        code, said = place.run(*words)
        assert code == exit_codes.UNREACHABLE
    place.paste(said, "init")
    assert (place.file.parent / "organism.yaml").is_file()


def looping(place: Place) -> None:
    """A breaker says how its thread goes on; lists say only what has happened."""
    place.file.write_text(YAML + "breakers: {repeat: 2, actions: [pause]}\n")
    with daemon(place.folder, *place.options):
        thread = place.run("send", "hello")[1].strip()
        said = until(place, "paused", "thread", thread)
        assert "organism unpause" not in place.run("threads")[1]
        place.paste(said, "unpause")
        until(place, "completed", "threads", "--all")


def set_aside(place: Place) -> None:
    """What no start could read is told of in the log, with the command that lists it."""
    with daemon(place.folder, *place.options):
        thread = place.run("send", "wipe")[1].strip()
        until(place, "a person", "threads")
    folder = Path(place.folder, "kept here") if "--state" in place.options else place.file.parent / ".organism"
    with closing(sqlite3.connect(folder / "journal.db")) as database:
        key, body = "msg:strange", '{"of": "no kind that is known"}'
        row = (key, thread, body, checksum(key, thread, body))
        database.execute("INSERT INTO pieces (key, thread_id, body, checksum) VALUES (?, ?, ?, ?)", row)
        database.commit()
    words = ("daemon", "--port", "0", "--log-format", "json", *place.options)
    with closing(start(place.folder, *words)) as running:
        assert running.stderr is not None
        lines = []
        while '"ready"' not in (line := running.stderr.readline()):
            assert running.poll() is None
            lines.append(line)
    (told,) = [json.loads(line) for line in lines if '"pieces_set_aside"' in line]
    result = organism(place.folder, *shlex.split(told["see"])[1:], *place.options)
    assert (result.returncode, key in result.stdout) == (exit_codes.OK, True), result.stderr


def until(place: Place, word: str, *command: str) -> str:
    """Return what a command prints, once there is a word in it."""
    return until_said(word, lambda: place.run(*command)[1])


def test_command_is_named_as_it_was_called(tmp_path: Path) -> None:
    """Where the environment is not active, what is printed has the path that was typed, in another folder too."""
    Place(tmp_path, ("--state", "kept here"))
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "80"}
    (tmp_path / "my env").mkdir()
    program = tmp_path / "my env" / "organism"
    program.write_text(f"#!{sys.executable}\nfrom organism.cli.app import main\nmain()\n")
    program.chmod(0o755)

    def typed(command: str) -> tuple[int, str]:
        shell = ["/bin/sh", "-c", command]
        done = subprocess.run(shell, cwd=tmp_path, env=bare, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    refused = typed("'my env/organism' run hello --budget-calls 1 --state 'kept here'")[1]
    (way,) = re.findall(r"go on with a higher limit: (.*)", refused)
    assert way.startswith("'my env/organism' resume ")
    assert typed(way)[0] == 0
    absent = typed("'my env/organism' send hello --state 'kept here'")[1]
    assert re.search(r"`('my env/organism' daemon --state 'kept here')`", absent), absent
    begun = typed("'my env/organism' init demo --template tools")[1].splitlines()
    steps = begun[next(number for number, line in enumerate(begun) if line.startswith("cd ")) :]
    assert [shlex.split(steps[0]), shlex.split(steps[1])[1:]] == [["cd", "demo"], ["-m", "pytest"]]
    code, said = typed("\n".join(["set -e", steps[0], steps[1], steps[2], "echo 'OPENAI_API_KEY=x' > .env", steps[-1]]))
    assert (code, "organism.yaml is right" in said) == (0, True), said


def test_missing_package_is_installed_by_a_python_that_has_pip(tmp_path: Path) -> None:
    """Also where the environment was made without pip and is active, so that ``python3`` is the one without."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    script = f"import sys; sys.path[:0] = {sys.path!r}\n"
    script = "import importlib.util as u; u.find_spec = lambda name: None\n" + script
    script += "from organism.error_root import install; print(install('organism-runtime[daemon]'))"
    env = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    told = subprocess.run([python, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
    words = shlex.split(told)
    assert words[3:] == ["--python", str(python), "install", "organism-runtime[daemon]"]
    subprocess.run([*words[:3], "--version"], env=env, capture_output=True, check=True)


SITUATIONS: dict[str, Callable[[Place], None]] = {
    made.__name__: made
    for made in (
        no_daemon,
        second_daemon,
        frozen,
        wrong_way,
        asked,
        gateway,
        damaged,
        no_file,
        nothing_here,
        looping,
        set_aside,
    )
}


@pytest.mark.parametrize("options", PLACES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_remedy_works_when_it_is_pasted(situation: str, options: str, tmp_path: Path) -> None:
    """The command that is printed goes to the same file, folder and daemon, and helps."""
    SITUATIONS[situation](Place(tmp_path, PLACES[options]))
