"""Journals in PostgreSQL with rows that no organism has written: whole but wrong, or damaged."""

import random
from typing import Any

import psycopg
from psycopg import sql

from organism.stores.batch import GENESIS, chain_hash, checksum
from organism.stores.postgres.postgres_journal import PostgresJournal
from tests.fuzz.journals import changed, faults_of_opening

TABLES = ("journals", "live", "entries", "pieces", "events", "remembered")
NUMBERS = (-1, 0, 1, 2, 7, 2**31, 2**62, 2**63 - 1, -(2**63))

Rows = dict[str, list[tuple[Any, ...]]]


class Damaged:
    """One database, put back to what an organism has written before each damage.

    Args:
        url: The database, filled.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = psycopg.connect(url, autocommit=True)
        self._columns: dict[str, list[str]] = {}
        self._rows: Rows = {}
        for table in TABLES:
            cursor = self._connection.execute(sql.SQL("SELECT * FROM organism.{}").format(sql.Identifier(table)))
            self._columns[table] = [column.name for column in cursor.description or ()]
            self._rows[table] = cursor.fetchall()

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    async def faults_of(self, chance: random.Random) -> list[str]:
        """Say what is wrong with how a journal is opened: refused in words, or gone on with; a damaged ledger never."""
        self._put_back()
        told, is_damage = self._damage(chance) if chance.randrange(2) else (self._change(chance), False)
        if not told:
            return []
        faults = await faults_of_opening(PostgresJournal(self._url), told)
        if not faults and is_damage and self._is_taken():
            faults = [f"taken as it is: {told}"]
        return faults

    def _put_back(self) -> None:
        for table, rows in self._rows.items():
            self._connection.execute(sql.SQL("DELETE FROM organism.{}").format(sql.Identifier(table)))
            places = sql.SQL(", ").join([sql.Placeholder()] * len(self._columns[table]))
            into = sql.SQL("INSERT INTO organism.{} VALUES ({})").format(sql.Identifier(table), places)
            self._connection.cursor().executemany(into, rows)

    def _is_taken(self) -> bool:
        """Whether an organism has begun to write: its epoch is newer than that of the damaged journal."""
        found = self._connection.execute("SELECT seq, batch FROM organism.journals WHERE p = 0").fetchone()
        names = self._columns["journals"]
        before = self._rows["journals"][0]
        return found is not None and found[1] > before[names.index("batch")]

    def _damage(self, chance: random.Random) -> tuple[str, bool]:
        """Damage one field of one row, as a disk or a hand does, and nothing beside it; say whether the ledger is."""
        table, column = chance.choice(
            (("entries", "body"), ("entries", "hash"), ("entries", "seq"), ("pieces", "body"), ("pieces", "checksum"),
             ("pieces", "key"), ("pieces", ""), ("entries", ""), ("journals", "hash"), ("journals", "seq"),
             ("live", "pieces"), ("live", "pieces_sum"), ("events", "body"), ("remembered", "value"), ("journals", ""))
        )  # fmt: skip
        name = "seq" if table == "entries" else "key" if table in ("pieces", "remembered") else "p"
        name = "id" if table == "events" else name
        at = self._columns[table].index(name)
        row = chance.choice(self._rows[table])
        where = sql.SQL("WHERE {} = %s").format(sql.Identifier(name))
        if not column:
            statement = sql.SQL("DELETE FROM organism.{} ").format(sql.Identifier(table)) + where
            values: tuple[Any, ...] = (row[at],)
            new: object = None
        else:
            old = row[self._columns[table].index(column)]
            new = _damaged(old, chance)
            if new == old:
                return "", False
            set_ = sql.SQL("UPDATE organism.{} SET {} = %s ").format(sql.Identifier(table), sql.Identifier(column))
            statement, values = set_ + where, (new, row[at])
        try:
            self._connection.execute(statement, values)
        except psycopg.Error:
            return "", False  # the database itself refuses it
        # A piece of live state that is damaged is set aside, and said so; events are checked when somebody reads them.
        return f"{table}.{column} of {row[at]!r}: {new!r:.300}", table in ("entries", "journals")

    def _change(self, chance: random.Random) -> str:
        """Put something else in place of a body, with checksums that fit it."""
        if chance.randrange(3):
            names = self._columns["pieces"]
            row = dict(zip(names, chance.choice(self._rows["pieces"]), strict=True))
            body = changed(row["body"], chance).replace("\0", "")
            self._connection.execute(
                "UPDATE organism.pieces SET body = %s, checksum = %s WHERE key = %s",
                (body, checksum(row["key"], row["thread_id"], body), row["key"]),
            )
            self._connection.execute(
                "UPDATE organism.live SET pieces_sum = (SELECT coalesce(sum(checksum), 0) FROM organism.pieces)"
            )
            return f"piece {row['key']}: {body[:400]}"
        names = self._columns["entries"]
        rows = sorted((dict(zip(names, row, strict=True)) for row in self._rows["entries"]), key=lambda row: row["seq"])
        place, last = chance.randrange(len(rows)), GENESIS
        for number, row in enumerate(rows):
            if number == place:
                row["body"] = changed(row["body"], chance).replace("\0", "")
            last = chain_hash(last, row["body"])
            self._connection.execute(
                "UPDATE organism.entries SET body = %s, hash = %s WHERE seq = %s", (row["body"], last, row["seq"])
            )
        self._connection.execute("UPDATE organism.journals SET hash = %s", (last,))
        return f"entry {place + 1}: {rows[place]['body'][:400]}"


def _damaged(old: object, chance: random.Random) -> object:
    match old:
        case bytes():
            place = chance.randrange(len(old))
            return old[:place] + bytes((old[place] ^ (1 << chance.randrange(8)),)) + old[place + 1 :]
        case int():
            return chance.choice((*NUMBERS, old + 1, old - 1))
        case str():
            place = chance.randrange(max(1, len(old)))
            return chance.choice(
                (old[:place], old[place:], old[:place] + "x" + old[place + 1 :], "", "null", old + " ")
            )
        case _:
            return old
