"""Nodes that are killed, stopped past their leases and cut from their database: nothing is lost, doubled or unpaid."""

import os
import random
import signal
import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from organism.cluster.node import ClusterNode
from organism.stores.leases import Lease
from organism.stores.postgres.database import PostgresDatabase
from organism.testing.audit import Audit, audit_storage
from organism.testing.postgres_server import PostgresServer
from organism.testing.shared_audit import audit_shared
from tests.killing.node_process import (
    CALLS_AT_A_TIME,
    CALLS_PER_MINUTE,
    PARTITIONS,
    SHARED,
    SHARED_CALLS,
    cluster_node,
)

pytestmark = [pytest.mark.anyio, pytest.mark.killing]

NODES = ("a", "b", "c")
TTL_S = 1.5
BETWEEN_S = 0.7
STALE_MIN = 20
"""So many groups of owners that had been overtaken must have been refused: fewer would prove little."""
PROVOKED_MAX = 100


class Crew:
    """The processes of a cluster; one that has ended is started again."""

    def __init__(self, url: str, folder: Path) -> None:
        self._pids: dict[str, int] = {}
        with (folder / "log").open("ab") as log:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "tests.killing.node_process", url, folder, str(TTL_S)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def start(self) -> None:
        """Start every node that does not run."""
        for name in NODES:
            if not self.signal(name, 0):
                assert self._parent.stdin is not None
                assert self._parent.stdout is not None
                self._parent.stdin.write(f"{name}\n")
                self._parent.stdin.flush()
                self._pids[name] = int(self._parent.stdout.readline())

    def signal(self, name: str, number: int) -> bool:
        """Send a signal to a node; whether it was there."""
        try:
            os.kill(self._pids[name], number)
        except (KeyError, ProcessLookupError):
            return False
        return True

    def end(self) -> None:
        """Kill every node."""
        for name in NODES:
            self.signal(name, signal.SIGKILL)
        for pipe in (self._parent.stdin, self._parent.stdout):
            if pipe is not None:
                pipe.close()
        self._parent.wait()


@pytest.fixture
def crew(postgres: PostgresServer, tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(postgres.database(), tmp_path)
    yield crew
    crew.end()


async def strike(crew: Crew, postgres: PostgresServer, faults: int, seed: int) -> Counter[str]:
    """Bring faults about, one after the other, and return how often each was."""
    chance, struck = random.Random(seed), Counter[str]()
    async with anyio.create_task_group() as tasks:

        async def stop_a_while(name: str) -> None:
            crew.signal(name, signal.SIGSTOP)
            await anyio.sleep(TTL_S * chance.uniform(0.2, 2))
            crew.signal(name, signal.SIGCONT)

        for _ in range(faults):
            await anyio.sleep(BETWEEN_S * chance.uniform(0.5, 1.5))
            await anyio.to_thread.run_sync(crew.start)
            kind = chance.choices(["killed", "stopped", "database killed"], [9, 9, 1])[0]
            struck[kind] += 1
            if kind == "killed":
                crew.signal(chance.choice(NODES), signal.SIGKILL)
            elif kind == "stopped":
                tasks.start_soon(stop_a_while, chance.choice(NODES))
            else:
                await anyio.to_thread.run_sync(postgres.stop)
                await anyio.to_thread.run_sync(postgres.start)
    return struck


async def provoke(crew: Crew, postgres: PostgresServer, seed: int) -> int:
    """Stop two nodes at a time past their leases until enough of what they write afterwards was refused.

    Returns:
        How often that was needed: on a machine that is slow, nodes often learn of their loss before they write.
    """
    chance = random.Random(seed)
    for times in range(PROVOKED_MAX):
        if stale(postgres) >= STALE_MIN:
            return times
        await anyio.to_thread.run_sync(crew.start)
        await anyio.sleep(BETWEEN_S)
        stopped = chance.sample(NODES, 2)
        for name in stopped:
            crew.signal(name, signal.SIGSTOP)
        await anyio.sleep(TTL_S * 1.3)
        for name in stopped:
            crew.signal(name, signal.SIGCONT)
    return PROVOKED_MAX


def stale(postgres: PostgresServer) -> int:
    """Count the groups that the server has refused because they were not the next one of the owner."""
    return postgres.log.count('violates check constraint "fenced"')


async def finish(url: str, folder: Path, promised: set[str]) -> None:
    """Let one more node take everything over, and wait for what was promised."""
    async with cluster_node(url, "last", folder, TTL_S) as node:
        with anyio.fail_after(120):
            while len(node.organisms) < PARTITIONS:  # noqa: ASYNC110 - nodes tell nobody of what they do
                await anyio.sleep(0.05)
            await use_up(node)
            for thread in promised & {view.thread_id for each in node.organisms.values() for view in each.threads()}:
                await node.wait(thread)


async def use_up(node: ClusterNode) -> None:
    """Use what is left of the shared limit, and a little more: it is all to be had, wherever it was."""
    organisms = [*node.organisms.values()]
    known = (each.budgets.state(SHARED).spent.calls for each in organisms if each.ledger.has(SHARED))
    left = SHARED_CALLS - max(known, default=0)

    async def run(number: int) -> None:
        organism = organisms[number % PARTITIONS]
        await organism.wait(await organism.open_thread("write", labels={"tier": "tight"}))

    async with anyio.create_task_group() as tasks:
        for number in range(left // 2 + 2 * PARTITIONS):
            tasks.start_soon(run, number)


def audits(url: str) -> list[Audit]:
    """Audit every partition."""
    found = []
    for partition in range(PARTITIONS):
        with closing(PostgresDatabase(url, take=False, lease=Lease(partition, 0, PARTITIONS))) as database:
            found.append(audit_storage(database))
    return found


async def test_nothing_is_lost_or_doubled_however_nodes_end(
    crew: Crew, postgres: PostgresServer, tmp_path: Path, faults: int, seed: int
) -> None:
    """Every promised thread ends once, every chain is whole, no hold stays open, and no request stands unrecorded."""
    crew.start()
    await anyio.sleep(3)
    struck = await strike(crew, postgres, faults, seed)
    early = stale(postgres)
    more = await provoke(crew, postgres, seed)
    refused = stale(postgres)
    crew.end()
    url = postgres.url("test")
    promised = set((tmp_path / "promises").read_text().split())
    await finish(url, tmp_path, promised)

    found = audits(url)
    closed = sum((audit.closed for audit in found), Counter())
    recorded = sum(amounts.tokens for audit in found for amounts in audit.recorded().values())
    billed = sum(map(int, (tmp_path / "bill").read_text().split()))
    print(  # noqa: T201 - shown with -s, and of interest where it is
        f"\n{struck.total()} faults ({dict(struck)}), {len(promised)} threads promised, {closed.total()} ended, "
        f"{billed} tokens billed, {recorded - billed} recorded above that, {early} stale groups refused, "
        f"{refused} after {more} more stops of two nodes"
    )
    assert [finding for audit in found for finding in audit.findings] == []
    assert [line for audit in found for line in audit.unresolved] == []
    assert promised <= closed.keys()
    assert set(closed.values()) == {1}
    assert recorded >= billed
    assert refused >= STALE_MIN
    check_rates((tmp_path / "asked").read_text())
    check_shared(postgres, url, (tmp_path / "refused").read_text())


def check_rates(asked: str) -> None:
    """In no minute did all nodes together ask the provider more often than it takes.

    A node that is stopped between leave and departure asks when it goes on: so many more as may be under way.
    """
    times = sorted(int(time_ns) for time_ns in asked.split())
    most = max(bisect_left(times, began_ns + 60_000_000_000) - at for at, began_ns in enumerate(times))
    print(f"{most} of {CALLS_PER_MINUTE} calls in the fullest of all minutes")  # noqa: T201 - as above
    assert most <= CALLS_PER_MINUTE + CALLS_AT_A_TIME


def check_shared(postgres: PostgresServer, url: str, refused: str) -> None:
    """A limit that all partitions share was used to its end and never passed; nobody was refused before."""
    with ExitStack() as stack:
        shared = audit_shared(
            {
                number: stack.enter_context(
                    closing(PostgresDatabase(url, take=False, lease=Lease(number, 0, PARTITIONS)))
                )
                for number in range(PARTITIONS)
            }
        )
    refusals = [int(time_ns) for time_ns in refused.split()]
    needless = sum(time_ns < shared.most_ns[SHARED] for time_ns in refusals)
    slices = "SELECT g_calls, (SELECT sum(calls) FROM organism.slices s WHERE s.account = l.account) FROM "
    ((granted, total),) = postgres.execute(f"{slices} organism.shared l WHERE account = '{SHARED}'", url)
    print(  # noqa: T201 - as above
        f"{shared.most[SHARED].calls} of {SHARED_CALLS} shared calls used, {granted} granted, "
        f"{needless} of {len(refusals)} refusals needless"
    )
    assert shared.findings == []
    assert shared.most[SHARED].calls == SHARED_CALLS
    assert granted == total == SHARED_CALLS
    assert needless <= len(refusals) / 10
