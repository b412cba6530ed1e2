"""Nodes of a version whose tables a newer one has changed: they keep what they have, take nothing, begin nothing."""

from collections.abc import Iterable

import anyio
import pytest

from organism import Limits
from organism.budget.scopes import BudgetPlan
from organism.cluster.node import ClusterNode
from organism.journal import JournalError
from organism.testing.postgres_server import PostgresServer
from tests.cluster.house import PARTITIONS, TIMES, House, audited, house
from tests.waiting import until

pytestmark = [pytest.mark.debian, pytest.mark.anyio]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


def partitions_of(nodes: Iterable[ClusterNode]) -> set[int]:
    return {partition for node in nodes for partition in node.organisms}


async def test_older_nodes_keep_their_partitions_and_take_no_other(url: str, postgres: PostgresServer) -> None:
    """Also when their connections are cut; what one of them gives up waits for a newer node, and nothing is lost."""
    async with house(url, BudgetPlan(windows={"lifetime": Limits(calls=100)})) as found:
        a, b, c = found.nodes
        # What the first node of a newer version does, but for tables of its own.
        postgres.execute("UPDATE organism.cluster SET schema = schema + 1", url)
        assert await found.use(1) == 0
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()",
            url,
        )
        cut_s = anyio.current_time()
        await until(lambda: all(node.counts.renewed_s > cut_s for node in found.nodes))
        assert partitions_of(found.nodes) == set(range(PARTITIONS))
        assert await found.use(1) == 0
        given_up = set(c.organisms)
        c.table.drain("c")
        await until(lambda: a.counts.ended["failed"] + b.counts.ended["failed"] > 1)
        assert partitions_of((a, b, c)) == set(range(PARTITIONS)) - given_up
        assert await found.use(1) == 0
        await refused(found, url)
        postgres.execute("UPDATE organism.cluster SET schema = schema - 1", url)  # as a newer node would take them
        await until(lambda: len(partitions_of((a, b))) == PARTITIONS)
        assert await found.use(1) == 0
    assert audited(url).findings == []


async def refused(found: House, url: str) -> None:
    """See a node of the older version refused where it begins now."""
    template = found.organisms[0]
    with pytest.raises(JournalError, match=r"knows versions up to \d+; upgrade organism"):
        async with ClusterNode(template, url, node="d", partitions=PARTITIONS, times=TIMES):
            pass
