"""The tokens of a cluster, with the hashes of their secrets: each change is one statement, and changes a mark.

A node that finds the mark it knows has read all that there is. The mark is drawn anew with each change and is not
counted, so that an older copy of the database, put back, is never taken for what was read. Everything here blocks, and
may be done again where its answer was lost: then it finds what it has done.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from organism.journal import JournalBrokenError
from organism.stores.postgres.table_connection import TableConnection


class TokenRow(msgspec.Struct, frozen=True):
    """A token.

    Attributes:
        name: What it is called; there is one of a name.
        hash: Of its secret.
        body: All of it, in JSON.
    """

    name: str
    hash: str
    body: str


class TokenTable:
    """The tokens that all nodes read. Any call may raise ``JournalError``: then it is not known whether it was done.

    Attributes:
        place: What errors call the database.
    """

    def __init__(self, url: str) -> None:
        self._connection = TableConnection(url)
        self.place = self._connection.place

    def close(self) -> None:
        """Let go of the server."""
        self._connection.close()

    def read(self, mark: str) -> tuple[str, list[TokenRow] | None]:
        """Return all tokens and their mark; nothing but the mark where that is the one that is known."""
        if not (found := self._connection.execute(_READ, {"mark": mark})):
            raise JournalBrokenError(f"{self.place} has lost the row of organism.cluster")
        now = str(found[0][0])
        if now == mark:
            return now, None
        return now, [TokenRow(*row) for _, *row in found if row[0] is not None]

    def make(self, row: TokenRow, most: int) -> Literal["made", "taken", "full"]:
        """Keep a token; say why not where another one has its name, or there are as many already.

        Args:
            row: It.
            most: How many there may be; of two made at once both may still come in.
        """
        self._connection.execute(_MAKE, {**msgspec.structs.asdict(row), "most": most})
        found = self._connection.execute("SELECT hash FROM organism.tokens WHERE name = %(name)s", {"name": row.name})
        return "full" if not found else "made" if found[0][0] == row.hash else "taken"

    def change(self, row: TokenRow) -> bool:
        """Write a token anew; whether it is there still, with this secret."""
        return bool(self._connection.execute(_CHANGE, msgspec.structs.asdict(row))[0][0])

    def remove(self, name: str) -> bool:
        """Forget a token; whether it was there."""
        return bool(self._connection.execute(_REMOVE, {"name": name})[0][0])

    def take_up(self, rows: Iterable[TokenRow]) -> None:
        """Keep tokens of a node's own file, each once in the life of the cluster: one that was revoked stays so.

        One whose name another token has is left out, and may be taken up later.
        """
        self._connection.execute(_TAKE_UP, {"rows": msgspec.json.encode(list(rows)).decode()})

    def older_nodes(self, ttl_s: float) -> tuple[str, ...]:
        """Return the nodes that do not read this table, and have renewed their leases within so many seconds."""
        return tuple(node for (node,) in self._connection.execute(_OLDER, {"ttl": ttl_s}))


_READ = """
    SELECT cluster.tokens_mark::text, tokens.name, tokens.hash, tokens.body
    FROM organism.cluster LEFT JOIN organism.tokens ON cluster.tokens_mark::text <> %(mark)s"""

_MARK = "UPDATE organism.cluster SET tokens_mark = gen_random_uuid() WHERE EXISTS (SELECT FROM changed)"

_MAKE = f"""
    WITH changed AS (
        INSERT INTO organism.tokens SELECT %(name)s, %(hash)s, %(body)s
        WHERE (SELECT count(*) FROM organism.tokens) < %(most)s ON CONFLICT DO NOTHING RETURNING name)
    {_MARK}"""  # noqa: S608

_CHANGE = f"""
    WITH changed AS (
        UPDATE organism.tokens SET body = %(body)s WHERE name = %(name)s AND hash = %(hash)s RETURNING name),
    marked AS ({_MARK})
    SELECT EXISTS (SELECT FROM changed)"""  # noqa: S608

_REMOVE = f"""
    WITH changed AS (DELETE FROM organism.tokens WHERE name = %(name)s RETURNING name),
    marked AS ({_MARK})
    SELECT EXISTS (SELECT FROM changed)"""  # noqa: S608

_TAKE_UP = f"""
    WITH given AS (SELECT * FROM json_to_recordset(%(rows)s::json) AS found(name text, hash text, body text)),
    taken_up AS (
        INSERT INTO organism.tokens_taken_up
        SELECT hash FROM given WHERE name NOT IN (SELECT name FROM organism.tokens)
        ON CONFLICT DO NOTHING RETURNING hash),
    changed AS (
        INSERT INTO organism.tokens SELECT name, hash, body FROM given JOIN taken_up USING (hash)
        ON CONFLICT DO NOTHING RETURNING name)
    {_MARK}"""  # noqa: S608

_OLDER = """
    SELECT node FROM organism.nodes
    WHERE NOT reads_tokens AND seen > clock_timestamp() - make_interval(secs => %(ttl)s) ORDER BY node"""
