"""Tables that give their memory back when nearly everything has gone from them. Pure."""

import sys
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

_SMALL = 16_384
"""Bytes: a table up to this size is left as it is."""

_SPARSE = 400
"""Bytes to an entry in a table: a dictionary that is well filled takes 40 to 100."""


def remove(table: dict[K, V], key: K) -> V:
    """Take an entry out of a table and return it.

    Python's dictionaries keep the size they once had until as much again has been put in. Here one that has become
    sparse is made anew, which is rare enough to cost a removal next to nothing.

    Raises:
        KeyError: If it is not there.
    """
    value = table.pop(key)
    size = sys.getsizeof(table)
    if size > _SMALL and size > _SPARSE * len(table):
        left = dict(table)
        table.clear()
        table.update(left)
    return value
