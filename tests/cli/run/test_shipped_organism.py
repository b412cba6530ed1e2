"""The shipped organism.yaml on the real model of this machine: what a newcomer sees in the first minute."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "organism", "run", "Write about tides", "--ephemeral", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_newcomer_sees_a_warning_arrive_and_an_agent_react_to_it() -> None:
    """The team finishes within its limits, and the Python agent asks for less once the warning has come."""
    result = run()

    assert result.returncode == 0, result.stderr
    assert "! 60 % of thread:" in result.stdout
    assert "editor -> writer  Say this in one sentence:" in result.stdout
    assert "of 2,048 (" in result.stdout, "how much of the context was used"
    for agent in ("planner", "facts", "people", "critic", "writer"):
        assert f"\n{agent}: " in result.stdout, f"{agent} made a call and it was counted"


def test_exhausted_budget_of_a_real_run_says_which_scope_refused() -> None:
    """A real model's call that does not fit is not made, and what was used before it is in the report."""
    result = run("--budget-tokens", "250", "--json")

    assert result.returncode == 3, result.stderr
    report = json.loads(result.stdout)
    refusal = report["refusals"][-1]
    assert refusal["account"] == f"thread:{report['thread_id']}"
    assert (refusal["dimension"], refusal["limit"]) == ("tokens", 250)
    spent = report["budgets"][0]["spent"]["tokens"]
    usage = report["totals"]["usage"]
    assert 0 < spent == usage["input"] + usage["output"] <= 250
