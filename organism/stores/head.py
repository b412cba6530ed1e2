"""Where a journal ends: written with every batch, so that a cut end is detected.

A chain of hashes shows what was changed or taken out in its middle, not that its last links are gone. The head names
its last link, and how much live state there is. A writer of the file can write the head too, and a copy of the
whole file from yesterday is right in itself: only an anchor that is kept elsewhere shows that.
"""

import apsw
import msgspec

from organism.stores.batch import GENESIS


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


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal holds: as its head says, or as is found.

    Attributes:
        seq: The number of the newest ledger entry; 0 without one.
        hash: The hash of that entry.
        event: The number of the newest event; 0 without one.
        pieces: How many pieces of live state.
        pieces_sum: The sum of their checksums.
    """

    seq: int
    hash: bytes
    event: int
    pieces: int
    pieces_sum: int


def differences(said: Contents, found: Contents) -> dict[str, str]:
    """Return what is not there that was: by the table it is missing from, a sentence."""
    faults: dict[str, str] = {}
    if (found.seq, found.hash) != (said.seq, said.hash):
        faults["entries"] = (
            f"its ledger had come to entry {said.seq}, but ends with {found.seq}: the newest are missing"
            if found.seq != said.seq
            else f"its newest ledger entry, {said.seq}, is not the one that was written"
        )
    if found.event != said.event:
        faults["events"] = (
            f"its events had come to number {said.event}, but end with {found.event}: the newest are missing"
        )
    if (found.pieces, found.pieces_sum) != (said.pieces, said.pieces_sum):
        faults["pieces"] = (
            f"it had {said.pieces:,} pieces of live state, but has {found.pieces:,}"
            if found.pieces != said.pieces
            else f"some of its {said.pieces:,} pieces of live state are other ones"
        )
    return faults


def missing(db: apsw.Connection) -> dict[str, str]:
    """Return what is not there that was; see :func:`differences`."""
    ((seq, digest, event, pieces, pieces_sum),) = db.execute("SELECT seq, hash, event, pieces, pieces_sum FROM head")
    said = Contents(seq=seq, hash=bytes(digest), event=event, pieces=pieces, pieces_sum=pieces_sum)
    last, last_hash = db.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone() or (0, GENESIS)
    ((newest,),) = db.execute("SELECT coalesce(max(id), 0) FROM events")
    ((count, total),) = db.execute("SELECT count(*), coalesce(sum(checksum), 0) FROM pieces")
    found = Contents(seq=int(last), hash=bytes(last_hash), event=newest, pieces=count, pieces_sum=total)
    return differences(said, found)


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
