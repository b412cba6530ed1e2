"""What was a large crowd for a moment costs no memory for ever."""

import sys

import pytest

from organism.tables import DigestSet, pop_and_shrink


def test_a_table_that_empties_gives_its_memory_back_and_keeps_what_is_left_in_order() -> None:
    """Of a hundred thousand entries ten are left: they are all there, in order, in a table of a small size."""
    table = {number: str(number) for number in range(100_000)}
    full = sys.getsizeof(table)
    for number in range(99_990):
        assert pop_and_shrink(table, number) == str(number)
    assert list(table.items()) == [(number, str(number)) for number in range(99_990, 100_000)]
    assert sys.getsizeof(table) < full / 100


def test_what_is_not_there_cannot_be_removed() -> None:
    """Removing an entry twice is an error, and changes nothing."""
    table = {"a": 1, "b": 2}
    pop_and_shrink(table, "a")
    with pytest.raises(KeyError, match="a"):
        pop_and_shrink(table, "a")
    assert table == {"b": 2}


def test_a_set_of_digests_knows_what_was_added_and_nothing_else() -> None:
    """Two hundred thousand names are known again, as many others are not, in less than 24 bytes each."""
    names = DigestSet()
    for number in range(200_000):
        names.add(f"thread-{number}")
        names.add(f"thread-{number // 2}")
    assert len(names) == 200_000
    assert all(f"thread-{number}" in names for number in range(200_000))
    assert not any(f"other-{number}" in names for number in range(200_000))
    assert sum(shard.itemsize * len(shard) for shard in names._shards) < 24 * 200_000
