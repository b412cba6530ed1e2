"""What was a large crowd for a moment costs no memory for ever."""

import sys

import pytest

from organism.tables import remove


def test_a_table_that_empties_gives_its_memory_back_and_keeps_what_is_left_in_order() -> None:
    """Of a hundred thousand entries ten are left: they are all there, in order, in a table of a small size."""
    table = {number: str(number) for number in range(100_000)}
    full = sys.getsizeof(table)
    for number in range(99_990):
        assert remove(table, number) == str(number)
    assert list(table.items()) == [(number, str(number)) for number in range(99_990, 100_000)]
    assert sys.getsizeof(table) < full / 100


def test_what_is_not_there_cannot_be_removed() -> None:
    """Removing an entry twice is an error, and changes nothing."""
    table = {"a": 1, "b": 2}
    remove(table, "a")
    with pytest.raises(KeyError):
        remove(table, "a")
    assert table == {"b": 2}
