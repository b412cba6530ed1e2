"""Tables that give their memory back when nearly everything has gone from them, and sets that take little. Pure."""

import sys
from array import array
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

_SMALL = 16_384
"""Bytes: a table up to this size is left as it is."""

_SPARSE = 400
"""Bytes to an entry in a table: a dictionary that is well filled takes 40 to 100."""


def pop_and_shrink(table: dict[K, V], key: K) -> V:
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


_SHARDS = 64
_SLOTS = 8


class DigestSet:
    """Texts that are only ever added, in 11 to 22 bytes each: the set keeps 64 bits of their hashes, not the texts.

    Of ten million texts, one that was never added is taken for one of them once in a million million times. Kept in
    shards, so that growing moves a small part at a time. Lasts as long as the process: Python's hashes do not.
    """

    def __init__(self) -> None:
        self._shards = [array("Q", bytes(8 * _SLOTS)) for _ in range(_SHARDS)]
        self._counts = [0] * _SHARDS

    def __len__(self) -> int:
        return sum(self._counts)

    def __contains__(self, text: str) -> bool:
        digest = _digest(text)
        slots = self._shards[digest % _SHARDS]
        return slots[_place(slots, digest)] == digest

    def add(self, text: str) -> None:
        """Add a text; adding it again changes nothing."""
        digest = _digest(text)
        shard = digest % _SHARDS
        slots = self._shards[shard]
        place = _place(slots, digest)
        if slots[place] == digest:
            return
        slots[place] = digest
        self._counts[shard] += 1
        if 4 * self._counts[shard] > 3 * len(slots):
            self._shards[shard] = _grown(slots)


def _digest(text: str) -> int:
    return hash(text) & 0xFFFF_FFFF_FFFF_FFFF or 1  # 0 is an empty slot


def _place(slots: "array[int]", digest: int) -> int:
    """Return where a digest is, or would be put."""
    mask = len(slots) - 1
    place = (digest // _SHARDS) & mask
    while slots[place] not in (0, digest):
        place = (place + 1) & mask
    return place


def _grown(slots: "array[int]") -> "array[int]":
    fresh = array("Q", bytes(16 * len(slots)))
    for digest in slots:
        if digest:
            fresh[_place(fresh, digest)] = digest
    return fresh
