"""Files for their owner only: opened without following links, written whole or not at all.

A state folder is as trustworthy as the weakest file in it: a token that somebody else has planted is an admin's token,
and a link that is followed lets somebody else choose what is overwritten. So what is opened is judged by its open
descriptor, never by its name, since a name may mean another file a moment later; and nothing that is not an ordinary
file of ours is ever read or written.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from organism.errors import ConfigError

_SHARED = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
_BYTES_MAX = 1 << 20
"""Of what is read whole; a larger one is none of ours."""

_SAFE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""A link is not followed, and opening a pipe without a writer does not block."""


class UnsafeFileError(ConfigError):
    """A file or folder may be somebody else's doing, or cannot be used; the sentence says what to do.

    Attributes:
        file: Its path.
    """

    def __init__(self, file: Path, reason: str) -> None:
        self.file = file
        super().__init__(reason, where=str(file))


def make_private_folder(folder: Path) -> None:
    """Make a folder with mode 0700; one that is there is checked instead.

    Raises:
        UnsafeFileError: If it is a link, somebody else's, open to others, or cannot be made.
    """
    with explained(folder):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
        check_private_folder(folder)


def check_private_folder(folder: Path, owner: int | None = None) -> None:
    """Refuse a folder that somebody else can have put something into.

    Args:
        owner: The user whose it must be; the one who runs unless given.

    Raises:
        UnsafeFileError: If so.
        OSError: If it is not there or cannot be looked at.
    """
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise UnsafeFileError(folder, f"it is a symbolic link; name the folder itself: {folder.resolve()}")
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeFileError(folder, "it is no folder; remove it, or use another --state")
    _refuse_owner(folder, status, owner)
    if status.st_mode & _SHARED:
        reason = (
            f"others can reach it (mode {stat.S_IMODE(status.st_mode):03o}), so what is in it may be theirs: look "
            "through it for files you did not put there, then run: chmod 700 on it"
        )
        raise UnsafeFileError(folder, reason)


def open_private(path: Path, flags: int, *, owner: int | None = None, tighten: bool = False) -> int:
    """Open a file of ours and return its descriptor; made with mode 0600 if the flags say so.

    Args:
        flags: As of :func:`os.open`, without ``O_TRUNC``: nothing is changed before the file is known to be ours.
        owner: The user whose it must be; the one who runs unless given.
        tighten: Whether one that others can only read is made private instead of refused: right for what holds no
            secret that would have to be changed then.

    Raises:
        UnsafeFileError: If it is a link, no ordinary file, known by a second name, somebody else's, or open to others.
        OSError: If it cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | _SAFE_FLAGS, 0o600)
    except OSError:
        if path.is_symlink():  # whose error number is another one on each system
            raise UnsafeFileError(path, "it is a symbolic link, which is not followed; remove it") from None
        raise
    try:
        _check(path, os.fstat(descriptor), owner)
        _check_mode(path, descriptor, tighten=tighten)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: Path, status: os.stat_result, owner: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFileError(path, "it is no ordinary file; remove it")
    _refuse_owner(path, status, owner)
    if status.st_nlink > 1:
        reason = "it has a second name elsewhere (a hard link), so others may reach it; put a copy in its place"
        raise UnsafeFileError(path, reason)


def _check_mode(path: Path, descriptor: int, *, tighten: bool) -> None:
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & _WRITABLE:
        reason = (
            f"others can write it (mode {mode:03o}), so it may be theirs: remove it, or make sure of it and run: "
            "chmod 600 on it"
        )
        raise UnsafeFileError(path, reason)
    if mode & _SHARED and tighten:
        os.fchmod(descriptor, mode & ~_SHARED)
    elif mode & _SHARED:
        raise UnsafeFileError(path, f"others can read it (mode {mode:03o}); run: chmod 600 on it")


def _refuse_owner(path: Path, status: os.stat_result, owner: int | None) -> None:
    user = os.geteuid() if owner is None else owner
    if status.st_uid != user:
        reason = f"it belongs to user {status.st_uid}, not to us (user {user}); remove it, or run as its owner"
        raise UnsafeFileError(path, reason)


def read_private(path: Path, owner: int | None = None) -> bytes:
    """Return the content of a file of ours; see :func:`open_private`.

    Raises:
        UnsafeFileError: If it is not one, or is larger than any of ours.
        FileNotFoundError: If there is none.
        OSError: If it cannot be read.
    """
    with os.fdopen(open_private(path, os.O_RDONLY, owner=owner), "rb") as file:
        content = file.read(_BYTES_MAX + 1)
    if len(content) > _BYTES_MAX:
        raise UnsafeFileError(path, f"it is larger than {_BYTES_MAX:,} bytes, so it is none of ours; remove it")
    return content


def write_private(path: Path, content: bytes) -> None:
    """Put a file in its place, whole or not at all, and for good: it is there after a power cut once this returns.

    It is written beside its place under a name of its own, synced, and moved. A crash leaves the old one or the new
    one, and at worst what was written beside, which the next write removes.

    Raises:
        OSError: If it cannot be written: there is the old file or the new one, whole.
    """
    fresh = path.with_name(path.name + ".new")
    # Left by a crash, or a link that somebody has planted. Removing a link does not touch what it points at.
    fresh.unlink(missing_ok=True)
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE_FLAGS, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # before the move, or a power cut may leave an empty file in its place
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file that was synced can still have lost its name in a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says into a sentence about a path."""
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error)
        raise UnsafeFileError(Path(error.filename or path), f"it cannot be used: {what}") from None
