"""A run that waits for a person says so, shows what is asked, and goes on with the answer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def organism(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "organism", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert "Traceback" not in result.stderr + result.stdout
    return result


@pytest.mark.parametrize(("option", "answer"), [("--allow", "wiped"), ("--deny", "left alone")])
def test_run_waits_and_goes_on_with_the_answer(folder: Path, option: str, answer: str) -> None:
    """Nothing happens before the answer, which is a command that the run itself has printed."""
    asked = organism(folder, "run", "the disk")
    found = re.search(r"organism resume (\S+) --allow (\S+) \(or --deny\)", asked.stdout)
    assert found is not None, asked.stdout
    answered = organism(folder, "resume", found[1], option, found[2])
    again = organism(folder, "resume", found[1], option, found[2])

    assert asked.returncode == 1
    assert "head asks to use wipe: the disk" in asked.stdout
    assert answered.returncode == 0
    assert answer in answered.stdout
    assert (again.returncode, "nothing waits" in again.stderr) == (2, True)


def test_run_that_keeps_nothing_says_that_it_cannot_wait(folder: Path) -> None:
    """Without a state folder there is nobody to go on later, and the run says so."""
    asked = organism(folder, "run", "the disk", "--ephemeral")

    assert asked.returncode == 1
    assert "keeps nothing" in asked.stdout
