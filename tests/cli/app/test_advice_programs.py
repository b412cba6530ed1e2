"""What is printed around a program's run, an exporter, a gateway and a model to fetch: pasted as it stands."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest

from organism.cli import exit_codes
from organism.providers.model_files import MODELS
from tests.cli.app.test_advice import YAML
from tests.cli.app.test_advice_table import PLACES, Place, until
from tests.cli.commands import Running, daemon, organism, start

LIMITED = YAML + "limits: {day: {calls: 100}}\n"
CALLS_TWICE = """
import json, os, sys, urllib.error, urllib.request
def ask():
    body = {"model": "main", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    head = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "content-type": "application/json"}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), head)) as answer:
        json.load(answer)
ask()
print("once", flush=True)
open(sys.argv[1]).read()
ask()
"""
"""A program that goes on when somebody writes to the pipe that it is given."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return a folder where a user stands, with or without another file and another state folder."""
    return Place(tmp_path, PLACES[request.param])


def told(running: Running, phrase: str) -> str:
    """Return the line of standard error that says something."""
    assert running.stderr is not None
    while phrase not in (line := running.stderr.readline()):
        assert line, f"never said: {phrase}"
    return line


def test_budget_of_a_program_is_raised_while_it_runs(place: Place) -> None:
    """The line that a run begins with raises its limit before the program meets it, and the last shows what it cost."""
    os.mkfifo(place.folder / "go")
    program = ("--budget-calls", "1", "--", sys.executable, "-c", CALLS_TWICE, "go")
    with closing(start(place.folder, "exec", *place.options, *program)) as running:
        raising = told(running, "to raise it meanwhile")
        assert running.stdout is not None
        assert running.stdout.readline() == "once\n"
        assert "1 of 2 calls" in place.paste(raising, "budget raise")
        (place.folder / "go").write_text("go")
        assert running.wait() == exit_codes.OK, running.stderr and running.stderr.read()
        ended = told(running, "what it cost")
    assert "**2** model calls" in place.paste(ended, "usage report")


def test_example_of_a_program_runs(tmp_path: Path) -> None:
    """Who names no program is shown how, with a command that works where there is such a program."""
    refused = organism(tmp_path, "exec")
    assert refused.returncode == exit_codes.USAGE
    (tmp_path / "agent.py").write_text("print('ran')")
    where = Place(tmp_path, ())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = organism(tmp_path, *where.advised(refused.stderr, "exec"), PATH=path)
    assert (done.returncode, done.stdout) == (exit_codes.OK, "ran\n"), done.stderr


@pytest.mark.parametrize("options", [PLACES["plain"], PLACES["file"]], ids=["plain", "file"])
def test_program_beside_a_daemon_that_counts_over_time_gets_a_token(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Where two ledgers would allow a day's limit twice, the daemon's own gateway is the way: with the token named."""
    place = Place(tmp_path, options)
    place.file.write_text(LIMITED + "gateway: {}\n")
    with daemon(place.folder, *place.options):
        refused = organism(tmp_path, "exec", *options, "--", sys.executable, "-c", "pass")
        assert refused.returncode == exit_codes.USAGE
        secret = place.paste(refused.stderr, "token make").split()[-1]
        found = re.search(r"OPENAI_BASE_URL=(\S+)/v1", refused.stderr)
        assert found is not None
        body = {"model": "main", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
        url, head = f"{found[1]}/v1/chat/completions", {"authorization": f"Bearer {secret}"}
        assert httpx2.post(url, json=body, headers=head).status_code == 200


def test_gateway_without_tokens_is_no_way_for_a_program(tmp_path: Path) -> None:
    """No token is recommended that the gateway would not take."""
    where = Place(tmp_path, ())
    where.file.write_text(LIMITED + "gateway: {tokens: false}\n")
    with daemon(tmp_path):
        refused = organism(tmp_path, "exec", "--", sys.executable, "-c", "pass")
    assert refused.returncode == exit_codes.USAGE
    assert "token make" not in refused.stderr


@pytest.fixture
def refusing() -> Iterator[str]:
    """Serve a system that takes no event."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(400)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_events_that_are_set_aside_are_listed(place: Place, refusing: str) -> None:
    """The status says where to look, and there the exporter is named with what the other side said."""
    place.file.write_text(YAML + f"exporters: {{bills: {{type: webhook, url: '{refusing}'}}}}\n")
    with daemon(place.folder, *place.options):
        assert place.run("ask", "hello")[0] == exit_codes.OK
        listed = place.paste(until(place, "set aside", "status"), "exporters")
        assert "bills" in listed
        assert "answered 400" in listed


def test_question_of_the_gateway_is_answered(tmp_path: Path) -> None:
    """A program that is refused until a person has answered is told how, and its next call goes through."""
    where = Place(tmp_path, ())
    rule = "thread: {calls: 2, thresholds: {50: approve}}"
    where.file.write_text(YAML + f"gateway: {{}}\nlimits: {{{rule}}}\n")
    with daemon(tmp_path):
        secret = where.run("token", "make", "ci", "--scope", "send")[1].split()[-1]
        call = where.program(secret)
        assert call().status_code == 200
        refused = call()
        assert refused.status_code == 402
        where.paste(refused.json()["error"]["message"], "approvals allow")
        assert call().status_code == 200


def test_model_that_did_not_come_is_fetched_by_the_command_that_is_named(tmp_path: Path) -> None:
    """Without a network the command is named; it asks again, and finds what has come meanwhile."""
    where = Place(tmp_path, ())
    alone = {"XDG_CACHE_HOME": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    failed = organism(tmp_path, "models", "fetch", **alone)
    assert failed.returncode == exit_codes.USAGE
    words = where.advised(failed.stderr, "models fetch")
    assert organism(tmp_path, *words, **alone).stderr == failed.stderr
    (known,) = (each for each in MODELS.values() if each.name == words[-1])
    file = tmp_path / "organism" / "models" / Path(known.member).name
    with file.open("wb") as made:
        made.truncate(known.size)
    assert organism(tmp_path, *words, **alone).stdout == f"{file}\n"
