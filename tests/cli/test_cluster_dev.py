"""``organism cluster dev``: a database and daemons for trying, all of them gone afterwards."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.debian

FILE = """
name: house
entry: echo
python_path: [.]
agents: {echo: {handler: "mine:echo"}}
"""
CODE = """
async def echo(message, ctx):
    return message
"""


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def answers(folder: Path, state: str) -> bool:
    """Whether a node takes a message: while partitions spread it may say to come again."""
    asked = [sys.executable, "-m", "organism", "send", "hello", "--state", state]
    return any(subprocess.run(asked, cwd=folder, capture_output=True, check=False).stdout for _ in range(60))


def test_a_cluster_to_try_starts_and_leaves_nothing(tmp_path: Path) -> None:
    """Each node answers where it says, one that is killed is told, and Ctrl-C ends every process that was started."""
    (tmp_path / "organism.yaml").write_text(FILE)
    (tmp_path / "mine.py").write_text(CODE)
    command = [sys.executable, "-m", "organism", "cluster", "dev", "2", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            nodes = json.loads(line)["nodes"]
            assert [node["node"] for node in nodes] == ["n1", "n2"]
            assert all(answers(tmp_path, node["state"]) for node in nodes)
            os.kill(nodes[0]["pid"], signal.SIGKILL)
            assert "n1 has ended" in process.stderr.readline()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
        assert process.returncode == 0
        assert "stopping" in process.stderr.read()
    assert not any(is_there(node["pid"]) for node in nodes)
