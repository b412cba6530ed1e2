"""A run that stopped can be gone on with, and the ledger in its folder tells and proves what it cost."""

import json
from functools import partial
from pathlib import Path

import pytest
from anyio import to_thread

from organism.llm.requests import ToolCall
from organism.testing import ScriptedHTTPProvider
from organism.testing.http_provider import HTTPStep
from tests.cli.commands import organism

YAML = """\
name: quick
entry: planner
llm:
  providers:
    fake: {type: scripted, answers: ["one two three"]}
  models:
    main: fake/any
agents:
  planner: {model: main, next: [left, right]}
  left: {model: main, next: writer}
  right: {model: main, next: writer}
  writer: {model: main, gather: [left, right]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "organism.yaml").write_text(YAML)
    return tmp_path


def test_run_out_of_budget_goes_on_with_a_higher_limit_and_pays_nothing_twice(folder: Path) -> None:
    """What a run has paid for is there when it is resumed, and the sums are those of a run that never stopped."""
    blocked = json.loads(organism(folder, "run", "Write", "--budget-calls", "3", "--json").stdout)
    assert (blocked["outcome"], blocked["totals"]["calls"]) == ("blocked", 3)
    thread = blocked["thread_id"]
    assert organism(folder, "resume", thread).returncode == 3

    resumed = organism(folder, "resume", thread, "--budget-calls", "9", "--json")

    report = json.loads(resumed.stdout)
    assert resumed.returncode == 0
    assert (report["outcome"], report["answer"], report["totals"]["calls"]) == ("completed", "one two three", 4)
    again = json.loads(organism(folder, "resume", thread, "--json").stdout)
    assert (again["answer"], again["totals"]) == (report["answer"], report["totals"])


def test_new_run_leaves_unfinished_ones_alone(folder: Path) -> None:
    """Starting something new never spends money on what waits; it is still there afterwards."""
    first = json.loads(organism(folder, "run", "Write", "--budget-calls", "3", "--json").stdout)["thread_id"]

    assert organism(folder, "run", "Write").returncode == 0

    unknown = organism(folder, "resume", "nope")
    assert unknown.returncode == 2
    assert f"there are: {first}" in unknown.stderr


def test_ephemeral_run_keeps_nothing(folder: Path) -> None:
    """``--ephemeral`` leaves no state folder behind."""
    assert organism(folder, "run", "Write", "--ephemeral").returncode == 0

    assert not (folder / ".organism").exists()
    assert "no journal here" in organism(folder, "ledger", "verify").stderr


def test_ledger_is_verified_exported_and_explained(folder: Path) -> None:
    """The ledger proves itself, comes out as lines or a table, and tells a thread's holds; a touched one is named."""
    ran = json.loads(organism(folder, "run", "Write", "--budget-calls", "3", "--json").stdout)
    thread, tokens = ran["thread_id"], sum(ran["totals"]["usage"].values())

    assert "14 entries are right: 1 account open" in organism(folder, "ledger", "verify").stdout
    lines = organism(folder, "ledger", "export").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, 15))
    table = organism(folder, "ledger", "export", "--form", "csv").stdout.splitlines()
    assert (len(table), table[0][:13]) == (15, "seq,time,kind")
    story = organism(folder, "budget", "explain", thread)
    for expected in (
        "planner",
        "fake/any #1",
        "settled",
        "refused a call",
        "the call needs",
        f"charged {tokens} tokens",
    ):
        assert expected in story.stdout, expected
    assert organism(folder, "budget", "explain", "nope").returncode == 2

    import apsw

    database = apsw.Connection(str(folder / ".organism" / "journal.db"))
    seq = next(json.loads(line)["seq"] for line in lines if '"tokens":4' in line)
    database.execute("UPDATE entries SET body = replace(body, '\"tokens\":4', '\"tokens\":1') WHERE seq = ?", (seq,))
    database.close()
    touched = organism(folder, "ledger", "verify")
    assert (touched.returncode, touched.stdout[:8]) == (1, f"entry {seq} ")


ROUND = """\
name: round
entry: lead
python_path: ["."]
llm:
  providers:
    fake: {type: openai, base_url: "URL", api_key: "${env:KEY}"}
  models:
    main: {routes: [fake/any]}
breakers: {repeat: 3, actions: [note, pause]}
agents:
  lead: {handler: "lead:lead", peers: [searcher]}
  searcher: {model: main, tools: ["lead:search"]}
"""

LEAD = '''\
from organism import Context, Text, agent
from organism.tools import tool


@tool
def search(what: str) -> str:
    """Look something up."""
    return "nothing"


@agent(peers=["searcher"])
async def lead(message: Text, ctx: Context) -> Text:
    """Have it looked up."""
    return (await ctx.spawn("searcher", message)).message
'''


@pytest.mark.anyio
async def test_a_run_whose_child_goes_round_says_so_and_is_let_go_on_by_resume(tmp_path: Path) -> None:
    """What stands still and why is said by the run and by the list of its folder; the command it prints goes on."""
    again = HTTPStep(tool_calls=(ToolCall("c", "search", '{"what":"x"}'),))
    async with ScriptedHTTPProvider((again,)) as vendor:
        (tmp_path / "organism.yaml").write_text(ROUND.replace("URL", f"{vendor.url}/v1"))
        (tmp_path / "lead.py").write_text(LEAD)

        stopped = await to_thread.run_sync(partial(organism, tmp_path, "run", "go", KEY="k"))
        listed = json.loads((await to_thread.run_sync(partial(organism, tmp_path, "threads", "--json"))).stdout)
        thread = next(each["thread_id"] for each in listed if not each["parent_thread_id"])
        resumed = await to_thread.run_sync(partial(organism, tmp_path, "resume", thread, "--json", KEY="k"))

    assert stopped.returncode == 3
    assert "searcher goes round: the same result of tool 'search' came 3 times in a row; it was told" in stopped.stdout
    assert "came 6 times in a row; the thread was paused" in stopped.stdout
    assert f"resume {thread}" in stopped.stdout
    assert {each["state"] for each in listed} == {"paused"}
    assert all("came 6 times" in each["blocked_by"]["note"] for each in listed)
    report = json.loads(resumed.stdout)
    assert (report["outcome"], report["totals"]["calls"]) == ("paused", 9)
    assert "the breaker 'repeat' has tripped on agent searcher" in report["reason"]
