"""Reading the configuration of a running daemon again: real processes, real files, real providers over HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from organism.testing import HTTPStep, ScriptedHTTPProvider
from organism.testing.audit import audit_journal
from tests.cli.commands import organism, start

CONFIG = """\
name: desk
entry: clerk
python_path: [.]
limits: {{thread: {{tokens: 100000}}, day: {{usd: 5}}}}
prices: {{"first/m": {{input: 1, output: 2}}, "second/m": {{input: 1, output: 2}}}}
llm:
  providers:
    {provider}: {{type: openai, base_url: "{url}/v1", concurrency: {concurrency}}}
  models:
    main: {provider}/m
agents:
  clerk: {{handler: "desk:Clerk"}}
{agents}
"""
CLERK = """\
from organism import Context, Text

class Clerk:
    def __init__(self):
        self.seen = 0

    async def handle(self, message: Text, ctx: Context) -> Text:
        self.seen = mine = self.seen + 1
        answers = [(await ctx.llm.complete(f"{message.text} {n}", max_output_tokens=16)).text for n in range(3)]
        return Text(f"{mine} {' '.join(answers)}")
"""


class Desk:
    """A daemon, its file, and commands beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "organism.yaml"
        self.log = folder / "log"
        (folder / "desk.py").write_text(CLERK)

    def configure(self, provider: str, url: str, *, concurrency: int = 4, agents: str = "", more: str = "") -> None:
        """Write the configuration."""
        self.file.write_text(
            CONFIG.format(provider=provider, url=url, concurrency=concurrency, agents=agents) + more, encoding="utf-8"
        )

    def start(self) -> None:
        """Start the daemon."""
        options = ("--port", "0", "--log-format", "json")
        environment = {**os.environ, "DESK_KEY": "sk-desk-0123456789abcdef"}
        with self.log.open("ab") as log:
            self.process = start(self.folder, "daemon", *options, environment=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not (found := [line for line in self.log.read_text().splitlines() if '"ready"' in line]):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        self.url = json.loads(found[-1])["url"]
        self.token = (self.folder / ".organism" / "token").read_text().strip()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return organism(self.folder, *arguments)

    def stop(self) -> int:
        """Stop the daemon in good order."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def client(self) -> httpx2.AsyncClient:
        """Return a client of the daemon."""
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=60)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Return a desk whose daemon does not outlive the test."""
    made = Desk(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()


async def rest(client: httpx2.AsyncClient) -> None:
    """Wait until no thread is open."""
    with anyio.fail_after(60):
        while (await client.get("/v1/threads")).json()["threads"]:  # noqa: ASYNC110 - another process is what is waited for
            await anyio.sleep(0.05)


async def counted(client: httpx2.AsyncClient, calls: int) -> Any:
    """Return the usage once it has so many calls: an event counts when it is in the file, a moment after the end."""
    with anyio.fail_after(60):
        while (usage := (await client.get("/v1/usage")).json()["total"])["calls"] < calls:  # noqa: ASYNC110 - see rest
            await anyio.sleep(0.05)
    return usage


async def until_logged(desk: Desk, what: str) -> None:
    """Wait until the daemon has logged something."""
    with anyio.fail_after(60):
        while what not in desk.log.read_text():  # noqa: ASYNC110 - another process is what is waited for
            await anyio.sleep(0.05)


@pytest.mark.anyio
async def test_everything_is_swapped_under_load_and_nothing_is_lost(desk: Desk) -> None:
    """Provider, model, agents and limits change while threads run; calls are billed once, and the books agree."""
    slow = [HTTPStep(text="one two", delay_s=0.05)]
    async with ScriptedHTTPProvider(slow) as first, ScriptedHTTPProvider(slow) as second:
        desk.configure("first", first.url)
        desk.start()
        async with desk.client() as client:

            async def send(number: int) -> None:
                for _ in range(number):
                    assert (await client.post("/v1/threads", json={"text": "go"})).status_code == 202
                    await anyio.sleep(0.02)

            agents = '  echo: {handler: "desk:Clerk"}\n  writer: {model: main}\n'
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send, 60)
                for turn in range(4):
                    await anyio.sleep(0.3)
                    provider = ("second", second) if turn % 2 == 0 else ("first", first)
                    more = "thresholds: [50]\n" if turn % 2 else "bounds: {hops: 7}\n"
                    desk.configure(
                        provider[0], provider[1].url, concurrency=2 + turn, agents=agents * (turn % 2), more=more
                    )
                    done = (await client.post("/v1/reload")).json()["changes"]
                    assert any("llm.providers" in change for change in done), done
            await rest(client)
            day = next(b for b in (await client.get("/v1/budgets")).json() if b["account"].startswith("organism@day"))
            usage = await counted(client, day["spent"]["calls"])
        assert desk.stop() == 0
        assert min(len(first.bill), len(second.bill)) > 0

    assert day["spent"]["calls"] == usage["calls"] == 60 * 3 == len(first.bill) + len(second.bill)
    audit = audit_journal(desk.folder / ".organism" / "journal.db")
    assert audit.findings == []
    assert sum(audit.closed.values()) == 60
    assert {result.outcome for result in audit.results.values()} == {"completed"}
    recorded = sum(amounts.tokens for amounts in audit.recorded().values())
    assert recorded == first.billed.total + second.billed.total
    words = [json.loads(bytes(out))["text"].split() for result in audit.results.values() for out in result.outputs]
    assert sorted(int(word[0]) for word in words) == list(range(1, 61)), "a handler that stays keeps its state"


@pytest.mark.anyio
async def test_a_file_that_is_wrong_anywhere_changes_nothing(desk: Desk) -> None:
    """Whatever the mistake and wherever it shows, the command says it and the daemon goes on as before."""
    async with ScriptedHTTPProvider(["one"]) as provider, ScriptedHTTPProvider(["two"]) as other:
        desk.configure("first", provider.url)
        desk.start()
        mistakes = {
            "mode: loud\n": "organism.yaml:",
            "entry: [clerk\n": "organism.yaml:",
            'extra: {handler: "desk:Nobody"}\n': "organism.yaml:",
            "journal: {events_days: 3}\n": "cannot change journal",
            "daemon: {port: 99}\nname: other\n": "",
            "exporters: {x: {type: jsonl, path: a.jsonl}}\n": "cannot change exporters",
        }
        for mistake, phrase in mistakes.items():
            desk.configure("second", other.url, more=mistake)
            refused = await anyio.to_thread.run_sync(desk.command, "reload")
            assert refused.returncode == 2, (mistake, refused.stderr)
            assert phrase in refused.stderr
            assert "Traceback" not in refused.stderr
        desk.configure("second", other.url, agents='  more: {handler: "not_there:Nobody"}\n')
        refused = await anyio.to_thread.run_sync(desk.command, "reload")
        assert (refused.returncode, "not_there" in refused.stderr) == (2, True)
        answered = await anyio.to_thread.run_sync(desk.command, "ask", "hello")
        assert answered.stdout.strip() == "1 one one one"
        assert other.requests == []
        assert desk.stop() == 0


@pytest.mark.anyio
async def test_a_signal_reads_the_file_again_and_new_secrets_stay_out_of_the_log(desk: Desk) -> None:
    """SIGHUP does what the command does; a key that the file names only now is taken out of log lines too."""
    async with ScriptedHTTPProvider([HTTPStep(status=401, body="wrong key sk-desk-0123456789abcdef")]) as provider:
        desk.configure("first", provider.url)
        desk.start()
        text = desk.file.read_text().replace("concurrency: 4", 'api_key: "${env:DESK_KEY}", concurrency: 5')
        desk.file.write_text(text.replace("sk-", "") + "logging: {level: debug}\n")
        desk.process.send_signal(signal.SIGHUP)
        await until_logged(desk, '"reloaded"')
        await anyio.to_thread.run_sync(desk.command, "ask", "hello")
        assert provider.requests[0].headers["authorization"] == "Bearer sk-desk-0123456789abcdef"
        assert desk.stop() == 0
    log = desk.log.read_text()
    assert "llm.providers: first changed" in log
    assert "sk-desk-0123456789abcdef" not in log


SLOW = """\
import pathlib, time

pathlib.Path("begun").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.01)

async def handle(message, ctx): ...
"""


@pytest.mark.anyio
async def test_a_signal_to_end_is_obeyed_while_a_reload_takes_its_time(desk: Desk) -> None:
    """A reload waits for code that is imported, in a cluster for partitions, too: an operator may not want to."""
    desk.configure("first", "http://127.0.0.1:9")
    desk.start()
    (desk.folder / "slow.py").write_text(SLOW)
    desk.configure("first", "http://127.0.0.1:9", agents='  more: {handler: "slow:handle"}\n')
    try:
        desk.process.send_signal(signal.SIGHUP)
        with anyio.fail_after(60):
            while not (desk.folder / "begun").exists():  # noqa: ASYNC110 - another process is what is waited for
                await anyio.sleep(0.05)
        desk.process.send_signal(signal.SIGTERM)
        await until_logged(desk, '"draining"')
    finally:
        (desk.folder / "go").touch()
    assert await anyio.to_thread.run_sync(desk.process.wait) == 0


SIGNALLED_AT_ONCE = """\
import os, signal, sys
from organism.cli.app import main

class Signalling:
    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        self._stream.write(text)
        for said, number in (('"ready"', signal.SIGHUP), ('"reloaded"', signal.SIGTERM)):
            if said in text:
                os.kill(os.getpid(), number)

sys.stderr = Signalling(sys.stderr)
sys.argv = ["organism", "daemon", "--port", "0", "--log-format", "json"]
main()
"""


def test_a_signal_is_obeyed_as_soon_as_the_daemon_is_ready(tmp_path: Path) -> None:
    """Whoever signals when the daemon says so has the file read again, or an end in good order, and no dead daemon."""
    Desk(tmp_path).configure("first", "http://127.0.0.1:9")
    command = [sys.executable, "-c", SIGNALLED_AT_ONCE]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert '"stopped"' in ended.stderr


@pytest.mark.anyio
async def test_a_key_of_the_gateway_that_is_taken_away_opens_nothing_more(desk: Desk) -> None:
    """Keys are changed while the daemon runs: one that has leaked is shut out at once, and new ones are let in."""
    old, new = "sk-that-has-leaked", "sk-in-its-place"

    def gateway(*secrets: str) -> str:
        keys = (f"{n}: {{sha256: {sha256(one.encode()).hexdigest()}}}" for n, one in zip("abc", secrets, strict=False))
        return f"gateway: {{models: [main], keys: {{{', '.join(keys)}}}}}\n"

    body = {"model": "main", "messages": [{"role": "user", "content": "hello"}]}
    async with ScriptedHTTPProvider([HTTPStep(text="one")]) as provider:
        desk.configure("first", provider.url, more=gateway(old))
        desk.start()
        async with httpx2.AsyncClient(base_url=desk.url, timeout=60) as client:

            async def asked(key: str) -> int:
                headers = {"authorization": f"Bearer {key}"}
                return (await client.post("/v1/chat/completions", json=body, headers=headers)).status_code

            assert (await asked(old), await asked(new)) == (200, 401)
            for refused, phrase in ((gateway(new, new), "this is the key of"), ("", "whether there is a gateway")):
                desk.configure("first", provider.url, more=refused)
                wrong = await anyio.to_thread.run_sync(desk.command, "reload")
                assert (wrong.returncode, phrase in wrong.stderr) == (2, True), wrong.stderr
                assert await asked(old) == 200
            desk.configure("first", provider.url, more=gateway(new))
            done = await anyio.to_thread.run_sync(desk.command, "reload")
            assert done.returncode == 0, done.stderr
            assert (await asked(old), await asked(new)) == (401, 200)
        assert desk.stop() == 0
