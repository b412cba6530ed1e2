"""The tables of a database: made, brought up to date, and refused where they are somebody else's."""

from contextlib import closing

import msgspec
from msgspec.structs import replace
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from organism.journal import JournalError
from organism.stores.postgres.postgres_connection import Connection, connected
from organism.stores.postgres.postgres_errors import explained, place_of
from organism.stores.postgres.postgres_schema import LOCK, MIGRATIONS, VERSION, partitions_made


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """What a database is opened for.

    Attributes:
        name: The organism; empty for a program that is none, and so does not ask.
        partitions: How many journals it must hold: 1 for one daemon alone; ``None`` if any number will do.
        take: Whether to write to it; otherwise nothing is made or changed.
    """

    name: str = ""
    partitions: int | None = 1
    take: bool = True


def partition_count(url: str) -> int:
    """Return how many journals a database holds: 1 if it is one daemon's. Nothing is made or changed; blocks.

    Raises:
        JournalError: If it cannot be reached or is refused, or holds none.
    """
    place = place_of(url)
    with explained(place), closing(connected(url, place)) as db:
        return prepare(db, place, Purpose(partitions=None, take=False))


def found_as_configured(url: str, purpose: Purpose) -> int:
    """Return how many journals a database holds, after at most 2 s of connecting; nothing is made or changed; blocks.

    Raises:
        JournalError: If it cannot be reached, or a daemon of that purpose would refuse it.
    """
    place = place_of(url)
    if "connect_timeout" not in conninfo_to_dict(url):
        url = make_conninfo(url, connect_timeout="2")
    with explained(place), closing(connected(url, place)) as db:
        return prepare(db, place, replace(purpose, take=False))


def prepare(db: Connection, place: str, purpose: Purpose) -> int:
    """Make the tables or bring them up to date, and refuse those of others before anything of them is changed.

    Returns:
        How many journals the database holds.

    Raises:
        JournalError: If they are a newer program's, another organism's or another cluster's, or no tables of ours.
    """
    found = db.execute(
        "SELECT to_regclass('organism.cluster') IS NOT NULL, "
        "EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('organism'))"
    ).fetchone()
    ours, anything = found or (False, False)
    if anything and not ours:
        raise JournalError(f"{place} has a schema 'organism' that is not a journal of organism; use another database")
    if not ours:
        if not purpose.take:
            raise JournalError(f"{place} has no journal of organism; the daemon makes one")
        _migrate(db, 0, partitions_made(purpose.partitions or 1))
    ((partitions, version, name),) = db.execute(_DESCRIBED)
    if version > VERSION:
        raise JournalError(
            f"the journal in {place} has version {version}, but this organism knows versions up to {VERSION}; "
            "upgrade organism"
        )
    _refuse_other_name(place, name, purpose.name)
    if purpose.partitions not in (None, partitions):
        raise JournalError(_other_partitions(place, partitions, purpose.partitions))
    if not purpose.take:
        return int(partitions)
    if version < VERSION:
        _migrate(db, version)
    if purpose.name and not name:
        db.execute("UPDATE organism.cluster SET name = %s WHERE name = ''", (purpose.name,))
        ((name,),) = db.execute("SELECT name FROM organism.cluster")
        _refuse_other_name(place, name, purpose.name)  # of two that start on an empty database at once, one comes first
    return int(partitions)


_DESCRIBED = """
    SELECT partitions, schema, coalesce(
        to_jsonb(cluster)->>'name',
        (SELECT body::jsonb->>'name' FROM organism.pieces WHERE p = 0 AND key = 'instance'), '')
    FROM organism.cluster"""
"""Tables of version 1 have no name: there the organism's own piece of live state tells it."""


def _migrate(db: Connection, version: int, more: str = "") -> None:
    """Take the steps that these tables have not taken yet; as one command they are taken together or not at all."""
    steps = "".join(MIGRATIONS[version:])
    db.execute(
        f"SELECT pg_advisory_xact_lock({LOCK});{steps};{more}"  # noqa: S608 - written in postgres_schema
        f"UPDATE organism.cluster SET schema = {VERSION}"
    )


def _refuse_other_name(place: str, found: str, name: str) -> None:
    if name and found not in ("", name):
        raise JournalError(
            f"{place} holds the journal of the organism {found!r}, and this is {name!r}: use another database, or, if "
            f"{found!r} was renamed and runs nowhere, set the name in its table organism.cluster"
        )


def _other_partitions(place: str, found: int, wanted: int) -> str:
    if wanted == 1:
        return f"{place} belongs to a cluster of {found} partitions; one daemon alone needs another database"
    if found == 1:
        return f"{place} holds the journal of one daemon; a cluster needs a database of its own"
    return (
        f"the cluster in {place} has {found} partitions, and this node is configured for {wanted}: write "
        f"partitions: {found}; the number is fixed when the database is made"
    )
