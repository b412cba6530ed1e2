"""The tokens of a cluster as one node knows them: kept in the database, looked at with each renewal of the leases.

What was changed at one node counts at the others with their next look. A node that cannot look says so of every token
of the database before a lease would have run out: nobody is let in by what may have been revoked that long ago.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import msgspec
import structlog

from organism.amounts import Limits
from organism.api.tokens.token_book import (
    OWNER,
    TOKENS_MAX,
    Caller,
    KeptToken,
    NewToken,
    TokenBook,
    TokenScope,
    TokenView,
    limited,
    name_taken,
    view_of,
)
from organism.api.tokens.token_errors import OlderNodesError, TokensAwayError
from organism.cluster.lease_times import LeaseTimes
from organism.cluster.node_counts import NodeCounts
from organism.concurrency.loop_time import loop_time
from organism.concurrency.own_threads import OwnThreads
from organism.errors import ConfigError
from organism.journal import JournalBrokenError, JournalError
from organism.stores.postgres.token_table import TokenRow, TokenTable
from organism.text.lasting_failure import LastingFailure

T = TypeVar("T")

_TRIES = 3
"""How often a statement is sent whose answer was lost; each finds what an earlier one has done."""

_AGAIN_S = 0.3
_SOON_S = 0.5
"""Seconds between two looks that unknown tokens bring about."""

_log = structlog.get_logger("organism.cluster")


class _Row(KeptToken, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As it stands in the table; what a newer program binds a token by would be read as nothing."""


class SharedTokenBook(TokenBook):
    """Knows the tokens that all nodes have, and the first one of its own node.

    Args:
        now_ns: The present instant.
        url: The database, whose tables a node has prepared.
        counts: Where a look at the database is counted that has failed.
        times: How long things take.
    """

    def __init__(
        self, now_ns: Callable[[], int], url: str, counts: NodeCounts, times: LeaseTimes | None = None
    ) -> None:
        super().__init__(now_ns)
        self._table, self._times = TokenTable(url), times or LeaseTimes()
        self._counts, self._threads, self._lock = counts, OwnThreads(1), anyio.Lock()
        self._mark, self._looked_s = "", float("-inf")
        self._asked, self._stopped = anyio.Event(), False
        self._unreadable: frozenset[str] = frozenset()
        self._failure = LastingFailure()

    # -- what it knows --------------------------------------------------------------------------------------------

    def find(self, secret: str) -> Caller | None:
        """Return who holds a secret, or ``None``.

        Raises:
            TokensAwayError: If that is not the first token, and the database was not reached lately.
        """
        caller = super().find(secret)
        if caller is not None and caller.name == OWNER:
            return caller
        if loop_time() >= self._looked_s + self._times.ttl_s:
            raise TokensAwayError
        if caller is None:
            self._asked.set()  # it may have been made at another node a moment ago
        return caller

    async def list(self) -> tuple[TokenView, ...]:
        """Return every token of the cluster without its secret, and the keys of the configuration.

        Raises:
            JournalError: If the database does not answer.
        """
        async with self._turn():
            await self._look()
        return await super().list()

    # -- its life -------------------------------------------------------------------------------------------------

    async def begin(self, own: Sequence[KeptToken]) -> None:
        """Read the tokens, and take up those of the node's own file: each once, so one that was revoked stays so.

        Raises:
            JournalError: If the database does not answer.
        """
        async with self._turn():
            if own:
                await self._threads.run(self._table.take_up, [_row(token) for token in own if token.name != OWNER])
            await self._look()
        names = {token.name for token in self._tokens.values()}
        for token in own:
            if token.hash not in self._tokens and token.name in names:
                what = "another token of the cluster has its name: make it again under another one"
                _log.error("token_not_taken_up", token=token.name, reason=what)

    async def run(self) -> None:
        """Look at the database again and again until :meth:`stop`; one that is away ends nothing."""
        try:
            while not self._stopped:
                await anyio.sleep(min(_SOON_S, self._times.renew_s))
                with anyio.move_on_after(max(self._times.renew_s - _SOON_S, 0)):
                    await self._asked.wait()
                self._asked = anyio.Event()
                try:
                    async with self._turn():
                        await self._look()
                    self._failure.end()
                except JournalError as error:
                    self._counts.token_looks_failed += 1
                    if self._failure.is_news(str(error)):
                        _log.warning("tokens_not_read", error=str(error))
        finally:
            with anyio.CancelScope(shield=True):
                await self._threads.run(self._table.close)

    def stop(self) -> None:
        """End :meth:`run` soon."""
        self._stopped = True
        self._asked.set()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Keep others away, so that nothing that was read before takes the place of what was ordered after.

        Raises:
            JournalError: If one that came before has waited for the database all that time; nothing was done.
        """
        with anyio.move_on_after(self._times.ttl_s) as waited:
            await self._lock.acquire()
        if waited.cancelled_caught:
            raise JournalError(f"{self._table.place} does not answer; nothing was done, try again")
        try:
            yield
        finally:
            self._lock.release()

    async def _look(self) -> None:
        """Read what has changed; in one's turn."""
        began_s = loop_time()
        mark, rows = await self._threads.run(self._table.read, self._mark)
        if rows is not None:
            self._take(_tokens(rows))
            self._say_unreadable({row.name for row in rows} - {token.name for token in self._tokens.values()})
        self._mark, self._looked_s = mark, began_s

    def _take(self, made: Iterable[KeptToken]) -> None:
        own = {key: token for key, token in self._tokens.items() if token.name == OWNER}
        self._tokens = own | {token.hash: token for token in made if token.name != OWNER and token.hash not in own}

    def _say_unreadable(self, names: Collection[str]) -> None:
        if names and names != self._unreadable:
            _log.error("tokens_unreadable", tokens=sorted(names), reason="a newer program has made them")
        self._unreadable = frozenset(names)

    # -- changes --------------------------------------------------------------------------------------------------

    async def make(
        self,
        name: str,
        scopes: Collection[TokenScope],
        *,
        days: int | None = None,
        limits: Limits | None = None,
        labels: dict[str, str] | None = None,
    ) -> NewToken:
        """Make a token that is good at every node.

        Raises:
            ConfigError: If the name is taken, there are too many, or limits or labels would bind nothing.
            OlderNodesError: If nodes would not know it.
            JournalError: If the database does not answer; then it may be there, and nobody has its secret.
        """
        async with self._turn():
            await self._look()
            kept, secret = self._drafted(name, scopes, days, limits, labels)
            await self._refuse_older(f"the token {name[:80]!r} is not made, since some nodes would not know it")
            match await self._sent(name, lambda: self._table.make(_row(kept), TOKENS_MAX)):
                case "taken":
                    raise name_taken(name)
                case "full":
                    raise ConfigError(f"there are {TOKENS_MAX} tokens already; revoke some")
                case "made":
                    self._tokens = self._tokens | {kept.hash: kept}
            return NewToken(name, secret, kept.expires_ns)

    async def limit(self, name: str, limits: Limits | None) -> TokenView | None:
        """Give a token other limits at every node, for threads that it opens from now on.

        Raises:
            ConfigError: If limits would bind nothing.
            OlderNodesError: If nodes would not hear of it.
            JournalError: If the database does not answer; then it is not known whether they count.
        """
        async with self._turn():
            await self._look()
            before = self._made(name)
            if before is None:
                return None
            after = limited(before, limits)
            await self._refuse_older(
                f"the token {name[:80]!r} keeps its limits, since some nodes would not know others"
            )
            if not await self._sent(name, lambda: self._table.change(_row(after))):
                return None
            self._tokens = self._tokens | {after.hash: after}
            return view_of(before)

    async def revoke(self, name: str) -> tuple[str, ...] | None:
        """Forget a token and its sessions, here at once and at the other nodes with their next look.

        Returns:
            The nodes that run an older program, which may go on knowing it; ``None`` if there is no such token.

        Raises:
            JournalError: If the database does not answer; then it is not known whether it is revoked.
        """
        async with self._turn():
            await self._look()
            known = self._made(name)
            gone = await self._sent(name, lambda: self._table.remove(name))
            if known is None and not gone:
                return None
            self._take(token for token in self._tokens.values() if token.name != name)
            return await self._sent(name, lambda: self._table.older_nodes(self._times.ttl_s))

    async def _refuse_older(self, what: str) -> None:
        if older := await self._threads.run(self._table.older_nodes, self._times.ttl_s):
            raise OlderNodesError(older, what)

    async def _sent(self, name: str, statement: Callable[[], T]) -> T:
        """Execute what may be executed twice, again where its answer was lost."""
        for left in reversed(range(_TRIES)):
            try:
                return await self._threads.run(statement)
            except JournalBrokenError:
                raise
            except JournalError as error:
                if not left:
                    reason = f"whether the order for the token {name[:80]!r} was carried out is not known"
                    raise JournalError(f"{reason}: look at the list of tokens, and give it again; {error}") from error
                await anyio.sleep(_AGAIN_S)
        raise AssertionError


def _row(token: KeptToken) -> TokenRow:
    return TokenRow(token.name, token.hash, msgspec.json.encode(token).decode())


def _tokens(rows: Iterable[TokenRow]) -> Iterable[KeptToken]:
    """Yield the tokens that can be read; the name and the hash are those of the row."""
    for row in rows:
        try:
            token = msgspec.json.decode(row.body, type=_Row)
        except (msgspec.MsgspecError, RecursionError):
            continue
        if (token.name, token.hash) == (row.name, row.hash):
            yield token
