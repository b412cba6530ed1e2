"""Identifiers: their types, their alphabet, and the port that makes new ones.

An id is opaque text of at most 64 characters from ``[A-Za-z0-9_-]``. It never becomes a file name, SQL text or a
subject on its own; the narrow alphabet keeps it harmless in logs, URLs and headers.
"""

import os
import re
import secrets
from itertools import count
from typing import NewType, Protocol
from zlib import crc32

ThreadId = NewType("ThreadId", str)
"""Names a conversation. Its budget, messages and usage all hang on this id."""

MessageId = NewType("MessageId", str)
"""Names one accepted envelope; the key of the memo that stops a redelivered message from paying twice."""


AGENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""What an agent may be called. ``user`` is reserved for the party that opened the thread."""

THREAD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a caller may name a thread."""

USER = "user"
"""The sender outside the organism: a message addressed to it is an output of its thread."""


class IdSource(Protocol):
    """Makes ids; injected, so that tests get the same ids in every run."""

    def next(self, prefix: str) -> str:
        """Return a fresh id that starts with ``prefix`` and an underscore."""
        ...


ID_DIGITS = 20
"""Hexadecimal digits of a random id: 80 bits."""

_ids_in = re.compile(".{%d}" % ID_DIGITS).findall  # noqa: UP031 - braces of its own

_stock: list[str] = []
"""Random digits in advance: asking the system each time costs half a microsecond, handing them out a tenth of that."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_stock.clear)  # or a forked process would make the same ids as its parent


class RandomIds:
    """Ids of 80 random bits: unguessable, and unique without any coordination."""

    def next(self, prefix: str) -> str:
        """Return ``prefix_`` and twenty hexadecimal digits."""
        try:
            return f"{prefix}_{_stock.pop()}"
        except IndexError:
            digits = secrets.token_hex(256 * ID_DIGITS // 2)
            _stock.extend(_ids_in(digits))
            return f"{prefix}_{_stock.pop()}"


class SequentialIds:
    """Ids counted from 1: what tests and recorded examples use."""

    def __init__(self) -> None:
        self._counter = count(1)

    def next(self, prefix: str) -> str:
        """Return ``prefix_`` and the next number."""
        return f"{prefix}_{next(self._counter)}"


_PARTITIONED_ID = re.compile(r"[a-z]+_([0-9a-f]{2})[0-9a-f]{%d}" % ID_DIGITS)  # noqa: UP031 - braces of its own
"""An id that says where it is: two digits more than one of a single machine."""


class PartitionIds:
    """Ids that carry the number of their partition, so that asking nobody tells which journal of a cluster has them.

    Args:
        partition: The number, below 256.
        ids: Makes what is unique in them.
    """

    def __init__(self, partition: int, ids: IdSource) -> None:
        self._partition = f"{partition:02x}"
        self._ids = ids

    def next(self, prefix: str) -> str:
        """Return ``prefix_``, two hexadecimal digits, and what another source makes."""
        return f"{prefix}_{self._partition}{self._ids.next(prefix)[len(prefix) + 1 :]}"


def partition_of(name: str, partitions: int) -> int:
    """Return the partition of an id: what it carries, or what a name that a caller has made up comes to."""
    if (carried := _PARTITIONED_ID.fullmatch(name)) and (partition := int(carried[1], 16)) < partitions:
        return partition
    return crc32(name.encode()) % partitions
