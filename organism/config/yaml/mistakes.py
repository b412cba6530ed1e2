"""Where the parts of a text stand, and what is wrong with it: all of it is found before anything is said. Pure."""

from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from contextlib import contextmanager
from difflib import get_close_matches
from typing import NamedTuple, NoReturn

import msgspec

from organism.error_root import ConfigError

Path_ = tuple[str | int, ...]

MISTAKES_MAX = 50
"""So many are said at once: who has made more of them reads the manual first."""


class TextPlace(NamedTuple):
    """A line and a column of a text, both from 1."""

    line: int
    column: int = 1


class Source(msgspec.Struct, frozen=True):
    """Where a text comes from: what errors name."""

    name: str

    def error(self, reason: str, place: TextPlace, path: Path_ = ()) -> ConfigError:
        """Return an error with file, line, column and the key's path."""
        where = f"{self.name}:{place.line}:{place.column}"
        return ConfigError(reason, where=where, path=dotted(path) or None)

    def fail(self, reason: str, place: TextPlace, path: Path_ = ()) -> NoReturn:
        """Raise a :class:`ConfigError` with file, line, column and the key's path."""
        raise self.error(reason, place, path)


class Mistakes:
    """What has been found wrong, each mistake once.

    What follows from a mistake is none of its own: a value that could not be read is replaced by its default, and
    nothing is said of that default.
    """

    def __init__(self) -> None:
        self._found: dict[str, ConfigError] = {}
        self._unread: set[Path_] = set()

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._found)

    def add(self, error: ConfigError) -> None:
        """Take an error, and those that it brings."""
        for each in (error, *error.more):
            self._found.setdefault(each.sentence, each)

    def leave_unread(self, path: Path_) -> None:
        """Take it that nothing can be said of a value, nor of what it belongs to as a whole."""
        self._unread.add(path)

    def follows(self, path: Path_) -> bool:
        """Whether what is wrong at a path may follow from a mistake that is known already."""
        return self.is_unread(path) or any(each[:-1] == path for each in self._unread)

    def is_unread(self, path: Path_) -> bool:
        """Whether a value could not be read, by itself or with all it stands in."""
        return any(path[:length] in self._unread for length in range(1, len(path) + 1))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what is wrong inside, and go on behind it.

        What is wrong with a value of which something is known, or with what it stands in, is nothing new.
        """
        try:
            yield
        except ConfigError as error:
            for each in (error, *error.more):
                if each.path is None or not any(_within(each.path, known) for known in self._paths()):
                    self.add(each)

    def _paths(self) -> list[str]:
        return [each.path for each in self._found.values() if each.path is not None]

    def refuse(self) -> None:
        """Raise what was found, in the order of the text.

        Raises:
            ConfigError: If anything was; the first mistake, with all others.
        """
        found = sorted(self._found.values(), key=_in_text)
        if not found:
            return
        first, *others = found
        beyond = len(found) - MISTAKES_MAX
        if beyond > 0:
            rest = ConfigError(f"{beyond} more were found; correct these first")
            others = [*others[: MISTAKES_MAX - 1], rest]
        raise ConfigError(first.reason, where=first.where, path=first.path, more=tuple(others)) from first.__cause__


def dotted(path: Path_) -> str:
    """Write a path as ``agents.writer.next[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def did_you_mean(wrong: str, known: MappingABC[str, object] | tuple[str, ...] | list[str]) -> str:
    """Return ``; did you mean 'x'?`` or nothing."""
    close = get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _within(path: str, other: str) -> bool:
    """Whether one of two paths is the other, or stands in it."""
    longer, shorter = sorted((path, other), key=len, reverse=True)
    return longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))


def _in_text(error: ConfigError) -> tuple[str, int, int]:
    """Return what mistakes are sorted by: those without a place stand last."""
    name, _, column = (error.where or "").rpartition(":")
    name, _, line = name.rpartition(":")
    if not (line.isdecimal() and column.isdecimal()):
        return "\N{REPLACEMENT CHARACTER}", 0, 0
    return name, int(line), int(column)
