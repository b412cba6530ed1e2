"""What became of changes in a run that was stopped: the next one of the same code and seed goes on from there."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.mutate.changes import Change
from tests.mutate.guard import ROOT

KEPT = ROOT / "build" / "mutate" / "score.jsonl"
"""Where it is kept unless somebody says otherwise."""

_CODE = ("organism", "tests", "bench", "pyproject.toml")


def digest_of_code(root: Path = ROOT) -> str:
    """Return what the program and its tests are known by: with any other file, other changes may be noticed."""
    found = hashlib.sha256()
    for place in _CODE:
        path = root / place
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(f"{file.relative_to(root).as_posix()}\0".encode())
                found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


class Memory:
    """Verdicts by change, in a file of one line each that is written as they come.

    Attributes:
        word: What was found there: how much of it is known still, or why nothing is.
    """

    def __init__(self, path: Path | None = None, *, code: str = "", seed: int = 0) -> None:
        """Read what is there; without a path nothing is kept.

        Args:
            path: The file; one of another code or seed is thrown away.
            code: What the program and its tests are known by.
            seed: Where chance begins.
        """
        self._path = path
        self._verdicts: dict[str, str] = {}
        self._of = {"code": code, "seed": seed}
        self.word = ""
        if path is not None:
            self.word = self._read(path)

    def _read(self, path: Path) -> str:
        lines = list(_whole(path.read_bytes())) if path.exists() else []
        if lines and lines[0] == self._of:
            self._verdicts = dict(lines[1:])
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written anew: the last line of a run that was killed may be half of one.
        told = "".join(f"{json.dumps(each)}\n" for each in (self._of, *self._verdicts.items()))
        path.write_text(told, encoding="utf-8")
        if self._verdicts:
            return f"{len(self._verdicts)} changes were tried before, of the same code and seed: {path}"
        return f"{path} is of another code or seed, and is thrown away" if lines else ""

    def verdict(self, change: Change) -> str | None:
        """Return what became of a change; ``None`` if nobody knows."""
        return self._verdicts.get(_key(change))

    def note(self, change: Change, verdict: str) -> None:
        """Keep what became of a change."""
        self._verdicts[_key(change)] = verdict
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps((_key(change), verdict))}\n")

    def forget(self) -> None:
        """Throw it away: everything was tried."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _whole(text: bytes) -> Iterator[Any]:
    """Yield the lines of a file that are whole."""
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def _key(change: Change) -> str:
    """What a change is known by within one code: the module as it would be."""
    return hashlib.sha256(f"{change.file}\0{change.source}".encode()).hexdigest()[:24]
