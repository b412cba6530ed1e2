"""What the checks of a configuration work with: its values, the names in it, and a place for what is wrong."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from organism.config.schema.llm import ModelSection
from organism.config.schema.root import Config
from organism.config.yaml.mistakes import Mistakes, Path_, Source, TextPlace, did_you_mean


class Report(Protocol):
    """Takes what is wrong with the value at a path; the check goes on behind it."""

    def __call__(self, reason: str, *path: str | int) -> None:
        """Take it."""
        ...


class Checked:
    """A configuration while it is checked. What could not be read stands in it as its default, or not at all.

    Args:
        places: Where each value or its key stands, by its path.
        mistakes: Takes what is wrong.

    Attributes:
        config: The values.
        places: Their places.
    """

    def __init__(self, config: Config, source: Source, places: Mapping[Path_, TextPlace], mistakes: Mistakes) -> None:
        self.config = config
        self.places = places
        self._report = reporting(source, places, mistakes)
        self._source = source
        self._mistakes = mistakes
        self._keys: dict[Path_, list[str]] = {}
        for path in places:
            if path and isinstance(path[-1], str):
                self._keys.setdefault(path[:-1], []).append(path[-1])

    @property
    def models(self) -> Mapping[str, str | ModelSection]:
        """The models that could be read, by the names agents use; a route alone stands for a model of one."""
        return self.config.llm.models

    def report(self, reason: str, *path: str | int) -> None:
        """Take what is wrong with a value, unless it follows from a mistake that is known."""
        self._report(reason, *path)

    def report_name(self, reason: str, *path: str | int) -> None:
        """Take what is wrong with a name, whatever is wrong with what it stands for."""
        self._mistakes.add(self._source.error(reason, nearest(path, self.places), path))

    def follows(self, *path: str | int) -> bool:
        """Whether a value at a path, or one in it, could not be read."""
        return self._mistakes.follows(path)

    def names(self, *table: str) -> list[str]:
        """Return the keys of a table, those of values that could not be read too."""
        return self._keys.get(table, [])

    def refer(
        self, name: str, table: tuple[str, ...], kind: str, *path: str | int, among: list[str] | None = None
    ) -> bool:
        """Report a name that leads nowhere.

        Args:
            table: Where such names are defined.
            kind: What they name, for people.
            among: The names there are, if not all of the table.

        Returns:
            Whether it leads to a value that can be looked at.
        """
        if (reason := self._lost(name, table, kind, among)) is not None:
            self.report(reason, *path)
            return False
        return name in self.names(*table) and not self._mistakes.is_unread((*table, name))

    def refer_key(
        self,
        name: str,
        table: tuple[str, ...],
        kind: str,
        *at: str,
        among: list[str] | None = None,
        besides: Iterable[str] = (),
    ) -> None:
        """Report a key of a table that is to be a name of another, and leads nowhere.

        Args:
            table: Where such names are defined.
            kind: What they name, for people.
            at: The table that the key stands in.
            among: The names there are, if not all of the table.
            besides: Other names that may be there.
        """
        known = [*(self.names(*table) if among is None else among), *besides]
        if (reason := self._lost(name, table, kind, known)) is not None:
            self.report_name(reason, *at, name)

    def _lost(self, name: str, table: tuple[str, ...], kind: str, among: list[str] | None) -> str | None:
        known = self.names(*table) if among is None else among
        if name in known or self._mistakes.is_unread(table):
            return None
        there = f"; there are: {', '.join(known)}" if known else f"; there is no {kind} at all"
        return f"no {kind} is called {name!r}{did_you_mean(name, known) or there}"


def reporting(source: Source, places: Mapping[Path_, TextPlace], mistakes: Mistakes) -> Report:
    """Return what takes the mistakes of a text, but for those that follow from others."""

    def report(reason: str, *path: str | int) -> None:
        if not mistakes.follows(path):
            mistakes.add(source.error(reason, nearest(path, places), path))

    return report


def nearest(path: Path_, places: Mapping[Path_, TextPlace]) -> TextPlace:
    """Return the place of a value, or of what it would stand in."""
    while path and path not in places:
        path = path[:-1]
    return places.get(path, TextPlace(1))
