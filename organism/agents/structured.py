"""Answers of a given type: the schema a model is shown, the check of its answer, and one chance to correct it."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from organism.errors import AnswerError, ConfigError
from organism.llm.answers import Completion
from organism.llm.requests import ChatMessage, CompletionRequest, ResponseFormat

T = TypeVar("T")

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*", re.DOTALL)
_NAME = re.compile(r"[^A-Za-z0-9_-]")
_AGAIN = "That does not fit: {reason}. Answer again, with nothing but one JSON object that fits the schema."


class ParsedCompletion(Completion, Generic[T], frozen=True, kw_only=True):
    """An answer that has the form that was asked for.

    Attributes:
        parsed: The answer as a value of that type.
    """

    parsed: T


def object_schema(wanted: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type, with its outermost object in place, as providers want it.

    Raises:
        ConfigError: If the type is not one that JSON can say, or no object.
    """
    try:
        (root,), definitions = msgspec.json.schema_components([wanted])
    except TypeError as error:
        raise ConfigError(f"{wanted!r} has no JSON Schema: {error}") from None
    name = str(root.get("$ref", "")).rpartition("/")[2]
    if name:
        # A type that mentions itself still needs its own definition.
        root = dict(definitions[name])
        if f'"#/$defs/{name}"' not in msgspec.json.encode([root, definitions]).decode():
            definitions = {key: value for key, value in definitions.items() if key != name}
    if root.get("type") != "object":
        raise ConfigError(f"{wanted!r} is no object in JSON; use a msgspec.Struct")
    return {**root, "$defs": definitions} if definitions else root


def response_format(wanted: type) -> ResponseFormat:
    """Ask for an answer of a type.

    Raises:
        ConfigError: If the type is no object in JSON.
    """
    return ResponseFormat(object_schema(wanted), name=_NAME.sub("_", wanted.__name__)[:64])


def parsed(text: str, wanted: type[T]) -> T:
    """Read an answer as a value of a type; models like to put JSON into a fence of Markdown.

    Raises:
        msgspec.ValidationError: It does not fit the type.
        msgspec.DecodeError: It is no JSON.
    """
    fenced = _FENCED.fullmatch(text)
    return msgspec.json.decode(fenced[1] if fenced else text, type=wanted)


async def complete_as(
    send: Callable[[CompletionRequest], Awaitable[Completion]], request: CompletionRequest, wanted: type[T]
) -> ParsedCompletion[T]:
    """Ask for an answer of a type; one that does not fit is shown to the model with its fault, once.

    Args:
        send: Makes a call; both calls are charged like any other.
        request: What to ask; its form is filled in.
        wanted: The type.

    Raises:
        AnswerError: The second answer does not fit either.
        ConfigError: The type is no object in JSON.
    """
    request = replace(request, response_format=response_format(wanted))
    answer = await send(request)
    try:
        return _with(answer, parsed(answer.text, wanted))
    except msgspec.MsgspecError as error:
        reason = str(error)
    again = ChatMessage("user", _AGAIN.format(reason=reason))
    answer = await send(replace(request, messages=(*request.messages, answer.turn, again)))
    try:
        return _with(answer, parsed(answer.text, wanted))
    except msgspec.MsgspecError as error:
        raise AnswerError(f"the model {answer.model!r} twice gave no valid {wanted.__name__}: {error}") from None


def _with(answer: Completion, value: T) -> ParsedCompletion[T]:
    fields = {name: getattr(answer, name) for name in answer.__struct_fields__}
    return ParsedCompletion(**fields, parsed=value)
