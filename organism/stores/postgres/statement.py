"""The one statement that writes a group: fenced, atomic, committed by itself.

The row of the journal is its fence. It is updated only if the epoch is this owner's and the number is the next one;
otherwise the batch becomes -1, which the table refuses, and nothing of the statement is there. Transactions of several
statements are not used: an owner that is paused inside one would keep the next owner waiting.

Everything goes as one JSON parameter, because the arrays of the driver are made in Python. Rows are found with
``= ANY(ARRAY(SELECT ...))``: with ``IN (SELECT ...)`` a commit takes longer the more commits there have been.
"""

from functools import cache
from typing import Any

import msgspec

from organism.stores.batch import Batch, EntryRow, checksum
from organism.stores.shared.quoted_text import quoted

ChainedRow = tuple[*EntryRow, bytes]

_FENCE = """
    fence AS (
        UPDATE organism.journals
        SET batch = CASE WHEN epoch = %(epoch)s AND batch = %(number)s - 1 THEN %(number)s ELSE -1 END,
            seq = %(seq)s, hash = %(hash)s, event = %(event)s, time_ns = greatest(time_ns, %(time_ns)s)
        WHERE p = %(p)s RETURNING p)"""

_PIECES = """
    old AS MATERIALIZED (
        SELECT key, checksum, key = ANY(ARRAY(SELECT json_array_elements_text(j->'kept') FROM d)) AS stays
        FROM organism.pieces
        WHERE p = %(p)s AND key = ANY(ARRAY(SELECT json_array_elements_text(j->'keys') FROM d))
        UNION ALL
        SELECT key, checksum, false FROM organism.pieces
        WHERE p = %(p)s AND thread_id = ANY(ARRAY(SELECT json_array_elements_text(j->'ended') FROM d))
            AND key NOT IN (SELECT json_array_elements_text(j->'keys') FROM d)),
    gone AS (
        DELETE FROM organism.pieces USING fence
        WHERE pieces.p = fence.p AND key = ANY(ARRAY(SELECT key FROM old WHERE NOT stays))),
    put AS (
        INSERT INTO organism.pieces (p, seq, key, thread_id, body, checksum)
        SELECT fence.p, x.s, x.k, x.t, x.b, x.c
        FROM fence, d, json_to_recordset(d.j->'put') AS x(s bigint, k text, t text, b text, c bigint)
        ON CONFLICT (p, key) DO UPDATE SET body = excluded.body, checksum = excluded.checksum),
    moved AS (
        INSERT INTO organism.pieces (p, seq, key, thread_id, body, checksum)
        SELECT fence.p, x.s, x.k, x.t, x.b, x.c
        FROM fence, d, json_to_recordset(d.j->'moved') AS x(s bigint, k text, t text, b text, c bigint)
        ON CONFLICT (p, key) DO UPDATE SET
            seq = excluded.seq, thread_id = excluded.thread_id, body = excluded.body, checksum = excluded.checksum),
    live AS (
        UPDATE organism.live
        SET pieces = pieces + %(fresh)s - (SELECT count(*) FROM old),
            pieces_sum = pieces_sum + %(fresh_sum)s - (SELECT coalesce(sum(checksum), 0) FROM old)
        FROM fence WHERE live.p = fence.p)"""

_ENTRIES = """
    ent AS (
        INSERT INTO organism.entries
        SELECT fence.p, x.s, x.t, x.k, x.h, x.a, x.m, x.n, x.b, decode(x.x, 'hex')
        FROM fence, d, json_to_recordset(d.j->'entries')
            AS x(s bigint, t bigint, k text, h text, a bigint, m bigint, n bigint, b text, x text))"""

_EVENTS = """
    ev AS (
        INSERT INTO organism.events
        SELECT fence.p, x.s, x.t, x.k, x.h, x.b, x.c
        FROM fence, d, json_to_recordset(d.j->'events')
            AS x(s bigint, t bigint, k text, h text, b text, c bigint))"""

_REMEMBERED = """
    rem AS (
        INSERT INTO organism.remembered
        SELECT fence.p, x.k, x.t, x.u, x.v, x.c
        FROM fence, d, json_to_recordset(d.j->'remembered') AS x(k text, t bigint, u bigint, v text, c bigint)
        ON CONFLICT (p, key) DO UPDATE SET
            time_ns = excluded.time_ns, until_ns = excluded.until_ns, value = excluded.value,
            checksum = excluded.checksum)"""

CONFIRM = """
    UPDATE organism.journals SET batch = CASE WHEN epoch = %(epoch)s AND batch = %(number)s THEN batch ELSE -1 END
    WHERE p = %(p)s RETURNING p"""
"""Changes nothing, and commits: when it has returned, everything committed before it is as safe as it is."""


@cache
def _statement(*parts: str) -> str:
    tables = ",".join((_FENCE, *parts))
    # Dividing by the rows of the fence refuses to write where there is none.
    return f"WITH d AS MATERIALIZED (SELECT %(data)s::json AS j),{tables} SELECT 1 / count(*) FROM fence"  # noqa: S608


def written(batch: Batch, rows: list[ChainedRow], next_piece: int) -> tuple[str, dict[str, Any]]:
    """Return the statement for a batch and its parameters, without those that say where it goes.

    Args:
        rows: Its entries with their hashes.
        next_piece: The number of the next piece: pieces are read back in the order of their numbers.
    """
    parts, data, values = [], {}, {}
    if batch.ended or batch.gone or batch.kept:
        parts.append(_PIECES)
        data.update(_pieces(batch, next_piece))
        fresh = [*data["put"], *data["moved"]]
        values = {"fresh": len(fresh), "fresh_sum": sum(piece["c"] for piece in fresh)}
    if rows:
        parts.append(_ENTRIES)
        data["entries"] = [dict(zip("stkhamnb", row, strict=False)) | {"x": row[-1].hex()} for row in rows]
    if batch.events:
        parts.append(_EVENTS)
        data["events"] = [
            {"s": number, "t": time_ns, "k": kind, "h": quoted(thread_id), "b": body, "c": checksum(str(number), body)}
            for number, time_ns, kind, thread_id, body in batch.events
        ]
    if batch.remembered:
        parts.append(_REMEMBERED)
        newest = {row[0]: row for row in batch.remembered}
        data["remembered"] = [
            {"k": quoted(key), "t": time_ns, "u": until_ns, "v": quoted(value), "c": check}
            for key, time_ns, until_ns, value, check in newest.values()
        ]
    return _statement(*parts), {**values, "data": msgspec.json.encode(data).decode()}


def _pieces(batch: Batch, next_piece: int) -> dict[str, Any]:
    """Sort pieces into those that keep their place and those that begin anew, and name the rows that are touched."""
    gone, ended = frozenset(batch.gone), frozenset(batch.ended)
    put: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    for number, (key, thread_id, body) in enumerate(batch.kept, next_piece):
        row = {"s": number, "k": quoted(key), "t": quoted(thread_id), "b": body, "c": checksum(key, thread_id, body)}
        # A row can't be deleted and inserted by one statement, so one that begins anew is moved to its new place.
        (moved if key in gone or thread_id in ended else put).append(row)
    kept = [row["k"] for row in (*put, *moved)]
    keys = list(dict.fromkeys((*kept, *map(quoted, batch.gone))))
    return {"put": put, "moved": moved, "kept": kept, "keys": keys, "ended": [*map(quoted, ended)]}
