"""Decides what a provider's error means, by its words and not by its status alone. Pure.

A failed attempt is *refused* if no work was done: nothing is charged, and the refusal's meaning decides what follows.
It is *uncertain* if the work may have been done and billed. Statuses alone cannot tell: a 400 may say that an account
is empty, a 200 that a limit is reached, a 503 that an answer broke off behind a proxy. So the first row of
:data:`RULES` that fits the words decides; if none fits, :data:`STATUSES` does.

Sources: the error references of OpenAI, Anthropic, Google, Azure, AWS Bedrock, Mistral, Groq, xAI, OpenRouter and
Cloudflare; Envoy's and nginx's own pages. ``docs/PROVIDERS.md`` has the table for readers.
"""

from collections.abc import Mapping
from typing import cast

from organism.errors import Meaning, ProviderError, RejectedError, UncertainError
from organism.formats.errors.error_words import ErrorWords, words_in, words_of
from organism.formats.errors.refusal_table import RULES, STATUSES
from organism.formats.errors.retry_after import retry_after_s
from organism.formats.json_reading import JsonObject, loads, part, whole_number

_WAIT_TOLD_S = 60
_SERVER_ERROR = 500
_BAD_REQUEST = 400
_OF_REQUEST = frozenset({400, 412, 413, 415, 417, 422, 424})
_UNREACHED = frozenset({"overloaded"})
_HIDDEN_BEHIND = frozenset({408, 499, 502, 504, 520, 524})


def refused_or_uncertain(provider: str, status: int, body: bytes, headers: Mapping[str, str]) -> ProviderError:
    """Return the error of an HTTP status: rejected, at no cost, or uncertain.

    Args:
        provider: Its name in the configuration.
        status: The status of its answer.
        body: The decompressed body, as far as it was read.
        headers: The headers.
    """
    words = words_of(body)
    wait_s = retry_after_s(headers, body[:4096].decode("utf-8", "replace"))
    told = bool(words.text or words.codes) or headers.get("retry-after") is not None
    return _error(provider, words, _meaning(status, words, told=told), status, wait_s, request_id(headers))


def parse_answer(raw: bytes | str, provider: str) -> JsonObject:
    """Read a whole answer that came with status 200.

    Raises:
        RejectedError: It is an error, and nothing was worked on.
        UncertainError: It is an error after work that may be billed, or no JSON object.
    """
    try:
        value = loads(raw)
    except ValueError as error:
        raise UncertainError(provider, f"an answer that is no JSON: {error}") from None
    if (refused := refused_in(value, provider)) is not None:
        raise refused
    if not isinstance(value, dict):
        raise UncertainError(provider, "an answer that is no JSON object")
    return cast("JsonObject", value)


def refused_in(value: object, provider: str, *, begun: bool = False, started: bool = False) -> ProviderError | None:
    """Return the error in JSON that came with status 200: in place of an answer, or as an event of its stream.

    ``None`` if the value is no error. Before any of the answer it means what it would mean with an error status; a mere
    failure after the answer's head is uncertain.

    Args:
        value: The JSON.
        provider: The provider's name in the configuration.
        begun: Whether a part of the answer has come, so that the work is at least partly done.
        started: Whether its head has come, so that the provider may have begun to work.
    """
    error = error_in(value)
    if error is None:
        return None
    words = words_in(error)
    if begun or (isinstance(value, dict) and bool(value.get("usage"))):
        detail = f"an error in the middle of the answer: {words.text or 'without words'}"
        return UncertainError(provider, detail, status=words.status)
    meaning = _meaning(words.status or _SERVER_ERROR, words, told=True)
    if started and meaning == "failed":
        meaning = None
    status = words.status or (_BAD_REQUEST if meaning == "request" else None)
    return _error(provider, words, meaning, status, retry_after_s({}, str(error)[:4096]), "")


def refused_text(text: bytes, provider: str) -> RejectedError | None:
    """Return the refusal in a page or text that came with status 200 in place of an answer.

    ``None`` if its words do not say that no work was done.
    """
    words = words_of(text)
    meaning = next((rule.meaning for rule in RULES if rule.fits(words)), None)
    return None if meaning is None else RejectedError(provider, words.text, meaning=meaning)


def error_in(value: object) -> object:
    """Return the error in JSON; ``None`` if there is none."""
    if isinstance(value, list):
        found = [error_in(each) for each in value[:4]]
        return found[0] if found and None not in found else None
    if not isinstance(value, dict):
        return None
    for name in ("error", "errors"):
        if value.get(name):
            return value
    if value.get("object") == "error" or value.get("type") == "error" or value.get("success") is False:
        return value
    if whole_number(part(value, "base_resp", "status_code")):  # MiniMax; 0 says that it is none
        return value
    is_answer = not _ANSWERS.isdisjoint(value) and not _is_failed_envelope(value)  # nearly all values are answers
    said = not is_answer and any(isinstance(value.get(name), str | list) for name in _SAYINGS)
    return value if said else None


_SAYINGS = ("detail", "message", "msg", "Message", "error_msg", "error_message", "errmsg")
_ANSWERS = frozenset({"choices", "content", "output", "data", "type", "candidates", "usage", "delta", "response"})
"""Fields of which every answer, and every event of one, has at least one."""

_CODES = ("code", "status", "statusCode", "errcode")
_FINE = frozenset({0, *range(200, 300)})


def _is_failed_envelope(value: JsonObject) -> bool:
    """Whether there is nothing in an envelope, and a number says why; a relay at work writes an empty one as well."""
    if "data" not in value or value["data"] is not None or not _ANSWERS.isdisjoint(value.keys() - {"data"}):
        return False
    code = next((number for name in _CODES if (number := whole_number(value.get(name))) is not None), 0)
    return code not in _FINE


def request_id(headers: Mapping[str, str]) -> str:
    """Return the provider's id of the request, for its support; empty if it gives none."""
    return next((headers[name][:80] for name in _REQUEST_IDS if headers.get(name)), "")


_REQUEST_IDS = (
    "x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "mistral-correlation-id", "x-generation-id",
    "x-ms-request-id", "cf-ray",
)  # fmt: skip


def _meaning(status: int, words: ErrorWords, *, told: bool) -> Meaning | None:
    """Return the meaning of an error; ``None`` if the work may have been done."""
    of_request = status in _OF_REQUEST
    for rule in RULES:
        if (of_request and not rule.of_request) or not rule.fits(words):
            continue
        # A proxy that lost the server may have reached it; only words that say otherwise make the request undone.
        if status in _HIDDEN_BEHIND and rule.meaning not in _UNREACHED:
            return None
        return rule.meaning
    if status in STATUSES:
        return STATUSES[status]
    if status < _SERVER_ERROR:
        return "request" if status >= 400 else "address"  # noqa: PLR2004
    return "failed" if told else None


def _error(
    provider: str,
    words: ErrorWords,
    meaning: Meaning | None,
    status: int | None,
    wait_s: float | None,
    named: str,
) -> ProviderError:
    detail = words.text or ", ".join(sorted(words.codes)) or "without a word"
    if named:
        detail = f"{detail} (request {named})"
    if meaning is None:
        return UncertainError(provider, detail, status=status)
    if wait_s is not None and wait_s > _WAIT_TOLD_S:
        detail = f"{detail} (to be asked again in {wait_s:,.0f} s)"
    return RejectedError(provider, detail, status=status, meaning=meaning, retry_after_s=wait_s)
