"""Read YAML into a tree that knows its lines, and refuse everything that makes YAML surprising.

No anchors, aliases or tags; no duplicate keys; no keys that are not text; bounded size, depth and number of nodes. What
a plain scalar means is left to the field it is for, so ``off`` is never a boolean and ``010`` never eight.
"""

from collections.abc import Mapping as MappingABC
from pathlib import Path
from typing import NoReturn

import msgspec
import yaml

from organism.errors import ConfigError

SIZE_MAX = 256 * 1024
DEPTH_MAX = 32
NODES_MAX = 20_000

Path_ = tuple[str | int, ...]


class Scalar(msgspec.Struct, frozen=True):
    """A text, and whether it was written in quotes or as a block.

    Attributes:
        variable: The environment variable that it comes from; empty for what stands in the file.
    """

    line: int
    text: str
    quoted: bool
    variable: str = ""


class Sequence(msgspec.Struct, frozen=True):
    """A list of nodes."""

    line: int
    items: tuple["Node", ...]


class Mapping(msgspec.Struct, frozen=True):
    """Named nodes, with the line of each name."""

    line: int
    entries: dict[str, "Node"]
    key_lines: dict[str, int]


Node = Scalar | Sequence | Mapping


class Source(msgspec.Struct, frozen=True):
    """Where a text comes from: what errors name."""

    name: str

    def fail(self, reason: str, line: int, path: Path_ = ()) -> NoReturn:
        """Raise a :class:`ConfigError` with file, line and the key's path."""
        raise ConfigError(reason, where=f"{self.name}:{line}", path=dotted(path) or None)

    def fail_near(self, reason: str, path: Path_, lines: MappingABC[Path_, int]) -> NoReturn:
        """Raise a :class:`ConfigError` about the value at a path, with the line of it or of what it stands in."""
        known = path
        while known and known not in lines:
            known = known[:-1]
        self.fail(reason, lines.get(known, 1), path)


def dotted(path: Path_) -> str:
    """Write a path as ``agents.writer.next[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def read_text(path: Path) -> str:
    """Read a configuration file, and no more of it than one may have.

    Raises:
        ConfigError: If it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_MAX + 1)
    except FileNotFoundError:
        raise ConfigError("there is no such file; write one with 'organism init'", where=str(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(raw) > SIZE_MAX:
        raise ConfigError(f"larger than {SIZE_MAX // 1024} KiB; a configuration never is", where=str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError("not UTF-8 text", where=f"{path}:{line}") from None


def parse_tree(text: str, source: Source) -> Mapping:
    """Parse YAML into a tree.

    Raises:
        ConfigError: If it is no YAML, or more of YAML than is allowed here.
    """
    if len(text) > SIZE_MAX:
        source.fail(f"larger than {SIZE_MAX // 1024} KiB; a configuration never is", 1)
    try:
        root = _Builder(text, source).build()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        source.fail(f"not YAML: {error.problem or error.context}", mark.line + 1 if mark else 1)
    except yaml.YAMLError as error:
        source.fail(f"not YAML: {str(error).splitlines()[0]}", 1)
    if not isinstance(root, Mapping):
        source.fail("a configuration begins with keys such as 'name:' and 'agents:'", root.line if root else 1)
    return root


class _Builder:
    """Turns YAML's events into nodes, counting as it goes, so that a bomb is refused before it goes off."""

    def __init__(self, text: str, source: Source) -> None:
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)
        self._source = source
        self._count = 0

    def build(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.StreamStartEvent | yaml.StreamEndEvent | yaml.DocumentEndEvent):
                continue
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._source.fail("a second document begins here; there is one per file", _line(event))
                continue
            root = self._node(event, ())
        return root

    def _node(self, event: yaml.Event, path: Path_) -> Node:
        line = _line(event)
        self._count += 1
        if self._count > NODES_MAX or len(path) > DEPTH_MAX:
            self._source.fail(f"nested deeper than {DEPTH_MAX} or more than {NODES_MAX:,} values", line)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._source.fail("anchors and aliases are not allowed; write the value out", line, path)
        if (tag := getattr(event, "tag", None)) is not None:
            self._source.fail(f"tags such as {tag} are not allowed", line, path)
        match event:
            case yaml.ScalarEvent():
                return Scalar(line, event.value, event.style is not None)
            case yaml.SequenceStartEvent():
                return Sequence(line, tuple(self._items(path)))
            case _:
                return self._mapping(line, path)

    def _items(self, path: Path_) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, line: int, path: Path_) -> Mapping:
        entries: dict[str, Node] = {}
        key_lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            # Before it is read: what is nested in keys stands at no path, so no depth would bound it.
            if isinstance(event, yaml.CollectionStartEvent):
                self._source.fail("a key must be text", _line(event), path)
            key = self._node(event, path)
            assert isinstance(key, Scalar)  # noqa: S101 - an alias is refused, and nothing else is left
            inside: Path_ = (*path, key.text)
            if key.text in entries:
                first = key_lines[key.text]
                self._source.fail(f"key {key.text!r} stands twice, first on line {first}; remove one", key.line, inside)
            entries[key.text] = self._node(next(self._events), inside)
            key_lines[key.text] = key.line
        return Mapping(line, entries, key_lines)


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return int(mark.line) + 1 if mark is not None else 1
