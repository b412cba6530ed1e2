"""The one statement that writes a group: fenced, atomic, committed by itself.

The row of the journal is its fence. It is updated only if the epoch is this owner's and the number is the next one;
otherwise the batch becomes -1, which the table refuses, and nothing of the statement is there. Transactions of several
statements are not used: an owner that is paused inside one would keep the next owner waiting.

The rows of each table go as one JSON parameter, because the arrays of the driver are made in Python, and the server
reads a text anew at each use: of one document for all tables it would read the whole for each of them.

The statement is planned once, perhaps when the tables were empty, and all plans seem the same. So each row that it
touches is looked for by itself, in an order that one index only has, and deleted where it was found. Asked for with
``key = ...`` or with many keys at once, it may read all pieces of the journal, found by ``p`` alone, at each commit.
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

_OF_KEYS = """
        SELECT place, checksum, {stays} AS stays
        FROM json_array_elements_text(%({keys})s::json) AS named(k) CROSS JOIN LATERAL (
            SELECT ctid AS place, checksum FROM organism.pieces
            WHERE p = %(p)s AND key BETWEEN named.k AND named.k ORDER BY key LIMIT 1) AS found"""

_PIECES = f"""
    old AS MATERIALIZED ({_OF_KEYS.format(keys="kept", stays="true")}
        UNION ALL {_OF_KEYS.format(keys="gone", stays="false")}
        UNION ALL
        SELECT place, checksum, false
        FROM json_array_elements_text(%(ended)s::json) AS named(t) CROSS JOIN LATERAL (
            SELECT ctid AS place, checksum, key FROM organism.pieces
            WHERE p = %(p)s AND thread_id BETWEEN named.t AND named.t ORDER BY thread_id OFFSET 0) AS found
        WHERE key NOT IN (
            SELECT json_array_elements_text(%(kept)s::json)
            UNION ALL SELECT json_array_elements_text(%(gone)s::json))),
    gone AS (DELETE FROM organism.pieces USING fence, old WHERE pieces.ctid = old.place AND NOT old.stays),
    live AS (
        UPDATE organism.live
        SET pieces = pieces + %(fresh)s - (SELECT count(*) FROM old),
            pieces_sum = pieces_sum + %(fresh_sum)s - (SELECT coalesce(sum(checksum), 0) FROM old)
        FROM fence WHERE live.p = fence.p)"""  # noqa: S608 - written above

_PUT = """
    put AS (
        INSERT INTO organism.pieces (p, seq, key, thread_id, body, checksum)
        SELECT fence.p, x.s, x.k, x.t, x.b, x.c
        FROM fence, json_to_recordset(%(put)s::json) AS x(s bigint, k text, t text, b text, c bigint)
        ON CONFLICT (p, key) DO UPDATE SET body = excluded.body, checksum = excluded.checksum)"""

_MOVED = """
    moved AS (
        INSERT INTO organism.pieces (p, seq, key, thread_id, body, checksum)
        SELECT fence.p, x.s, x.k, x.t, x.b, x.c
        FROM fence, json_to_recordset(%(moved)s::json) AS x(s bigint, k text, t text, b text, c bigint)
        ON CONFLICT (p, key) DO UPDATE SET
            seq = excluded.seq, thread_id = excluded.thread_id, body = excluded.body, checksum = excluded.checksum)"""

_ENTRIES = """
    ent AS (
        INSERT INTO organism.entries
        SELECT fence.p, x.s, x.t, x.k, x.h, x.a, x.m, x.n, x.b, decode(x.x, 'hex')
        FROM fence, json_to_recordset(%(entries)s::json)
            AS x(s bigint, t bigint, k text, h text, a bigint, m bigint, n bigint, b text, x text))"""

_EVENTS = """
    ev AS (
        INSERT INTO organism.events
        SELECT fence.p, x.s, x.t, x.k, x.h, x.b, x.c
        FROM fence, json_to_recordset(%(events)s::json)
            AS x(s bigint, t bigint, k text, h text, b text, c bigint))"""

_REMEMBERED = """
    rem AS (
        INSERT INTO organism.remembered
        SELECT fence.p, x.k, x.t, x.u, x.v, x.c
        FROM fence, json_to_recordset(%(remembered)s::json) AS x(k text, t bigint, u bigint, v text, c bigint)
        ON CONFLICT (p, key) DO UPDATE SET
            time_ns = excluded.time_ns, until_ns = excluded.until_ns, value = excluded.value,
            checksum = excluded.checksum)"""

CONFIRM = """
    UPDATE organism.journals SET batch = CASE WHEN epoch = %(epoch)s AND batch = %(number)s THEN batch ELSE -1 END
    WHERE p = %(p)s RETURNING p"""
"""Changes nothing, and commits: when it has returned, everything committed before it is as safe as it is."""


@cache
def _statement(*parts: str) -> str:
    # Dividing by the rows of the fence refuses to write where there is none.
    return f"WITH {','.join((_FENCE, *parts))} SELECT 1 / count(*) FROM fence"  # noqa: S608


def written(batch: Batch, rows: list[ChainedRow], next_piece: int) -> tuple[str, dict[str, Any]]:
    """Return the statement for a batch and its parameters, without those that say where it goes.

    Args:
        rows: Its entries with their hashes.
        next_piece: The number of the next piece: pieces are read back in the order of their numbers.
    """
    parts: list[str] = []
    values: dict[str, Any] = {}
    if batch.ended or batch.gone or batch.kept:
        _add_pieces(batch, next_piece, parts, values)
    if rows:
        parts.append(_ENTRIES)
        values["entries"] = _json(
            [dict(zip("stkhamnb", row, strict=False)) | {"x": row[-1].hex()} for row in rows],
        )
    if batch.events:
        parts.append(_EVENTS)
        values["events"] = _json(
            [
                {
                    "s": number,
                    "t": time_ns,
                    "k": kind,
                    "h": quoted(thread_id),
                    "b": body,
                    "c": checksum(str(number), body),
                }
                for number, time_ns, kind, thread_id, body in batch.events
            ]
        )
    if batch.remembered:
        parts.append(_REMEMBERED)
        newest = {row[0]: row for row in batch.remembered}
        values["remembered"] = _json(
            [
                {"k": quoted(key), "t": time_ns, "u": until_ns, "v": quoted(value), "c": check}
                for key, time_ns, until_ns, value, check in newest.values()
            ]
        )
    return _statement(*parts), values


def _add_pieces(batch: Batch, next_piece: int, parts: list[str], values: dict[str, Any]) -> None:
    """Sort pieces into those that keep their place and those that begin anew, and name the rows that are touched."""
    gone, ended = frozenset(batch.gone), frozenset(batch.ended)
    put: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    for number, (key, thread_id, body) in enumerate(batch.kept, next_piece):
        row = {"s": number, "k": quoted(key), "t": quoted(thread_id), "b": body, "c": checksum(key, thread_id, body)}
        # A row can't be deleted and inserted by one statement, so one that begins anew is moved to its new place.
        (moved if key in gone or thread_id in ended else put).append(row)
    fresh = [*put, *moved]
    kept = dict.fromkeys(row["k"] for row in fresh)
    parts.append(_PIECES)
    values |= {
        "kept": _json([*kept]),
        "gone": _json([key for key in dict.fromkeys(map(quoted, batch.gone)) if key not in kept]),
        "ended": _json([*map(quoted, ended)]),
        "fresh": len(fresh),
        "fresh_sum": sum(row["c"] for row in fresh),
    }
    for part, name, some in ((_PUT, "put", put), (_MOVED, "moved", moved)):
        if some:
            parts.append(part)
            values[name] = _json(some)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
