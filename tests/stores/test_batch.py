"""What a group of records writes is what its records say, one after another."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from organism.journal import Drop, DropThread, Keep
from organism.messages import Text
from organism.stores.batch import Batch, batch_of, chained, checksum, to_json
from organism.testing.store_contract import event

Rows = list[tuple[str, str, str]]

KEYS = st.sampled_from([("a", "t"), ("b", "t"), ("c", "t"), ("d", "u"), ("e", "u")])
RECORDS = st.one_of(
    st.builds(lambda key, text: Keep(key[0], key[1], Text(str(text))), KEYS, st.integers(0, 3)),
    st.builds(lambda key: Drop(*key), KEYS),
    st.builds(DropThread, st.sampled_from(["t", "u"])),
)


def one_by_one(records: list[msgspec.Struct]) -> Rows:
    """Follow the records slowly: a list of rows, searched from its beginning for each."""
    rows: Rows = []
    for record in records:
        places = {row[0]: place for place, row in enumerate(rows)}
        match record:
            case Keep():
                row = (record.key, record.thread_id, to_json(record.body))
                if record.key in places:
                    rows[places[record.key]] = row
                else:
                    rows.append(row)
            case Drop():
                rows = [row for row in rows if row[0] != record.key]
            case DropThread():
                rows = [row for row in rows if row[1] != record.thread_id]
    return rows


def written(rows: Rows, batch: Batch) -> Rows:
    """Do with rows what the store does with its table."""
    kept = {row[0]: row for row in rows if row[1] not in batch.ended and row[0] not in batch.gone}
    kept.update({row[0]: row for row in batch.kept})
    return list(kept.values())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # a machine may be busy
@given(st.lists(st.lists(RECORDS, max_size=8), max_size=6))
def test_groups_come_to_the_same_as_their_records_one_by_one(groups: list[list[msgspec.Struct]]) -> None:
    """However records fall into groups, the same pieces are there in the same order."""
    rows: Rows = []
    for group in groups:
        rows = written(rows, batch_of(group))
    assert rows == one_by_one([record for group in groups for record in group])


def test_what_is_no_record_is_refused() -> None:
    """A struct that the journal does not know is a mistake of the program, and said to be one."""
    with pytest.raises(TypeError, match="Text is no record"):
        batch_of([Text("x")])


def test_a_message_accepted_and_done_in_one_group_writes_no_row() -> None:
    """Under load, what comes and goes between two commits costs the disk next to nothing."""
    batch = batch_of([Keep("a", "t", Text("x")), Drop("a", "t"), event(3)])
    assert batch.kept == []
    assert batch.gone == ["a"]
    assert [row[0] for row in batch.events] == [3]
    assert batch.last_time_ns == 3


def test_each_entry_s_hash_depends_on_all_before_it() -> None:
    """An entry cannot be changed, dropped or swapped without every later hash being another."""
    rows = [(number, 0, "k", None, None, None, None, f'"{number}"') for number in (1, 2, 3)]
    hashes = [row[-1] for row in chained(rows, bytes(32))]
    assert len(set(hashes)) == 3
    assert [row[-1] for row in chained(rows[1:], bytes(32))] != hashes[1:]
    assert [row[-1] for row in chained(rows[1:], hashes[0])] == hashes[1:]


def test_a_checksum_tells_its_parts_apart() -> None:
    """A letter that moves from one column into the next is seen."""
    assert checksum("ab", "c") != checksum("a", "bc")
