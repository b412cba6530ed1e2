"""Agents that need a label work only at nodes that have it, whatever joins, leaves or dies."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import anyio
import psycopg
import pytest

from organism import ConfigError, Context, Organism, Text, agent
from organism.agents.agent import Agent
from organism.cluster.lease_times import LeaseTimes, PartitionElsewhereError
from organism.cluster.node import ClusterNode
from organism.cluster.node_labels import NodeLabels
from organism.errors import NodeLabelError
from organism.journal import JournalError
from organism.messages import BudgetWarning
from organism.stores.postgres.lease_table import LeaseTable
from organism.stores.postgres.postgres_schema import LOCK, MIGRATIONS
from organism.stores.postgres.preparation import layout_of
from organism.testing import ScriptedProvider
from organism.testing.postgres_server import PostgresServer
from tests.waiting import until

pytestmark = [pytest.mark.debian, pytest.mark.anyio]

TIMES = LeaseTimes(ttl_s=60.0, renew_s=0.1, margin_s=1.0, drain_s=10.0, again_s=0.1)
SHORT = LeaseTimes(ttl_s=3.0, renew_s=0.1, margin_s=0.5, drain_s=10.0, again_s=0.1)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    return Text(f"written: {message.text}")


@agent(node_label="gpu")
async def painter(message: Text, ctx: Context) -> Text:
    return Text(f"painted: {message.text}")


@agent(node_label="gpu")
async def waiter(message: Text, ctx: Context) -> Text:
    return Text(str((await ctx.approval("go on?")).allowed))


def template(*agents: Agent) -> Organism:
    return Organism(
        agents or (writer, painter, waiter),
        name="house",
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(["done"])},
        provider_kinds={"scripted": "local"},
    )


def node(url: str, name: str, *labels: str, times: LeaseTimes = TIMES, gpu: int = 2) -> ClusterNode:
    said = NodeLabels(has=frozenset(labels), partitions={"gpu": gpu})
    return ClusterNode(template(), url, node=name, partitions=4, labels=said, times=times, url=f"http://{name}")


def labelled(of: ClusterNode) -> set[int]:
    """Return the partitions of a label that a node runs: those behind the four of any node."""
    return {partition for partition in of.organisms if partition > 3}


async def test_only_nodes_with_the_label_have_its_partitions(url: str) -> None:
    """They spread over those, the others over all; a thread opened for an agent is where it may work, and works."""
    async with node(url, "a") as a, node(url, "b", "gpu") as b:
        await until(lambda: len(b.organisms) == 4 and len(a.organisms) == 2)
        assert labelled(b) == {4, 5}
        for number in range(4):
            painted = await b.open_thread(f"p{number}", to="painter")
            assert b.layout.partition_of(painted) in {4, 5}
            assert (await b.wait(painted)).outputs == (Text(f"painted: p{number}"),)
            assert b.layout.partition_of(await b.open_thread("w")) in {0, 1, 2, 3}
        await until(lambda: a.view.owner_of(4) is not None)
        with pytest.raises(PartitionElsewhereError, match="node 'b' runs it, at http://b"):
            await a.open_thread("x", to="painter")
        async with node(url, "c", "gpu") as c:
            await until(lambda: len(labelled(b)) == len(labelled(c)) == 1)
            assert not labelled(a)
        await until(lambda: labelled(b) == {4, 5})


async def test_a_thread_of_a_name_is_where_its_name_says(url: str) -> None:
    """A name that begins with the label is at its nodes; where name and agent differ, opening it is refused."""
    async with node(url, "b", "gpu") as b:
        await until(lambda: len(b.organisms) == 6)
        named = await b.open_thread("sun", to="painter", thread_id="gpu--sun")
        assert b.layout.partition_of(named) in {4, 5}
        assert (await b.wait(named)).outcome == "completed"
        with pytest.raises(NodeLabelError, match=r"'painter' works at nodes labelled 'gpu', .* begins with 'gpu--'"):
            await b.open_thread("sun", to="painter", thread_id="sun")
        with pytest.raises(NodeLabelError, match=r"'writer' works at any node, .* without a name"):
            await b.open_thread("sun", to="writer", thread_id="gpu--moon")
        asked = await b.open_thread("x", to="waiter")
        with pytest.raises(NodeLabelError, match=r"'writer' works at any node"):
            b.organism_of(asked).control.components.pump.send(asked, Text("x"), to="writer")


async def test_threads_wait_for_a_node_with_the_label(url: str) -> None:
    """Where the only such node leaves, nobody takes its partitions; one that joins later goes on with their threads."""
    async with node(url, "a") as a:
        async with node(url, "b", "gpu") as b:
            await until(lambda: labelled(b) == {4, 5})
            asked = await b.open_thread("x", to="waiter")
            await until(lambda: not a.view.missing_labels)
        await until(lambda: a.view.missing_labels == {"gpu"} and len(a.organisms) == 4)
        assert a.view.missing_label(4) == "gpu"
        assert not a.view.missing_label(0)
        with pytest.raises(PartitionElsewhereError, match="no node that takes partitions has the label 'gpu': start"):
            await a.open_thread("x", to="painter")
        with pytest.raises(PartitionElsewhereError) as refused:
            a.organism_of(asked)
        assert refused.value.missing_label == "gpu"
        async with node(url, "c", "gpu") as c:
            await until(lambda: labelled(c) == {4, 5})
            assert c.organism_of(asked).thread(asked).thread_id == asked
        assert not labelled(a)


async def test_a_drained_node_gives_its_labels_partitions_only_to_nodes_with_it(url: str) -> None:
    """Another with the label takes them; with none, they are nobody's until the drain is undone."""
    async with node(url, "a") as a, node(url, "b", "gpu") as b:
        await until(lambda: labelled(b) == {4, 5} and len(b.organisms) == 4)
        assert await anyio.to_thread.run_sync(b.table.drain, "b")
        await until(lambda: not b.organisms and len(a.organisms) == 4)
        await until(lambda: a.view.missing_label(4) == "gpu")
        assert not labelled(a)
        assert await anyio.to_thread.run_sync(lambda: a.table.drain("b", draining=False))
        await until(lambda: labelled(b) == {4, 5})
        await until(lambda: not a.view.missing_labels)


async def test_a_node_that_comes_back_without_its_label_has_no_such_partition(url: str) -> None:
    """What a process of its name had before, it had with a label that this one has not."""
    with closing(table(url, "a", "gpu")) as dead:
        dead.register("", "1", now_ns())
        assert len(dead.acquire(2, [], "gpu")) == 2
        async with node(url, "a", times=SHORT) as a:
            await until(lambda: len(a.organisms) == 4)
            await until(lambda: a.view.missing_labels == {"gpu"})
            assert not labelled(a)


def test_the_database_gives_no_node_what_it_has_no_label_for(url: str) -> None:
    """A node that asks for partitions of a label which it has not said to have gets none, and so of any label."""
    with closing(table(url, "a")) as a, closing(table(url, "b", "gpu")) as b:
        a.register("", "1", now_ns())
        b.register("", "1", now_ns())
        assert a.acquire(6, [], "gpu") == []
        assert [lease.partition for lease in b.acquire(6, [], "gpu")] == [4, 5]
        assert [lease.partition for lease in a.acquire(6, [])] == [0, 1, 2, 3]


@pytest.fixture
def older(postgres: PostgresServer, url: str) -> Iterator[str]:
    """Make a cluster as a program did that knew no labels, with a node of it that runs."""
    with closing(table(url, "old", made=False)) as old:
        old.register("", "1", now_ns())
    postgres.execute("ALTER TABLE organism.nodes DROP COLUMN labels", url)
    postgres.execute("ALTER TABLE organism.leases DROP COLUMN node_label", url)
    postgres.execute(f"UPDATE organism.cluster SET schema = {STEP}", url)  # noqa: S608
    return url


STEP = next(number for number, step in enumerate(MIGRATIONS) if "node_label" in step)
"""How many steps the tables had taken that knew no labels."""


def test_older_tables_become_newer_and_get_partitions_of_labels(postgres: PostgresServer, older: str) -> None:
    """Without labels an older node may run beside a newer; partitions of a label are made when it runs no more."""
    assert len(layout_of(older).every) == 4
    with closing(table(older, "a", made=False)) as newer:
        newer.register("", "2", now_ns())
        assert [len(node.labels) for node in newer.look().nodes] == [0, 0]
        with closing(table(older, "b", "gpu")) as wants, pytest.raises(JournalError, match=r"node 'old' .* no labels"):
            wants.register("", "2", now_ns())
        assert len(layout_of(older).every) == 4
        postgres.execute("UPDATE organism.nodes SET seen = '-infinity' WHERE node = 'old'", older)
        with closing(table(older, "b", "gpu")) as wants:
            wants.register("", "2", now_ns())
            assert layout_of(older).labelled == {"gpu": [4, 5]}
            # It cannot come back and take partitions of which it does not know what they need.
            assert [node.name for node in wants.look().nodes] == ["a", "b"]
            assert len(wants.acquire(9, [], "gpu")) == 2


def test_a_label_keeps_its_number_of_partitions_and_its_names(postgres: PostgresServer, url: str) -> None:
    """Another number is refused, since names lead to them; so is a label that names of threads begin with already."""
    with closing(table(url, "a", "gpu")) as a:
        a.register("", "1", now_ns())
    with closing(table(url, "b", gpu=3)) as b, pytest.raises(JournalError, match=r"write .*label_partitions: {gpu: 2}"):
        b.register("", "1", now_ns())
    postgres.execute("INSERT INTO organism.pieces VALUES (1, 'k', 1, 'eu--7', '', 0)", url)
    with (
        closing(LeaseTable(url, name="house", node="c", partitions=4, label_partitions={"eu": 2})) as c,
        pytest.raises(JournalError, match=r"thread 'eu--7' .* in partition 1"),
    ):
        c.register("", "1", now_ns())
    with (
        closing(LeaseTable(url, name="house", node="c", partitions=4, label_partitions={"big": 251})) as c,
        pytest.raises(JournalError, match="more than 256"),
    ):
        c.register("", "1", now_ns())


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (({"gpu": 2}, {"gpu": 3}), "label_partitions: {gpu: "),
        (({"gpu": 200}, {"eu": 201}), "are more than 256 in all: write fewer"),
    ],
    ids=["of one label", "more than there may be"],
)
def test_of_two_nodes_that_make_partitions_of_labels_at_once_one_says_how_many(
    postgres: PostgresServer, url: str, asked: tuple[dict[str, int], dict[str, int]], told: str
) -> None:
    """The other is refused, as if it had come later: it would look for threads where nobody has them."""
    with closing(table(url, "z", made=False)) as first:
        first.register("", "1", now_ns())
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    refused = []

    def begin(name: str, wanted: dict[str, int]) -> None:
        with closing(LeaseTable(url, name="house", node=name, partitions=4, label_partitions=wanted)) as one:
            try:
                one.register("", "1", now_ns())
            except JournalError as error:
                refused.append(str(error))

    with psycopg.connect(url) as holder, ThreadPoolExecutor() as threads:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        started = [threads.submit(begin, name, wanted) for name, wanted in zip("ab", asked, strict=True)]
        while postgres.execute(waiting, url) != [(2,)]:
            assert not any(each.done() for each in started)
        holder.rollback()
    made = {label: len(its) for label, its in layout_of(url).labelled.items()}
    assert (made in asked, len(refused)) == (True, 1)
    assert told in refused[0]


def test_agents_of_different_labels_may_not_write_to_each_other(url: str) -> None:
    """A thread is at one node, so a node with such agents does not start."""

    @agent(next="painter")
    async def planner(message: Text, ctx: Context) -> Text:
        return message

    with pytest.raises(ConfigError, match=r"'planner', which works at any node, may write to 'painter', .* 'gpu'"):
        ClusterNode(template(planner, painter), url, node="a", partitions=4)


async def test_warnings_reach_those_who_listen_at_their_nodes(url: str) -> None:
    """An agent that listens for warnings is not set to work in threads of nodes that it does not work at."""

    @agent(node_label="gpu")
    async def listener(message: BudgetWarning, ctx: Context) -> None:
        return None

    said = NodeLabels(has=frozenset({"gpu"}))
    organism = template(writer, listener)
    async with ClusterNode(organism, url, node="a", partitions=2, labels=said, times=TIMES) as a:
        await until(lambda: len(a.organisms) == 6)
        here = {
            partition: each.control.components.active.works_here("listener") for partition, each in a.organisms.items()
        }
        assert here == {0: False, 1: False, 2: True, 3: True, 4: True, 5: True}


def now_ns() -> int:
    from organism.clock import SystemClock

    return SystemClock().now_ns()


def table(url: str, name: str, *labels: str, gpu: int = 2, made: bool = True) -> LeaseTable:
    wanted = {"gpu": gpu} if made else {}
    return LeaseTable(
        url, name="house", node=name, partitions=4, ttl_s=60, labels=frozenset(labels), label_partitions=wanted
    )
