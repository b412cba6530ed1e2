"""A node of a cluster is killed at each moment of a reload: the newest file holds then, once, at all nodes."""

import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import msgspec
import pytest

from organism.cli.app import call
from organism.daemon.state_folder import read_address
from organism.stores.leases import Lease
from organism.stores.postgres.database import PostgresDatabase
from organism.testing.audit import Audit, audit_storage
from organism.testing.postgres_server import PostgresServer
from tests.killing.killable import KILL_RELOAD_AT
from tests.killing.lives import KILLED, Life, Midwife

pytestmark = [pytest.mark.anyio, pytest.mark.debian]

PARTITIONS, PATIENCE_S = 4, 60.0
MOMENTS = {"ordering": 0, "ordered": 0, "active": 0, "marked": None, "durable": 2}
"""Where a process kills itself in its reload, and how many of its journals say by then that they were reloaded."""
THREADS = tuple(f"t{number}" for number in range(8))
CONFIG = """\
name: house
entry: shop
python_path: ["."]
cluster: {{url: "${{env:DATABASE_URL}}", partitions: 4, node: "${{env:NODE}}"}}
gateway: {{tokens: true}}
limits: {{lifetime: {{calls: {calls}}}}}
llm:
  providers: {{local: {{type: scripted, answers: ["hi there"]}}}}
  models: {{main: local/m}}
agents:
  shop: {{handler: "shop:shop"}}
"""
HANDLER = '''\
"""An agent that is in the middle of a purchase for a while."""
import anyio
from organism import Context, Text

async def shop(message: Text, ctx: Context) -> Text:
    async with ctx.hold(usd="0.002", what="shop") as hold:
        if not hold.paid:
            await anyio.sleep(0.5)
            hold.settle(usd="0.001")
    return Text("bought")
'''


class Node:
    """A daemon of the cluster, in a process of its own.

    Args:
        name: The node's.
        folder: Where its file is.
        url: The database.
        midwife: Starts its processes.
    """

    def __init__(self, name: str, folder: Path, url: str, midwife: Midwife) -> None:
        self._folder, self._midwife = folder / name, midwife
        self._environment = {"DATABASE_URL": url, "NODE": name}
        self._folder.mkdir(mode=0o700)
        (self._folder / "shop.py").write_text(HANDLER)
        self.life: Life | None = None
        self.api = httpx2.AsyncClient()

    def write(self, calls: int) -> None:
        """Write its file, which lets all make so many calls."""
        file = self._folder / "organism.yaml"
        file.write_text(CONFIG.format(calls=calls))
        file.chmod(0o600)

    async def start(self, moment: str = "") -> None:
        """Start it; it is to kill itself at a moment of its first reload."""
        armed = {KILL_RELOAD_AT: moment} if moment else {}
        life = await self._midwife.start(self._folder, "daemon", "--port", "0", **self._environment, **armed)
        state = self._folder / ".organism"
        with anyio.fail_after(PATIENCE_S):
            while (address := read_address(state)) is None or address.pid != life.pid:
                assert life.code is None, (self._folder / "stderr.log").read_text()
                await anyio.sleep(0.02)
        await self.close()
        headers = {"authorization": f"Bearer {(state / 'token').read_text().strip()}"}
        self.life, self.api = life, httpx2.AsyncClient(base_url=address.url, headers=headers, timeout=PATIENCE_S)

    async def close(self) -> None:
        """Ask it nothing more."""
        await self.api.aclose()

    async def told(self, number: int) -> int:
        """Send it a signal, and return its exit code."""
        assert self.life is not None
        self.life.kill(number)
        with anyio.fail_after(PATIENCE_S):
            return await self.life.wait()

    async def spend(self, threads: tuple[str, ...]) -> int:
        """Make a call in each thread, as soon as its partition runs; return how many that were."""
        for thread in threads:
            headers = {"organism-thread": thread}
            body = {"model": "main", "messages": [{"role": "user", "content": "x"}]}
            with anyio.fail_after(PATIENCE_S):
                while (answer := await self.api.post("/v1/chat/completions", json=body, headers=headers)).is_error:
                    assert answer.status_code == 503, answer.text
                    await anyio.sleep(0.05)
        return len(threads)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


async def reloads(node: Node) -> int:
    """Count the reloads that the journals of all partitions tell of."""
    page = (await node.api.get("/v1/events/page", params={"type": "OperatorAction", "limit": 1_000})).json()
    return sum(each["data"]["action"] == "reload" for each in page["events"])


async def until_true(ask: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what other processes do."""
    with anyio.fail_after(PATIENCE_S):
        while not await ask():  # noqa: ASYNC110 - another process
            await anyio.sleep(0.05)


def audited(url: str) -> list[Audit]:
    """Audit every partition."""
    with ExitStack() as stack:
        leases = [Lease(number, 0, PARTITIONS) for number in range(PARTITIONS)]
        journals = [PostgresDatabase(url, take=False, lease=lease) for lease in leases]
        return [audit_storage(stack.enter_context(closing(journal))) for journal in journals]


async def test_a_node_killed_amid_a_reload_has_the_newest_file_then_and_its_limits_moved_once(
    postgres: PostgresServer, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it had done of it: what is spent stays, ``cluster status`` is true, and no hold stays open."""

    def shared() -> tuple[int, int]:
        ((calls, revision),) = postgres.execute(
            "SELECT calls, revision FROM organism.shared WHERE account = 'organism@lifetime'", url
        )
        return calls, revision

    async def status() -> dict[str, dict[str, Any]]:
        await anyio.to_thread.run_sync(call, ["cluster", "status", "--database", url, "--json"])
        return {each["node"]: each for each in msgspec.json.decode(capsys.readouterr().out)["nodes"]}

    async def spread() -> bool:
        return all(len(each["partitions"]) == PARTITIONS / 2 for each in (await status()).values())

    async def moved(*, to: tuple[int, int]) -> bool:
        return shared() == to

    async def known(node: Node, calls: tuple[int, int]) -> bool:
        budget = await node.api.get("/v1/budgets/organism@lifetime")
        usage = (await node.api.get("/v1/usage")).json()
        if not budget.is_success:
            return False
        limits, spent = budget.json()["limits"], budget.json()["spent"]
        return (limits["calls"], spent["calls"]) == calls and usage["total"]["calls"] == spent["calls"]

    async def bought(node: Node, thread: str) -> bool:
        seen = await node.api.get(f"/v1/threads/{thread}")
        return seen.status_code == 404 or bool(seen.json()["thread"]["closed_ns"])

    async with Midwife(warm=True) as midwife, AsyncExitStack() as stack:
        a, b = (Node(name, tmp_path, url, midwife) for name in "ab")
        for node in (a, b):
            stack.push_async_callback(node.close)
            node.write(calls := 1_000)
            await node.start(next(iter(MOMENTS)) if node is a else "")
        await until_true(spread)
        spent = await a.spend(THREADS)
        assert shared() == (calls, 1)
        reloaded = 0
        for turn, (moment, told) in enumerate(MOMENTS.items()):
            purchase = await a.api.post("/v1/threads", json={"text": "buy"})
            assert purchase.status_code == 202, purchase.text
            a.write(calls := calls + 1)
            assert await a.told(signal.SIGHUP) == KILLED
            assert told in (None, await reloads(b) - reloaded), moment
            seen = await status()
            active = moment in ("marked", "durable")
            assert (seen["a"]["configuration"] != seen["b"]["configuration"], seen["a"]["differs"]) == (active, False)

            await a.start([*MOMENTS, ""][turn + 1])
            spent += await a.spend(THREADS) + await b.spend(THREADS)
            await until_true(partial(moved, to=(calls, turn + 2)))
            seen = await status()
            assert {name: each["differs"] for name, each in seen.items()} == {"a": False, "b": True}
            b.write(calls)
            assert (await b.api.post("/v1/reload")).json() == {"changes": ["limits changed"]}
            spent += await b.spend(THREADS)
            seen = await status()
            assert seen["a"]["configuration"] == seen["b"]["configuration"]
            assert [each["differs"] for each in seen.values()] == [False, False]
            for node in (a, b):
                await until_true(partial(known, node, (calls, spent)))
            assert shared() == (calls, turn + 2)
            await until_true(partial(bought, b, purchase.json()["thread_id"]))
            reloaded = await reloads(b)
        for node in (a, b):
            assert await node.told(signal.SIGTERM) == 0
    audits = audited(url)
    assert [finding for audit in audits for finding in audit.findings] == []
    assert [line for audit in audits for line in audit.unresolved] == []
