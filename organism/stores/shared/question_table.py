"""The questions to people about limits that all partitions of a cluster share: one for all, and one answer.

A limit has one row at a time: its last question, with how far people have let it go under its present revision. A
question is asked by a partition that has its journal still, and answered once. What a changed limit
was asked before counts no more.

Everything here blocks.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from organism.budget.guards.standing import Standing
from organism.stores.leases import Lease
from organism.stores.shared.quoted_text import unquoted
from organism.stores.shared.slice_rows import NewQuestion


class QuestionTable:
    """The rows of ``organism.questions``. Any call may raise ``JournalError``: then look again.

    Args:
        execute: Executes a statement of PostgreSQL with its values, and returns its rows.
    """

    def __init__(self, execute: Callable[[str, Mapping[str, object]], list[tuple[Any, ...]]]) -> None:
        self._execute = execute

    def standing(self, account: str) -> Standing | None:
        """Return what was asked and said about a limit; ``None`` if there is no such limit."""
        found = self._execute(_STANDING, {"account": account})
        return standing_of(*found[0]) if found else None

    def ask(self, lease: Lease, question: NewQuestion) -> None:
        """Ask for all partitions, unless the same is asked or was answered; what stands then says whose it is."""
        self._execute(_ASK, {"p": lease.partition, "epoch": lease.epoch, **msgspec.structs.asdict(question)})

    def answer(self, account: str, asked: Standing, *, allowed: bool, note: str, by: str) -> bool:
        """Answer a question for all partitions, once; whether this was the answer."""
        values = {"account": account, "revision": asked.revision, "threshold": asked.threshold}
        said = {"asked_ns": asked.asked_ns, "allowed": allowed, "note": note, "by": by}
        return bool(self._execute(_ANSWER, values | said))


def standing_of(revision: int, row: dict[str, object] | None) -> Standing:
    """Return what is said in a row of the table; no row says that nothing was asked."""
    read = {name: unquoted(value) if isinstance(value, str) else value for name, value in (row or {}).items()}
    return msgspec.convert(read | {"revision": revision}, Standing)


COUNTS = "q.account = l.account AND q.revision = l.revision"
"""Which row counts for a limit."""

_STANDING = f"""
    SELECT l.revision, CASE WHEN q.account IS NULL THEN NULL ELSE to_json(q) END
    FROM organism.shared l LEFT JOIN organism.questions q ON {COUNTS} WHERE l.account = %(account)s"""  # noqa: S608

_NOW_NS = "(extract(epoch FROM clock_timestamp()) * 1e9)::bigint"

# Another takes its place where the limit has changed, where it was answered and a later threshold is asked about, or
# where the answer is as old as the spend that it was about. An open one stays. It is younger than what it replaces by
# any clock, or nobody would hear of it where another server took over whose clock is behind.
_ASK = f"""
    INSERT INTO organism.questions AS q
        (account, revision, threshold, p, asked_ns, thread_id, root, agent, detail)
    SELECT l.account, l.revision, %(threshold)s, j.p, {_NOW_NS}, %(thread_id)s, %(root)s, %(agent)s, %(detail)s
    FROM organism.shared l, organism.journals j
    WHERE l.account = %(account)s AND l.revision = %(revision)s AND j.p = %(p)s AND j.epoch = %(epoch)s
    ON CONFLICT (account) DO UPDATE SET
        revision = excluded.revision, threshold = excluded.threshold, p = excluded.p,
        asked_ns = greatest(excluded.asked_ns, q.asked_ns + 1, q.said_ns + 1),
        thread_id = excluded.thread_id, root = excluded.root, agent = excluded.agent, detail = excluded.detail,
        said = NULL, note = '', said_by = '', said_ns = 0,
        passed = CASE WHEN q.revision = excluded.revision AND q.passed_ns >= %(since_ns)s THEN q.passed ELSE 0 END
    WHERE q.revision < excluded.revision OR q.revision = excluded.revision AND q.said IS NOT NULL
        AND (q.said AND excluded.threshold > q.threshold OR q.said_ns < %(since_ns)s)"""  # noqa: S608

# All that know the limit hear of it with their next exchange.
_ANSWER = f"""
    WITH said AS (
        UPDATE organism.questions q SET said = %(allowed)s, note = %(note)s, said_by = %(by)s,
            said_ns = greatest({_NOW_NS}, q.asked_ns + 1),
            passed = CASE WHEN %(allowed)s THEN q.threshold ELSE q.passed END,
            passed_ns = CASE WHEN %(allowed)s THEN {_NOW_NS} ELSE q.passed_ns END
        FROM organism.shared l
        WHERE {COUNTS} AND q.account = %(account)s AND q.revision = %(revision)s AND q.threshold = %(threshold)s
            AND q.asked_ns = %(asked_ns)s AND q.said IS NULL
        RETURNING q.account)
    UPDATE organism.shared l SET changed = clock_timestamp() FROM said WHERE l.account = said.account
    RETURNING l.account"""  # noqa: S608
