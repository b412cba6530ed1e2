"""Where a journal ends: written with every batch, so that a cut end is detected.

A chain of hashes shows what was changed or taken out in its middle, not that its last links are gone. The head names
its last link, and how much live state there is. A writer of the file can write the head too, and a copy of the
whole file from yesterday is right in itself: only an anchor that is kept elsewhere shows that.
"""

import apsw
import msgspec


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where a journal ends.

    Attributes:
        seq: The number of its newest ledger entry; 0 without one.
        hash: The hash of that entry, which stands for all before it.
        faults: What is missing of what it had held, in sentences.
    """

    seq: int
    hash: bytes
    faults: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """What to keep elsewhere, to tell later that nothing before it was changed, taken out or put back."""
        return f"{self.seq}:{self.hash.hex()}"


def read_head(db: apsw.Connection) -> Head:
    """Return where a journal ends, by what it says of itself."""
    ((seq, digest),) = db.execute("SELECT seq, hash FROM head")
    return Head(seq=int(seq), hash=bytes(digest), faults=tuple(missing(db).values()))


def missing(db: apsw.Connection) -> dict[str, str]:
    """Return what is not there that was: by the table it is missing from, a sentence."""
    ((seq, digest, event, pieces, pieces_sum),) = db.execute("SELECT seq, hash, event, pieces, pieces_sum FROM head")
    faults: dict[str, str] = {}
    last = db.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
    found = (int(last[0]), bytes(last[1])) if last is not None else (0, bytes(32))
    if found != (seq, bytes(digest)):
        faults["entries"] = f"its ledger had come to entry {seq}, but ends with {found[0]}: the newest are missing"
        if found[0] == seq:
            faults["entries"] = f"its newest ledger entry, {seq}, is not the one that was written"
    ((newest,),) = db.execute("SELECT coalesce(max(id), 0) FROM events")
    if newest != event:
        faults["events"] = f"its events had come to number {event}, but end with {newest}: the newest are missing"
    ((count, total),) = db.execute("SELECT count(*), coalesce(sum(checksum), 0) FROM pieces")
    if (count, total) != (pieces, pieces_sum):
        what = f"it had {pieces:,} pieces of live state, but has {count:,}"
        faults["pieces"] = what if count != pieces else f"some of its {pieces:,} pieces of live state are other ones"
    return faults


def first_fault(db: apsw.Connection, check: str) -> str | None:
    """Return the first thing that a check of SQLite's own finds wrong, or ``None``."""
    return next((str(row[0]) for row in db.execute(f"PRAGMA {check}") if row[0] != "ok"), None)


def newest_ns(db: apsw.Connection) -> int:
    """Return the newest instant: time never goes back, and what is newest is never forgotten."""
    newest = (
        "SELECT time_ns FROM entries ORDER BY seq DESC LIMIT 1",
        "SELECT time_ns FROM events ORDER BY id DESC LIMIT 1",
    )
    return max((time_ns for query in newest for (time_ns,) in db.execute(query)), default=0)
