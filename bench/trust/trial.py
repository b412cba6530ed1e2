"""One side goes through one scene, before a provider on this machine that keeps its own bill."""

import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import msgspec

from bench.trust.environments import Peer, Present
from bench.trust.scenes import (
    PROBES,
    TURNS,
    Billed,
    Call,
    Job,
    Scene,
    Script,
    Told,
    billed,
    loop_figures,
    plain,
    storm_figures,
    work_figures,
    working,
)
from organism.testing import ScriptedHTTPProvider

ROOT = Path(__file__).resolve().parents[2]
TIME_S = 240.0
"""For one scene of one side."""
PLACES = 15
"""Plain calls that the budget of a storm pays."""


class TrialError(Exception):
    """A side has not gone through its scene.

    Attributes:
        said: The end of what it wrote.
    """

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


async def storm(peer: Peer, present: Present, rounds: int) -> dict[str, Any]:
    """Let a side go through a storm of some thirty calls a round."""
    script = Script(rounds)
    async with _scene(script.step) as (provider, home):
        job = _job("storm", provider, home, PLACES * Call(0).tokens, script.calls())
        told = await _told(peer, present, job)
        return storm_figures(job, told, _bill(provider)) | {"notes": told.notes}


async def loop(peer: Peer, present: Present, turns: int) -> dict[str, Any]:
    """Let a side have a conversation whose budget ends after so many turns or so."""
    async with _scene(plain) as (provider, home):
        grown = sum(turn * Call(0).tokens for turn in range(1, turns + 1))
        job = _job("loop", provider, home, grown, [Call(number) for number in range(TURNS)])
        told = await _told(peer, present, job)
        return loop_figures(job, told, _bill(provider))


async def work(peer: Peer, present: Present, jobs: int) -> dict[str, Any]:
    """Have a side do jobs, kill it half way, and have another one like it do them again."""
    async with _scene(working) as (provider, home):
        calls = [Call(number, words=20) for number in range(jobs)]
        job = _job("work", provider, home, 1000 * jobs, calls)
        async with _started(peer, present, job) as process:
            while len(provider.bill) < jobs // 2 and process.returncode is None:  # noqa: ASYNC110 - another process
                await anyio.sleep(0.01)
            _kill(process)
            await process.wait()
            await anyio.sleep(0.5)  # what was sent is billed
        before = _bill(provider)
        told = await _told(peer, present, job)
        return work_figures(job, told, before, _bill(provider))


def _job(scene: Scene, provider: ScriptedHTTPProvider, home: str, limit: int, calls: list[Call]) -> Job:
    return Job(scene=scene, url=provider.url, home=home, limit=limit, calls=calls, probes=PROBES)


@asynccontextmanager
async def _scene(script: Callable[..., Any]) -> AsyncIterator[tuple[ScriptedHTTPProvider, str]]:
    with tempfile.TemporaryDirectory(prefix="organism-trust-") as home:
        async with ScriptedHTTPProvider(script) as provider:
            yield provider, home


def _bill(provider: ScriptedHTTPProvider) -> Billed:
    return billed(provider.bill, provider.billed_for)


@asynccontextmanager
async def _started(peer: Peer, present: Present, job: Job) -> AsyncIterator[anyio.abc.Process]:
    """Start a side in a session of its own; what is left of that session is killed at the end."""
    command = [present.python, "-m", f"bench.trust.sides.{peer.program}", msgspec.json.encode(job).decode()]
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await anyio.open_process(command, cwd=ROOT, start_new_session=True, env=here)
    try:
        yield process
    finally:
        _kill(process)
        with anyio.CancelScope(shield=True):
            await process.aclose()


def _kill(process: anyio.abc.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _told(peer: Peer, present: Present, job: Job) -> Told:
    said = {"out": b"", "err": b""}

    async def read(stream: anyio.abc.ByteReceiveStream | None, name: str) -> None:
        if stream is not None:
            async for piece in stream:
                said[name] += piece

    with anyio.move_on_after(TIME_S):
        async with _started(peer, present, job) as process, anyio.create_task_group() as readers:
            readers.start_soon(read, process.stdout, "out")
            readers.start_soon(read, process.stderr, "err")
            await process.wait()
            _kill(process)  # a child of it that has its pipes
    lines = said["out"].decode().splitlines()
    if not lines:
        raise TrialError(f"{peer.name}, {job.scene}: {said['err'].decode()[-1500:]}")
    return msgspec.json.decode(lines[-1], type=Told)
