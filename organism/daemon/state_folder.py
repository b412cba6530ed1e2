"""The daemon's state folder: one owner at a time, and what its clients need to find it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from organism.api.tokens.first_token import kept_token
from organism.errors import ConfigError
from organism.stores.private_files import (
    check_private_folder,
    explained,
    make_private_folder,
    open_private,
    read_private,
    write_private,
)

_LOCK = "lock"
_ADDRESS = "daemon.json"
DEFAULT_FOLDER = ".organism"

_LOOK_AGAIN_S = 0.02


class FolderOwnedError(ConfigError):
    """Another process owns a state folder.

    Attributes:
        state: The folder.
        pid: The number of that process; ``unknown`` if it has not written it yet.
    """

    def __init__(self, state: Path, pid: str) -> None:
        self.state = state
        self.pid = pid
        super().__init__(
            f"another organism owns this state folder: process {pid}; "
            f"end it with 'organism stop', give it work with 'organism send TEXT', or use another --state",
            where=str(state),
        )


class DaemonAddress(msgspec.Struct, frozen=True):
    """Where a daemon answers.

    Attributes:
        url: Its API.
        pid: Its process.
    """

    url: str
    pid: int


def state_folder(file: Path, given: Path | None) -> Path:
    """Return the path of the state folder: of the one given, or of ``.organism`` beside the configuration."""
    # Absolute, because a handler may change the working directory of the process.
    return given.absolute() if given is not None else file.resolve().parent / DEFAULT_FOLDER


@contextmanager
def owned(state: Path) -> Iterator[None]:
    """Own a state folder; the system gives it free when the process ends, however it ends.

    Raises:
        FolderOwnedError: If another process owns it.
        ConfigError: If somebody else can have put something into it, or it cannot be written.
    """
    make_private_folder(state)
    with explained(state):
        descriptor = open_private(state / _LOCK, os.O_RDWR | os.O_CREAT)
    with os.fdopen(descriptor, "r+b", buffering=0) as lock:  # or closing would try a failed write again
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderOwnedError(state, _pid_in(lock.read(20) or b"")) from None
        with explained(state / _LOCK):  # the lock decides who owns it; the number is only for the message of a refusal
            lock.seek(0)
            lock.truncate()
            lock.write(str(os.getpid()).encode())
        yield


def wait_until_free(state: Path, within_s: float) -> bool:
    """Wait until nobody owns a state folder; ``False`` if somebody still does, or does again, after so many seconds."""
    ends = time.monotonic() + within_s
    try:
        with (state / _LOCK).open("rb") as lock:
            while not _is_free(lock):
                if time.monotonic() > ends:
                    return False
                time.sleep(_LOOK_AGAIN_S)
    except OSError:
        pass  # there is none, or it went with its folder
    return True


def _is_free(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_in(text: bytes) -> str:
    return text.decode() if text.isdigit() else "unknown"


def write_address(state: Path, url: str) -> None:
    """Say where the daemon answers; the file is replaced whole, so that no client reads half of it.

    Raises:
        ConfigError: If it cannot be written.
    """
    with explained(state / _ADDRESS):
        write_private(state / _ADDRESS, msgspec.json.encode(DaemonAddress(url, os.getpid())))


def remove_address(state: Path) -> None:
    """Say that nobody answers any more."""
    with suppress(OSError):  # the folder may be gone; what is left then names a process that is not there
        (state / _ADDRESS).unlink(missing_ok=True)


def read_address(state: Path) -> DaemonAddress | None:
    """Return where the daemon answers, or ``None`` if none has said so.

    Raises:
        ConfigError: If another user can have written it: a client sends its token to that address.
    """
    try:
        check_private_folder(state, _whose(state))
        return msgspec.json.decode(read_private(state / _ADDRESS, _whose(state)), type=DaemonAddress)
    except (OSError, msgspec.MsgspecError):
        return None


def read_token(state: Path) -> str:
    """Return the token of a state folder's daemon, for those that ask it.

    Raises:
        ConfigError: If it cannot be read, or somebody else can have written it.
    """
    return kept_token(state, _whose(state))


def _whose(state: Path) -> int:
    """Return whose a state folder must be that we only read: ours, but root may ask everybody's daemon."""
    return state.lstat().st_uid if os.geteuid() == 0 else os.geteuid()
