"""The gateway of a real daemon: set up in organism.yaml, killed in the middle of calls, seen from the command line."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest

from organism.daemon.state_folder import read_address
from organism.testing import HTTPStep, ScriptedHTTPProvider
from organism.testing.audit import audit_journal
from tests.gateway.conftest import KEY, OTHER_KEY, UPSTREAM
from tests.killing.lives import KILLED, Life, Midwife

pytestmark = pytest.mark.anyio

CONFIG = """\
name: desk
entry: clerk
limits: {{thread: {{tokens: 5000}}, agents: {{ci: {{calls: 1000, per: day}}}}}}
llm:
  providers:
    double: {{type: openai, base_url: "{url}/v1", api_key: "${{env:UPSTREAM}}", circuit: {{failures: 999}}}}
  models: {{main: double/m, spare: double/s}}
agents:
  clerk: {{model: main}}
gateway:
  models: [main]
  limits: {{tokens: 50000}}
  max_output_tokens: 40
  keys:
    ci: {{key: "${{env:CI_KEY}}", labels: {{team: blue}}}}
    laptop: {{sha256: {hashed}, thread: desk, limits: {{tokens: 900}}}}
"""
HI = [{"role": "user", "content": "the secret plan"}]


class Desk:
    """A daemon in a folder of its own, which may be started again and again."""

    def __init__(self, folder: Path, provider: ScriptedHTTPProvider, midwife: Midwife) -> None:
        self.folder = folder
        self.state = folder / ".organism"
        self._midwife = midwife
        hashed = sha256(OTHER_KEY.encode()).hexdigest()
        (folder / "organism.yaml").write_text(CONFIG.format(url=provider.url, hashed=hashed), encoding="utf-8")

    async def start(self) -> tuple[Life, str]:
        """Start the daemon and return it with its address."""
        arguments = ("daemon", "--port", "0", "--log-format", "json")
        life = await self._midwife.start(self.folder, *arguments, CI_KEY=KEY, UPSTREAM=UPSTREAM)
        with anyio.fail_after(60):
            while (found := read_address(self.state)) is None or found.pid != life.pid:
                assert life.code is None, self.log()
                await anyio.sleep(0.02)
        return life, found.url

    async def command(self, *arguments: str) -> Any:
        """Run a command beside it and return what it prints."""
        environment = {**os.environ, "CI_KEY": KEY, "UPSTREAM": UPSTREAM}
        command = [sys.executable, "-m", "organism", *arguments]
        with anyio.fail_after(60):
            ran = await anyio.run_process(command, cwd=self.folder, env=environment, check=False)
        assert ran.returncode == 0, ran.stderr.decode()
        return json.loads(ran.stdout)

    def log(self) -> str:
        return (self.folder / "stderr.log").read_text(encoding="utf-8")


@asynccontextmanager
async def desk(folder: Path, provider: ScriptedHTTPProvider) -> AsyncIterator[Desk]:
    async with Midwife(warm=False) as midwife:
        yield Desk(folder, provider, midwife)


async def test_a_daemon_serves_what_the_file_describes_and_shows_it(tmp_path: Path) -> None:
    """Keys by value and by hash, their threads, limits and labels; lists and sums show them; no secret is logged."""
    async with ScriptedHTTPProvider(["one two three"]) as provider, desk(tmp_path, provider) as daemon:
        life, url = await daemon.start()
        async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1") as client:
            for each in (client, client.with_options(api_key=OTHER_KEY)):
                await each.chat.completions.create(model="main", messages=HI)
            with pytest.raises(openai.NotFoundError, match="the model 'spare' is not offered here; there are: main"):
                await client.chat.completions.create(model="spare", messages=HI)
            token = (daemon.state / "token").read_text(encoding="ascii").strip()
            assert [m.id async for m in client.with_options(api_key=token).models.list()] == ["main"]

        threads = {each["thread_id"]: each for each in await daemon.command("threads", "--json")}
        assert threads["key-ci"]["labels"] == {"team": "blue"}
        limits = {name: each["budget"]["limits"]["tokens"] for name, each in threads.items()}
        assert limits == {"key-ci": 50_000, "desk": 900}
        usage = await daemon.command("usage", "--by", "agent", "--json")
        assert {name: group["calls"] for name, group in usage["groups"].items()} == {"ci": 1, "laptop": 1}
        assert provider.requests[0].body["max_tokens"] == 40
        await daemon.command("stop", "--json")
        assert await life.wait() == 0
        assert '"ready"' in daemon.log()
        for secret in ("secret plan", "one two three", KEY, OTHER_KEY, UPSTREAM):
            assert secret not in daemon.log()


@pytest.mark.thorough
@pytest.mark.parametrize("answering", [False, True], ids=["at a request", "at its answer"])
async def test_killed_in_the_middle_it_never_records_less_than_was_billed(tmp_path: Path, answering: bool) -> None:
    """SIGKILL under load, several times: what the provider has billed is on the threads, nothing is held for ever."""
    life: Life | None = None
    served = 0

    def script(_request: object) -> HTTPStep:
        nonlocal served
        served += 1
        if life is not None and served % 7 == 0 and not answering:
            life.kill()
        return HTTPStep(text="one two three four five", delay_s=0.01 if served % 2 else 0.0)

    async with ScriptedHTTPProvider(script) as provider, desk(tmp_path, provider) as daemon:
        for _ in range(3):
            life, url = await daemon.start()
            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    tasks.start_soon(spend, url, number, life)
                if answering:
                    await until_answered(provider, len(provider.bill) + 5)
                    life.kill()
                assert await life.wait() == KILLED, daemon.log()
        last, _ = await daemon.start()
        billed = provider.billed.total
        shown = await daemon.command("threads", "--json")
        assert {each["thread_id"] for each in shown} <= {"key-ci", "named-1", "named-2", "named-3"}
        assert sum(each["budget"]["spent"]["tokens"] for each in shown) >= billed > 0
        assert sum(each["budget"]["held"]["tokens"] for each in shown) == 0
        await daemon.command("stop", "--json")
        assert await last.wait() == 0

    audit = audit_journal(daemon.state / "journal.db")
    assert audit.findings == []
    assert audit.unresolved == ()


async def spend(url: str, number: int, life: Life) -> None:
    """Make calls until the daemon is gone; the first client on its key's own thread, the others on named ones."""
    headers = {"organism-thread": f"named-{number}"} if number else {}
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0, default_headers=headers) as client:
        while life.code is None:
            try:
                stream = await client.chat.completions.create(model="main", messages=HI, stream=bool(number % 2))
                if number % 2:
                    async for _chunk in stream:
                        pass
            except openai.APIError:
                await anyio.sleep(0.02)  # it is dead, but that may not be known yet


async def until_answered(provider: ScriptedHTTPProvider, number: int) -> None:
    with anyio.fail_after(60):
        while len(provider.bill) < number:  # noqa: ASYNC110 - a list has no event to wait for
            await anyio.sleep(0.005)
