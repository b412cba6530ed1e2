"""Requests as handlers and clients make them, checked once before anything is held for them. Pure.

What passes can be hashed, kept in the journal and read from there again, and its numbers fit the ledger. So nothing
behind this border needs to ask again, and nothing that a stranger wrote can stop a task of the router. What does not
pass is refused where its author can see it, and costs nothing.
"""

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, TypeVar, cast

import msgspec

from organism.amounts import CALL_TOKENS_MAX
from organism.concurrency.foreign_code import discarded, encodable
from organism.errors import ConfigError, UnboundedError, UnsupportedError
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.provider import Request
from organism.llm.requests import Reasoning, ToolCall, ToolResult
from organism.text.error_text import describe, shown

T = TypeVar("T", bound=msgspec.Struct)

_AS_THEY_ARE = (bytes, bytearray, memoryview, datetime, date, time, timedelta, Decimal)
CHOICES_MAX = 128
"""More answers to one request no vendor gives."""

LOGPROBS_MAX = 20
"""Nor more other tokens beside each."""

_OF_THE_MODEL = (ToolCall, Reasoning)
_OF_OTHERS = (ToolResult,)
_SEED_MIN, _SEED_MAX = -(2**63), 2**64 - 1
_REMEDY = "give the adapter an extra_tokens() that returns a whole number of tokens"


class CheckedRequest(msgspec.Struct, frozen=True):
    """A request that can be sent, hashed and kept.

    Attributes:
        request: The request; its texts have a question mark for whatever no encoding takes.
        digest: SHA-256 of it, in hexadecimal digits: the same request always has the same.
    """

    request: Request
    digest: str


def checked_request(request: Request, kind: type[Request]) -> CheckedRequest:
    """Check a request.

    Args:
        request: What a caller has made.
        kind: What it is to be.

    Raises:
        ConfigError: It is something else, or a field has a type or a number that no provider takes; the error's path
            names the field.
    """
    if not isinstance(request, kind):
        raise ConfigError(f"this call takes a request of type {kind.__name__}, not {type(request).__name__}")
    _check_numbers(request)
    try:
        plain, raw = sound(request, kind)
    except Exception as error:  # noqa: BLE001 - what is in a request is a stranger's, and may fail in any way
        raise ConfigError(f"it cannot be sent: {describe(error)}", path="request") from None
    _check_turns(plain)
    return CheckedRequest(plain, sha256(raw).hexdigest())


def checked_extra_tokens(tokens: object, provider: str) -> int:
    """Check the bound that an adapter gives of what a request holds beyond its text.

    Raises:
        UnboundedError: It is no number of tokens.
    """
    if isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens <= CALL_TOKENS_MAX:
        return int(tokens)
    discarded(tokens)
    raise UnboundedError(provider, f"this request (its adapter says {shown(tokens)})", _REMEDY)


def unbounded(error: BaseException, provider: str) -> UnboundedError | UnsupportedError:
    """Return what it means that an adapter cannot give a bound: the call does not go there, and costs nothing."""
    if type(error) in {UnboundedError, UnsupportedError}:
        return cast("UnboundedError | UnsupportedError", error)
    return UnboundedError(provider, f"this request (its adapter failed with {describe(error)})", _REMEDY)


def sound(value: msgspec.Struct, kind: type[T]) -> tuple[T, bytes]:
    """Return a struct as one whose fields are all of their types and can be encoded, and its JSON.

    JSON alone would not tell: it makes text of bytes and of dates where text is wanted.

    Args:
        value: The struct; whatever no encoding takes in its texts becomes a question mark.
        kind: What it is to be.

    Raises:
        Exception: Of many kinds, whatever a stranger's values raise when they are looked at.
    """
    plain = msgspec.to_builtins(value, builtin_types=_AS_THEY_ARE)
    try:
        raw = msgspec.json.encode(value)
    except UnicodeEncodeError:
        plain = _encodable_throughout(plain)
        found = msgspec.convert(plain, kind, builtin_types=_AS_THEY_ARE)
        return found, msgspec.json.encode(found)
    return msgspec.convert(plain, kind, builtin_types=_AS_THEY_ARE), raw


def _encodable_throughout(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {_encodable_throughout(key): _encodable_throughout(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable_throughout(inner) for inner in value]
    return value


def _check_turns(request: Request) -> None:
    """Refuse turns with parts that are the other side's: no format has a place for them.

    Raises:
        ConfigError: If there is one.
    """
    if isinstance(request, EmbeddingRequest):
        return
    for place, message in enumerate(request.messages):
        if isinstance(message.content, str):
            continue
        wrong = _OF_OTHERS if message.role == "assistant" else _OF_THE_MODEL
        found = next((part for part in message.content if isinstance(part, wrong)), None)
        if found is not None:
            raise ConfigError(
                f"a turn of role '{message.role}' has no {type(found).__name__}", path=f"request.messages[{place}]"
            )


def _check_numbers(request: Request) -> None:
    """Refuse numbers that JSON cannot say, or that would not fit the ledger.

    Raises:
        ConfigError: If there is one.
    """
    if isinstance(request, EmbeddingRequest):
        _check_whole("dimensions", request.dimensions, 1, CALL_TOKENS_MAX, optional=True)
        return
    _check_whole("max_output_tokens", request.max_output_tokens, 1, CALL_TOKENS_MAX)
    _check_whole("reasoning_tokens", request.reasoning_tokens, 0, CALL_TOKENS_MAX, optional=True)
    _check_whole("seed", request.seed, _SEED_MIN, _SEED_MAX, optional=True)
    _check_whole("choices", request.choices, 1, CHOICES_MAX)
    _check_whole("logprobs", request.logprobs, 0, LOGPROBS_MAX, optional=True)
    _check_whole("max_output_tokens of all choices", request.output_at_most, 1, CALL_TOKENS_MAX)
    _check_whole("top_k", request.top_k, 0, CALL_TOKENS_MAX, optional=True)
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
        _check_finite(name, getattr(request, name))


def _check_whole(name: str, value: object, least: int, most: int, *, optional: bool = False) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(
            f"it must be a whole number from {least:,} to {most:,}, not {shown(value)}",
            path=f"request.{name}",
        )


def _check_finite(name: str, value: object) -> None:
    if value is not None and not is_finite(value):
        raise ConfigError(f"it must be a finite number, not {shown(value)}", path=f"request.{name}")


def is_finite(value: object) -> bool:
    """Whether a value is a plain number that is finite as a float too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
