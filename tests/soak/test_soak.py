"""A daemon under a steady load of everything that misbehaves: it stays up, answers, and does not grow."""

import json
import random
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import httpx2
import msgspec
import pytest

from organism.daemon.state_folder import read_address
from organism.testing import HTTPStep, ScriptedHTTPProvider
from organism.testing.audit import audit_journal
from organism.testing.http_provider import ReceivedRequest
from tests.killing.lives import Life, Midwife

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

CONFIG = """\
name: soak
entry: first
python_path: ["{agents}", "{root}"]
limits: {{thread: {{tokens: 400}}}}
llm:
  deadline_seconds: 20
  providers:
    fake: {{type: openai, base_url: "{url}/v1", api_key: "${{env:FAKE_API_KEY}}", circuit: {{failures: 1000000}}}}
  models: {{wild: fake/m, steady: fake/m}}
  backoff: {{first_seconds: 0.02, max_seconds: 0.1}}
bounds: {{attempts: 2, restarts: 1000000}}
agents:
  first: {{handler: "soak_agents:first", next: second}}
  second: {{handler: "soak_agents:second"}}
  wild: {{handler: "soak_agents:wild", peers: [wild, plain], timeout_seconds: 2}}
  plain: {{handler: "soak_agents:plain", peers: [plain], timeout_seconds: 2}}
"""

KEPT_OF_A_THREAD = 4_000
"""Bytes that may be kept of a thread that has ended, of the newest 10,000: its sums, its end, that its id is used."""

SLACK = 12 * 1024 * 1024
"""Bytes that an allocator may have more at one time than at another."""

SETTLED_AFTER = 10_000
"""Threads after whose end no more is kept of threads that have ended."""


class Sample(msgspec.Struct, frozen=True):
    """The daemon at an instant: bytes of memory, open descriptors, OS threads, bytes on disk, threads opened so far."""

    memory: int
    descriptors: int
    workers: int
    disk: int
    opened: int


class Soak:
    """One daemon, a provider that answers in every way, and clients that do everything.

    Args:
        folder: Where the daemon lives.
        seconds: How long it is loaded.
        seed: What chance comes from.
    """

    def __init__(self, folder: Path, seconds: float, seed: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.chance = random.Random(seed)
        self.provider = ScriptedHTTPProvider(self._answer)
        self.samples: list[Sample] = []
        self.opened = 0
        self.steady_s: list[float] = []
        self.wrong: list[str] = []

    def _answer(self, _request: ReceivedRequest) -> HTTPStep:
        text = " ".join(["word"] * self.chance.randint(1, 8))
        odd = (
            HTTPStep(status=500),
            HTTPStep(status=429, headers={"retry-after": "0"}),
            HTTPStep(status=503, body=""),
            HTTPStep(text=text, fault="reset"),
            HTTPStep(text=text, fault="cut"),
            HTTPStep(text=text, usage=""),
            HTTPStep(body="[]"),
            HTTPStep(body="<html>busy</html>"),
            HTTPStep(text=text, usage='{"prompt_tokens": -1, "completion_tokens": 1e999}'),
        )
        return self.chance.choice(odd) if self.chance.random() < 0.3 else HTTPStep(text=text)

    async def run(self, midwife: Midwife) -> None:
        """Load the daemon for the time given, then stop it in good order."""
        agents = Path(__file__).parent
        async with self.provider:
            text = CONFIG.format(url=self.provider.url, agents=agents, root=agents.parents[1])
            (self.folder / "organism.yaml").write_text(text, encoding="utf-8")
            life = await midwife.start(
                self.folder, "daemon", "--port", "0", "--log-format", "json", FAKE_API_KEY="none"
            )
            state = self.folder / ".organism"
            with anyio.fail_after(60):
                while (address := read_address(state)) is None:  # noqa: ASYNC110 - another process
                    await anyio.sleep(0.02)
            token = (state / "token").read_text(encoding="ascii").strip()
            headers = {"authorization": f"Bearer {token}"}
            async with httpx2.AsyncClient(base_url=address.url, headers=headers, timeout=60) as client:
                async with anyio.create_task_group() as clients:
                    for _ in range(6):
                        clients.start_soon(self._misbehave, client)
                    clients.start_soon(self._behave, client)
                    clients.start_soon(self._write_junk, address.url)
                    clients.start_soon(self._watch, client)
                    await self._sample(life, state)
                    clients.cancel_scope.cancel()
                await self._end_all(client)
            life.kill(15)
            with anyio.fail_after(60):
                assert await life.wait() == 0, self.log()

    def log(self) -> str:
        """Return the last lines the daemon has logged."""
        return "\n".join((self.folder / "stderr.log").read_text(encoding="utf-8").splitlines()[-20:])

    async def _sample(self, life: Life, state: Path) -> None:
        until = anyio.current_time() + self.seconds
        while anyio.current_time() < until:
            await anyio.sleep(self.seconds / 120)
            assert life.code is None, self.log()
            self.samples.append(sample_of(life.pid, state, self.opened))

    # -- clients --------------------------------------------------------------------------------------------------

    async def _misbehave(self, client: httpx2.AsyncClient) -> None:
        while True:
            job = {"type": "Job", "mistake": self.chance.randrange(1 << 20)}
            body = {"to": self.chance.choice(["wild", "wild", "plain"]), "message": job}
            thread_id = await self._open(client, body)
            if thread_id is None:
                continue
            with anyio.move_on_after(3):
                while await self._is_open(client, thread_id):  # noqa: ASYNC110 - another process
                    await anyio.sleep(0.05)
            await client.delete(f"/v1/threads/{thread_id}")

    async def _behave(self, client: httpx2.AsyncClient) -> None:
        while True:
            began = anyio.current_time()
            thread_id = await self._open(client, {"to": "first", "text": "steady"})
            while thread_id is not None and await self._is_open(client, thread_id):  # noqa: ASYNC110 - likewise
                await anyio.sleep(0.02)
            self.steady_s.append(anyio.current_time() - began)

    async def _is_open(self, client: httpx2.AsyncClient, thread_id: str) -> bool:
        return (await client.get(f"/v1/threads/{thread_id}")).json()["thread"]["closed_ns"] is None

    async def _open(self, client: httpx2.AsyncClient, body: object) -> str | None:
        answer = await client.post("/v1/threads", json=body)
        self.opened += 1
        if answer.status_code != 202:
            self.wrong.append(f"{answer.status_code}: {answer.text}")
            return None
        thread_id: str = answer.json()["thread_id"]
        return thread_id

    async def _write_junk(self, url: str) -> None:
        """Send bytes that are no requests, and leave in the middle of those that are."""
        host, port = url.removeprefix("http://").split(":")
        junk: Sequence[bytes] = (
            b"\x00\xff" * 100,
            b"GET / HTTP/1.1\r\n",
            b"POST /v1/threads HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n{",
            b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        )
        while True:
            with suppress(OSError, anyio.BrokenResourceError, anyio.EndOfStream):
                async with await anyio.connect_tcp(host, int(port)) as stream:
                    await stream.send(self.chance.choice(junk))
                    with anyio.move_on_after(0.2):
                        await stream.receive()
            await anyio.sleep(0.05)

    async def _watch(self, client: httpx2.AsyncClient) -> None:
        """Follow events and leave in the middle."""
        while True:
            with anyio.move_on_after(self.chance.random() * 2):
                async with client.stream("GET", "/v1/events") as stream:
                    async for _line in stream.aiter_lines():
                        await anyio.sleep(self.chance.choice([0, 0, 0.01]))
            await anyio.sleep(0.05)

    async def _end_all(self, client: httpx2.AsyncClient) -> None:
        with anyio.fail_after(60):
            while threads := (await client.get("/v1/threads")).json()["threads"]:
                for view in threads:
                    await client.delete(f"/v1/threads/{view['thread_id']}")


def sample_of(pid: int, state: Path, opened: int) -> Sample:
    """Look at a process and its files."""
    process = Path("/proc") / str(pid)
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    return Sample(
        memory=int(status["VmRSS"].split()[0]) * 1024,
        descriptors=sum(1 for _ in (process / "fd").iterdir()),
        workers=int(status["Threads"]),
        disk=sum(file.stat().st_size for file in state.glob("journal.db*")),
        opened=opened,
    )


def flat(samples: Sequence[Sample]) -> list[str]:
    """Compare the last quarter with the second; return what has grown, in sentences."""
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    grown = []
    kept = max(0, min(late[-1].opened, SETTLED_AFTER) - early[0].opened) * KEPT_OF_A_THREAD

    def middle(of: Sequence[Sample], name: str) -> float:
        return float(statistics.median(getattr(sample, name) for sample in of))

    for name, more in (("memory", SLACK + kept), ("descriptors", 8), ("workers", 4)):
        if middle(late, name) > middle(early, name) + more:
            grown.append(f"{name} grew from {middle(early, name):,.0f} to {middle(late, name):,.0f}")
    # What is written of a thread is kept for days; what is written must not be more for later threads than for earlier.
    early_each = (early[-1].disk - early[0].disk) / max(1, early[-1].opened - early[0].opened)
    late_each = (late[-1].disk - late[0].disk) / max(1, late[-1].opened - late[0].opened)
    if late_each > 1.5 * early_each + 1_000:
        grown.append(f"bytes on disk for each thread grew from {early_each:,.0f} to {late_each:,.0f}")
    return grown


async def test_daemon_does_not_grow_whatever_runs_in_it(
    tmp_path: Path, soak_seconds: float, seed: int, record_property: Callable[[str, object], None]
) -> None:
    """Under mistakes of every kind for minutes: no crash, no refused order, memory, descriptors and file flat."""
    soak = Soak(tmp_path, soak_seconds, seed)
    async with Midwife(warm=False) as midwife:
        await soak.run(midwife)
    last = soak.samples[-1]
    figures = {
        "seconds": soak_seconds,
        "threads": soak.opened,
        "steady_p50_ms": round(1000 * statistics.median(soak.steady_s)),
        "steady_p99_ms": round(1000 * sorted(soak.steady_s)[int(len(soak.steady_s) * 0.99)]),
        "memory_mb": [round(sample.memory / 1e6) for sample in soak.samples[:: max(1, len(soak.samples) // 8)]],
        "descriptors": last.descriptors,
        "os_threads": last.workers,
        "disk_mb": round(last.disk / 1e6, 1),
    }
    for name, value in figures.items():
        record_property(name, value)
    print(f"\n{json.dumps(figures)}")  # noqa: T201 - shown with -s, and of interest where it is
    assert soak.wrong == []
    assert flat(soak.samples) == []

    audit = audit_journal(tmp_path / ".organism" / "journal.db")
    assert audit.findings == []
    assert audit.unresolved == ()
    assert audit.alive == set()
