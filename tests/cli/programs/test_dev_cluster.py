"""``organism cluster dev``: a database and daemons for trying, all of them gone afterwards."""

import json
import os
import re
import shlex
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
agents: {echo: {handler: "mine:echo"}, painter: {handler: "mine:echo", node_label: gpu}}
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


def printed(process: "subprocess.Popen[str]") -> list[str]:
    """Return all lines of how to use a cluster, the last of which says how it ends."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if "Ctrl-C" in line:
            return lines
    raise AssertionError(lines)


def test_commands_of_a_cluster_to_try_work_as_they_are_printed(tmp_path: Path) -> None:
    """A node takes a message, the cluster is listed, and a node that is killed as it says is missed."""
    (tmp_path / "organism.yaml").write_text(FILE)
    (tmp_path / "mine.py").write_text(CODE)
    dev = [sys.executable, "-m", "organism", "cluster", "dev", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(dev, cwd=tmp_path, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            lines = printed(process)
            sends, kills = ([line for line in lines if line.startswith(word)] for word in ("organism send", "kill"))
            assert (len(sends), len(kills)) == (2, 2)
            assert all(pasted(tmp_path, line) for line in sends)
            (status,) = (line.partition(": ")[2] for line in lines if line.startswith("who has what"))
            listed = pasted(tmp_path, status)
            assert listed.count("running") > len(kills)
            (tmp_path / "organism.yaml").write_text(f"{FILE}limits: {{day: {{tokens: 1000}}}}\n")
            n1, n2 = (line.partition("--state")[2] for line in sends)
            assert "limits changed" in pasted(tmp_path, f"organism reload --state {n1}")
            told = " ".join(pasted(tmp_path, status).split())  # lines may be wrapped
            (advice,) = re.findall(r"n2 has another configuration .* run '(organism [^']+)' there", told)
            assert "limits changed" in pasted(tmp_path, f"{advice} --state {n2}")
            assert "another configuration" not in pasted(tmp_path, status)
            subprocess.run(shlex.split(kills[0]), check=True)
            assert "n1 has ended" in process.stderr.readline()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def pasted(folder: Path, command: str) -> str:
    """Run a command as it was printed, until it says something: while partitions spread it may say to come again."""
    words = [sys.executable, "-m", "organism", *shlex.split(command)[1:]]
    runs = (subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False) for _ in range(60))
    return next((run.stdout for run in runs if run.stdout), "")


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
            assert [(node["node"], node["labels"]) for node in nodes] == [("n1", ["gpu"]), ("n2", [])]
            for to in ("echo", "painter"):
                words = ("organism", "send", "hello", "--to", to, "--state")
                assert all(pasted(tmp_path, shlex.join((*words, node["state"]))) for node in nodes)
            os.kill(nodes[0]["pid"], signal.SIGKILL)
            assert "n1 has ended" in process.stderr.readline()
            assert "threads that need gpu wait" in process.stderr.readline()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
        assert process.returncode == 0
        assert "stopping" in process.stderr.read()
    assert not any(is_there(node["pid"]) for node in nodes)
