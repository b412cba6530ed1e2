"""Processes of a cluster that open threads as fast as they end, answer what people are asked, and reload their file.

``python -m tests.killing.cluster.node_process URL FOLDER TTL`` reads names of nodes, one a line, and answers each with
the number of the process that it has forked for it: Python's own start would take longer than such a process lives.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import anyio

from organism import Organism, OrganismError
from organism.cluster.node import ClusterNode
from organism.control.idempotency import Order
from organism.threads.approvals import Approval, Decision
from tests.killing.cluster.house import ENTRIES, House, Notes, desk_now


def version_at(folder: Path, name: str) -> int:
    """Return the version of a node's file."""
    return int((folder / f"file-{name}").read_text())


def put_version(folder: Path, name: str, version: int) -> None:
    """Write a version of a node's file, whole or not at all."""
    (folder / "file-new").write_text(str(version))
    (folder / "file-new").rename(folder / f"file-{name}")


async def work(node: ClusterNode, notes: Notes) -> None:
    """Open a thread, note its id once it was promised, wait for its end, and again."""
    while True:
        try:
            labels = random.choice(({}, {"desk": desk_now()}, {"tier": "tight"}))
            thread = await node.open_thread("write", to=random.choice(ENTRIES), labels=labels)
            notes.note("promised", thread)
            with anyio.move_on_after(2):
                await node.wait(thread)
        except OrganismError:
            await anyio.sleep(0.05)


def questions(organisms: Iterable[Organism]) -> list[tuple[Organism, Approval]]:
    """Return what people are asked in some partitions, each with where."""
    return [(organism, asked) for organism in organisms for asked in organism.approvals.waiting()]


async def answer(node: ClusterNode, notes: Notes) -> None:
    """Be a person at this node: answer what is asked there, whoever has asked it; four times of five with yes."""
    while True:
        await anyio.sleep(random.uniform(0.1, 0.8))
        for organism, asked in questions(node.organisms.values()):
            allowed = random.random() < 0.8
            notes.note("answering", asked.id, asked.account, asked.threshold, time.time_ns())
            with suppress(OrganismError):
                await organism.approvals.decide(asked.id, Decision(allowed=allowed))
                notes.note("answered", asked.id, allowed)


async def reload(node: ClusterNode, house: House, folder: Path) -> None:
    """Reload the node's file whenever it is told to, and note it."""
    with anyio.open_signal_receiver(signal.SIGHUP) as told:
        async for _ in told:
            version = version_at(folder, house.name)
            with suppress(OrganismError):
                await node.reload(house.spec(version), Order(by="test"))
                house.notes.note("reloaded", house.name, version)


async def main(url: str, name: str, folder: Path, ttl_s: float) -> None:
    """Run until somebody ends it."""
    house = House(name, folder)
    async with house.node(url, ttl_s, version_at(folder, name)) as node, anyio.create_task_group() as tasks:
        tasks.start_soon(reload, node, house, folder)
        tasks.start_soon(answer, node, house.notes)
        for _ in range(3):
            tasks.start_soon(work, node, house.notes)


def fork(url: str, name: str, folder: Path, ttl_s: float) -> int:
    """Begin a node, and return the number of its process."""
    if (pid := os.fork()) == 0:
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the parent's output is for the numbers alone
            anyio.run(main, url, name, folder, ttl_s)
        except OrganismError as error:
            print(error, file=sys.stderr, flush=True)  # noqa: T201 - to the log of the test
        finally:
            os._exit(1)
    return pid


if __name__ == "__main__":
    import organism.stores.postgres.lease_table
    import organism.stores.postgres.postgres_journal  # noqa: F401 - so that no fork has to

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who has ended is gone at once
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a node that has just begun reads its file anyhow
    for line in sys.stdin:
        print(fork(sys.argv[1], line.strip(), Path(sys.argv[2]), float(sys.argv[3])), flush=True)  # noqa: T201
