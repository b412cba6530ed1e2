"""Finds the words of an error in a body of any shape: JSON of any make, a web page, a line of text. Pure.

Sources: the error objects in the references of OpenAI (``error.message/type/code``), Anthropic (``type: error``),
Google (an array, ``error.status``, ``error.details[].reason``), Mistral and FastAPI (``detail``), vLLM
(``object: error``), Cloudflare (``errors``), Azure (``error.innererror``), AWS (``__type``, ``Message``), OpenRouter
(``error.metadata.raw``), Ollama (``error`` as text), Apigee (``fault.faultstring``) and Baidu (``error_msg``).
"""

import html
import json
import re
from collections import deque

import msgspec

from organism.formats.json_reading import short_int, text_of
from organism.text.error_text import in_one_line
from organism.text.plain_text import lines_of

WORDS_MAX = 300
"""Characters of a server's words that go into an error."""

_NODES_MAX = 200
_BODY_MAX = 64 * 1024
_CODES = frozenset({"type", "code", "status", "reason", "__type", "error_type", "error_code", "finish_reason"})
_WORDS = frozenset(
    {"message", "msg", "detail", "error", "error_message", "errormessage", "error_msg", "errmsg",
     "error_description", "title", "description", "faultstring", "raw", "reason", "status_msg"}
)  # fmt: skip
_STATUS = range(400, 600)
_ELEMENT = re.compile(r"/?[a-z][a-z0-9]*", re.IGNORECASE)
_UNSEEN = frozenset({"script", "style", "head", "title"})
_CODE = re.compile(r"[A-Za-z0-9_.:/ -]{1,80}")


class ErrorWords(msgspec.Struct, frozen=True, kw_only=True):
    """The words of an error.

    Attributes:
        text: The words for people, on one line, cut short; empty when there are none.
        codes: The words for programs, in lower case.
        status: The HTTP status that the body names; ``None`` when it names none.
        structured: Whether they come from JSON: the server's own error, and not a proxy's page.
    """

    text: str = ""
    codes: frozenset[str] = frozenset()
    status: int | None = None
    structured: bool = False


def words_of(body: bytes) -> ErrorWords:
    """Return the words of an error in the body of an answer."""
    text = body[:_BODY_MAX].decode("utf-8", "replace").lstrip("\ufeff").strip()
    value = _json(_data_of(text))
    if value is not None:
        return words_in(value)
    return ErrorWords(text=_one_line(_page(text) if text.startswith("<") else text))


def words_in(value: object) -> ErrorWords:
    """Return the words of an error in JSON, the outermost first."""
    texts: list[str] = []
    codes: set[str] = set()
    status: int | None = None
    ahead: deque[tuple[str, object]] = deque([("error", value)])
    for _ in range(_NODES_MAX):
        if not ahead:
            break
        name, found = ahead.popleft()
        match found:
            case dict():
                ahead.extend((str(key).lower(), each) for key, each in found.items())
            case list():
                ahead.extend((name, each) for each in found)
            case str():
                if name in _CODES and _CODE.fullmatch(code := found.rpartition("#")[2]):  # AWS: a namespace before it
                    codes.add(code.lower())
                if name == "raw" and (inner := _json(found)) is not None:
                    ahead.append(("error", inner))
                elif name in _WORDS | {"errors"} and (line := _one_line(found)) and line not in texts:
                    texts.append(line)
            case _:
                pass
        if name in {"code", "status", "status_code"} and status is None:
            status = _status(found)
    return ErrorWords(text=_one_line("; ".join(texts[:3])), codes=frozenset(codes), status=status, structured=True)


def _status(value: object) -> int | None:
    digits = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return int(digits) if len(digits) == 3 and digits.isdecimal() and int(digits) in _STATUS else None  # noqa: PLR2004


def _json(text: str) -> object:
    """Read JSON that is not empty; ``None`` for anything else."""
    if not text.startswith(("{", "[", '"')):
        return None
    try:
        value: object = json.loads(text, parse_constant=str, parse_int=short_int)
    except (ValueError, RecursionError):
        return None
    return value or None


def _data_of(text: str) -> str:
    """Return the first data of an event stream; any other text unchanged."""
    if not text.startswith(("data:", "event:", "id:", ":")):
        return text
    lines = (line for line in lines_of(text) if line.startswith("data:"))
    return next(lines, text).removeprefix("data:").strip()


def _page(text: str) -> str:
    """Return the title and the visible text of an HTML page.

    Each tag is looked at once: patterns that search for its end would take minutes for a page of unclosed tags.
    """
    title: list[str] = []
    seen: list[str] = []
    unseen = ""
    first, *pieces = text.split("<")
    seen.append(first)
    for piece in pieces:
        tag, end, words = piece.partition(">")
        found = _ELEMENT.match(tag)
        name = found[0].lower() if found is not None and end else ""
        if name == "title" and not title:
            title.append(words)
        if unseen:
            unseen = "" if name == f"/{unseen}" else unseen
        elif name in _UNSEEN:
            unseen = name
        if not unseen:
            seen.append(words if end else f"<{piece}")
    return html.unescape(" ".join((*title, *seen)))


def _one_line(text: str) -> str:
    return in_one_line(text_of(text), WORDS_MAX)
