"""Where the journal's file is: made for its owner only, and looked at before SQLite opens it."""

import os
from contextlib import suppress
from pathlib import Path

from organism.stores.private_files import open_private, sync_folder
from organism.stores.sqlite_errors import damaged


def make_private(path: Path) -> None:
    """Make the folder and the file for their owner only, and refuse files beside it that may be somebody else's.

    SQLite follows links and takes up any log that lies beside its file; so each is looked at before it opens them.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.path.lexists(path):
        os.close(open_private(_mark(path), os.O_RDWR | os.O_CREAT, tighten=True))
        sync_folder(path.parent)  # before the file is there: an empty one without the mark is refused at each start
    os.close(open_private(path, os.O_RDWR | os.O_CREAT, tighten=True))
    for end in _BESIDE:
        beside = path.with_name(path.name + end)
        if os.path.lexists(beside):
            os.close(open_private(beside, os.O_RDWR, tighten=True))


def made(path: Path) -> None:
    """Note that the file holds a journal: from here on an empty one is one that was lost."""
    with suppress(OSError):  # at worst an empty file is taken for a new one
        _mark(path).unlink(missing_ok=True)


def _mark(path: Path) -> Path:
    """Return the file that is beside a journal while it is made: a crash may then leave an empty one."""
    return path.with_name(path.name + "-making")


_BESIDE = ("-wal", "-shm", "-journal")


def refuse_emptied(path: Path) -> None:
    """Refuse what SQLite would take for a new file, and throw away what is left of an old one."""
    size = path.stat().st_size
    log, undo = (path.with_name(path.name + end) for end in ("-wal", "-journal"))
    if size == 0 and log.exists() and log.stat().st_size > 0:
        raise damaged(path, "it is empty, but its write-ahead log is not")
    if size == 0 and not _mark(path).exists():
        raise damaged(path, "it is empty, as no journal is that was ever used; if nothing was in it, remove it")
    if 0 < size < _PAGE_MIN and not undo.exists():
        raise damaged(path, f"it has only {size} bytes")


_PAGE_MIN = 512
"""Bytes of SQLite's smallest page; a file is never smaller unless it is empty."""


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at a path from every other; ``None`` if there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
