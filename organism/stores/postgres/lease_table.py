"""The leases of a cluster's partitions, and its nodes: one statement for each step, by the database's clock only.

A lease says who should write; that nobody else can is not its matter but that of the epoch, which every group is tested
against. So a lease that runs out too early or too late loses nothing. Everything here blocks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from organism.journal import JournalBrokenError, JournalError
from organism.stores.leases import ClusterView, Lease, LeaseRow, NodeReplacedError, NodeRow, OlderCopyError, Renewal
from organism.stores.postgres.postgres_errors import explained
from organism.stores.postgres.preparation import Purpose, make_labelled, prepare
from organism.stores.postgres.table_connection import TableConnection

CLOCK_APART_S = 30
"""So far a node's clock may be from the database's: days begin and deadlines come by the node's."""


class LeaseTable:
    """What one node does with the leases. Any call may raise ``JournalError``: then nothing is known to have changed.

    Args:
        name: The organism; a database of another one is refused.
        node: The name of this node.
        partitions: How many journals the cluster has that any node may write.
        ttl_s: Seconds that a lease lasts without being renewed.
        labels: What this node has that partitions may need.
        label_partitions: By label, how many partitions need it; those that are not there yet are made.

    Attributes:
        place: What errors call the database.
        key: A secret that only nodes of this cluster know; empty until it has registered.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        node: str,
        partitions: int,
        ttl_s: float = 10.0,
        labels: frozenset[str] = frozenset(),
        label_partitions: Mapping[str, int] | None = None,
    ) -> None:
        self._connection = TableConnection(url)
        self.place = self._connection.place
        self._partitions = partitions
        self._purpose = Purpose(name=name, partitions=partitions)
        self._node = node
        self._ttl_s = ttl_s
        self._labels = sorted(labels)
        self._label_partitions = label_partitions or {}
        self._incarnation = 0
        self.key = b""

    def close(self) -> None:
        """Let go of the server."""
        self._connection.close()

    def _execute(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        mine = {"node": self._node, "incarnation": self._incarnation, "ttl": self._ttl_s}
        return self._connection.execute(statement, {**mine, **values})

    def register(self, url: str, version: str, now_ns: int) -> None:
        """Begin as a node; an earlier process of its name can renew nothing more.

        Args:
            now_ns: This machine's clock, in nanoseconds since the Unix epoch.

        Raises:
            JournalError: If the database is refused, has another number of partitions for a label, or the machine's
                clock is far from the database's.
        """
        with explained(self.place):
            db = self._connection.opened_anew()
            prepare(db, self.place, self._purpose)
            make_labelled(db, self.place, self._label_partitions, self._ttl_s)
        ((there_s,),) = self._execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        apart_s = now_ns / 1_000_000_000 - there_s
        if abs(apart_s) > CLOCK_APART_S:
            raise JournalError(
                f"this machine's clock is {abs(apart_s):,.0f} s {'ahead of' if apart_s > 0 else 'behind'} that of "
                f"{self.place}: set it, with NTP; days and deadlines would differ from node to node"
            )
        ((self._incarnation, key),) = self._execute(_REGISTER, url=url, version=version, labels=self._labels)
        self.key = bytes(key)

    def order(self, mark: str, before: str = "") -> int:
        """Order a file that this node is about to have; return how late that is in this cluster, 0 for no file.

        A file that the cluster has not seen is its newest. So is an older one that this node is changed to, and one
        than which no other node has a newer: files are put back, too. Which file the node has is not said by it.

        Args:
            mark: The file's.
            before: That of the file that the node has and is to change; empty where it begins.
        """
        if not mark:
            return 0
        found = self._execute(_ORDER, mark=mark, changed=before not in ("", mark))
        return int(found[0][0]) if found else 0

    def configured(self, mark: str, order: int) -> None:
        """Say which file is active at this node, and how late it was ordered."""
        self._execute(_CONFIGURED, mark=mark, order=order)

    @property
    def incarnation(self) -> int:
        """Which process of its name this node is."""
        return self._incarnation

    def leave(self) -> None:
        """Be no node any more, and give back what it still has: nothing of it may run when this is called."""
        self._execute(_LEAVE)

    def renew(self, held: Sequence[Lease] = ()) -> Renewal:
        """Renew every lease that this node has, and look at the cluster.

        Args:
            held: What it believes to have: a database that knows as much is no older copy.

        Raises:
            NodeReplacedError: If another process has begun under its name.
            OlderCopyError: If the database has never seen this process begin.
        """
        renewed = self._execute(_RENEW)
        if not renewed:
            found = self._execute(
                "SELECT 1 FROM organism.nodes WHERE node = %(node)s AND incarnation > %(incarnation)s"
            )
            raise NodeReplacedError(self._node, self.place) if found or self._knows(held) else self._older_copy()
        return Renewal(frozenset(renewed[0][0]), self.look())

    def _knows(self, held: Sequence[Lease]) -> bool:
        """Whether leases are there that a node of this name had: then another process began under it, and has left."""
        epochs = {row.partition: row.epoch for row in self.look().leases} if held else {}
        return bool(held) and all(lease.epoch <= epochs.get(lease.partition, 0) for lease in held)

    def _older_copy(self) -> OlderCopyError:
        return OlderCopyError(
            f"{self.place} does not know that node {self._node!r} has begun: an older copy of the database was "
            "restored, and what was acknowledged since is not in it"
        )

    def look(self) -> ClusterView:
        """Return the cluster as it is now.

        Raises:
            JournalBrokenError: If rows of leases are gone: names of threads would come to other partitions.
        """
        nodes = (
            NodeRow(
                name=name,
                incarnation=incarnation,
                url=url,
                version=version,
                draining=draining,
                live=live,
                labels=frozenset(labels or ()),
                configuration=mark,
                order=order,
            )
            for name, incarnation, url, version, draining, live, labels, mark, order in self._execute(_NODES)
        )
        leases = tuple(
            LeaseRow(
                partition=p,
                epoch=epoch,
                owner=owner,
                incarnation=incarnation,
                expired=expired,
                wanted_by=wanted_by,
                stopped=stopped,
                node_label=label,
            )
            for p, epoch, owner, incarnation, expired, wanted_by, stopped, label in self._execute(_LEASES)
        )
        if [row.partition for row in leases] != [*range(max(len(leases), self._partitions))]:
            raise JournalBrokenError(
                f"{self.place} has lost rows of organism.leases, one for each partition; restore the newest copy of "
                "the database"
            )
        return ClusterView(nodes=tuple(nodes), leases=leases)

    def acquire(self, most: int, but: list[int], label: str = "") -> list[Lease]:
        """Take leases that are free, and with each its journal: its earlier owner can write nothing more.

        Args:
            most: How many at most.
            but: Partitions that are not taken.
            label: The label that they need; none of a label that this node has not said to have is taken.
        """
        taken = self._execute(_ACQUIRE, most=most, but=but, label=label)
        return [Lease(partition, epoch, self._partitions, before, label) for partition, epoch, before in sorted(taken)]

    def ask(self, partitions: list[int]) -> None:
        """Ask the owners of these for them, and of no others any more."""
        self._execute(_ASK, partitions=partitions)

    def release(self, lease: Lease) -> None:
        """Give a lease back, if this node has it still."""
        self._execute(_RELEASE, p=lease.partition, epoch=lease.epoch)

    def stop(self, lease: Lease, reason: str) -> None:
        """Keep a partition from every node, because what it had acknowledged is not there."""
        self._execute(_STOP, p=lease.partition, reason=reason)

    def resume(self, partition: int) -> None:
        """Let a stopped partition be taken again: an operator has looked."""
        self._execute("UPDATE organism.leases SET stopped = '' WHERE p = %(p)s", p=partition)

    def drain(self, node: str, *, draining: bool = True) -> bool:
        """Have a node give its partitions to others, or take its share again; whether there is such a node."""
        found = self._execute(
            "UPDATE organism.nodes SET draining = %(draining)s WHERE node = %(named)s RETURNING node",
            named=node,
            draining=draining,
        )
        return bool(found)


_TOO_LONG = "clock_timestamp() + make_interval(secs => %(ttl)s + 60)"
"""No lease lasts so long: one that seems to was renewed before the database's clock was set back."""

_LIVE = f"seen BETWEEN clock_timestamp() - make_interval(secs => %(ttl)s) AND {_TOO_LONG}"
_EXPIRED = f"expires NOT BETWEEN clock_timestamp() AND {_TOO_LONG}"

_REGISTER = """
    INSERT INTO organism.nodes (node, incarnation, url, version, seen, draining, reads_tokens, labels)
    VALUES (%(node)s, 1, %(url)s, %(version)s, clock_timestamp(), false, true, %(labels)s::text[])
    ON CONFLICT (node) DO UPDATE SET
        incarnation = nodes.incarnation + 1, url = excluded.url, version = excluded.version, seen = excluded.seen,
        draining = false, reads_tokens = true, labels = excluded.labels, configuration = ''
    RETURNING incarnation, (SELECT key FROM organism.cluster)"""

# Not by the sequence alone: a server that tables are replicated to by their rows has one that was never used.
_NEWEST = """
    greatest(
        nextval('organism.configuration_numbers'),
        (SELECT 1 + coalesce(max(number), 0) FROM organism.configurations))"""

_ORDER = f"""
    WITH known AS (
        INSERT INTO organism.configurations AS c (mark, number) VALUES (%(mark)s, {_NEWEST})
        ON CONFLICT (mark) DO UPDATE SET number = CASE
            WHEN c.number < (SELECT max(number) FROM organism.configurations)
                AND (%(changed)s OR NOT EXISTS (
                    SELECT FROM organism.nodes n
                    WHERE n.node <> %(node)s AND n.{_LIVE} AND n.configuration_number > c.number))
            THEN {_NEWEST} ELSE c.number END
        RETURNING number)
    UPDATE organism.nodes SET configuration_number = known.number
    FROM known WHERE node = %(node)s AND incarnation = %(incarnation)s RETURNING known.number"""  # noqa: S608

_CONFIGURED = """
    UPDATE organism.nodes SET configuration = %(mark)s, configuration_number = %(order)s
    WHERE node = %(node)s AND incarnation = %(incarnation)s"""

_RENEW = """
    WITH me AS (
        UPDATE organism.nodes SET seen = clock_timestamp()
        WHERE node = %(node)s AND incarnation = %(incarnation)s RETURNING node),
    renewed AS (
        UPDATE organism.leases SET expires = clock_timestamp() + make_interval(secs => %(ttl)s)
        FROM me WHERE owner = me.node AND incarnation = %(incarnation)s AND stopped = '' RETURNING p)
    SELECT ARRAY(SELECT p FROM renewed) FROM me"""

# Labels as fields of the row: the tables of an older program have none, and an operator looks at those, too.
_NODES = f"""
    SELECT node, incarnation, url, version, draining, {_LIVE}, nullif(to_jsonb(nodes)->'labels', 'null'),
        coalesce(to_jsonb(nodes)->>'configuration', ''),
        coalesce((to_jsonb(nodes)->>'configuration_number')::bigint, 0)
    FROM organism.nodes ORDER BY node"""  # noqa: S608

_LEASES = f"""
    SELECT p, epoch, owner, incarnation, {_EXPIRED}, wanted_by, stopped,
        coalesce(to_jsonb(leases)->>'node_label', '')
    FROM organism.leases ORDER BY p"""  # noqa: S608

# A node that begins anew takes what it had before it died: its earlier process is fenced as any other is. What
# somebody who lives has asked for is free for nobody else.
_ACQUIRE = f"""
    WITH free AS (
        SELECT p, owner FROM organism.leases
        WHERE stopped = '' AND node_label = %(label)s AND p <> ALL(%(but)s::smallint[])
            AND (owner IS NULL OR {_EXPIRED}
                OR owner = %(node)s AND incarnation < %(incarnation)s)
            AND (wanted_by IS NULL OR wanted_by = %(node)s
                OR wanted_by NOT IN (SELECT node FROM organism.nodes WHERE {_LIVE}))
            AND EXISTS (SELECT FROM organism.nodes WHERE node = %(node)s AND incarnation = %(incarnation)s
                AND (%(label)s = '' OR %(label)s = ANY(labels)))
        ORDER BY wanted_by = %(node)s DESC NULLS LAST, owner = %(node)s DESC NULLS LAST, p
        LIMIT %(most)s FOR UPDATE OF leases SKIP LOCKED),
    taken AS (
        UPDATE organism.leases SET owner = %(node)s, incarnation = %(incarnation)s, epoch = epoch + 1,
            expires = clock_timestamp() + make_interval(secs => %(ttl)s), wanted_by = NULL
        FROM free WHERE leases.p = free.p RETURNING leases.p, leases.epoch, free.owner AS before),
    fenced AS (
        UPDATE organism.journals SET epoch = taken.epoch FROM taken WHERE journals.p = taken.p RETURNING journals.p)
    SELECT taken.p, taken.epoch, taken.before FROM taken JOIN fenced USING (p)"""  # noqa: S608

_ASK = f"""
    UPDATE organism.leases SET wanted_by = CASE WHEN p = ANY(%(partitions)s::smallint[]) THEN %(node)s END
    WHERE wanted_by = %(node)s AND p <> ALL(%(partitions)s::smallint[])
        OR p = ANY(%(partitions)s::smallint[]) AND owner IS NOT NULL AND (wanted_by IS NULL
            OR wanted_by NOT IN (SELECT node FROM organism.nodes WHERE {_LIVE}))"""  # noqa: S608

_RELEASE = """
    UPDATE organism.leases SET owner = NULL, expires = '-infinity'
    WHERE p = %(p)s AND owner = %(node)s AND incarnation = %(incarnation)s AND epoch = %(epoch)s"""

# Also what it has taken in its last moment and never run, and what it could not give back one by one.
_LEAVE = """
    WITH given AS (
        UPDATE organism.leases SET owner = NULL, expires = '-infinity'
        WHERE owner = %(node)s AND incarnation = %(incarnation)s)
    DELETE FROM organism.nodes WHERE node = %(node)s AND incarnation = %(incarnation)s"""

_STOP = """
    UPDATE organism.leases SET owner = NULL, expires = '-infinity', stopped = %(reason)s
    WHERE p = %(p)s AND stopped = ''"""
