"""A run that waits for a person says so, shows what is asked, and goes on with the answer."""

import json
import re
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.commands import daemon, organism, start

YAML = """\
name: kitchen
entry: head
python_path: [.]
agents:
  head: {handler: hands:head}
"""

HANDS = '''\
from organism import Context, Text


async def head(message: Text, ctx: Context) -> Text:
    """Ask before doing anything."""
    decision = await ctx.approval("wipe", message.text)
    return Text("wiped" if decision.allowed else "left alone")
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An organism that asks before it acts."""
    (tmp_path / "organism.yaml").write_text(YAML)
    (tmp_path / "hands.py").write_text(HANDS)
    return tmp_path


@pytest.mark.parametrize(("option", "answer"), [("--allow", "wiped"), ("--deny", "left alone")])
def test_run_waits_and_goes_on_with_the_answer(folder: Path, option: str, answer: str) -> None:
    """Nothing happens before the answer, which is a command that the run itself has printed."""
    asked = organism(folder, "run", "the disk")
    found = re.search(r"organism resume (\S+) --allow (\S+)", asked.stdout)
    assert found is not None, asked.stdout
    (listed,) = json.loads(organism(folder, "threads", "--json").stdout)
    answered = organism(folder, "resume", found[1], option, found[2])
    again = organism(folder, "resume", found[1], option, found[2])

    assert asked.returncode == 4
    assert "head asks to use wipe: the disk" in asked.stdout
    waits = (listed["thread_id"], listed["state"], listed["waiting"], listed["approvals"])
    assert waits == (found[1], "blocked", "person", [found[2]]), "told without a daemon too"
    assert answered.returncode == 0
    assert answer in answered.stdout
    assert (again.returncode, "nothing waits" in again.stderr) == (2, True)


def test_run_that_keeps_nothing_says_that_it_cannot_wait(folder: Path) -> None:
    """Without a state folder there is nobody to go on later, and the run says so."""
    asked = organism(folder, "run", "the disk", "--ephemeral")

    assert asked.returncode == 4
    assert "keeps nothing" in asked.stdout


def test_daemon_is_answered_from_the_command_line(folder: Path) -> None:
    """Whoever asked is told that it waits; the list shows what for; the answer reaches whoever asked."""
    with daemon(folder), closing(start(folder, "ask", "the disk")) as asking:
        assert asking.stderr is not None
        told = asking.stderr.readline()
        (asked,) = json.loads(organism(folder, "approvals", "--json").stdout)
        listed = organism(folder, "approvals").stdout
        allowed = organism(folder, "approvals", "allow", asked["id"], "--note", "go on")
        answer, _ = asking.communicate()
        after = organism(folder, "approvals").stdout
        twice = organism(folder, "approvals", "deny", asked["id"])

    assert f"head asks to use wipe and waits; to answer (allow or deny): organism approvals allow {asked['id']}" in told
    assert (asked["what"], asked["detail"]) == ("wipe", "the disk")
    assert f"{asked['id']} head asks to use wipe" in listed
    assert "the disk" in listed
    assert (allowed.returncode, allowed.stdout) == (0, "allowed\n")
    assert (asking.returncode, answer) == (0, "wiped\n")
    assert after == "nothing waits for a person\n"
    assert "was allowed before, and that answer counts" in twice.stderr
