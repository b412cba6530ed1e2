"""The tables of a database: made, brought up to date, and refused where they are somebody else's."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing

import msgspec
from msgspec.structs import replace
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from organism.ids import PARTITIONS_MAX, Layout, thread_names_of
from organism.journal import JournalError
from organism.stores.postgres.postgres_connection import Connection, connected
from organism.stores.postgres.postgres_errors import explained, place_of
from organism.stores.postgres.postgres_schema import LOCK, MIGRATIONS, VERSION, labelled_made, partitions_made

_LOCKED_MS = 400
"""So long a step waits for a table, and all nodes with it: much less than a lease lasts.

Less also than `deadlock_timeout` as shipped, 1 s: where a step and a node's statement wait for each other, the step
gives up and comes again before the server would end the statement of the node.
"""

TRIES, _AGAIN_S = 10, 2.0


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


def layout_of(url: str) -> Layout:
    """Return which journals a database holds: one if it is one daemon's. Nothing is made or changed; blocks.

    Raises:
        JournalError: If it cannot be reached or is refused, or holds none.
    """
    place = place_of(url)
    with explained(place), closing(connected(url, place)) as db:
        count = prepare(db, place, Purpose(partitions=None, take=False))
        layout = read_layout(db) if count > 1 else Layout(1)
        if layout.partitions < count:
            raise JournalError(f"{place} has lost rows of organism.leases: restore the newest copy of the database")
        return layout


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
        migrate(db, place, purpose.partitions or 1)
    described = db.execute(_DESCRIBED).fetchall()
    if len(described) != 1:
        raise JournalError(f"{place} has lost the row of organism.cluster: restore the newest copy of the database")
    ((partitions, version, name),) = described
    _refuse_newer(place, version)
    _refuse_other_name(place, name, purpose.name)
    if purpose.partitions not in (None, partitions):
        raise JournalError(_other_partitions(place, partitions, purpose.partitions))
    if not purpose.take:
        return int(partitions)
    if db.execute(_SUBSCRIBED).fetchone():
        raise JournalError(
            f"{place} gets its tables from another server, by a subscription, which would write over what is kept "
            "here: give the URL of that server, or drop the subscription first"
        )
    if version < VERSION:
        migrate(db, place)
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


_SUBSCRIBED = """
    SELECT 1 FROM pg_subscription_rel JOIN pg_subscription s ON s.oid = srsubid
    WHERE s.subenabled AND srrelid = to_regclass('organism.journals')"""


def migrate(db: Connection, place: str, partitions: int = 1) -> None:
    """Take the steps that these tables have not taken yet, together or not at all.

    A step waits for all who use a table, and all who come later wait for the step: nodes that run could renew no lease
    as long as somebody reads, such as a backup. So it soon gives up waiting, lets them through and comes again.

    Args:
        partitions: How many journals to make where there are no tables yet.

    Raises:
        JournalError: If the tables were in use each time, or a newer program has begun at the same time.
    """
    for left in reversed(range(TRIES)):
        try:
            with db.transaction():
                db.execute(f"SELECT pg_advisory_xact_lock({LOCK}), set_config('lock_timeout', '{_LOCKED_MS}', true)")
                # Only now: of nodes that begin at once the others have waited for the first one. To take its steps
                # again would lock tables that it already uses, in another order than its statements do.
                _take_steps(db, partitions)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if not left:
                raise JournalError(
                    f"the tables in {place} are to be brought to version {VERSION}, and somebody uses them, such as a "
                    "backup: start this node when that is over; nodes that run go on"
                ) from None
            time.sleep(_AGAIN_S)
        else:
            break
    ((found,),) = db.execute("SELECT schema FROM organism.cluster")
    _refuse_newer(place, found)


def _take_steps(db: Connection, partitions: int) -> None:
    ((made,),) = db.execute("SELECT to_regclass('organism.cluster') IS NOT NULL")
    version = next(iter(db.execute("SELECT schema FROM organism.cluster")))[0] if made else 0
    if version < VERSION:
        steps, more = "".join(MIGRATIONS[version:]), "" if made else partitions_made(partitions)
        db.execute(f"{steps};{more}UPDATE organism.cluster SET schema = {VERSION}")  # noqa: S608 - written in postgres_schema


def _refuse_newer(place: str, version: int) -> None:
    if version > VERSION:
        raise JournalError(
            f"the journal in {place} has version {version}, but this organism knows versions up to {VERSION}; "
            "upgrade organism"
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


def make_labelled(db: Connection, place: str, wanted: Mapping[str, int], ttl_s: float) -> None:
    """Make the partitions of labels that have none yet.

    Args:
        wanted: By label, how many partitions it is to have.
        ttl_s: Seconds after which a node that has not renewed its leases does not live any more.

    Raises:
        JournalError: If a label has another number of them, there are too many in all, or a node of a program that
            knows no labels runs: it would take them as any others.
    """
    found = read_layout(db).labelled
    _refuse_other_counts(place, found, wanted)
    missing = {label: count for label, count in wanted.items() if label not in found}
    if not missing:
        return
    there = len(read_layout(db).every)
    if there + sum(missing.values()) > PARTITIONS_MAX:
        raise _too_many(place, there, missing)
    older = db.execute(
        "SELECT node FROM organism.nodes WHERE labels IS NULL "
        "AND seen > clock_timestamp() - make_interval(secs => %s) ORDER BY node",
        (ttl_s,),
    ).fetchall()
    if older:
        raise JournalError(
            f"node {older[0][0]!r} of the cluster in {place} runs an organism that knows no labels, and would take "
            f"the partitions of {', '.join(missing)}: start all nodes with this version first, and then this one"
        )
    for label, count in missing.items():
        begin = thread_names_of(label)
        query = "SELECT p, thread_id FROM organism.pieces WHERE starts_with(thread_id, %s) LIMIT 1"
        if (named := db.execute(query, (begin,)).fetchone()) is not None:
            raise JournalError(
                f"thread {named[1]!r} in {place} is in partition {named[0]}, and names that begin with {begin!r} are "
                f"to be those of threads at nodes labelled {label!r}: use another label, or end that thread first"
            )
        db.execute(labelled_made(label, count))
    # Another node may have made them a moment ago and another number of them, or so many that there was no room.
    layout = read_layout(db)
    _refuse_other_counts(place, layout.labelled, wanted)
    if left := {label: count for label, count in missing.items() if label not in layout.labelled}:
        raise _too_many(place, len(layout.every), left)


def _too_many(place: str, there: int, missing: Mapping[str, int]) -> JournalError:
    return JournalError(
        f"the cluster in {place} has {there} partitions, and {sum(missing.values())} more for nodes labelled "
        f"{', '.join(missing)} are more than {PARTITIONS_MAX} in all: write fewer in cluster.label_partitions"
    )


def _refuse_other_counts(place: str, found: Mapping[str, Sequence[int]], wanted: Mapping[str, int]) -> None:
    for label, count in wanted.items():
        if label in found and len(found[label]) != count:
            raise JournalError(
                f"the cluster in {place} has {len(found[label])} partitions for nodes labelled {label!r}, and this "
                f"node is configured for {count}: write cluster.label_partitions: {{{label}: {len(found[label])}}}; "
                "the number is fixed when they are made"
            )


def read_layout(db: Connection) -> Layout:
    """Return which partitions of a cluster need which label; also where tables are an older program's."""
    rows = db.execute("SELECT p, coalesce(to_jsonb(leases)->>'node_label', '') FROM organism.leases ORDER BY p")
    labelled: dict[str, list[int]] = {}
    general = 0
    for partition, label in rows.fetchall():
        if label:
            labelled.setdefault(label, []).append(partition)
        else:
            general += 1
    return Layout(general, labelled)
