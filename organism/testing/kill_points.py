"""Points at which a process kills itself, as ``kill -9`` would, so that tests can crash it exactly there.

All of them lie on the way into the journal, because that is where it is decided what outlives a crash: a step is
*decided* when its record has been appended and is not yet written, and *committed* when it is durable and nobody has
been told. Without a point no journal of this kind is made, so the points cost nothing.
"""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Self

import msgspec

from organism.errors import ConfigError
from organism.journal import Drop, DropThread, Keep, Stored, Then
from organism.ledger.entries import AccountClosed, Dispatched, LimitsSet, Released, Reserved, Settled
from organism.router.memo import PAID
from organism.stores.group_storage import Retention
from organism.stores.sqlite import SqliteJournal
from organism.threads.records import MESSAGE, OUTPUT, PARKED, THREAD, ThreadRecord
from organism.usage.events import ThreadBlocked, ThreadClosed, ThreadOpened, ThreadResumed

KILL_AT: Final = "ORGANISM_KILL_AT"
"""The variable of the environment that names a point: ``dispatch.committed``, or ``dispatch.committed:3`` for the third
time that it is reached."""

IN_TRANSACTION: Final = "group.written"
"""Everything of a group is written, and SQLite has not yet made it count."""


def _is_ending(record: msgspec.Struct) -> bool:
    """Whether a thread was ordered to end and has not ended yet."""
    if not isinstance(record, Keep) or not record.key.startswith(f"{THREAD}:"):
        return False
    return isinstance(record.body, ThreadRecord) and record.body.status == "closing"


_STEPS: Final[dict[str, Callable[[msgspec.Struct], bool]]] = {
    "open": lambda record: isinstance(record, ThreadOpened),
    "accept": lambda record: isinstance(record, Keep) and record.key.startswith(f"{MESSAGE}:"),
    "reserve": lambda record: isinstance(record, Reserved),
    "dispatch": lambda record: isinstance(record, Dispatched),
    "settle": lambda record: isinstance(record, Settled),
    "release": lambda record: isinstance(record, Released),
    "memo": lambda record: isinstance(record, Keep) and record.key.startswith(PAID),
    "output": lambda record: isinstance(record, Keep) and record.key.startswith(f"{OUTPUT}:"),
    "done": lambda record: isinstance(record, Drop) and record.key.startswith(f"{MESSAGE}:"),
    "park": lambda record: isinstance(record, Keep) and record.key.startswith(f"{PARKED}:"),
    "block": lambda record: isinstance(record, ThreadBlocked),
    "raise": lambda record: isinstance(record, LimitsSet),
    "resume": lambda record: isinstance(record, ThreadResumed),
    "terminate": _is_ending,
    "free": lambda record: isinstance(record, AccountClosed),
    "forget": lambda record: isinstance(record, DropThread),
    "close": lambda record: isinstance(record, ThreadClosed),
}

POINTS: Final = (
    "recovery.begun",
    "recovery.decided",
    "recovery.committed",
    IN_TRANSACTION,
    *(f"{step}.{moment}" for step in _STEPS for moment in ("decided", "committed")),
)
"""Every point there is."""


class KillPoint(msgspec.Struct):
    """A point, and how often it is passed by before it kills.

    Attributes:
        name: One of :data:`POINTS`.
        times: At which time; counted down.
    """

    name: str
    times: int = 1

    @classmethod
    def parse(cls, text: str) -> "KillPoint":
        """Read ``name`` or ``name:n``.

        Raises:
            ConfigError: If there is no such point.
        """
        name, _, times = text.partition(":")
        if name not in POINTS or not (times or "1").isdecimal() or times == "0":
            raise ConfigError(f"{text!r} is no point to be killed at; there are: {', '.join(POINTS)}", path=KILL_AT)
        return cls(name, int(times or "1"))

    def reach(self, name: str) -> None:
        """Kill this process if this is the point and its time has come."""
        if name == self.name:
            self.times -= 1
            if self.times == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class KillingJournal(SqliteJournal):
    """The SQLite journal of a process that is to be killed at a point.

    Args:
        path: The file.
        point: Where.
        retention: What is forgotten when.
    """

    def __init__(self, path: Path, point: KillPoint, retention: Retention) -> None:
        super().__init__(path, retention=retention)
        self._point = point
        self._step, _, self._moment = point.name.partition(".")
        self._recovers = False

    async def __aenter__(self) -> Self:
        """Open the file, and let SQLite say when it is about to commit."""
        await super().__aenter__()
        self._opened.before_commit(partial(self._point.reach, IN_TRANSACTION))
        return self

    def append(self, record: msgspec.Struct, then: Then | None = None) -> None:
        """Take a record; kill where it is the one of the point, now or once it is durable."""
        if self._step not in _STEPS or not _STEPS[self._step](record):
            super().append(record, then)
        elif self._moment == "decided":
            super().append(record, then)
            self._point.reach(self._point.name)
        else:
            super().append(record, self._reach_before(then))

    def _reach_before(self, then: Then | None) -> Then:
        def reach() -> None:
            self._point.reach(self._point.name)
            if then is not None:
                then()

        return reach

    def load(self) -> Stored:
        """Return what the file holds; from here to the first commit a process recovers, if there is anything."""
        stored = super().load()
        self._recovers = not stored.empty
        if self._recovers:
            self._point.reach("recovery.begun")
        return stored

    async def commit(self) -> None:
        """Commit; the first one after loading ends the recovery."""
        recovers, self._recovers = self._recovers, False
        if recovers:
            self._point.reach("recovery.decided")
        await super().commit()
        if recovers:
            self._point.reach("recovery.committed")
