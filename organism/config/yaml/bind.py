"""Fit a tree of YAML nodes to the structs of the schema, with an error for every misfit that says where and what.

``msgspec`` could convert plain values too, but its errors name neither line nor mapping key, and a price that has
passed through a float is not the price that was written.
"""

from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from difflib import get_close_matches
from functools import cache
from typing import Final

import msgspec
from msgspec import inspect as types

from organism.config.schema.agents import VARIANTS
from organism.config.yaml.mistakes import Mistakes, Path_, Source, TextPlace, did_you_mean
from organism.config.yaml.nodes import Mapping, Node, Scalar, Sequence, Unread
from organism.config.yaml.scalars import ScalarReader, plain_type, takes_text
from organism.error_root import ConfigError

WRONG: Final = object()
"""Stands for a value that could not be read; the mistake is among those that are kept."""


class Binder:
    """Fits nodes to types. What does not fit is kept as a mistake, and the rest is read all the same.

    Args:
        environment: Where ``${env:NAME}`` is looked up.
        root: The struct of the whole file; where keys belong is read from it.
        mistakes: Takes what does not fit.
    """

    def __init__(
        self, source: Source, environment: MappingABC[str, str], root: type[msgspec.Struct], mistakes: Mistakes
    ) -> None:
        self._source = source
        self._scalars = ScalarReader(source, environment)
        self._root = root
        self._mistakes = mistakes
        self.places: dict[Path_, TextPlace] = {}
        """Where each value or its key stands, by its path."""

    def bind(self, node: Node, expected: types.Type, path: Path_ = ()) -> object:
        """Return the value of a node as the type expects it, or :data:`WRONG`.

        A part that does not fit is left out where it may be: a key that has a default has it, a name in a table is
        missing. A list is read whole, since the places of its entries are what errors name.
        """
        value = WRONG
        if not isinstance(node, Unread):
            try:
                value = self._bound(node, expected, path)
            except ConfigError as error:
                self._mistakes.add(error)
        if value is WRONG:
            self._mistakes.leave_unread(path)
        return value

    def _bound(self, node: Node, expected: types.Type, path: Path_) -> object:
        self.places.setdefault(path, node.place)
        if isinstance(node, Scalar) and not node.variable and not takes_text(expected):
            node = self._scalars.substituted(node, expected, path)
        match expected:
            case types.Metadata(type=inner):
                return self._bound(node, inner, path)
            case types.StructType():
                return self._struct(node, expected, path)
            case types.UnionType():
                return self._union(node, expected, path)
            case types.ListType(item_type=item):
                return self._list(node, expected, item, path)
            case types.DictType(value_type=value):
                entries = self._mapping(node, path)
                bound = {key: self.bind(child, value, (*path, key)) for key, child in entries.entries.items()}
                return {key: each for key, each in bound.items() if each is not WRONG}
            case _:
                return self._scalars.read(node, expected, path)

    # -- collections ----------------------------------------------------------------------------------------------

    def _mapping(self, node: Node, path: Path_) -> Mapping:
        if not isinstance(node, Mapping):
            self._source.fail("expected keys and values here", node.place, path)
        for key, place in node.key_places.items():
            self.places[(*path, key)] = place
        return node

    def _list(self, node: Node, expected: types.ListType, item: types.Type, path: Path_) -> object:
        if not isinstance(node, Sequence):
            self._source.fail("expected a list, such as [first, second]", node.place, path)
        if expected.min_length is not None and len(node.items) < expected.min_length:
            self._source.fail("the list is empty; it needs at least one entry", node.place, path)
        bound = [self.bind(child, item, (*path, place)) for place, child in enumerate(node.items)]
        return WRONG if any(each is WRONG for each in bound) else bound

    def _struct(self, node: Node, expected: types.StructType, path: Path_) -> object:
        mapping = self._mapping(node, path)
        if (shapes := VARIANTS.get(expected.cls)) is not None:
            expected = self._variant(mapping, shapes, path)
        fields = {field.encode_name: field for field in expected.fields}
        tag = expected.tag_field
        for key in mapping.entries:
            if key not in fields and key != tag:
                self._mistakes.add(self._unknown_key(key, fields, mapping, path))
                self._mistakes.leave_unread((*path, key))
        values = {
            field.name: self.bind(mapping.entries[name], field.type, (*path, name))
            for name, field in fields.items()
            if name in mapping.entries
        }
        misspelt = {self._meant(key, fields, mapping) for key in mapping.entries if key not in fields} - {""}
        for name in misspelt - mapping.entries.keys():
            self._mistakes.leave_unread((*path, name))
        for name, field in fields.items():
            if field.required and name not in mapping.entries:
                if name not in misspelt:  # which is said already
                    self._mistakes.add(self._source.error(f"the key {name!r} is missing", mapping.place, path))
                self._mistakes.leave_unread((*path, name))
                values[field.name] = WRONG
            if field.required and values[field.name] is WRONG and not path:
                values[field.name] = _stand_in(field.type)
        required = {field.name for field in expected.fields if field.required}
        read = {name: value for name, value in values.items() if value is not WRONG}
        return expected.cls(**read) if required <= read.keys() else WRONG

    def _union(self, node: Node, expected: types.UnionType, path: Path_) -> object:
        """Choose the member of a union by what kind of node there is."""
        members = [plain_type(member) for member in expected.types if not isinstance(member, types.NoneType)]
        structs = [member for member in members if isinstance(member, types.StructType)]
        if isinstance(node, Mapping) and structs:
            return self._struct(node, self._choose(node, structs, path), path)
        lists = [member for member in members if isinstance(member, types.ListType)]
        if isinstance(node, Sequence) and lists:
            return self._bound(node, lists[0], path)
        tables = [member for member in members if isinstance(member, types.DictType)]
        if isinstance(node, Mapping) and tables:
            return self._bound(node, tables[0], path)
        words = [member for member in members if isinstance(member, types.LiteralType)]
        if isinstance(node, Scalar) and any(node.text in word.values for word in words):
            return node.text
        scalars = [
            member for member in members if not isinstance(member, types.StructType | types.ListType | types.DictType)
        ]
        others = [member for member in scalars if member not in words]
        if not scalars:
            wanted = "a list, such as [first, second], or " if lists else ""
            self._source.fail(f"expected {wanted}keys and values here", node.place, path)
        return self._scalars.read(node, (others or scalars)[0], path)

    def _choose(self, node: Mapping, structs: list[types.StructType], path: Path_) -> types.StructType:
        tag_field = structs[0].tag_field
        if tag_field is not None and len(structs) > 1:
            return self._tagged(node, structs, tag_field, path)
        return structs[0]

    def _variant(self, node: Mapping, shapes: tuple[type[msgspec.Struct], ...], path: Path_) -> types.StructType:
        """Tell the shape of a section by the key that only this shape requires: 'model' or 'handler' of an agent."""
        structs = [shape for shape in map(types.type_info, shapes) if isinstance(shape, types.StructType)]
        marks = {mark: struct for struct in structs for mark in _required(struct)}
        found = [mark for mark in marks if mark in node.entries]
        if not found:
            near = [(key, mark) for key in node.entries for mark in get_close_matches(key, list(marks), n=1)]
            hint = f"; did you mean {near[0][1]!r} by {near[0][0]!r}?" if near else ""
            self._source.fail(f"needs either {' or '.join(map(repr, marks))}{hint}", node.place, path)
        if len(found) > 1:
            self._source.fail(f"has both {' and '.join(map(repr, found))}; remove one", node.place, path)
        return marks[found[0]]

    def _tagged(self, node: Mapping, structs: list[types.StructType], tag_field: str, path: Path_) -> types.StructType:
        by_tag = {str(struct.tag): struct for struct in structs}
        tag = node.entries.get(tag_field)
        if not isinstance(tag, Scalar):
            self._source.fail(f"the key {tag_field!r} is missing; it is one of: {', '.join(by_tag)}", node.place, path)
        if tag.text not in by_tag:
            reason = f"{tag.text!r} is not one of: {', '.join(by_tag)}{did_you_mean(tag.text, by_tag)}"
            self._source.fail(reason, tag.place, (*path, tag_field))
        return by_tag[tag.text]

    def _unknown_key(self, key: str, fields: MappingABC[str, object], node: Mapping, path: Path_) -> ConfigError:
        meant = self._meant(key, fields, node)
        if homes := _homes(self._root).get(key):
            hint = f"; it belongs under {' or '.join(sorted(homes))}{f', or did you mean {meant!r}?' if meant else ''}"
        else:
            hint = f"; did you mean {meant!r}?" if meant else f"; there are: {', '.join(fields)}"
        return self._source.error(f"unknown key {key!r}{hint}", node.key_places[key], (*path, key))

    def _meant(self, key: str, fields: MappingABC[str, object], node: Mapping) -> str:
        """Return the key that was probably meant, or nothing.

        A key that exists elsewhere is misplaced as a rule, however much it looks like one that belongs here: but for
        one that differs in a letter from a key that is not there, such as ``model`` for ``models``.
        """
        elsewhere = key in _homes(self._root)
        known = [name for name in fields if not elsewhere or name not in node.entries]
        return next(iter(get_close_matches(key, known, n=1, cutoff=0.85 if elsewhere else 0.6)), "")


def _stand_in(expected: types.Type) -> object:
    """Return what stands for a key of the whole file that is needed and not there, so that the rest can be checked."""
    return {} if isinstance(plain_type(expected), types.DictType) else ""


def _required(struct: types.StructType) -> set[str]:
    return {field.encode_name for field in struct.fields if field.required}


@cache
def _homes(root: type[msgspec.Struct]) -> dict[str, set[str]]:
    """Map each key of the schema to the sections it belongs to, for hints about misplaced ones."""
    homes: dict[str, set[str]] = {}
    for home, field in _fields(types.type_info(root), ""):
        homes.setdefault(field, set()).add(home or "the top level")
    return homes


def _fields(expected: types.Type, home: str) -> Iterator[tuple[str, str]]:
    match plain_type(expected):
        case types.StructType(cls=cls) if cls in VARIANTS:
            for shape in VARIANTS[cls]:
                yield from _fields(types.type_info(shape), home)
        case types.StructType(fields=fields):
            for field in fields:
                yield home, field.encode_name
                yield from _fields(field.type, f"{home}.{field.encode_name}".lstrip("."))
        case types.DictType(value_type=value):
            yield from _fields(value, f"{home}.NAME")
        case types.UnionType(types=members):
            for member in members:
                yield from _fields(member, home)
        case _:
            pass
