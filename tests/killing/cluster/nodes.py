"""The nodes of a cluster as processes, and what befalls them: kills, stops past their leases, kills of the database."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import anyio
import anyio.to_thread

from organism.testing.postgres_server import PostgresServer
from tests.killing.cluster.node_process import put_version

NODES = ("a", "b", "c")
TTL_S = 1.5
BETWEEN_S = 0.7
STALE_MIN, STALE_OF = 5, 50
"""So many groups of owners that had been overtaken must have been refused, or one of so many faults if that is more."""
PROVOKED_MAX = 100


class Nodes:
    """The processes of a cluster; one that has ended is started again.

    Attributes:
        version: The newest version of the file that any of them was given.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.version = 0
        self._folder = folder
        self._pids: dict[str, int] = {}
        for name in NODES:
            put_version(folder, name, 0)
        with (folder / "log").open("ab") as log:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "tests.killing.cluster.node_process", url, folder, str(TTL_S)],
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

    def reload(self, name: str) -> None:
        """Give a node a file that no other has had, and tell it to read that."""
        self.version += 1
        put_version(self._folder, name, self.version)
        self.signal(name, signal.SIGHUP)

    def end(self) -> None:
        """Kill every node."""
        for name in NODES:
            self.signal(name, signal.SIGKILL)
        for pipe in (self._parent.stdin, self._parent.stdout):
            if pipe is not None:
                pipe.close()
        self._parent.wait()


async def strike(nodes: Nodes, postgres: PostgresServer, faults: int, seed: int) -> Counter[str]:
    """Bring faults about, one after the other, and reloads beside them; return how often each fault was."""
    chance, struck = random.Random(seed), Counter[str]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_reload, nodes, random.Random(seed + 1))
        async with anyio.create_task_group() as stopped:

            async def stop_a_while(name: str) -> None:
                nodes.signal(name, signal.SIGSTOP)
                await anyio.sleep(TTL_S * chance.uniform(0.2, 2))
                nodes.signal(name, signal.SIGCONT)

            for _ in range(faults):
                await anyio.sleep(BETWEEN_S * chance.uniform(0.5, 1.5))
                await anyio.to_thread.run_sync(nodes.start)
                kind = chance.choices(["killed", "stopped", "database killed"], [9, 9, 1])[0]
                struck[kind] += 1
                if kind == "killed":
                    nodes.signal(chance.choice(NODES), signal.SIGKILL)
                elif kind == "stopped":
                    stopped.start_soon(stop_a_while, chance.choice(NODES))
                else:
                    await anyio.to_thread.run_sync(postgres.stop)
                    await anyio.to_thread.run_sync(postgres.start)
        tasks.cancel_scope.cancel()
    return struck


async def _reload(nodes: Nodes, chance: random.Random) -> None:
    """Have a node reload another file, now and then."""
    while True:
        await anyio.sleep(BETWEEN_S * chance.uniform(0.5, 3))
        nodes.reload(chance.choice(NODES))


def stale_min(faults: int) -> int:
    """Return how many stale groups must have been refused: 20 of 1,000 faults, and 5 of as few as CI brings about."""
    return max(STALE_MIN, faults // STALE_OF)


async def provoke(nodes: Nodes, postgres: PostgresServer, seed: int, least: int) -> int:
    """Stop two nodes at a time past their leases until enough of what they write afterwards was refused.

    Returns:
        How often that was needed: on a machine that is slow, nodes often learn of their loss before they write.
    """
    chance = random.Random(seed)
    for times in range(PROVOKED_MAX):
        if stale(postgres) >= least:
            return times
        await anyio.to_thread.run_sync(nodes.start)
        await anyio.sleep(BETWEEN_S)
        stopped = chance.sample(NODES, 2)
        for name in stopped:
            nodes.signal(name, signal.SIGSTOP)
        await anyio.sleep(TTL_S * 1.3)
        for name in stopped:
            nodes.signal(name, signal.SIGCONT)
    return PROVOKED_MAX


def stale(postgres: PostgresServer) -> int:
    """Count the groups that the server has refused because they were not the next one of the owner."""
    return postgres.log.count('violates check constraint "fenced"')
