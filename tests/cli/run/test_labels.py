"""Labels on the command line: whose a run is, and whose each thread of a token is."""

import json
from pathlib import Path

import httpx2
import pytest

from organism.daemon.state_folder import read_address
from tests.cli.commands import daemon, organism

YAML = """\
name: quick
entry: writer
limits: {labels: {tenant: {calls: 1, per: lifetime}}}
llm:
  providers: {fake: {type: scripted, answers: ["one two three"]}}
  models: {main: fake/any}
agents: {writer: {model: main}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "organism.yaml").write_text(YAML)
    return tmp_path


def test_run_with_a_label_spends_from_its_account(folder: Path) -> None:
    """The second run of a tenant is refused by what the first has spent, and another tenant's is not."""
    ran = [organism(folder, "run", "hi", "--label", f"tenant={each}", "--json") for each in ("acme", "acme", "globex")]
    assert [each.returncode for each in ran] == [0, 3, 0]
    reports = [json.loads(each.stdout) for each in ran]
    assert [each["refusals"][-1]["account"] for each in reports if each["refusals"]] == ["label:tenant=acme@lifetime"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("tenant",), "write a label as name=value, not 'tenant'"),
        (("=acme",), "write a label as name=value, not '=acme'"),
        (("a=1", "a=2"), "label 'a' has two values, '1' and '2'"),
    ],
)
def test_what_is_no_label_is_refused_before_anything_is_run(folder: Path, wrong: tuple[str, ...], said: str) -> None:
    """It is told in a line, with code 2, and leaves no state behind."""
    refused = organism(folder, "run", "hi", *(part for each in wrong for part in ("--label", each)))
    assert (refused.returncode, refused.stderr.count("\n"), said in refused.stderr) == (2, 1, True), refused.stderr
    assert not (folder / ".organism").exists()


def test_token_made_with_a_label_opens_threads_of_that_label(folder: Path) -> None:
    """The list of tokens shows it, and so do the threads."""
    with daemon(folder):
        secret = organism(folder, "token", "make", "ci", "--scope", "send", "--label", "tenant=acme").stdout.strip()
        assert "ci: send; labels tenant=acme" in organism(folder, "token", "list").stdout.splitlines()
        address = read_address(folder / ".organism")
        assert address is not None
        headers = {"authorization": f"Bearer {secret}"}
        opened = httpx2.post(f"{address.url}/v1/threads", json={"text": "hi"}, headers=headers, timeout=60)
        shown = organism(folder, "thread", opened.json()["thread_id"]).stdout
        assert "tenant=acme" in shown.splitlines()[0]
        wrong = organism(folder, "token", "make", "x", "--scope", "operate", "--label", "tenant=acme")
        assert (wrong.returncode, "labels bind no token that may operate" in wrong.stderr) == (2, True), wrong.stderr
