"""Identifiers: their types, their alphabet, and the port that makes new ones.

An id is opaque text of at most 64 characters from ``[A-Za-z0-9_-]``. It never becomes a file name, SQL text or a
subject on its own; the narrow alphabet keeps it harmless in logs, URLs and headers.
"""

import os
import re
import secrets
from itertools import count
from typing import NewType, Protocol

ThreadId = NewType("ThreadId", str)
"""Names a conversation. Its budget, messages and usage all hang on this id."""

MessageId = NewType("MessageId", str)
"""Names one accepted envelope; the key of the memo that stops a redelivered message from paying twice."""

CallId = NewType("CallId", str)
"""Names one model call; its attempts share it and differ in their number."""

EventId = NewType("EventId", str)
"""Names one usage event; consumers drop repeats by it."""

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


_DIGITS = 20
"""Hexadecimal digits of a random id: 80 bits."""

_ids_in = re.compile(".{%d}" % _DIGITS).findall  # noqa: UP031 - braces of its own

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
            digits = secrets.token_hex(256 * _DIGITS // 2)
            _stock.extend(_ids_in(digits))
            return f"{prefix}_{_stock.pop()}"


class SequentialIds:
    """Ids counted from 1: what tests and recorded examples use."""

    def __init__(self) -> None:
        self._counter = count(1)

    def next(self, prefix: str) -> str:
        """Return ``prefix_`` and the next number."""
        return f"{prefix}_{next(self._counter)}"
