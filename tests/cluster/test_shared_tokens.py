"""Tokens of a cluster: made, limited and revoked at any node, they are so at every node, and never two of a name."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, suppress
from typing import TypeVar

import anyio
import msgspec
import pytest

from organism import Limits
from organism.api.tokens.token_book import OWNER, KeptToken, NewToken
from organism.api.tokens.token_errors import OlderNodesError, TokensAwayError
from organism.cluster.lease_times import LeaseTimes
from organism.cluster.node_counts import NodeCounts
from organism.cluster.shared_tokens import SharedTokenBook
from organism.concurrency.loop_time import loop_time
from organism.errors import ConfigError
from organism.journal import JournalError
from organism.stores.postgres.lease_table import LeaseTable
from organism.stores.postgres.token_table import TokenRow, TokenTable
from organism.testing.postgres_server import PostgresServer
from tests.stores.postgres.test_postgres_journal import Cable
from tests.waiting import until

T = TypeVar("T")

pytestmark = [pytest.mark.debian, pytest.mark.anyio]

TIMES = LeaseTimes(ttl_s=60.0, renew_s=0.05)
OWN = "the secret of this node's first token"


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """Return a database that nodes have prepared."""
    url = postgres.database()
    with closing(LeaseTable(url, name="house", node="a", partitions=2)) as table:
        table.register("", "1", int(postgres.execute("SELECT extract(epoch FROM now()) * 1e9", url)[0][0]))
    return url


@asynccontextmanager
async def books(
    url: str, count: int = 2, times: LeaseTimes = TIMES, own: tuple[KeptToken, ...] = ()
) -> AsyncIterator[list[SharedTokenBook]]:
    """Have several nodes look at the tokens."""
    async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            book = SharedTokenBook(lambda: 1, url, NodeCounts(), times)
            book.know(OWNER, OWN, ("admin",))
            await book.begin(own)
            tasks.start_soon(book.run)
            stack.callback(book.stop)
            found.append(book)
        yield found


def knows(book: SharedTokenBook, secret: str) -> Callable[[], bool]:
    return lambda: book.find(secret) is not None


def does_not_know(book: SharedTokenBook, secret: str) -> Callable[[], bool]:
    return lambda: book.find(secret) is None


async def test_what_is_ordered_at_one_node_counts_at_all(url: str, postgres: PostgresServer) -> None:
    """A token made here is good there, with its limits; revoked there, it is none here. The database has no secret."""
    async with books(url) as (a, b):
        made = await a.make("ci", ["send"], limits=Limits(calls=3), labels={"tenant": "acme"})
        assert a.find(made.secret) is not None
        await until(knows(b, made.secret))
        assert b.find(made.secret) == a.find(made.secret)
        assert [each.name for each in await b.list()] == ["owner", "ci"]
        (row,) = postgres.execute("SELECT name, hash, body FROM organism.tokens", url)
        assert made.secret not in str(row)

        limited = await b.limit("ci", Limits(calls=5))
        assert limited is not None
        assert limited.limits == Limits(calls=3)
        await until(lambda: (caller := a.find(made.secret)) is not None and caller.limits == Limits(calls=5))

        assert await b.revoke("ci") == ()
        assert b.find(made.secret) is None
        await until(does_not_know(a, made.secret))
        assert await a.revoke("ci") is None
        assert await a.limit("ci", None) is None
        assert await a.revoke(OWNER) is None
        assert await a.revoke("no text of PostgreSQL \0") is None
        assert a.find(OWN) is not None


async def test_session_ends_with_its_token_wherever_that_is_revoked(url: str) -> None:
    """Also where another token of the same name is made: that one is not what the session was begun with."""
    async with books(url) as (a, b):
        made = await b.make("ci", ["read"])
        session = b.begin_session(made.secret)
        assert session is not None
        assert await a.revoke("ci") == ()
        again = await a.make("ci", ["read", "send"])
        await until(knows(b, again.secret))
        assert b.find(session.secret) is None
        assert b.begin_session(made.secret) is None


async def test_of_two_nodes_that_make_one_name_one_does(url: str) -> None:
    """At once, several times: one token comes of it each time, and the others are refused."""
    async with books(url, 3) as nodes:
        for number in range(5):
            outcomes: list[NewToken | ConfigError] = []

            async def make(book: SharedTokenBook, name: str, into: list[NewToken | ConfigError]) -> None:
                try:
                    into.append(await book.make(name, ["read"]))
                except ConfigError as error:
                    into.append(error)

            async with anyio.create_task_group() as tasks:
                for book in nodes:
                    tasks.start_soon(make, book, f"ci{number}", outcomes)
            (made,) = [each for each in outcomes if isinstance(each, NewToken)]
            assert all("choose another name" in str(each) for each in outcomes if each is not made)
            for book in nodes:
                await until(knows(book, made.secret))


async def test_node_that_cannot_look_lets_nobody_in_by_the_database(url: str, postgres: PostgresServer) -> None:
    """After the time of a lease it says that it does not know; its own first token goes on; later all is as before."""
    times = LeaseTimes(ttl_s=1.0, renew_s=0.05)
    async with books(url, 2, times) as (a, b):
        made = await a.make("ci", ["read"])
        await until(knows(b, made.secret))
        session = b.begin_session(made.secret)
        assert session is not None
        postgres.stop()
        try:
            await until(lambda: is_away(b, made.secret))
            assert is_away(b, session.secret)
            assert is_away(b, "a secret of nobody that it knows")
            assert b.find(OWN) is not None
            with pytest.raises(JournalError, match="cannot be reached"):
                await b.make("more", ["read"])
            with pytest.raises(JournalError, match="cannot be reached"):
                await b.revoke("ci")
            with pytest.raises(JournalError, match="cannot be reached"):
                await b.list()
        finally:
            postgres.start()
        await until(lambda: not is_away(b, made.secret))
        assert b.find(made.secret) is not None


async def test_revoked_token_is_good_no_longer_than_a_lease_where_a_node_is_cut_off(
    url: str, postgres: PostgresServer
) -> None:
    """One node alone is cut off: it lets in what is revoked until its last look is too old, and then never."""
    times = LeaseTimes(ttl_s=2.0, renew_s=0.05)
    with ExitStack() as cut:
        cable = Cable(postgres, url)
        cut.callback(cable.close)
        async with books(url, 1, times) as (a,), books(cable.url, 1, times) as (b,):
            made = await a.make("ci", ["read"])
            await until(knows(b, made.secret))
            cut.close()
            assert await a.revoke("ci") == ()
            assert a.find(made.secret) is None
            revoked_s = last_s = loop_time()
            while True:
                asked_s = loop_time()
                if is_away(b, made.secret):
                    break
                last_s = asked_s
                await anyio.sleep(0.01)
            assert last_s < revoked_s + times.ttl_s


def is_away(book: SharedTokenBook, secret: str) -> bool:
    try:
        book.find(secret)
    except TokensAwayError:
        return True
    return False


async def test_tokens_of_a_nodes_file_are_taken_up_once(url: str) -> None:
    """They become the cluster's; revoked there, no node's file brings them back. A name that is taken stays whose."""
    own = KeptToken(name="old", hash="0" * 64, scopes=("read",), created_ns=1)
    async with books(url, 2, own=(own,)) as (a, _):
        assert [each.name for each in await a.list()] == ["owner", "old"]
        assert await a.revoke("old") == ()
    async with books(url, 1, own=(own,)) as (a,):
        assert [each.name for each in await a.list()] == ["owner"]
        await a.make("ci", ["read"])
    another = msgspec.structs.replace(own, name="ci", hash="1" * 64)
    async with books(url, 1, own=(another,)) as (a,):
        assert [each.name for each in await a.list()] == ["owner", "ci"]
        assert await a.revoke("ci") == ()
    async with books(url, 1, own=(another,)) as (a,):
        assert [each.name for each in await a.list()] == ["owner", "ci"]


async def test_nodes_of_an_older_program_are_named(url: str, postgres: PostgresServer) -> None:
    """While one lives, nothing is made that it would not know; a revoke is carried out, and says where it is not."""
    async with books(url, 1) as (a,):
        made = await a.make("ci", ["send"])
        postgres.execute("INSERT INTO organism.nodes VALUES ('old', 1, '', '0', clock_timestamp(), false)", url)
        with pytest.raises(OlderNodesError, match="old of this cluster run an older organism"):
            await a.make("more", ["read"])
        with pytest.raises(OlderNodesError, match="'ci' keeps its limits"):
            await a.limit("ci", Limits(calls=1))
        assert await a.revoke("ci") == ("old",)
        assert a.find(made.secret) is None
        postgres.execute("UPDATE organism.nodes SET seen = seen - interval '1 hour' WHERE node = 'old'", url)
        await a.make("more", ["read"])


@pytest.mark.parametrize("lose_answer", [False, True], ids=["before the server has it", "before its answer is here"])
@pytest.mark.parametrize("statement", range(1, 6))
async def test_order_whose_connection_is_cut_is_carried_out_once(
    url: str, postgres: PostgresServer, statement: int, lose_answer: bool
) -> None:
    """At any of its statements: it is carried out, or nothing was done and it can be given again."""

    async def given(order: Callable[[], Awaitable[T]]) -> T:
        cable.lose_answer, cable.cut_at = lose_answer, cable.statements + statement
        for _ in range(2):
            with suppress(JournalError):
                return await order()
        return await order()

    with closing(Cable(postgres, url)) as cable:
        a = SharedTokenBook(lambda: 1, cable.url, NodeCounts(), TIMES)
        await a.begin(())
        made = await given(lambda: a.make("ci", ["send"]))
        assert a.find(made.secret) is not None
        assert await given(lambda: a.limit("ci", Limits(calls=1))) is not None
        (listed,) = await given(a.list)
        assert listed.limits == Limits(calls=1)
        assert await given(lambda: a.revoke("ci")) == ()
        assert a.find(made.secret) is None
        assert postgres.execute("SELECT * FROM organism.tokens", url) == []
        a.stop()
        await a.run()


async def test_row_that_a_newer_program_has_written_lets_nobody_in(url: str) -> None:
    """What it binds a token by is not known here, so the token is none here; the others are as good as without it."""
    newer = {"name": "new", "hash": "2" * 64, "scopes": ["read"], "created_ns": 1, "hours": "9-17"}
    with closing(TokenTable(url)) as table:
        assert table.make(TokenRow("new", "2" * 64, msgspec.json.encode(newer).decode()), 9) == "made"
        assert table.make(TokenRow("broken", "3" * 64, "{"), 9) == "made"
        assert table.make(TokenRow("more", "4" * 64, "{"), 2) == "full"
    async with books(url, 1) as (a,):
        assert [each.name for each in await a.list()] == ["owner"]
        with pytest.raises(ConfigError, match="'new' already"):
            await a.make("new", ["read"])
        assert await a.revoke("new") == ()
