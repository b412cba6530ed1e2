"""A disk that forgets what was not synced when the power goes, fails when it is told to, and can be full.

It is an SQLite VFS (through apsw) over real files. What is written goes to the file at once, as the system's cache
would show it, and the disk remembers how to undo it until the file is synced. After :meth:`FaultyDisk.cut_power` the
files hold what a real disk might hold then. Torn writes are modelled by sectors; a disk that lies about syncing is not.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import apsw
import msgspec

Operation = Literal["open", "write", "sync", "truncate"]
"""What a disk can fail at."""

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""

_CODES: dict[Operation, int] = {
    "open": apsw.SQLITE_CANTOPEN,
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
}


class _Change(msgspec.Struct, frozen=True):
    """One change of a file that has not been synced.

    Attributes:
        offset: Where new bytes were written; the new size when there are none.
        new: The bytes; ``None`` for a change of size.
        old: What was there before, up to the old end.
        old_size: The size of the file before.
    """

    offset: int
    new: bytes | None
    old: bytes
    old_size: int


class FaultyDisk:
    """A disk to break. Use it as a context manager: inside, SQLite knows it by :attr:`name`.

    Args:
        name: The name of the VFS, unique in the process.
        chance: Decides which unsynced sectors outlive a power cut.

    Attributes:
        operations: How many operations have been counted so far.
        capacity: How many bytes all its files may have together; ``None`` for no bound.
    """

    def __init__(self, name: str = "faulty", chance: random.Random | None = None) -> None:
        self.name = name
        self.operations = 0
        self.capacity: int | None = None
        self._chance = chance or random.Random(0)  # noqa: S311 - repeatable faults, not secrets
        self._unsynced: dict[str, list[_Change]] = {}
        self._sizes: dict[str, int] = {}
        self._fails_at: Callable[[int, Operation], bool] = lambda _number, _operation: False
        self._dark = False
        self._vfs: _FaultyVFS | None = None

    def __enter__(self) -> Self:
        self._vfs = _FaultyVFS(self)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._vfs is not None:
            self._vfs.unregister()

    # -- what goes wrong ------------------------------------------------------------------------------------------

    def fail(self, number: int, *, for_ever: bool = False, at: Operation | None = None) -> None:
        """Let the operation of that number fail, counted from now on.

        Args:
            number: Which, from 1.
            for_ever: Whether every later one fails as well.
            at: Which kind of operation is counted and fails; all of them unless given.
        """
        left = number

        def fails_at(_number: int, operation: Operation) -> bool:
            nonlocal left
            if at is not None and operation != at:
                return False
            left -= 1
            return left == 0 or (for_ever and left < 0)

        self._fails_at = fails_at

    def cut_power_at(self, number: int) -> None:
        """Let the power go with the operation of that number, counted from now on: it and all later ones fail."""
        start = self.operations

        def fails_at(now: int, _operation: Operation) -> bool:
            self._dark = self._dark or now >= start + number
            return self._dark

        self._fails_at = fails_at

    def heal(self) -> None:
        """Let nothing fail any more, and have room for everything."""
        self._fails_at = lambda _number, _operation: False
        self.capacity = None

    @property
    def dark(self) -> bool:
        """Whether the power has gone."""
        return self._dark

    def cut_power(self, survives: float = 0.0) -> None:
        """Leave in the files what a disk might hold after a power cut, and let the power come back.

        Close every connection first, after the power has gone: a process that goes on would write once more.

        Args:
            survives: How likely each sector that was written and not synced is there all the same, from 0 to 1.
        """
        for path, changes in self._unsynced.items():
            if not os.path.exists(path):  # noqa: PTH110 - SQLite's own names are plain text
                continue
            with open(path, "r+b") as file:  # noqa: PTH123
                for change in reversed(changes):
                    file.seek(change.offset)
                    file.write(change.old)
                    file.truncate(change.old_size)
                for change in changes:
                    self._survive(file.fileno(), change, survives)
        self._unsynced.clear()
        self._dark = False
        self.heal()

    def _survive(self, file: int, change: _Change, survives: float) -> None:
        if change.new is None:
            if self._chance.random() < survives:
                os.ftruncate(file, change.offset)
            return
        for start in range(0, len(change.new), SECTOR):
            if self._chance.random() < survives:
                os.pwrite(file, change.new[start : start + SECTOR], change.offset + start)

    # -- what the files call --------------------------------------------------------------------------------------

    def _count(self, operation: Operation) -> None:
        self.operations += 1
        if self._fails_at(self.operations, operation):
            raise _error(_CODES[operation], f"the disk failed at operation {self.operations}, a {operation}")

    def _before_write(self, path: str, data: bytes, offset: int) -> None:
        self._count("write")
        size = _size(path)
        grown = max(size, offset + len(data))
        if self.capacity is not None and grown > size and self._used(path) + grown > self.capacity:
            raise _error(apsw.SQLITE_FULL, "the disk is full")
        self._remember(path, offset, data, len(data), size)

    def _before_truncate(self, path: str, size: int) -> None:
        self._count("truncate")
        now = _size(path)
        self._remember(path, size, None, max(0, now - size), now)

    def _remember(self, path: str, offset: int, new: bytes | None, length: int, size: int) -> None:
        old = b""
        if offset < size:
            with open(path, "rb") as file:  # noqa: PTH123
                file.seek(offset)
                old = file.read(min(length, size - offset))
        self._unsynced.setdefault(path, []).append(_Change(offset, new, old, size))

    def _before_sync(self, path: str) -> None:
        self._count("sync")

    def _synced(self, path: str) -> None:
        self._unsynced.pop(path, None)

    def _deleted(self, path: str) -> None:
        self._unsynced.pop(path, None)
        self._sizes.pop(path, None)

    def _used(self, without: str) -> int:
        return sum(_size(path) for path in self._sizes if path != without)

    def _opened(self, path: str) -> None:
        self._count("open")
        self._sizes[path] = 0


class _FaultyVFS(apsw.VFS):
    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "_FaultyFile":
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is not None:
            self._disk._opened(path)
        return _FaultyFile(self._disk, path, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:
        super().xDelete(name, syncdir)
        self._disk._deleted(name)


class _FaultyFile(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, path: str | None, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        self._path = path or ""
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk._before_write(self._path, bytes(data), offset)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk._before_truncate(self._path, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._disk._before_sync(self._path)
        super().xSync(flags)
        self._disk._synced(self._path)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except FileNotFoundError:
        return 0


def _error(code: int, text: str) -> apsw.Error:
    error: apsw.Error = apsw.exception_for(code)
    error.args = (text,)
    error.extendedresult = code
    return error
