"""The port to a vendor's format on the server side: requests, answers, streams and errors. Pure.

A format only translates. It refuses, by name, each field that it cannot honour where ignoring the field would change
the answer or its cost.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Generic, NoReturn, Protocol, TypeVar

import msgspec

from organism.formats.errors.faults import Fault, bad_request
from organism.llm.answers import Completion
from organism.llm.deltas import Delta
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.requests import CompletionRequest

Json = dict[str, Any]

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R", CompletionRequest, EmbeddingRequest)

OutputCap = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
"""A cap of tokens as requests give it; a larger one is a mistake."""

ToolName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""What OpenAI's formats take as the name of a tool."""

EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON_ARRAY = "application/json; charset=utf-8"
"""Media types of a stream: events, or one JSON array."""


class AskedFor(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """A client's request, translated.

    Attributes:
        request: The call; its ``model`` is the name that the client wrote.
        stream: Whether the answer is streamed.
        usage: Whether a stream ends with usage, where the format leaves that to the client.
        echo: Fields of the request that the format repeats in its answer.
        keeps: Whether the answer is kept, for later requests to refer to.
        dialect: Names of the variants in which the format writes the answer.
        stream_type: The media type of a stream.
    """

    request: R
    stream: bool = False
    usage: bool = False
    echo: Json = {}
    keeps: bool = False
    dialect: frozenset[str] = frozenset()
    stream_type: str = EVENT_STREAM


Asked = AskedFor[CompletionRequest]
"""A request to complete a conversation."""


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of an answer.

    Attributes:
        id: Unique; a format adds its own prefix.
        created_s: When it was begun, in seconds since the Unix epoch.
    """

    id: str
    created_s: int


class EventWriter(Protocol):
    """Writes one answer as a stream."""

    def begin(self) -> bytes:
        """Return what comes before the first piece."""
        ...

    def delta(self, delta: Delta) -> bytes:
        """Return a piece of the answer as bytes; ``delta`` is never an empty text."""
        ...

    def alive(self) -> bytes:
        """Return a sign of life that is no part of the answer."""
        ...

    def end(self, answer: Completion) -> bytes:
        """Return the end of the stream: the finish reason and usage."""
        ...

    def fail(self, fault: Fault) -> bytes:
        """Return the end of a stream that failed."""
        ...


def _no_writer(asked: object, meta: Meta) -> NoReturn:
    raise TypeError(f"answers to {asked} never come in pieces", meta)


class ServerFormat(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's format, as a server speaks it.

    Attributes:
        read: Translates a request, given as JSON with the output cap to use where it has none. Raises ``FaultError``,
            which names the field, when the request is wrong or asks for what cannot be honoured.
        whole: Writes an answer in one piece.
        writer: Makes the writer of one answer in pieces. Formats of embeddings have none: no request asks for a stream.
        error: Writes an error as the vendor's own clients expect it.
        keeps_answers: Whether requests may refer to answers given before.
        known_fields: The fields of a request, where others are ignored; empty where others are refused.
        header_fields: Fields that clients may send as a comma-separated header, by the header's name.
    """

    read: Callable[[Json, int], AskedFor[Any]]
    whole: Callable[[Any, Meta, Any], Json]
    error: Callable[[Fault], Json]
    writer: Callable[[Any, Meta], EventWriter] = _no_writer
    keeps_answers: bool = False
    known_fields: frozenset[str] = frozenset()
    header_fields: Mapping[str, str] = {}


def with_headers(format_: ServerFormat, raw: Json, headers: Mapping[str, str]) -> Json:
    """Return a request with the fields that its headers give instead."""
    for header, field in format_.header_fields.items():
        said = [each.strip() for each in headers.get(header, "").split(",") if each.strip()]
        if said and not raw.get(field):
            raw = {**raw, field: said}
    return raw


_NONE: Mapping[str, str] = MappingProxyType({})

CONVERSATION = ("messages", "input", "system")
"""Fields in which clients send back earlier answers, nulls included."""


def convert(
    body: Json, into: type[T], conversation: tuple[str, ...] = CONVERSATION, refused: Mapping[str, str] = _NONE
) -> T:
    """Convert a request's body to a struct; a field that is ``null`` counts as absent.

    Args:
        body: The request.
        into: The struct, which names every field there is.
        conversation: The fields in which nulls count as absent at any depth.
        refused: Why fields are refused, by name.

    Raises:
        FaultError: A field is unknown, missing or of a kind that cannot be honoured.
    """
    given = {
        name: without_nulls(value) if name in conversation else value
        for name, value in body.items()
        if value is not None
    }
    try:
        return msgspec.convert(given, into)
    except msgspec.ValidationError as error:
        refuse(str(error), refused)


def without_nulls(value: Any) -> Any:
    """Return JSON without fields that are null, at any depth."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


NATIVE = "native"
"""The type that marks a part of a request, while it is read, as passed on unread; clients may not use it."""


def wrapped(value: Json, at: str) -> Json:
    """Mark a part of a request as passed on unread.

    Raises:
        FaultError: If the client has used the mark itself, to evade checks.
    """
    if value.get("type") == NATIVE:
        raise bad_request(f"{at}.type: there is no type {NATIVE!r}", f"{at}.type", "unsupported_value")
    return {"type": NATIVE, "value": value}


_NOT_AMONG = "Invalid enum value "
_NO_TYPE = "Invalid value "


def refuse(said: str, refused: Mapping[str, str] = _NONE) -> NoReturn:
    """Refuse a field by a validation error, such as ``Invalid value - at `$.n```.

    Raises:
        FaultError: Always.
    """
    reason, _, at = said.partition(" - at `")
    param = at.rstrip("`").removeprefix("$").removeprefix(".")
    if "unknown field" in reason:
        name = reason.rpartition("`")[0].rpartition("`")[2]
        param = f"{param}.{name}" if param else name
        why = refused.get(param, "this gateway does not know the field, so it will not ignore it")
        raise bad_request(f"{param}: {why}", param, "unsupported_parameter")
    if "missing required field" in reason:
        name = reason.rpartition("`")[0].rpartition("`")[2]
        param = f"{param}.{name}" if param else name
    code = "unsupported_value" if "nvalid" in reason else "invalid_request"
    if reason.startswith(_NO_TYPE) and (known := _why_of(param, reason, refused)) is not None:
        raise bad_request(f"{param}: {known}", param, code)
    if reason.startswith(_NOT_AMONG):
        reason = f"this gateway cannot honour {reason.removeprefix(_NOT_AMONG)}"
    raise bad_request(f"{param}: {reason}", param or None, code)


def _why_of(param: str, reason: str, refused: Mapping[str, str]) -> str | None:
    """Return the documented reason why a part of an unknown type is refused; ``None`` if there is none."""
    kind = reason.removeprefix(_NO_TYPE).strip("'\"")
    names = param.partition("[")[0], "content"
    found = next((refused[each] for name in names if (each := f"{name}: {kind}") in refused), None)
    return None if found is None else f"{kind!r}: {found}"


COMMENT = b": alive\n\n"
"""A sign of life: a comment, which readers of event streams ignore by the standard."""


def event(data: Json, name: str | None = None) -> bytes:
    """Write a server-sent event: JSON has no line breaks, so it is one ``data`` line."""
    named = b"event: %b\n" % name.encode() if name is not None else b""
    return b"%bdata: %b\n\n" % (named, msgspec.json.encode(data))
