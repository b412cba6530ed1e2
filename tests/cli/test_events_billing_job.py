"""A billing job that follows the daemon's events: whoever is killed, its total is the ledger's to the nano-dollar."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from organism.testing.audit import audit_journal

pytestmark = pytest.mark.thorough

ORGANISM = """\
name: shop
entry: clerk
python_path: [.]
limits: {thread: {calls: 100}, day: {usd: 100}}
prices: {"fake/any": {input: 0.123457, output: 7.654321}}
llm:
  providers:
    fake: {type: scripted, answers: ["one", "one two", "one two three"]}
  models:
    main: fake/any
agents:
  clerk: {handler: "shop:clerk"}
"""
CLERK = """\
import anyio
from organism import Context, Text

async def clerk(message: Text, ctx: Context) -> Text:
    for number in range(8):
        await ctx.llm.complete(f"{message.text} {number}", max_output_tokens=16)
        await anyio.sleep(0.02)
    return Text("done")
"""


class Shop:
    """A daemon and a billing job beside it, both of which may be killed at any time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bill = folder / "bill.jsonl"
        (folder / "organism.yaml").write_text(ORGANISM)
        (folder / "shop.py").write_text(CLERK)
        self.daemon = self.start_daemon()
        self.job = self.start_job()

    def start_daemon(self) -> subprocess.Popen[str]:
        """Start a daemon on what the last one has left."""
        log = self.folder / "log"
        command = [sys.executable, "-m", "organism", "daemon", "--port", "0", "--log-format", "json"]
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=self.folder, stderr=file, text=True)
        deadline = time.monotonic() + 60
        while not (found := [line for line in log.read_text().splitlines() if '"ready"' in line]):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        ready = json.loads(found[0])
        self.url = ready["url"]
        self.token = (self.folder / ".organism" / "token").read_text().strip()
        return process

    def call(self, method: str, path: str, body: object = None) -> httpx2.Response:
        """Make a request of its own: no connection outlives a daemon that is killed."""
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx2.request(method, self.url + path, json=body, headers=headers, timeout=30)

    def start_job(self) -> subprocess.Popen[bytes]:
        """Start the billing job: it goes on after the last event that it has written down whole."""
        written = self.bill.read_bytes() if self.bill.exists() else b""
        whole = written[: written.rfind(b"\n") + 1]
        self.bill.write_bytes(whole)
        after = json.loads(whole.splitlines()[-1])["id"] if whole else "0"
        with self.bill.open("ab") as file:
            command = [sys.executable, "-m", "organism", "events", "--follow", "--after", after]
            return subprocess.Popen(command, cwd=self.folder, stdout=file, stderr=subprocess.DEVNULL)

    def sell(self, threads: int) -> None:
        """Open threads without waiting for them."""
        for number in range(threads):
            assert self.call("POST", "/v1/threads", {"text": f"sale {number}"}).status_code == 202

    def wait_written(self, more: int) -> None:
        """Wait until the job has written so many more events: only then is it in the middle of something."""
        size = self.bill.read_bytes().count(b"\n")
        deadline = time.monotonic() + 60
        while self.bill.read_bytes().count(b"\n") < size + more:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
        """Kill a process as nothing can be caught."""
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_total_of_a_billing_job_is_the_ledgers_whoever_is_killed(tmp_path: Path) -> None:
    """The job drops repeats by their id and adds up; nothing is missing, nothing counts twice, to the nano-dollar."""
    shop = Shop(tmp_path)
    try:
        for victim in ("job", "daemon", "both", "job", "daemon"):
            shop.sell(3)
            shop.wait_written(5)
            if victim in ("job", "both"):
                shop.kill(shop.job)
            if victim in ("daemon", "both"):
                shop.kill(shop.daemon)
                shop.job.wait(timeout=30)  # its stream ends with the daemon
                shop.daemon = shop.start_daemon()
            shop.job = shop.start_job()
        deadline = time.monotonic() + 60
        while shop.call("GET", "/v1/threads").json()["threads"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        spent = [state["spent"] for state in shop.call("GET", "/v1/budgets").json() if "day" in state["account"]]
        last = shop.call("GET", "/v1/events/page?limit=1000").json()["next"]
        while not shop.bill.read_bytes().rstrip().endswith(b"}") or last.encode() not in shop.bill.read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        shop.kill(shop.job)
        shop.kill(shop.daemon)

    billed = {event["id"]: event for event in map(json.loads, shop.bill.read_text().splitlines())}
    usage = [event for event in billed.values() if event["type"] == "UsageEvent"]
    assert len(usage) >= 5 * 3 * 8
    assert sum(event["cost_nanousd"] for event in usage) == sum(state["cost_nanousd"] for state in spent) > 0
    closed = [event["thread_id"] for event in billed.values() if event["type"] == "ThreadClosed"]
    assert len(closed) == len(set(closed)) == 5 * 3


def follow(shop: Shop, got: list[str], stop: threading.Event) -> None:
    """Follow all events as a browser would: come back with the id of the last one, whatever has happened."""
    while not stop.is_set():
        headers = {"authorization": f"Bearer {shop.token}"} | ({"last-event-id": got[-1]} if got else {})
        params = {} if got else {"after": "0"}
        try:
            with httpx2.stream("GET", f"{shop.url}/v1/events", headers=headers, params=params, timeout=30) as response:
                for line in response.iter_lines():
                    if line.startswith("id: "):
                        got.append(line.removeprefix("id: "))
                    if stop.is_set():
                        return
        except httpx2.TransportError:
            time.sleep(0.05)  # it was killed, and is started again in a moment


def test_follower_that_comes_back_sees_exactly_the_journals_events(tmp_path: Path) -> None:
    """Through kills of the daemon a follower gets every event once and in order: no gap, no repeat."""
    shop = Shop(tmp_path)
    shop.kill(shop.job)
    got: list[str] = []
    stop = threading.Event()
    follower = threading.Thread(target=follow, args=(shop, got, stop))
    follower.start()
    try:
        for _ in range(4):
            seen = len(got)  # before: what is sold may be told before the last sale has returned
            shop.sell(3)
            deadline = time.monotonic() + 60
            while len(got) < seen + 12:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            shop.kill(shop.daemon)
            shop.daemon = shop.start_daemon()
        deadline = time.monotonic() + 60
        while shop.call("GET", "/v1/threads").json()["threads"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        last = shop.call("GET", "/v1/events/page?limit=1000").json()["next"]
        while not got or got[-1] < last:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        stop.set()
        shop.kill(shop.daemon)
        follower.join(60)

    audit = audit_journal(tmp_path / ".organism" / "journal.db")
    assert audit.findings == []
    assert len(audit.closed) == 4 * 3
    assert got == [event.id for event in audit.events]
