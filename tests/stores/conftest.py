"""A database as the first node of a cluster of three partitions has made it, and its table of shared limits."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from organism.stores.postgres.lease_table import LeaseTable
from organism.stores.postgres.slice_table import SliceTable
from organism.testing.postgres_server import PostgresServer


@pytest.fixture
def leases(postgres: PostgresServer) -> Iterator[LeaseTable]:
    url = postgres.database()
    with closing(LeaseTable(url, name="house", node="a", partitions=3)) as table:
        table.register("", "1", int(postgres.execute("SELECT extract(epoch FROM now()) * 1e9", url)[0][0]))
        yield table


@pytest.fixture
def table(postgres: PostgresServer, leases: LeaseTable) -> Iterator[SliceTable]:
    with closing(SliceTable(postgres.url("test"), 3)) as table:
        yield table
