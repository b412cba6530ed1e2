"""What the daemon must be able to rely on: that nobody else writes its file, and where its state lies."""

import os
import stat
from pathlib import Path

from organism.errors import ConfigError
from organism.text.plain_text import lines_of

_ROOT = 0
_NETWORKED = frozenset({"9p", "afs", "cifs", "fuse.sshfs", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"})
"""File systems, as Linux calls them, whose locks and syncs another machine has to keep to."""

MOUNTS = Path("/proc/self/mountinfo")


def refuse_foreign_file(file: Path, user: int | None = None) -> None:
    """Refuse a configuration that others may change: it names code that is run, so they could do all that we can.

    Args:
        user: Who runs; the user of this process unless given.

    Raises:
        ConfigError: If it belongs to another user than ourselves or root, or everybody may write it.
    """
    try:
        status = file.stat()
    except OSError:
        return  # reading it says what is wrong
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
        return  # likewise; what is advised below would be wrong for a device
    user = os.geteuid() if user is None else user
    if status.st_uid not in (_ROOT, user):
        reason = f"it belongs to user {status.st_uid}, who could have us run anything; run: chown {user} on it"
        raise ConfigError(reason, where=str(file))
    if status.st_mode & stat.S_IWOTH:
        reason = "everybody can write it, and it names code that is run; run: chmod o-w on it"
        raise ConfigError(reason, where=str(file))


def refuse_network(state: Path, mounts: Path = MOUNTS) -> None:
    """Refuse a state folder on a network file system, where a lock or a sync may mean nothing.

    Args:
        mounts: What is mounted where, in the form of Linux's ``mountinfo``; without it nothing is refused.

    Raises:
        ConfigError: If it is on one.
    """
    kind = _file_system(state.resolve(), mounts)
    if kind in _NETWORKED:
        raise ConfigError(
            f"it is on a network file system ({kind}), where the journal could be damaged; "
            "choose a folder on a disk of this machine with --state",
            where=str(state),
        )


def _file_system(path: Path, mounts: Path) -> str:
    """Return the kind of file system that holds a path; empty when that is not known."""
    try:
        lines = lines_of(mounts.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    longest, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        point = Path(fields[4].encode("latin-1", "replace").decode("unicode_escape")) if len(fields) > 4 else None  # noqa: PLR2004 - the fifth field
        # Of mounts at one point the last one counts: it lies over the others.
        if point is not None and path.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), (after.split() or [""])[0]
    return kind
