"""Measures a journal in PostgreSQL and a cluster on it: ``python -m bench.cluster [--rounds N] [figure ...]``.

It starts a server of its own, as Debian ships it, on loopback; what is compared takes turns within one run, because a
ratio holds on any machine. Times are of the machine they were measured on.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from statistics import median

import anyio

from bench.cluster_forward import forward_cost
from bench.cluster_node import PARTITIONS, organism
from bench.messages_ours import ping_pong
from bench.stopwatch import cpu_s_of
from organism.cluster.lease_times import LeaseTimes
from organism.cluster.node import ClusterNode
from organism.journal import JournalError
from organism.stores.batch import batch_of
from organism.stores.postgres.database import PostgresDatabase
from organism.stores.postgres.lease_table import LeaseTable
from organism.stores.postgres.postgres_journal import PostgresJournal
from organism.testing.postgres_server import PostgresServer
from organism.testing.store_contract import event, keep

FLAT = 50_000
THREADS = 1_000
FOR_S = 5.0


def small_commit(server: PostgresServer, rounds: int) -> None:
    """Compare a small commit after 50,000 others with one of a journal that is new, in turns."""
    with closing(PostgresDatabase(server.database())) as old:
        for number in range(1, FLAT + 1):
            old.write(batch_of([event(number), keep(f"k{number % 500}")]), number)
        server.execute("DROP DATABASE IF EXISTS fresh")
        server.execute("CREATE DATABASE fresh")
        with closing(PostgresDatabase(server.url("fresh"))) as new:
            numbers = {old: FLAT, new: 0}
            took: dict[PostgresDatabase, list[float]] = {old: [], new: []}
            for turn in range(1_000 * rounds):
                database = (old, new)[turn % 2]
                numbers[database] = number = numbers[database] + 1
                batch = batch_of([event(number), keep(f"k{number % 500}")])
                began = time.perf_counter()
                database.write(batch, number)
                took[database].append(1e3 * (time.perf_counter() - began))
    aged, fresh = median(took[old]), median(took[new][100:])
    print(f"a small commit: {fresh:.2f} ms new, {aged:.2f} ms after {FLAT:,} commits: {aged / fresh:.2f} of it")


def ping_pong_ratio(server: PostgresServer, rounds: int) -> None:
    """Compare W7, two agents that hand a message to and fro, between the two stores."""
    found: dict[str, list[float]] = {"sqlite": [], "postgres": []}
    for _ in range(rounds):
        found["sqlite"].append(ping_pong(20_000, durable=True)["per_s"])
        found["postgres"].append(ping_pong(20_000, journal=PostgresJournal(server.database()))["per_s"])
    file, database = median(found["sqlite"]), median(found["postgres"])
    print(f"W7: {file:,.0f} hops/s in SQLite, {database:,.0f} in PostgreSQL: {database / file:.2f} of it")


def hand_over(server: PostgresServer, rounds: int) -> None:
    """Measure how long nobody has a partition with 1,000 open threads that moves from node to node."""
    gaps = [anyio.run(_moved, server.database()) for _ in range(rounds)]
    print(f"a planned hand-over of {THREADS:,} open threads: {_spread(gaps)}")


async def _moved(url: str) -> float:
    async with ClusterNode(organism(), url, node="a", partitions=2) as a:
        await _until(lambda: len(a.organisms) == 2)
        names = [f"t{number}" for number in range(3 * THREADS)]
        async with anyio.create_task_group() as tasks:
            for partition in (0, 1):
                for name in [name for name in names if a.layout.partition_of(name) == partition][:THREADS]:
                    tasks.start_soon(_open, a, name)
        async with ClusterNode(organism(), url, node="b", partitions=2) as b:
            await _until(lambda: len(a.organisms) == 1)
            began = time.perf_counter()
            await _until(lambda: len(b.organisms) == 1)
            gap = time.perf_counter() - began
            (moved,) = b.organisms.values()
            assert len(moved.threads()) == THREADS
            return gap


async def _open(node: ClusterNode, name: str) -> None:
    await node.open_thread("go", to="asker", thread_id=name)


async def _until(check: Callable[[], bool]) -> None:
    while not check():  # noqa: ASYNC110 - nodes tell nobody of what they do
        await anyio.sleep(0.002)


def parked(server: PostgresServer, rounds: int) -> None:
    """Measure what a thread that waits for a person takes, also when another node takes it up."""
    count = 5_000 * rounds
    found = anyio.run(_parked, server, count)
    each = {name: total / count for name, total in found.items()}
    print(
        f"a parked thread, of {count:,}: {each['disk']:,.0f} bytes in the database, {each['log']:,.0f} of its log "
        f"written, {each['memory']:,.0f} of memory; {each['taken_up_s'] * 1e3:.2f} ms to take it up"
    )


async def _parked(server: PostgresServer, count: int) -> dict[str, float]:
    url = server.database()
    async with ClusterNode(organism(), url, node="a", partitions=2) as a:
        await _until(lambda: len(a.organisms) == 2)
        memory = _memory()
        log = _of_server(server, url, "pg_current_wal_insert_lsn() - '0/0'")
        for first in range(0, count, 1_000):
            async with anyio.create_task_group() as tasks:
                for number in range(first, min(first + 1_000, count)):
                    tasks.start_soon(_open, a, f"t{number}")
        await _until(lambda: sum(len(each.approvals.waiting()) for each in a.organisms.values()) == count)
        tables = "pg_class WHERE relkind = 'r' AND relnamespace = 'organism'::regnamespace"
        figures = {
            "memory": _memory() - memory,
            "log": _of_server(server, url, "pg_current_wal_insert_lsn() - '0/0'") - log,
            "disk": _of_server(server, url, f"sum(pg_total_relation_size(oid)) FROM {tables}"),
        }
    async with ClusterNode(organism(), url, node="b", partitions=2) as b:
        began = time.perf_counter()
        await _until(lambda: len(b.organisms) == 2)
        return figures | {"taken_up_s": time.perf_counter() - began}


def _of_server(server: PostgresServer, url: str, what: str) -> float:
    return float(server.execute(f"SELECT {what}", url)[0][0])


def _memory() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def _spread(samples: list[float]) -> str:
    return f"median {median(samples):.3f} s, from {min(samples):.3f} to {max(samples):.3f}"


def take_over(server: PostgresServer, rounds: int) -> None:
    """Measure how long partitions are nobody's after kill -9 of the node that had them."""
    gaps = [anyio.run(_crashed, server.database()) for _ in range(rounds)]
    times = LeaseTimes()
    print(f"a take-over after a crash (lease {times.ttl_s:g} s, renewed every {times.renew_s:g} s): {_spread(gaps)}")


async def _crashed(url: str) -> float:
    with _worker(url, "a", PARTITIONS, time.time() + 3600, 1) as process:
        with closing(LeaseTable(url, name="bench", node="", partitions=PARTITIONS)) as table:
            await _until(lambda: _owned(table, "a") == PARTITIONS)
        async with ClusterNode(organism(), url, node="b", partitions=PARTITIONS) as b:
            await _until(lambda: bool(b.organisms))  # a has handed over its share
            await _until(lambda: len(b.organisms) == PARTITIONS // 2)
            process.kill()
            began = time.perf_counter()
            await _until(lambda: len(b.organisms) == PARTITIONS)
            return time.perf_counter() - began


def _owned(table: LeaseTable, node: str) -> int:
    try:
        return sum(lease.owner == node for lease in table.look().leases)
    except JournalError:  # the node has not made the tables yet
        return 0


def _worker(
    place: str, name: str, share: int, begin_s: float, for_s: float, work: str = "writer"
) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "bench.cluster_node", place, name, str(share), str(begin_s), str(for_s), work]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def paused_in_a_commit(server: PostgresServer, rounds: int) -> None:
    """Stop a writer at any moment of its commits, and measure how long the next owner waits for the journal."""
    url = server.database()
    waits, again = [], []
    for turn in range(20 * rounds):
        writer = os.fork()
        if writer == 0:
            _write_for_ever(url)
        try:
            time.sleep(0.15 + 0.013 * (turn % 11))
            os.kill(writer, signal.SIGSTOP)
            began = time.perf_counter()
            with closing(PostgresDatabase(url)) as next_owner:
                waits.append(time.perf_counter() - began)
                next_owner.write(batch_of([keep("next")]), next_owner.batch_number + 1)
        finally:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
        began = time.perf_counter()
        PostgresDatabase(url).close()
        again.append(time.perf_counter() - began)
    late = max(waits) - median(again)
    print(
        f"taking over from a client that is stopped in a commit, {len(waits)} times: {1e3 * median(waits):.1f} ms, at "
        f"most {1e3 * max(waits):.1f}; with nobody there {1e3 * median(again):.1f}: {1e3 * late:.1f} ms later at most"
    )


def _write_for_ever(url: str) -> None:
    try:
        database = PostgresDatabase(url)
        for number in range(database.batch_number + 1, 1_000_000):
            database.write(batch_of([keep(f"k{each}", "x" * 5_000) for each in range(64)]), number)
    finally:
        os._exit(1)


def nodes(server: PostgresServer, rounds: int) -> None:
    """Count threads with a paid call each, then threads that go through ten agents, of one to three nodes."""
    for work, title in (("writer", "threads with a call/s"), ("link0", "threads of ten messages/s")):
        _compare_nodes(server, rounds, work, title)


def _compare_nodes(server: PostgresServer, rounds: int, work: str, title: str) -> None:
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            found.setdefault("one daemon, SQLite", []).append(_together(server, folder, [0], work))
        found.setdefault("one daemon, PostgreSQL", []).append(_together(server, server.database(), [0], work))
        for count in (1, 2, 3):
            shares = [PARTITIONS // count] * count
            found.setdefault(f"{count} node{'s' * (count > 1)}", []).append(
                _together(server, server.database(), shares, work)
            )
    one = median(each for each, _ in found["1 node"])
    print(f"| | {title} | of one node | of the server's processors each |\n| --- | ---: | ---: | ---: |")
    for name, samples in found.items():
        rate, server_ms = median(each for each, _ in samples), median(each for _, each in samples)
        print(f"| {name} | {rate:,.0f} | {rate / one:.2f} | {server_ms:.2f} ms |")


def _together(server: PostgresServer, place: str, shares: list[int], work: str) -> tuple[float, float]:
    """Return how many threads a second these nodes do together, and what each takes of the server, in milliseconds."""
    begin_s = time.time() + (4 + 8 * (len(shares) - 1))
    running = [_worker(place, f"n{number}", share, begin_s, FOR_S, work) for number, share in enumerate(shares)]
    time.sleep(begin_s - time.time())
    before = _cpu_s(server)
    time.sleep(FOR_S / 2)  # before any of them ends, and its connections with it
    used_s = sum(used - before.get(pid, 0.0) for pid, used in _cpu_s(server).items())
    rate = sum(_rate_of(process) for process in running)
    return rate, 1e3 * used_s / (rate * FOR_S / 2)


def _rate_of(worker: subprocess.Popen[str]) -> float:
    """Return how many threads a second a worker did: what stands first in the one line that is no log line."""
    (figure,) = [line.split()[1] for line in worker.communicate()[0].splitlines() if line.startswith("figure: ")]
    if figure == "late":
        raise SystemExit("a worker was not ready in time: the machine is busy; measure again when it is not")
    return float(figure)


def _cpu_s(server: PostgresServer) -> dict[int, float]:
    """Return what each process of the server has used, its workers with it; one that has just ended is left out."""
    used: dict[int, float] = {}
    for (pid,) in server.execute("SELECT pid FROM pg_stat_activity"):
        with suppress(FileNotFoundError, ProcessLookupError):
            used[pid] = cpu_s_of(pid)
    return used


def forward(server: PostgresServer, rounds: int) -> None:
    """Compare a request that a node passes on with one that it answers itself."""
    print(forward_cost(server.database(), rounds))


FIGURES: dict[str, Callable[[PostgresServer, int], None]] = {
    "commit": small_commit,
    "w7": ping_pong_ratio,
    "hand-over": hand_over,
    "crash": take_over,
    "paused": paused_in_a_commit,
    "nodes": nodes,
    "parked": parked,
    "forward": forward,
}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("figures", nargs="*", help=f"which: {', '.join(FIGURES)}; all unless named")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    given = parser.parse_args()
    for name in given.figures or FIGURES:
        with PostgresServer() as server:
            FIGURES[name](server, given.rounds)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
