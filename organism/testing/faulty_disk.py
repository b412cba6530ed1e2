"""A disk that forgets what was not synced when the power goes, fails on order, and can be full.

It is an SQLite VFS (through apsw) over real files. What is written goes to the file at once, as the system's cache
would show it, and the disk remembers how to undo it until the file is synced. After :meth:`FaultyDisk.restore_power`
the files hold what a real disk might hold then. Torn writes are modelled by sectors; a disk that lies about syncing,
and a folder that was not synced, are not.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import apsw
import msgspec

DiskOperation = Literal["open", "write", "sync", "truncate"]
"""What a disk can fail at."""

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""

_CODES: dict[DiskOperation, int] = {
    "open": apsw.SQLITE_CANTOPEN,
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
}


class FaultyDisk:
    """A disk to break. Use it as a context manager: inside, SQLite knows it by :attr:`name`.

    Args:
        name: The name of the VFS, unique in the process.
        chance: Decides which unsynced sectors outlive a power cut.
    """

    def __init__(self, name: str = "faulty", chance: random.Random | None = None) -> None:
        self.name = name
        self._chance = chance or random.Random(0)  # noqa: S311 - repeatable faults, not secrets
        self._surface = _Surface()
        self._vfs: _VFS | None = None

    def __enter__(self) -> Self:
        self._vfs = _VFS(self.name, self._surface)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._vfs is not None:
            self._vfs.unregister()

    @property
    def operations(self) -> int:
        """How many operations there have been."""
        return self._surface.operations

    def fail(
        self,
        number: int,
        *,
        for_ever: bool = False,
        at: DiskOperation | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """Let one operation fail, counted from now on.

        Args:
            number: Which, from 1.
            for_ever: Whether every later one fails as well.
            at: Which kind of operation is counted and fails; all of them unless given.
            on_failure: Called each time one fails.
        """
        left = number

        def fails(operation: DiskOperation) -> bool:
            nonlocal left
            if at is not None and operation != at:
                return False
            left -= 1
            failing = left == 0 or (for_ever and left < 0)
            if failing:
                on_failure()
            return failing

        self._surface.fails = fails

    def cut_power(self, number: int = 1) -> None:
        """Let the power go with an operation, counted from now on: nothing can be done with the disk from there on."""
        self.fail(number, for_ever=True)

    def fill(self, capacity: int) -> None:
        """Let its files have no more than so many bytes together."""
        self._surface.capacity = capacity

    def heal(self) -> None:
        """Let nothing fail any more, and have room for everything."""
        self._surface.fails = lambda _operation: False
        self._surface.capacity = None

    def restore_power(self, survives: float = 0.0) -> None:
        """Leave in the files what a disk might hold after a power cut, and work again.

        Close every connection first, while the power is off: one that goes on would write once more.

        Args:
            survives: How likely each sector that was written and not synced is there all the same, from 0 to 1.
        """
        for path, changes in self._surface.unsynced.items():
            if not path.exists():
                continue
            with path.open("r+b") as file:
                for change in reversed(changes):
                    file.seek(change.offset)
                    file.write(change.old)
                    file.truncate(change.old_size)
                file.flush()
                for change in changes:
                    self._survive(file.fileno(), change, survives)
        self._surface.unsynced.clear()
        self.heal()

    def _survive(self, file: int, change: "_Change", survives: float) -> None:
        if change.new is None:
            if self._chance.random() < survives:
                os.ftruncate(file, change.offset)
            return
        for start in range(0, len(change.new), SECTOR):
            if self._chance.random() < survives:
                os.pwrite(file, change.new[start : start + SECTOR], change.offset + start)


class _Change(msgspec.Struct, frozen=True):
    """One change of a file that has not been synced.

    Attributes:
        offset: Where bytes were written; the new size when none were.
        new: The bytes; ``None`` for a change of size.
        old: What was there before, up to the old end.
        old_size: The size of the file before.
    """

    offset: int
    new: bytes | None
    old: bytes
    old_size: int


class _Surface:
    """What the files of a disk tell it, and what it lets them do."""

    def __init__(self) -> None:
        self.operations = 0
        self.capacity: int | None = None
        self.fails: Callable[[DiskOperation], bool] = lambda _operation: False
        self.unsynced: dict[Path, list[_Change]] = {}
        self._files: set[Path] = set()

    def count(self, operation: DiskOperation) -> None:
        """Let an operation fail if it is its turn."""
        self.operations += 1
        if self.fails(operation):
            raise _error(_CODES[operation], f"the disk failed at its operation {self.operations}, a {operation}")

    def opens(self, path: Path) -> None:
        """Take a file down."""
        self.count("open")
        self._files.add(path)

    def writes(self, path: Path, data: bytes, offset: int) -> None:
        """Remember what a write will take away."""
        self.count("write")
        size = _size(path)
        growth = offset + len(data) - size
        if self.capacity is not None and growth > 0 and sum(map(_size, self._files)) + growth > self.capacity:
            raise _error(apsw.SQLITE_FULL, "the disk has no room")
        self._remember(path, offset, data, len(data))

    def truncates(self, path: Path, size: int) -> None:
        """Remember what a truncation will take away."""
        self.count("truncate")
        self._remember(path, size, None, max(0, _size(path) - size))

    def synced(self, path: Path) -> None:
        """Whatever the file holds now is safe."""
        self.unsynced.pop(path, None)

    def deleted(self, path: Path) -> None:
        """The file is gone."""
        self.unsynced.pop(path, None)
        self._files.discard(path)

    def _remember(self, path: Path, offset: int, new: bytes | None, length: int) -> None:
        size = _size(path)
        old = b""
        if offset < size:
            with path.open("rb") as file:
                file.seek(offset)
                old = file.read(length)
        self.unsynced.setdefault(path, []).append(_Change(offset, new, old, size))


class _VFS(apsw.VFS):
    def __init__(self, name: str, surface: _Surface) -> None:
        self._surface = surface
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "_File":  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._surface.opens(Path(path))
        return _File(Path(path), self._surface, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        super().xDelete(filename, syncdir)
        self._surface.deleted(Path(filename))


class _File(apsw.VFSFile):
    def __init__(self, path: Path, surface: _Surface, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._path = path
        self._surface = surface
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._surface.writes(self._path, bytes(data), offset)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._surface.truncates(self._path, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._surface.count("sync")
        super().xSync(flags)
        self._surface.synced(self._path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _error(code: int, text: str) -> Exception:
    error = apsw.exception_for(code)
    error.args = (text,)
    error.extendedresult = code  # type: ignore[attr-defined]
    return error
