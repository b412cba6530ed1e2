"""The way from the nodes to their database: in virtual time, cut, stalled or losing answers where a story says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar
from unittest.mock import patch
from weakref import WeakKeyDictionary

import anyio
import psycopg

from organism.concurrency.own_threads import OwnThreads
from organism.testing.postgres_server import PostgresServer
from organism.testing.simulate.world import World

T = TypeVar("T")

_CLOCK = """
    CREATE SCHEMA IF NOT EXISTS virtual;
    CREATE OR REPLACE FUNCTION virtual.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql
    AS $$ SELECT to_timestamp(current_setting('virtual.now_ns')::numeric / 1000000000) $$;
    ALTER DATABASE test SET search_path = virtual, pg_catalog, public;
    ALTER DATABASE test SET virtual.now_ns = '0'"""

_TRAVEL_S = (0.0, 0.0, 0.001, 0.02)


class Link:
    """What one process has of the network.

    Attributes:
        cut: Nothing reaches the database.
        loses: So many answers get lost, after what they answer was done.
        stalled_until_s: What is sent before this instant of the event loop arrives only then.
    """

    def __init__(self) -> None:
        self.cut = False
        self.loses = 0
        self.stalled_until_s = 0.0


LINK: ContextVar[Link | None] = ContextVar("link", default=None)
"""The link of the process whose code runs."""


class Network:
    """The network of one run, and the clock of its database.

    Args:
        world: Time and chance.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._turns: WeakKeyDictionary[OwnThreads, anyio.CapacityLimiter] = WeakKeyDictionary()
        self._connect: Callable[..., Any] = _Connection.connect

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While it lasts all that blocks is done at once, in an order that the seed decides, and over this network."""
        network = self

        async def run(threads: OwnThreads, function: Callable[..., T], *args: object) -> T:
            return await network.carry(threads, function, *args)

        here = patch.multiple(OwnThreads, run=run, run_shielded=run)
        with patch.object(psycopg, "connect", self.connect), here:
            yield

    def connect(self, url: str, **options: Any) -> Any:
        """Connect a process, if its network lets it."""
        link = LINK.get()
        if link is not None and link.cut:
            raise psycopg.OperationalError("the network is cut")
        connection = self._connect(url, **options)
        connection.link, connection.clock = link, self._world.clock
        return connection

    async def carry(self, threads: OwnThreads, function: Callable[..., T], *args: object) -> T:
        """Call what blocks, in turn with what else these threads do, when the network has let it through."""
        if (turns := self._turns.get(threads)) is None:
            turns = self._turns[threads] = anyio.CapacityLimiter(threads.most)
        async with turns:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self._world.draw.choice(_TRAVEL_S))
                link = LINK.get()
                if link is not None and (late_s := link.stalled_until_s - anyio.current_time()) > 0:
                    await anyio.sleep(late_s)
            return function(*args)


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that tells the database what time it is."""

    link: Link | None = None
    clock: Any = None
    _told_ns = -1

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Execute a statement, at this instant; where the network is cut, the connection is gone."""
        self._break_if(self.link is not None and self.link.cut)
        if self.clock is not None and (now_ns := self.clock.now_ns()) != self._told_ns:
            super().execute("SELECT set_config('virtual.now_ns', %s, false)", (str(now_ns),))
            self._told_ns = now_ns
        cursor = super().execute(query, params, **options)
        if self.link is not None and self.link.loses:
            self.link.loses -= 1
            self._break_if(True)
        return cursor

    def _break_if(self, broken: bool) -> None:
        if broken:
            self.close()
            raise psycopg.OperationalError("the network is cut")


def fresh_database(server: PostgresServer) -> str:
    """Return the URL of an empty database whose clock is virtual."""
    url = server.database()
    server.execute(_CLOCK, url)
    return url
