"""The benchmark runs what it is asked for, by the names that its help prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import named
from bench.catalog import WORKLOADS


def test_every_name_that_the_help_prints_runs_that_workload() -> None:
    """A whole name is one workload, a first word all that begin with it, and nothing is everything."""
    assert [named([name]) for name in WORKLOADS if " " in name] == [[name] for name in WORKLOADS if " " in name]
    assert named(["gateway"]) == ["gateway alone", "gateway together", "gateway streaming"]
    assert named(["W10", "W4 alone"]) == ["W4 alone", "W10"]
    assert named([]) == list(WORKLOADS)


@pytest.mark.parametrize("name", ["W11", "gateway all", "together", ""])
def test_an_unknown_name_is_refused_with_those_there_are(name: str) -> None:
    """Nothing is run silently as nothing: the sentence names what there is."""
    command = [sys.executable, "-m", "bench", "--quick", "W10", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 2
    assert f"there is no workload {name!r}; there are 'W1'" in done.stderr
    assert "'gateway alone'" in done.stderr
    assert "**W10**" not in done.stdout
