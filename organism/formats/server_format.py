"""The port to a vendor's way to write requests, answers, streams and errors: one pure module for each.

A format decides nothing. It refuses, by name, each field that it cannot honour where ignoring it would change what
the answer is or costs.
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
"""What an answer in pieces can be: events, or one array that grows."""


class AskedFor(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """What a client has asked for.

    Attributes:
        request: The call; its ``model`` is as the client has written it.
        stream: Whether the answer is to come in pieces.
        usage: Whether a stream is to end with usage, where the format leaves that to the client.
        echo: Fields of the request that the format repeats in its answer.
        keeps: Whether the answer is to be kept, for later requests to refer to.
        dialect: What of the answer is to be written in other words than the format's usual, as the format names it.
        stream_type: Of what media type the pieces are together.
    """

    request: R
    stream: bool = False
    usage: bool = False
    echo: Json = {}
    keeps: bool = False
    dialect: frozenset[str] = frozenset()
    stream_type: str = EVENT_STREAM


Asked = AskedFor[CompletionRequest]
"""What is asked for by most formats: that a conversation be completed."""


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says of itself.

    Attributes:
        id: Unique; a format puts its own beginning before it.
        created_s: When, in seconds since the Unix epoch.
    """

    id: str
    created_s: int


class EventWriter(Protocol):
    """Writes one answer in pieces: server-sent events, or what else was asked for."""

    def begin(self) -> bytes:
        """Return what comes before the first piece."""
        ...

    def delta(self, delta: Delta) -> bytes:
        """Return a piece of the answer, which is never an empty text."""
        ...

    def alive(self) -> bytes:
        """Return a sign of life that is no part of the answer."""
        ...

    def end(self, answer: Completion) -> bytes:
        """Return what comes after the last piece of an answer: why it ended, and usage."""
        ...

    def fail(self, fault: Fault) -> bytes:
        """Return the end of an answer that broke off."""
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
    """Return a request with what its headers say in place of fields."""
    for header, field in format_.header_fields.items():
        said = [each.strip() for each in headers.get(header, "").split(",") if each.strip()]
        if said and not raw.get(field):
            raw = {**raw, field: said}
    return raw


_NONE: Mapping[str, str] = MappingProxyType({})

CONVERSATION = ("messages", "input", "system")
"""The fields in which clients send back what they were sent, down to the fields that hold nothing."""


def convert(
    body: Json, into: type[T], conversation: tuple[str, ...] = CONVERSATION, refused: Mapping[str, str] = _NONE
) -> T:
    """Read a request's body by the struct that names every field there is; ``null`` is as good as nothing there.

    Args:
        body: The request.
        into: The struct.
        conversation: The fields in which nothing is as good as nothing at any depth.
        refused: Why fields are refused, by their names.

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
    """Return JSON without the fields that hold nothing."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


NATIVE = "native"
"""The type under which a request holds what only servers of its format understand, while it is read; no client's."""


def wrapped(value: Json, at: str) -> Json:
    """Return a part of a request as one that is passed on as it is, and not looked into.

    Raises:
        FaultError: If its client has written it so itself, so that nobody has looked at what is in it.
    """
    if value.get("type") == NATIVE:
        raise bad_request(f"{at}.type: there is no type {NATIVE!r}", f"{at}.type", "unsupported_value")
    return {"type": NATIVE, "value": value}


_NOT_AMONG = "Invalid enum value "
_NO_TYPE = "Invalid value "


def refuse(said: str, refused: Mapping[str, str] = _NONE) -> NoReturn:
    """Refuse a field in the words of a validation error, such as ``Invalid value - at `$.n```.

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
    """Return why something of a type that is not read is refused, where that is known."""
    kind = reason.removeprefix(_NO_TYPE).strip("'\"")
    names = param.partition("[")[0], "content"
    found = next((refused[each] for name in names if (each := f"{name}: {kind}") in refused), None)
    return None if found is None else f"{kind!r}: {found}"


COMMENT = b": alive\n\n"
"""A sign of life that every reader of an event stream passes over: a comment, as the standard has it."""


def event(data: Json, name: str | None = None) -> bytes:
    """Write a server-sent event: JSON has no line breaks, so it is one ``data`` line."""
    named = b"event: %b\n" % name.encode() if name is not None else b""
    return b"%bdata: %b\n\n" % (named, msgspec.json.encode(data))
