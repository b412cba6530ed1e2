"""The names of all fields that the official SDKs' types define, as our tables of fields name them."""

import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Required, get_args, get_origin

from typing_extensions import get_type_hints, is_typeddict

_WRAPPERS = (Annotated, Required, typing.Required, typing.NotRequired, typing.Annotated)
_TURNS = "messages"


def names_of(kind: Any, verdicts: Mapping[str, str]) -> Iterator[str]:
    """Yield ``field`` for each field of a request, and for those that are passed on what they consist of.

    That is ``field: type`` for each kind that tells its type, ``field.part`` for each part of an object that has none,
    and ``content: type`` for what may stand in a turn.
    """
    for name, hint in _hints(kind).items():
        yield name
        if verdicts.get(name, "passed on") == "passed on":
            yield from _inside(name, hint)


def _inside(name: str, hint: Any) -> Iterator[str]:
    for each in _objects(hint):
        fields = _hints(each)
        kinds = _values(fields.get("type")) or _values(fields.get("role"))
        if kinds and kinds != ["object"]:
            yield from (f"{name}: {kind}" for kind in kinds)
        elif name == "tools":
            yield "tools: custom"  # the one that Anthropic lets be without a type
        elif name != "input":
            yield from (f"{name}.{part}" for part in fields)
        if name in {_TURNS, "input"} and (content := fields.get("content")) is not None and not _is_result(kinds):
            inner = (kind for part in _objects(content) for kind in _values(_hints(part).get("type")))
            yield from (f"content: {kind}" for kind in inner)


def _is_result(kinds: list[str]) -> bool:
    """Whether something in a conversation is no turn, so that what it holds is its own affair."""
    return bool(kinds) and not {"message", "user", "assistant", "system", "developer", "tool"} & set(kinds)


def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _bare(hint: Any) -> Any:
    while get_origin(hint) in _WRAPPERS:
        hint = get_args(hint)[0]
    return hint


def _objects(hint: Any) -> Iterator[Any]:
    hint = _bare(hint)
    if is_typeddict(hint):
        yield hint
    else:
        for each in get_args(hint):
            yield from _objects(each)


def _values(hint: Any) -> list[str]:
    hint = _bare(hint)
    if get_origin(hint) is Literal or str(get_origin(hint)).endswith("Literal"):
        return [str(value) for value in get_args(hint)]
    return [value for each in get_args(hint) for value in _values(each)]
