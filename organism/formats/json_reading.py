"""Reads JSON of unknown make: nothing in it may crash the reader, and its texts can be encoded. Pure."""

import json
import re

JsonObject = dict[str, object]

_INT_DIGITS_MAX = 18
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
"""Half of a character, as JSON escapes it or as it is."""


def loads(raw: bytes | str) -> object:
    """Read JSON; numbers that Python would choke on or turn into infinity become text, which is no count.

    Bytes that are not UTF-8, and lone surrogates, which JSON can escape and no encoding knows, are replaced.

    Raises:
        ValueError: If it is not JSON.
    """
    text = raw if isinstance(raw, str) else raw.decode(json.detect_encoding(raw), "replace")
    try:
        value: object = _DECODER.decode(text)
        return _encodable(value) if _SURROGATE.search(text) else value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _encodable(value: object) -> object:
    if isinstance(value, dict):
        return {text_of(name): _encodable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_encodable(each) for each in value]
    return text_of(value) if isinstance(value, str) else value


def short_int(digits: str) -> int | str:
    """Read digits as a number; longer ones than any count stay text, as Python takes quadratic time for them."""
    return int(digits) if len(digits) <= _INT_DIGITS_MAX else digits


def part(value: object, *path: str | int) -> object:
    """Return the value at a path of keys and indices; ``None`` if there is none."""
    for key in path:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and len(value) > key:
            value = value[key]
        else:
            return None
    return value


def choices_in(value: JsonObject) -> list[JsonObject]:
    """Return the choices of an answer; some servers leave the list out around one, or number them in an object."""
    choices = value.get("choices")
    if isinstance(choices, dict):
        numbered = all(name.isdecimal() for name in choices)  # an empty object is none, as an empty list is
        choices = list(choices.values()) if numbered else [choices]
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


_DECODER = json.JSONDecoder(parse_constant=str, parse_int=short_int)


def text_of(value: object) -> str:
    """Return a text with lone surrogates replaced, so that it can be encoded; empty for anything but text."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def values_in(text: str) -> list[object] | None:
    """Read one JSON value, or several, a line each; ``None`` if there is anything else.

    One event of a stream is one value by every reference; servers that forget the blank line between events make
    several lines of data one event.
    """
    try:
        return [loads(text)]
    except ValueError:
        pass
    found: list[object] = []
    for line in text.split("\n"):
        if not (plain := line.strip()):
            continue
        try:
            found.append(plain if plain == "[DONE]" else loads(plain))
        except ValueError:
            return None
    return found


def whole_number(value: object) -> int | None:
    """Read an index, which may be text or a float without fraction; ``None`` if it is none."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value[:9])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
