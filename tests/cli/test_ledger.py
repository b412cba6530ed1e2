"""What ``organism ledger verify`` tells: wrong entries, ends that are missing, and with an anchor old copies."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest

from organism.amounts import Limits
from organism.cli.app import call
from organism.errors import ConfigError
from organism.journal import JournalBrokenError, Keep
from organism.ledger.ledger import Ledger
from organism.ledger.verify import Anchor
from organism.stores.batch import batch_of, checksum
from organism.stores.sqlite_file import SqliteFile
from organism.testing.store_contract import event, keep, live_a_little
from organism.threads.quarantine import QuarantinedRecord


def journal(state: Path) -> None:
    """Leave a journal in a state folder, as an organism would."""
    with closing(SqliteFile(state / "journal.db")) as file:
        records: list[msgspec.Struct] = [event(1), keep("a"), keep("b")]
        live_a_little(Ledger(records.append))
        file.write(batch_of(records), 1)
        file.write(batch_of([event(2), keep("c"), keep("a", "new")]), 2)


def verdict(state: Path, capsys: pytest.CaptureFixture[str], anchor: str | None = None) -> tuple[int, str]:
    code = call(["ledger", "verify", "--state", str(state), *(["--anchor", anchor] if anchor else [])])
    return code, capsys.readouterr().out


def tamper(sql: str) -> Callable[[apsw.Connection], object]:
    return lambda db: db.execute(sql)


def other_piece(db: apsw.Connection) -> None:
    """Put another value in the place of a piece, with the checksum that belongs to it."""
    body = '{"type":"Text","text":"other"}'
    db.execute("UPDATE pieces SET body = ?, checksum = ? WHERE key = 'b'", (body, checksum("b", "t", body)))


TAMPERED: dict[str, tuple[Callable[[apsw.Connection], object], str]] = {
    "the newest entry gone": (tamper("DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)"), "newest"),
    "the newest five gone": (tamper("DELETE FROM entries WHERE seq > (SELECT max(seq) - 5 FROM entries)"), "newest"),
    "all entries gone": (tamper("DELETE FROM entries"), "ends with 0"),
    "an entry in the middle gone": (tamper("DELETE FROM entries WHERE seq = 4"), "missing"),
    "an entry changed": (tamper("UPDATE entries SET body = replace(body, '10', '11') WHERE seq = 2"), "hash"),
    "the newest event gone": (tamper("DELETE FROM events WHERE id = 2"), "events had come to number 2"),
    "all events gone": (tamper("DELETE FROM events"), "end with 0"),
    "a piece gone": (tamper("DELETE FROM pieces WHERE key = 'c'"), "had 3 pieces of live state, but has 2"),
    "all pieces gone": (tamper("DELETE FROM pieces"), "but has 0"),
    "a piece put in": (tamper("INSERT INTO pieces (key, thread_id, body, checksum) VALUES ('x','','{}',1)"), "has 4"),
    "a piece replaced": (other_piece, "other ones"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_is_missing_or_changed_is_told(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1 and the sentence says what is wrong, at the ends of the tables as well as in the middle."""
    state = tmp_path / "state"
    journal(state)
    assert verdict(state, capsys)[0] == 0
    change, said = TAMPERED[what]
    with closing(apsw.Connection(str(state / "journal.db"))) as db:
        change(db)
    code, text = verdict(state, capsys)
    assert code == 1
    assert said in text


@pytest.mark.parametrize("what", [name for name in TAMPERED if "entr" in name])
def test_a_start_refuses_a_ledger_that_is_cut_off(what: str, tmp_path: Path) -> None:
    """Balances that would be too low are never taken up."""
    journal(tmp_path)
    with closing(apsw.Connection(str(tmp_path / "journal.db"))) as db:
        TAMPERED[what][0](db)
    with closing(SqliteFile(tmp_path / "journal.db")) as file, pytest.raises(JournalBrokenError, match="damaged"):
        file.load()


def test_an_id_of_an_event_that_was_taken_out_is_not_given_again(tmp_path: Path) -> None:
    """Two events of one id would be one to whoever bills by them."""
    journal(tmp_path)
    with closing(apsw.Connection(str(tmp_path / "journal.db"))) as db:
        db.execute("DELETE FROM events WHERE id = 2")
    with closing(SqliteFile(tmp_path / "journal.db")) as file:
        assert file.load().last_event == 2


def test_an_anchor_shows_that_an_older_copy_was_put_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole older copy is right in itself; only with what was printed before it is told from the newest."""
    state = tmp_path / "state"
    journal(state)
    old = (state / "journal.db").read_bytes()
    code, text = verdict(state, capsys)
    first = text.split("anchor ")[1].strip()
    with closing(SqliteFile(state / "journal.db")) as file:
        fresh: list[msgspec.Struct] = []
        known = Ledger.replay((), fresh.append)
        known._state.seq = file.head().seq
        known.open("thread:later", Limits(), 20)
        file.write(batch_of(fresh), 3)
    code, text = verdict(state, capsys, first)
    assert code == 0, text
    second = text.split("anchor ")[1].strip()
    assert second != first
    (state / "journal.db").write_bytes(old)
    assert verdict(state, capsys)[0] == 0
    code, text = verdict(state, capsys, second)
    assert code == 1
    assert "newest are missing" in text
    number, _, digits = first.partition(":")
    code, text = verdict(state, capsys, f"{number}:{digits[::-1]}")
    assert code == 1
    assert "not the one of the anchor" in text


@pytest.mark.parametrize("text", ["", "12", ":", "12:xyz", "-1:" + "0" * 64, "12:" + "0" * 63, "1 2:" + "0" * 64])
def test_what_is_no_anchor_is_refused(text: str) -> None:
    """A mistyped anchor is an error of its own, not a ledger that looks wrong."""
    with pytest.raises(ConfigError, match="no anchor"):
        Anchor.parse(text)


@pytest.mark.parametrize("as_json", [False, True])
def test_what_was_set_aside_is_listed_with_its_reason(
    as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody can look at what no start could take up: where it was, of which thread, and why."""
    state = tmp_path / "state"
    journal(state)
    command = ["ledger", "quarantine", "--state", str(state), *(["--json"] if as_json else [])]
    assert call(command) == 0
    assert ("[]" if as_json else "nothing is set aside") in capsys.readouterr().out
    aside = QuarantinedRecord(key="msg:m", thread_id="t", body="{}", reason="nobody waits", time_ns=1)
    with closing(SqliteFile(state / "journal.db")) as file:
        file.write(batch_of([Keep("aside:msg:m", "", aside)]), 3)
    assert call(command) == 0
    said = capsys.readouterr().out
    assert "msg:m" in said
    assert "nobody waits" in said
