"""Fit a tree of YAML nodes to the structs of the schema, with an error for every misfit that says where and what.

``msgspec`` could convert plain values too, but its errors name neither line nor mapping key, and a price that has
passed through a float is not the price that was written.
"""

import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from typing import Final

import msgspec
from msgspec import inspect as types

from organism.config.schema.agents import VARIANTS
from organism.config.schema.values import Secret
from organism.config.yaml.mistakes import Mistakes, Path_, Place, Source
from organism.config.yaml.nodes import Mapping, Node, Scalar, Sequence, Unread
from organism.error_root import ConfigError
from organism.text.credentials import header_secret
from organism.text.redaction import remember

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_NOT_TEXT = re.compile(r"|~|null|true|false|[-+]?[0-9][0-9_.,:eE+-]*|[-+]?\.(?:inf|nan)", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DIGITS_MAX = 18
_DIGITS_BEHIND_MAX = 9
_DECIMAL_MAX = 1_000_000_000
"""More dollars do not fit 64 bits as nano-USD, and more seconds are never meant."""

_SUBSTITUTED = frozenset({"base_url", "proxy", "ca_file"})
"""Text fields that may come from the environment, as the values of headers may; secrets must."""


UNSET = "http://unset.invalid"
"""The value of a variable in an environment in which every one is set: see :class:`AnyEnvironment`."""


class AnyEnvironment(MappingABC[str, str]):
    """An environment in which every variable is set: for who looks at a configuration and calls nobody with it.

    Args:
        known: Those that really are set.
    """

    def __init__(self, known: MappingABC[str, str] | None = None) -> None:
        self._known = known or {}

    def __getitem__(self, name: str) -> str:
        """Return a variable, or an address that leads nowhere, which may as well be a secret."""
        return self._known.get(name) or UNSET

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


WRONG: Final = object()
"""Stands for a value that could not be read; whoever gets it has a mistake more among those that are kept."""


class Binder:
    """Fits nodes to types. What does not fit is kept as a mistake, and the rest is read all the same.

    Args:
        source: What errors name.
        environment: Where ``${env:NAME}`` is looked up.
        root: The struct of the whole file; where keys belong is read from it.
        mistakes: Takes what does not fit.
    """

    def __init__(
        self, source: Source, environment: MappingABC[str, str], root: type[msgspec.Struct], mistakes: Mistakes
    ) -> None:
        self._source = source
        self._environment = environment
        self._root = root
        self._mistakes = mistakes
        self.places: dict[Path_, Place] = {}
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
        if isinstance(node, Scalar) and not node.variable and not _takes_text(expected):
            node = self._substituted(node, expected, path)
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
                return self._scalar(node, expected, path)

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
        for key, place in mapping.key_places.items():
            if key not in fields and key != tag:
                self._mistakes.add(self._unknown_key(key, fields, place, path))
                self._mistakes.leave_unread((*path, key))
        values = {
            field.name: self.bind(mapping.entries[name], field.type, (*path, name))
            for name, field in fields.items()
            if name in mapping.entries
        }
        unknown = [key for key in mapping.entries if key not in fields and key not in _homes(self._root)]
        misspelt = {near for key in unknown for near in get_close_matches(key, fields, n=1)}
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
        members = [_plain(member) for member in expected.types if not isinstance(member, types.NoneType)]
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
        return self._scalar(node, (others or scalars)[0], path)

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

    def _unknown_key(self, key: str, fields: MappingABC[str, object], place: Place, path: Path_) -> ConfigError:
        # A key that exists elsewhere is misplaced, not misspelt, however much it looks like one that belongs here.
        if homes := _homes(self._root).get(key):
            hint = f"; it belongs under {' or '.join(sorted(homes))}"
        else:
            hint = did_you_mean(key, fields) or f"; there are: {', '.join(fields)}"
        return self._source.error(f"unknown key {key!r}{hint}", place, (*path, key))

    # -- scalars --------------------------------------------------------------------------------------------------

    def _scalar(self, node: Node, expected: types.Type, path: Path_) -> object:  # noqa: PLR0911 - one for each kind
        if not isinstance(node, Scalar):
            self._source.fail(f"expected {_in_words(expected)}", node.place, path)
        match expected:
            case types.StrType():
                return self._text(node, path)
            case types.BoolType():
                return self._choice(node, ("true", "false"), path) == "true"
            case types.IntType():
                return self._integer(node, expected, path)
            case types.DecimalType():
                return self._decimal(node, path)
            case types.DateType():
                return self._date(node, path)
            case types.LiteralType(values=values):
                return self._choice(node, tuple(map(str, values)), path)
            case types.CustomType(cls=cls) if cls is Secret:
                return self._secret(node, path)
            case _:
                raise AssertionError(expected)

    def _choice(self, node: Scalar, choices: tuple[str, ...], path: Path_) -> str:
        if node.text not in choices:
            hint = did_you_mean(node.text, choices)
            self._source.fail(f"{_shown(node)} is not one of: {', '.join(choices)}{hint}", node.place, path)
        return node.text

    def _text(self, node: Scalar, path: Path_) -> str:
        if not node.quoted and _NOT_TEXT.fullmatch(node.text) and not _ADDRESS.fullmatch(node.text):
            self._source.fail(f"expected text, not {_shown(node)}; put it in quotes if it is text", node.place, path)
        if _may_be_elsewhere(path) and (reference := _ENVIRONMENT.fullmatch(node.text)):
            value = self._environment_value(reference, node.place, path)
            if "headers" in path:  # as secret as a key
                remember(value)
            return value
        return node.text

    def _integer(self, node: Scalar, expected: types.IntType, path: Path_) -> int:
        if node.quoted or not _INTEGER.fullmatch(node.text) or len(node.text) > _DIGITS_MAX:
            hint = "; remove the quotes" if node.quoted and _INTEGER.fullmatch(node.text) else ""
            self._source.fail(f"expected a whole number such as 1000, not {_shown(node)}{hint}", node.place, path)
        value = int(node.text)
        if (expected.ge is not None and value < expected.ge) or (expected.le is not None and value > expected.le):
            bounds = f"at least {expected.ge}" if expected.le is None else f"from {expected.ge} to {expected.le}"
            self._source.fail(f"{_bare(node)} is out of range; it must be {bounds}", node.place, path)
        return value

    def _decimal(self, node: Scalar, path: Path_) -> Decimal:
        _, _, behind = node.text.partition(".")
        if behind.isdecimal() and len(behind.rstrip("0")) > _DIGITS_BEHIND_MAX:
            reason = "finer than a nano-dollar or a nanosecond; write 0, or at least 0.000000001"
            self._source.fail(reason, node.place, path)
        if not _DECIMAL.fullmatch(node.text) or len(node.text) > _DIGITS_MAX:
            self._source.fail(f"expected a number such as 0.50, not {_shown(node)}", node.place, path)
        value = Decimal(node.text)
        if value > _DECIMAL_MAX:
            self._source.fail(f"{_bare(node)} is out of range; it must be at most {_DECIMAL_MAX}", node.place, path)
        return value

    def _date(self, node: Scalar, path: Path_) -> date:
        try:
            if _DAY.fullmatch(node.text) is not None:
                return date.fromisoformat(node.text)
        except ValueError:
            pass  # such as the 30th of February
        return self._source.fail(f"expected a day such as 2026-01-31, not {_shown(node)}", node.place, path)

    def _secret(self, node: Scalar, path: Path_) -> Secret:
        reference = _ENVIRONMENT.fullmatch(node.text)
        if reference is None:
            # The literal itself is never shown: it may well be a key.
            self._source.fail("a secret is never written here; write ${env:NAME} and set NAME", node.place, path)
        if reference[2] is not None:
            self._source.fail("a secret is never written here, not as a default either", node.place, path)
        value = self._environment_value(reference, node.place, path)
        try:
            return Secret(header_secret(f"the environment variable {reference[1]}", value))
        except ConfigError as error:
            self._source.fail(error.reason, node.place, path)

    def _substituted(self, node: Scalar, expected: types.Type, path: Path_) -> Scalar:
        """Return what stands for a reference to a variable, to be read as if it stood there without quotes."""
        reference = _ENVIRONMENT.fullmatch(node.text)
        if reference is None:
            return node
        value = self._environment_value(reference, node.place, path)
        if value == UNSET:  # nobody knows, and nothing is done by it
            return Scalar(node.place, _any_value(_plain(expected)), quoted=False, variable=reference[1])
        set_there = self._environment.get(reference[1]) not in (None, "", UNSET)
        return Scalar(node.place, value, quoted=False, variable=reference[1] if set_there else "")

    def _environment_value(self, reference: re.Match[str], place: Place, path: Path_) -> str:
        """Return a variable, or the default that stands beside its name if it is not set or empty."""
        name, default = reference.groups()
        value = self._environment.get(name)
        if default is not None and value in (None, "", UNSET):
            return default.strip()
        if not value:
            hint = f"; or write a default: ${{env:{name}:-10}}" if default is None else ""
            self._source.fail(f"the environment variable {name} is not set{hint}", place, path)
        return value.strip()


def _stand_in(expected: types.Type) -> object:
    """Return what stands for a key of the whole file that is needed and not there, so that the rest can be checked."""
    return {} if isinstance(_plain(expected), types.DictType) else ""


def _takes_text(expected: types.Type) -> bool:
    """Whether a field takes any text, or a secret: there a reference is text, or has rules of its own."""
    plain = _plain(expected)
    members = plain.types if isinstance(plain, types.UnionType) else (plain,)
    return any(isinstance(_plain(member), types.StrType | types.CustomType) for member in members)


def _any_value(expected: types.Type) -> str:
    match expected:
        case types.BoolType():
            return "false"
        case types.IntType(le=int() as most):
            return str(most)
        case types.LiteralType(values=values):
            return str(values[0])
        case _:
            return "1000000"


def _may_be_elsewhere(path: Path_) -> bool:
    return bool(path) and (path[-1] in _SUBSTITUTED or "headers" in path[-2:-1])


def did_you_mean(wrong: str, known: MappingABC[str, object] | tuple[str, ...] | list[str]) -> str:
    """Return ``; did you mean 'x'?`` or nothing."""
    close = get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _bare(node: Scalar) -> str:
    return _shown(node) if node.variable else node.text


def _shown(node: Scalar) -> str:
    if node.variable:  # which may be the wrong one, and secret
        return f"the value of the environment variable {node.variable}"
    return repr(node.text if len(node.text) <= 40 else node.text[:37] + "...")  # noqa: PLR2004


def _in_words(expected: types.Type) -> str:
    match expected:
        case types.IntType():
            return "a whole number"
        case types.DecimalType():
            return "a number"
        case types.BoolType():
            return "true or false"
        case types.DateType():
            return "a day such as 2026-01-31"
        case types.LiteralType(values=values):
            return f"one of: {', '.join(map(str, values))}"
        case _:
            return "text"


def _plain(expected: types.Type) -> types.Type:
    return _plain(expected.type) if isinstance(expected, types.Metadata) else expected


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
    match _plain(expected):
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
