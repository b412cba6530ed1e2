"""Read YAML into a tree that knows its lines, and refuse everything that makes YAML surprising.

No anchors, aliases or tags; no duplicate keys; no keys that are not text; bounded size, depth and number of nodes. What
a plain scalar means is left to the field it is for, so ``off`` is never a boolean and ``010`` never eight.
"""

import shlex
from pathlib import Path
from typing import Any

import msgspec
import yaml

from organism.config.file_reading import read_bounded
from organism.config.yaml.mistakes import Mistakes, Path_, Source, TextPlace
from organism.errors import ConfigError
from organism.text.plain_text import lines_of

SIZE_MAX = 256 * 1024
DEPTH_MAX = 32
NODES_MAX = 20_000


class Scalar(msgspec.Struct, frozen=True):
    """A text, and whether it was written in quotes or as a block.

    Attributes:
        variable: The environment variable that it comes from; empty for what stands in the file.
    """

    place: TextPlace
    text: str
    quoted: bool
    variable: str = ""


class Sequence(msgspec.Struct, frozen=True):
    """A list of nodes."""

    place: TextPlace
    items: tuple["Node", ...]


class Mapping(msgspec.Struct, frozen=True):
    """Named nodes, with the place of each name."""

    place: TextPlace
    entries: dict[str, "Node"]
    key_places: dict[str, TextPlace]


class Unread(msgspec.Struct, frozen=True):
    """What stands where nothing may: it is refused already, and read as nothing."""

    place: TextPlace


Node = Scalar | Sequence | Mapping | Unread


def how_to_begin(path: Path) -> str:
    """Say with which command one gets a file that is not there: that writes one of the usual name, into a folder."""
    command = shlex.join(("organism", "init", *(() if path.parent == Path() else (str(path.parent),))))
    if path.name == "organism.yaml":
        return f"write one with: {command}"
    return f"name another with --file, or write an organism.yaml to begin with: {command}"


def read_text(path: Path) -> str:
    """Read a configuration file, and no more of it than one may have.

    Raises:
        ConfigError: If it cannot be read, is too large, or is not UTF-8.
    """
    try:
        raw = read_bounded(path, SIZE_MAX)
    except FileNotFoundError:
        raise ConfigError(f"there is no such file; {how_to_begin(path)}", where=str(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(raw) > SIZE_MAX:
        raise ConfigError(f"larger than {SIZE_MAX // 1024} KiB; a configuration never is", where=str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError("not UTF-8 text", where=f"{path}:{line}") from None


def parse_tree(text: str, source: Source, mistakes: Mistakes) -> Mapping:
    """Parse YAML into a tree.

    Args:
        mistakes: Takes what is YAML and not allowed here; the rest of the text is read all the same.

    Raises:
        ConfigError: If it is no YAML, or more of YAML than is read: nothing behind that can be relied on.
    """
    if len(text) > SIZE_MAX:
        source.fail(f"larger than {SIZE_MAX // 1024} KiB; a configuration never is", TextPlace(1))
    try:
        root = _Builder(text, source, mistakes).build()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        source.fail(f"not YAML: {error.problem or error.context}", _place(mark))
    except yaml.YAMLError as error:
        source.fail(f"not YAML: {lines_of(str(error))[0]}", TextPlace(1))
    if not isinstance(root, Mapping):
        mistakes.refuse()  # an alias in its place, say
        source.fail(
            "a configuration begins with keys such as 'name:' and 'agents:'", root.place if root else TextPlace(1)
        )
    return root


class _Builder:
    """Turns YAML's events into nodes, counting as it goes, so that a bomb is refused before it goes off."""

    def __init__(self, text: str, source: Source, mistakes: Mistakes) -> None:
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)
        self._source = source
        self._mistakes = mistakes
        self._count = 0

    def build(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.StreamStartEvent | yaml.StreamEndEvent | yaml.DocumentEndEvent):
                continue
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._add("a second document begins here; there is one per file", _place(event.start_mark))
                    break
                continue
            root = self._node(event, ())
        return root

    def _add(self, reason: str, place: TextPlace, path: Path_ = ()) -> None:
        self._mistakes.add(self._source.error(reason, place, path))

    def _node(self, event: yaml.Event, path: Path_) -> Node:
        place = _place(event.start_mark)
        self._count += 1
        if self._count > NODES_MAX or len(path) > DEPTH_MAX:
            self._source.fail(f"nested deeper than {DEPTH_MAX} or more than {NODES_MAX:,} values", place)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._add("anchors and aliases are not allowed; write the value out", place, path)
        if (tag := getattr(event, "tag", None)) is not None:
            self._add(f"tags such as {tag} are not allowed; remove it", place, path)
        match event:
            case yaml.AliasEvent():
                return Unread(place)
            case yaml.ScalarEvent():
                return Scalar(place, event.value, event.style is not None)
            case yaml.SequenceStartEvent():
                return Sequence(place, tuple(self._items(path)))
            case _:
                return self._mapping(place, path)

    def _items(self, path: Path_) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, place: TextPlace, path: Path_) -> Mapping:
        entries: dict[str, Node] = {}
        key_places: dict[str, TextPlace] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            # Before it is read: what is nested in keys stands at no path, so no depth would bound it.
            if not isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
                self._source.fail("a key must be text", _place(event.start_mark), path)
            key = self._node(event, path)
            if not isinstance(key, Scalar):  # an alias, which is refused already
                self._node(next(self._events), path)
                continue
            inside: Path_ = (*path, key.text)
            value = self._node(next(self._events), inside)
            if key.text in entries:
                first = key_places[key.text].line
                self._add(f"key {key.text!r} stands twice, first on line {first}; remove one", key.place, inside)
                continue
            entries[key.text] = value
            key_places[key.text] = key.place
        return Mapping(place, entries, key_places)


def _place(mark: Any) -> TextPlace:  # two classes, whether libyaml is there or not
    return TextPlace(mark.line + 1, mark.column + 1) if mark is not None else TextPlace(1)
