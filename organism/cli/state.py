"""The daemon's state folder: one owner at a time, and what its clients need to find it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from organism.errors import ConfigError

_LOCK = "lock"
_ADDRESS = "daemon.json"
DEFAULT_FOLDER = ".organism"


class Address(msgspec.Struct, frozen=True):
    """Where a daemon answers.

    Attributes:
        url: Its API.
        pid: Its process.
    """

    url: str
    pid: int


def state_folder(file: Path, given: Path | None) -> Path:
    """Return the state folder: the one given, or ``.organism`` beside the configuration."""
    return given if given is not None else file.resolve().parent / DEFAULT_FOLDER


@contextmanager
def owned(state: Path) -> Iterator[None]:
    """Own a state folder; the system gives it free when the process ends, however it ends.

    Raises:
        ConfigError: If another process owns it, or it cannot be written.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"the state folder cannot be used: {error.strerror}", where=str(state)) from None
    with os.fdopen(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = lock.read().strip() or "unknown"
            raise ConfigError(
                f"another organism owns this state folder: process {owner}; "
                f"stop it, write to it with 'organism send', or use another --state",
                where=str(state),
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def write_address(state: Path, url: str) -> None:
    """Say where the daemon answers; the file is replaced whole, so that no client reads half of it."""
    target = state / _ADDRESS
    fresh = target.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(Address(url, os.getpid())))
    fresh.replace(target)


def remove_address(state: Path) -> None:
    """Say that nobody answers any more."""
    (state / _ADDRESS).unlink(missing_ok=True)


def read_address(state: Path) -> Address | None:
    """Return where the daemon answers, or ``None`` if none has said so."""
    try:
        return msgspec.json.decode((state / _ADDRESS).read_bytes(), type=Address)
    except (OSError, msgspec.MsgspecError):
        return None
