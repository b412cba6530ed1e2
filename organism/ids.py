"""Identifiers: their types, their alphabet, and the port that makes new ones.

An id is opaque text of at most 64 characters from ``[A-Za-z0-9_-]``. It never becomes a file name, SQL text or a
subject on its own; the narrow alphabet keeps it harmless in logs, URLs and headers.
"""

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from itertools import count
from typing import NewType, Protocol
from zlib import crc32

import msgspec

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


_NODE_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*")
_NODE_LABEL_MAX = 32
_AFTER_LABEL = "--"
"""It ends the label that a thread's name begins with, so no label has two dashes in a row."""


PARTITIONS_MAX = 256
"""Ids carry two hexadecimal digits of their partition."""

LABEL_PARTITIONS = 4
"""So many partitions of a cluster a label of nodes gets unless the configuration says otherwise."""


def is_node_label(text: str) -> bool:
    """Whether a text can be a label of nodes in a cluster."""
    return len(text) <= _NODE_LABEL_MAX and _NODE_LABEL.fullmatch(text) is not None


def no_node_label(text: str) -> str:
    """Say that a text can be no label of nodes."""
    what = f"a letter, then letters, digits, '_' and single '-', at most {_NODE_LABEL_MAX} in all"
    return f"{text!r} cannot be a label of nodes: use {what}"


def thread_names_of(label: str) -> str:
    """Return what the names of threads begin with that are at nodes of a label."""
    return f"{label}{_AFTER_LABEL}"


def at_nodes(label: str) -> str:
    """Say at which nodes of a cluster something is that needs a label, or none."""
    return f"at nodes labelled {label!r}" if label else "at any node"


class Layout(msgspec.Struct, frozen=True):
    """Which partitions of a cluster threads are in: those of any node come first, and then those of each label.

    Attributes:
        partitions: How many any node may run.
        labelled: By label, those that only nodes with it run, each behind the ones of the label that was added before.
    """

    partitions: int
    labelled: Mapping[str, Sequence[int]] = {}

    @property
    def every(self) -> range:
        """All partitions."""
        return range(self.partitions + sum(map(len, self.labelled.values())))

    def of(self, label: str) -> Sequence[int]:
        """Return the partitions of a label; those of any node for none, or for one that has no partitions."""
        return self.labelled.get(label) or range(self.partitions)

    def label_of(self, partition: int) -> str:
        """Return the label that a partition needs; empty if any node may run it."""
        return next((label for label, its in self.labelled.items() if partition in its), "")

    def partition_of(self, name: str) -> int:
        """Return the partition of an id: what it carries, or what a name that a caller has made up comes to.

        A name that begins with a label and two dashes, such as ``gpu--mine``, is in one of that label's.
        """
        if (carried := _PARTITIONED_ID.fullmatch(name)) and (partition := int(carried[1], 16)) in self.every:
            return partition
        return self.spread(name, name.partition(_AFTER_LABEL)[0] if _AFTER_LABEL in name else "")

    def spread(self, text: str, label: str) -> int:
        """Return the partition that a text comes to, among those of a label."""
        chosen = self.of(label)
        return chosen[crc32(text.encode()) % len(chosen)]
