"""A database that is put back to an older copy under running nodes: what was acknowledged since is missed, and told."""

import anyio
import pytest

from organism.cluster.node import ClusterNode
from organism.journal import JournalError
from organism.stores.leases import OlderCopyError
from organism.testing.postgres_server import PostgresServer, postgres_binaries
from tests.cluster.test_node import node
from tests.waiting import until

pytestmark = [pytest.mark.debian, pytest.mark.anyio]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


def program(name: str) -> str:
    """Return one of PostgreSQL's own programs."""
    binaries = postgres_binaries()
    assert binaries is not None
    return str(binaries / name)


async def backup(url: str) -> str:
    """Return a copy of what is there, made as the manual says."""
    command = [program("pg_dump"), "--schema=organism", url]
    return (await anyio.run_process(command)).stdout.decode()


async def restore(url: str, copy: str) -> None:
    """Put a copy in the place of what is there, while nodes run."""
    command = [program("psql"), "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", url]
    text = f"DROP SCHEMA organism CASCADE;\n{copy}"
    while True:
        done = await anyio.run_process(command, input=text.encode(), check=False)
        if b"deadlock" not in done.stderr:  # a renewal may come in between; then nothing of it is there
            break
    assert done.returncode == 0, done.stderr.decode()


async def one_more(a: ClusterNode, partition: int) -> str:
    """Open a thread in a partition."""
    name = next(f"t{number}" for number in range(1000) if a.layout.partition_of(f"t{number}") == partition)
    return await a.organisms[partition].open_thread("x", to="asker", thread_id=name)


async def test_a_copy_older_than_what_a_partition_was_promised_stops_it(url: str) -> None:
    """The partition whose newest groups are missing is kept from all nodes; the other one goes on."""
    async with node(url, "a", 2) as a:
        await until(lambda: len(a.organisms) == 2)
        for organism in a.organisms.values():
            await organism.journal.commit()  # what was written at the start is in the copy too
        copy = await backup(url)
        await one_more(a, 0)
        lost = a.organisms[0]
        await restore(url, copy)
        with pytest.raises(JournalError, match="an older copy was restored, or acknowledged work is lost"):
            await lost.open_thread("write")
        await until(lambda: bool(a.view.leases[0].stopped))
        assert "older copy was restored, or acknowledged work is lost" in a.view.leases[0].stopped
        assert (await a.organisms[1].run("write")).outcome == "completed"
        assert set(a.organisms) == {1}


async def put_back_under_it(url: str, copy: str) -> None:
    """Run a node until the copy ends it."""
    async with node(url, "a", 2) as a:
        await until(lambda: len(a.organisms) == 2)
        await one_more(a, 1)
        await restore(url, copy)
        await anyio.sleep_forever()


async def test_a_copy_from_before_a_node_began_stops_all_it_had(url: str) -> None:
    """The node ends and says why, not that another has its name; started anew it takes nothing of what it had."""
    async with node(url, "z", 2):
        pass  # makes the tables
    copy = await backup(url)
    with pytest.raises(OlderCopyError, match="does not know that node 'a' has begun: an older copy"):
        await put_back_under_it(url, copy)
    async with node(url, "a", 2) as again:
        await until(lambda: len(again.view.leases) == 2)
        assert all("an older copy" in lease.stopped for lease in again.view.leases)
        assert not again.organisms
