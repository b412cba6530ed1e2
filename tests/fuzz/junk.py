"""What nobody writes on purpose, put anywhere into JSON that was right."""

import json
import random
from typing import Any

Json = dict[str, Any]
Path = tuple[str | int, ...]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 1.0, 0.5, -0.0, 10**6, 10**12, 2**31, 2**63, 2**64, 10**18, -(2**63), 10**40,
    1e300, -1e300, float("inf"), float("-inf"), float("nan"),
    "", " ", "0", "1", "-1", "1e400", "NaN", "null", "\x00", "\ud800", "a\udfffb", "\x1b[2J", "\r\n", "\u2028",
    "x" * 300,
    "[DONE]", "{}", "{", '{"a": "\\ud800"}', "data: x\n\n", "</script>", "../..", "٣", "tool_calls", "text",
    [], {}, [[]], [{}], [None], [0], [""], ["x"], {"": None}, {"type": "text"}, {"type": {}}, {"type": []},
    {"text": "x"}, {"a": "\ud800"}, {"\ud800": 1}, {"organism:written": 5}, {"value": {}},
)  # fmt: skip
"""Each stands for a kind that has broken a reader somewhere: of a type that is not expected, out of range, no text."""

DEEP = 300
"""As deep as some readers go, and others do not."""


def places(value: object, path: Path = ()) -> list[Path]:
    """Return every place in JSON, its own first; however deep it is."""
    found, left = [], [(path, value)]
    while left:
        place, each = left.pop()
        found.append(place)
        inner = each.items() if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ()
        left += [((*place, key), one) for key, one in reversed(list(inner))]
    return found


def at(value: Any, path: Path) -> Any:
    """Return what stands at a place."""
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    """Return a copy of JSON with something else at a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


def left_out(value: Any, path: Path) -> Any:
    """Return a copy of JSON without what stands at a place."""
    if len(path) == 1:
        if isinstance(value, dict):
            return {key: each for key, each in value.items() if key != path[0]}
        return [each for number, each in enumerate(value) if number != path[0]]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = left_out(value[path[0]], path[1:])
    return copy


def some_junk(chance: random.Random) -> Any:
    """Return something."""
    if chance.randrange(40) == 0:
        return nested(chance.choice((10, 60, DEEP)), chance.choice(("list", "dict")))
    return chance.choice(VALUES)


def nested(depth: int, kind: str) -> Any:
    """Return JSON of a depth."""
    value: Any = "x"
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


def broken(value: Any, chance: random.Random, *, spare: frozenset[str] = frozenset()) -> Any:
    """Return JSON with one thing wrong: other than it was, left out, twice, or somewhere else.

    Args:
        value: The JSON.
        chance: Decides.
        spare: Names of fields that are left as they are, with all that is in them.
    """
    free = [place for place in places(value) if place and spare.isdisjoint(map(str, place))]
    if not free:
        return some_junk(chance)
    place = chance.choice(free)
    there, whole = at(value, place), at(value, place[:-1])
    match chance.randrange(8):
        case 0:
            return left_out(value, place)
        case 1:
            new = at(value, chance.choice(free))
        case 2:
            place = place[:-1]
            new = [*whole, there] if isinstance(whole, list) else {**whole, f"{some_junk(chance)}"[:30]: there}
        case 3:
            new = [there]
        case 4 if isinstance(there, str | int | float):
            new = str(there) if not isinstance(there, str) else there[: len(there) // 2]
        case _:
            new = some_junk(chance)
    return put(value, place, new)


def written(value: Any, chance: random.Random) -> str:
    """Write JSON as some server does: in one way or another, sometimes with a key that stands twice."""
    text = json.dumps(value, ensure_ascii=chance.randrange(4) > 0 or not is_encodable(value))
    if chance.randrange(30) == 0 and isinstance(value, dict) and value:
        key = chance.choice(list(value))
        twice = json.dumps({key: some_junk(chance)})[1:-1]
        text = f"{{{twice}, {text[1:]}" if chance.randrange(2) else f"{text[:-1]}, {twice}}}"
    return text


def encoded(value: Any) -> bytes:
    """Write JSON as it is."""
    return json.dumps(value).encode()


def is_encodable(value: Any) -> bool:
    """Whether there is no lone surrogate in JSON."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """Return bytes with some of them flipped, left out, said twice or put in."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        if not raw:
            return raw
        start = chance.randrange(len(raw))
        end = min(len(raw), start + chance.choice((1, 1, 2, 8, 100)))
        match chance.randrange(5):
            case 0:
                raw = raw[:start] + bytes((raw[start] ^ (1 << chance.randrange(8)),)) + raw[start + 1 :]
            case 1:
                raw = raw[:start] + raw[end:]
            case 2:
                raw = raw[:end] + raw[start:]
            case 3:
                more = chance.choice(
                    (b"\n", b"\r", b"\n\n", b"\x00", b"\xff", b"}", b"{", b"data: ", b":", b"\xef\xbb\xbf")
                )
                raw = raw[:start] + more + raw[start:]
            case _:
                raw = raw[:start]
    return raw
