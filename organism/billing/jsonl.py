"""Events into a file, one CloudEvent a line."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from organism.billing.delivery import UndeliveredError
from organism.concurrency.own_threads import OwnThreads
from organism.usage.cloudevents import CloudEvent


class JsonLines:
    """Appends to a file that only its owner can read; a line is whole, or it is not there.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = OwnThreads()

    async def deliver(self, events: Sequence[CloudEvent]) -> None:
        """Return when the lines are on the disk.

        Raises:
            UndeliveredError: If they cannot be written.
        """
        lines = b"".join(msgspec.json.encode(event) + b"\n" for event in events)
        try:
            await self._writing.run(self._append, lines)
        except OSError as error:
            raise UndeliveredError(f"{self._path} cannot be written: {error.strerror}") from None

    async def aclose(self) -> None:
        """Do nothing: the file is open only while it is written."""

    def _append(self, lines: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            file.seek(_whole_lines_end(file.fileno()))
            file.truncate()
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())


def _whole_lines_end(descriptor: int) -> int:
    """Return where the last whole line ends: what a crash has left of another is written again."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65_536)
        block = os.pread(descriptor, end - start, start)
        if (newline := block.rfind(b"\n")) >= 0:
            return start + newline + 1
        end = start
    return 0
