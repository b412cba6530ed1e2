"""What a plain value of a configuration means: it is read as its field says, and may stand in the environment."""

import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from datetime import date
from decimal import Decimal
from urllib.parse import urlsplit

from msgspec import inspect as types

from organism.config.schema.values import Secret
from organism.config.yaml.mistakes import Path_, Source, TextPlace, did_you_mean
from organism.config.yaml.nodes import Node, Scalar
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

_WITH_PASSWORD = frozenset({("store",), ("cluster", "url")})
_SUBSTITUTED_AT = _WITH_PASSWORD | {("cluster", "node"), ("cluster", "advertise"), ("cluster", "labels")}
"""Likewise, where the name alone would not tell."""


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


class ScalarReader:
    """Reads plain values.

    Args:
        environment: Where ``${env:NAME}`` is looked up.
    """

    def __init__(self, source: Source, environment: MappingABC[str, str]) -> None:
        self._source = source
        self._environment = environment

    def read(self, node: Node, expected: types.Type, path: Path_) -> object:  # noqa: PLR0911 - one for each kind
        """Return the value of a node as the type expects it.

        Raises:
            ConfigError: If it does not fit.
        """
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
            elif path in _WITH_PASSWORD and (password := urlsplit(value).password):
                remember(password)
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

    def substituted(self, node: Scalar, expected: types.Type, path: Path_) -> Scalar:
        """Return what stands for a reference to a variable, to be read as if it stood there without quotes."""
        reference = _ENVIRONMENT.fullmatch(node.text)
        if reference is None:
            return node
        value = self._environment_value(reference, node.place, path)
        if value == UNSET:  # nobody knows, and nothing is done by it
            return Scalar(node.place, _any_value(plain_type(expected)), quoted=False, variable=reference[1])
        set_there = self._environment.get(reference[1]) not in (None, "", UNSET)
        return Scalar(node.place, value, quoted=False, variable=reference[1] if set_there else "")

    def _environment_value(self, reference: re.Match[str], place: TextPlace, path: Path_) -> str:
        """Return a variable, or the default that stands beside its name if it is not set or empty."""
        name, default = reference.groups()
        value = self._environment.get(name)
        if default is not None and value in (None, "", UNSET):
            return default.strip()
        if not value:
            hint = f"; or write a default behind it: ${{env:{name}:-DEFAULT}}" if default is None else ""
            self._source.fail(f"the environment variable {name} is not set{hint}", place, path)
        return value.strip()


def takes_text(expected: types.Type) -> bool:
    """Whether a field takes any text, or a secret: there a reference is text, or has rules of its own."""
    plain = plain_type(expected)
    members = plain.types if isinstance(plain, types.UnionType) else (plain,)
    return any(isinstance(plain_type(member), types.StrType | types.CustomType) for member in members)


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
    return bool(path) and (path[-1] in _SUBSTITUTED or "headers" in path[-2:-1] or path in _SUBSTITUTED_AT)


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


def plain_type(expected: types.Type) -> types.Type:
    """Return a type without its bounds and its description."""
    return plain_type(expected.type) if isinstance(expected, types.Metadata) else expected
