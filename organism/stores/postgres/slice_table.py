"""The slices of a cluster's shared limits: one statement for each step, each tested against the journal's epoch.

What is granted never passes a limit, because taking tests it on the row of the limit, which one statement at a time may
change. A slice here is never less than the one in its partition's ledger, whatever ends in between:

* *Take*: here first, then the ledger's entry. A crash or a lost answer leaves more here than in the ledger: too much is
  set aside, nothing is spent of it. The partition finds the difference at its next step, and takes or returns it.
* *Give*: the entry that makes the slice smaller is committed first, then this table changes. A crash or a lost answer
  leaves more here again. The entry is committed by the same fenced writer as all spend; where it is refused, nothing
  is given, and the next owner goes on with what the ledger says.
* *An owner that was stopped and comes late*: each step names the version of the slice that it has seen, and a slice
  that has changed since is left alone. What it had taken or given before is in order for the next owner: see above.

So the sum of what partitions may spend is at most what is granted, and that at most the limit: but for what was spent
beyond a hold (*owed*, which is added without a test, because it is gone) and for a limit that was lowered below what is
granted. Then nothing is given until it fits again.

Everything here blocks.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from organism.amounts import Amounts, Limits
from organism.amounts.units import AMOUNT_FIELDS, ceilings_of, numbers_of
from organism.ledger.account_balance import Balance
from organism.stores.leases import Lease
from organism.stores.postgres.table_connection import TableConnection
from organism.stores.shared.limit_statements import BEGIN, CHANGE
from organism.stores.shared.limit_statements import each_unit as _each
from organism.stores.shared.question_table import COUNTS, QuestionTable, standing_of
from organism.stores.shared.slice_rows import (
    UNBOUND,
    LimitChange,
    Share,
    SharedLimit,
    SliceBound,
    SliceRow,
    SliceWanted,
)

WANTED_S = 2.0
"""What was wanted so long ago and not again is wanted no more: its node has gone, or its call."""

_UNITS = len(AMOUNT_FIELDS)


class SliceTable:
    """What the partitions of one node do with slices. Any call may raise ``JournalError``: then look again.

    Args:
        partitions: How many journals it holds.

    Attributes:
        statements: How many statements have taken, given back or looked up a slice.
        questions: What people are asked about the limits.
    """

    def __init__(self, url: str, partitions: int) -> None:
        self.statements = 0
        self._partitions = partitions
        self._connection = TableConnection(url)
        self.questions = QuestionTable(self._connection.execute)

    def close(self) -> None:
        """Let go of the server."""
        self._connection.close()

    def _execute(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values)

    def begin(self, lease: Lease, balance: Balance, until_ns: int | None, configuration: int = 0) -> None:
        """Know an account, and a partition's empty slice of it; where they are known, only a newer file changes limits.

        Args:
            balance: With its limits, where it is new.
            configuration: How late the file of this node was ordered.
        """
        self.statements += 1
        limits, configured = ceilings_of(balance.limits), ceilings_of(balance.configured)
        self._execute(
            BEGIN,
            **_at(lease, balance.account),
            **_named("lim", limits),
            **_named("con", configured),
            until=until_ns,
            configuration=configuration,
            fresh=balance.agreed is None,
        )

    def look(self, lease: Lease, account: str) -> SliceRow | None:
        """Return a partition's slice as it is; ``None`` if there is none, or the partition is another owner's."""
        self.statements += 1
        found = self._execute(_LOOK, **_at(lease, account))
        return _slice_row(found[0]) if found else None

    def take(
        self, lease: Lease, account: str, share: Share, need: Amounts, want: Amounts, bound: SliceBound = UNBOUND
    ) -> SliceRow | None:
        """Take more of a limit, and ask others for what is missing.

        Args:
            share: What the partition has and uses.
            need: So much is needed beyond what it has.
            want: So much would do for a while.
            bound: So much of the limit may be spent, by all together.

        Returns:
            The slice as it is now; ``None`` where it, or the limit, is not the one that was seen: look again.
        """
        self.statements += 1
        taken = self._execute(
            _TAKE,
            **_at(lease, account),
            **_shared(share),
            **_named("need", need),
            **_named("want", want),
            ways=self._partitions,
            percent=bound.percent,
            revision=bound.revision,
        )
        return _slice_row(taken[0]) if taken else None

    def give(self, lease: Lease, account: str, share: Share, amounts: Amounts) -> SliceRow | None:
        """Make a slice as small as the ledger says that it is; the entry has been committed.

        Returns:
            The slice as it is now; ``None`` where it is not the one that was seen: look again.
        """
        self.statements += 1
        given = self._execute(_GIVE, **_at(lease, account), **_shared(share), **_named("new", amounts))
        return _slice_row(given[0]) if given else None

    def change(self, lease: Lease, account: str, change: LimitChange) -> None:
        """Change a limit for all partitions: by a file once, by an operator once for each revision of the ledger."""
        self._execute(
            CHANGE,
            **_at(lease, account),
            **_named("lim", change.limits),
            **_named("set", change.units),
            **_named("con", change.configured),
            pushed=change.revision,
            configuration=change.configuration,
            keys=[f"{unit} {threshold}" for unit, threshold in change.standing],
        )

    def fire(self, lease: Lease, account: str, unit: str, threshold: int, revision: int, since_ns: int) -> bool:
        """Note that a threshold is warned of; whether this partition is the one that warns.

        Args:
            threshold: Per cent.
            since_ns: What was noted before this instant counts no more: a rolling window has passed.
        """
        found = self._execute(
            _FIRE, **_at(lease, account), unit=unit, threshold=threshold, revision=revision, since=since_ns
        )
        return bool(found)

    def fired_by(self, lease: Lease) -> list[tuple[str, str, int, int]]:
        """Return the thresholds that a partition is to warn of: account, unit, per cent, and since when."""
        return [
            (account, unit, threshold, at_ns)
            for account, unit, threshold, at_ns in self._execute(_FIRED_BY, p=lease.partition)
        ]

    def of_partition(self, lease: Lease) -> list[SliceRow]:
        """Return all slices of a partition."""
        return [_slice_row(row) for row in self._execute(_OF_PARTITION, p=lease.partition, epoch=lease.epoch)]

    def report(self, reports: Sequence[tuple[Lease, str, Share]]) -> None:
        """Tell what partitions have spent and hold."""
        data = [
            {"a": account, "p": lease.partition, "e": lease.epoch} | _named("s", share.spent) | _named("h", share.held)
            for lease, account, share in reports
        ]
        self._execute(_REPORT, data=msgspec.json.encode(data).decode())

    def read(self, accounts: Sequence[str], partitions: Sequence[int], since_s: float) -> list[SharedLimit]:
        """Return shared limits.

        Args:
            accounts: Those that are read in any case.
            partitions: Those of this node: limits of which they have slices are read where others want some, too.
            since_s: So are those that were changed in so many seconds.
        """
        rows = self._execute(
            _READ, accounts=list(accounts), partitions=list(partitions), since=since_s, wanted=WANTED_S
        )
        return [
            SharedLimit(
                account=account,
                limits=_limits(numbers[:_UNITS]),
                granted=Amounts(*numbers[_UNITS:]),
                revision=revision,
                shares={p: Share(Amounts(*s), Amounts(*h), Amounts(*a)) for p, s, h, a in shares or ()},
                wanted=tuple(SliceWanted(p, Amounts(*needed)) for p, needed in wanted or ()),
                standing=standing_of(revision, question),
            )
            for account, *numbers, revision, shares, wanted, question in rows
        ]

    def forget(self, before_ns: int) -> None:
        """Forget limits of windows that ended before an instant, and what is wanted no more."""
        self._execute(_FORGET, before=before_ns, wanted=WANTED_S)


def _at(lease: Lease, account: str) -> dict[str, object]:
    return {"account": account, "p": lease.partition, "epoch": lease.epoch}


def _limits(row: Sequence[int | None]) -> Limits:
    return Limits(**dict(zip(AMOUNT_FIELDS, row, strict=True)))


def _named(prefix: str, amounts: Amounts | Sequence[int | None]) -> dict[str, object]:
    values = numbers_of(amounts) if isinstance(amounts, Amounts) else amounts
    return {f"{prefix}_{unit}": value for unit, value in zip(AMOUNT_FIELDS, values, strict=True)}


def _shared(share: Share) -> dict[str, object]:
    return {"version": share.version, **_named("s", share.spent), **_named("h", share.held)}


def _slice_row(row: tuple[Any, ...]) -> SliceRow:
    account, version, *numbers = row
    *found, limits = (numbers[at : at + _UNITS] for at in range(0, 5 * _UNITS, _UNITS))
    amounts, granted, elsewhere, held_elsewhere = (Amounts(*map(int, each)) for each in found)
    revision, pushed, configuration, *configured = numbers[5 * _UNITS :]
    return SliceRow(
        account=account,
        version=version,
        amounts=amounts,
        limits=_limits(limits),
        granted=granted,
        revision=revision,
        pushed=pushed,
        elsewhere=elsewhere,
        held_elsewhere=held_elsewhere,
        configuration=configuration,
        configured=_limits(configured),
    )


_MINE = """
    mine AS MATERIALIZED (
        SELECT s.* FROM organism.slices s JOIN organism.journals j USING (p)
        WHERE s.account = %(account)s AND s.p = %(p)s AND j.epoch = %(epoch)s AND s.version = %(version)s
        FOR UPDATE OF s)"""

# What others have spent and hold, as they have reported.
_OTHERS = f"""
    others AS (
        SELECT {_each("coalesce(sum(s_$), 0) AS s_$")}, {_each("coalesce(sum(h_$), 0) AS h_$")}
        FROM organism.slices WHERE account = %(account)s AND p <> %(p)s)"""  # noqa: S608 - names written above

_ANSWER = f"""
    {_each("kept.$")}, {_each("lim.g_$")}, {_each("others.s_$")}, {_each("others.h_$")}, {_each("lim.$")},
    lim.revision, kept.pushed, lim.configuration, {_each("lim.c_$")}"""

# Looking is a change too: after it nobody else's step, begun by an earlier owner, finds the version that it has seen.
_LOOK = f"""
    WITH kept AS (
        UPDATE organism.slices s SET version = s.version + 1 FROM organism.journals j
        WHERE s.account = %(account)s AND s.p = %(p)s AND j.p = s.p AND j.epoch = %(epoch)s RETURNING s.*),
    {_OTHERS}
    SELECT kept.account, kept.version, {_ANSWER} FROM kept JOIN organism.shared lim USING (account), others"""  # noqa: S608

_MOST = "div(l.$::numeric * %(percent)s, 100)::bigint"
"""So much of a limit may be spent."""

# What is owed is spent beyond the slice already, so it is granted without a test. What others have wanted before is
# left to them: a stream of small needs would starve a large one.
_TAKE = f"""
    WITH {_MINE}, {_OTHERS},
    before AS MATERIALIZED (
        SELECT {_each("coalesce(sum($), 0) AS $")} FROM organism.wanted
        WHERE account = %(account)s AND p <> %(p)s AND seen > clock_timestamp() - make_interval(secs => {WANTED_S})
            AND since < coalesce((SELECT since FROM organism.wanted WHERE account = %(account)s AND p = %(p)s),
                                 clock_timestamp())),
    lim AS (
        UPDATE organism.shared l SET {
    _each(
        '''
            g_$ = g_$ + greatest(0, %(s_$)s + %(h_$)s - mine.$) + CASE WHEN l.$ IS NULL THEN 0 ELSE
                least(greatest(%(want_$)s, %(need_$)s),
                    greatest(%(need_$)s, FREE / %(ways)s), FREE) END,
            taken_$ = greatest(0, %(s_$)s + %(h_$)s - mine.$) + CASE WHEN l.$ IS NULL THEN 0 ELSE
                least(greatest(%(want_$)s, %(need_$)s),
                    greatest(%(need_$)s, FREE / %(ways)s), FREE) END,
            short_$ = CASE WHEN l.$ IS NULL THEN 0 ELSE greatest(0, %(need_$)s - FREE) END'''.replace(
            "FREE",
            "greatest(0, MOST - g_$ - greatest(0, %(s_$)s + %(h_$)s - mine.$) - before.$)".replace("MOST", _MOST),
        )
    )
}
        FROM mine, before
        WHERE l.account = mine.account AND l.revision = coalesce(%(revision)s::bigint, l.revision) RETURNING l.*),
    kept AS (
        UPDATE organism.slices k SET {_each("$ = k.$ + lim.taken_$")}, version = k.version + 1,
            {_each("s_$ = %(s_$)s")}, {_each("h_$ = %(h_$)s")}
        FROM lim WHERE k.account = lim.account AND k.p = %(p)s RETURNING k.*),
    asked AS (
        INSERT INTO organism.wanted (account, p, {_each("$")}, since, seen)
        SELECT account, %(p)s, {_each("short_$")}, clock_timestamp(), clock_timestamp()
        FROM lim WHERE {_each("short_$", " + ")} > 0
        ON CONFLICT (account, p) DO UPDATE SET {_each("$ = excluded.$")}, seen = excluded.seen,
            since = CASE WHEN wanted.seen > excluded.seen - make_interval(secs => {WANTED_S})
                THEN wanted.since ELSE excluded.since END),
    served AS (
        DELETE FROM organism.wanted w USING lim
        WHERE w.account = lim.account AND w.p = %(p)s AND {_each("short_$", " + ")} = 0)
    SELECT kept.account, kept.version, {_ANSWER} FROM kept, lim, others"""  # noqa: S608

_GIVE = f"""
    WITH {_MINE}, {_OTHERS},
    lim AS (
        UPDATE organism.shared l SET {_each("g_$ = g_$ - (mine.$ - least(mine.$, %(new_$)s))")}
        FROM mine WHERE l.account = mine.account RETURNING l.*),
    kept AS (
        UPDATE organism.slices k SET {_each("$ = least(k.$, %(new_$)s)")}, version = k.version + 1,
            {_each("s_$ = %(s_$)s")}, {_each("h_$ = %(h_$)s")}
        FROM lim WHERE k.account = lim.account AND k.p = %(p)s RETURNING k.*)
    SELECT kept.account, kept.version, {_ANSWER} FROM kept, lim, others"""  # noqa: S608

_FIRE = """
    INSERT INTO organism.fired AS f (account, unit, threshold, p, revision, at_ns)
    SELECT %(account)s, %(unit)s, %(threshold)s, p, %(revision)s,
        (extract(epoch FROM clock_timestamp()) * 1e9)::bigint
    FROM organism.journals WHERE p = %(p)s AND epoch = %(epoch)s
    ON CONFLICT (account, unit, threshold) DO UPDATE SET
        p = excluded.p, revision = excluded.revision, at_ns = excluded.at_ns
    WHERE f.revision < excluded.revision OR f.at_ns < %(since)s
        OR f.p = excluded.p AND f.revision = excluded.revision
    RETURNING p"""

_FIRED_BY = """
    SELECT f.account, f.unit, f.threshold, f.at_ns
    FROM organism.fired f JOIN organism.shared l USING (account, revision) WHERE f.p = %(p)s"""

_OF_PARTITION = f"""
    WITH kept AS (
        UPDATE organism.slices s SET version = s.version + 1 FROM organism.journals j
        WHERE s.p = %(p)s AND j.p = s.p AND j.epoch = %(epoch)s RETURNING s.*)
    SELECT kept.account, kept.version, {_ANSWER} FROM kept JOIN organism.shared lim USING (account), LATERAL (
        SELECT {_each("coalesce(sum(s_$), 0) AS s_$")}, {_each("coalesce(sum(h_$), 0) AS h_$")}
        FROM organism.slices o WHERE o.account = kept.account AND o.p <> kept.p) others"""  # noqa: S608

_REPORT = f"""
    UPDATE organism.slices s SET {_each("s_$ = x.s_$")}, {_each("h_$ = x.h_$")}
    FROM json_to_recordset(%(data)s::json)
            AS x(a text, p smallint, e bigint, {_each("s_$ bigint")}, {_each("h_$ bigint")})
        JOIN organism.journals j ON j.p = x.p AND j.epoch = x.e
    WHERE s.account = x.a AND s.p = x.p"""  # noqa: S608

_READ = f"""
    WITH wants AS (
        SELECT account, json_agg(json_build_array(p, json_build_array({_each("$")})) ORDER BY since, p) AS rows
        FROM organism.wanted WHERE seen > clock_timestamp() - make_interval(secs => %(wanted)s) GROUP BY account)
    SELECT l.account, {_each("l.$")}, {_each("l.g_$")}, l.revision,
        (SELECT json_agg(json_build_array(p, json_build_array({_each("s.s_$")}), json_build_array({_each("s.h_$")}),
            json_build_array({_each("s.$")})))
         FROM organism.slices s WHERE s.account = l.account),
        wants.rows, CASE WHEN q.account IS NULL THEN NULL ELSE to_json(q) END
    FROM organism.shared l LEFT JOIN wants USING (account) LEFT JOIN organism.questions q ON {COUNTS}
    WHERE l.account = ANY(%(accounts)s::text[])
        OR l.changed > clock_timestamp() - make_interval(secs => %(since)s)
        OR wants.rows IS NOT NULL AND EXISTS (
            SELECT FROM organism.slices s WHERE s.account = l.account AND s.p = ANY(%(partitions)s::smallint[]))"""  # noqa: S608

_FORGET = """
    WITH old AS (DELETE FROM organism.shared WHERE until_ns < %(before)s RETURNING account),
    slices AS (DELETE FROM organism.slices s USING old WHERE s.account = old.account),
    fired AS (DELETE FROM organism.fired f USING old WHERE f.account = old.account),
    questions AS (DELETE FROM organism.questions q USING old WHERE q.account = old.account)
    DELETE FROM organism.wanted WHERE seen < clock_timestamp() - make_interval(secs => %(wanted)s * 10)"""
