"""Translates a request of Anthropic's messages into a call: turns, tools, thinking, response format. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, TypedDict, cast

import msgspec

from organism.formats.anthropic_messages import server_body as body
from organism.formats.anthropic_messages.answer_blocks import citation_of
from organism.formats.anthropic_messages.fields import FIELDS, REFUSED
from organism.formats.anthropic_messages.server_blocks import native_apart
from organism.formats.anthropic_messages.server_errors import THREADS_UNSUPPORTED
from organism.formats.anthropic_messages.server_fields import fields_of, native_words
from organism.formats.call_ids import split_id
from organism.formats.errors.faults import FaultError, bad_request
from organism.formats.server_format import Asked, Json, convert
from organism.llm.requests import (
    CacheTTL,
    ChatMessage,
    CompletionRequest,
    Effort,
    FilePart,
    ImagePart,
    OneTool,
    Part,
    Reasoning,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    VendorItem,
)

KNOWN_FIELDS = frozenset(body.MessagesBody.__struct_fields__) | {rule.name.partition(".")[0] for rule in FIELDS}
"""Fields of a request that are read, or are known to change nothing."""

_CHOICES: dict[type, ToolChoice] = {body.AutoChoice: "auto", body.AnyChoice: "required", body.NoChoice: "none"}
_PDF = "application/pdf"


def read_request(raw: Json, default_cap: int) -> Asked:
    """Translate a request; see :class:`organism.formats.server_format.ServerFormat`.

    Raises:
        FaultError: It is wrong, or asks for what cannot be honoured.
    """
    raw, native = native_apart(raw)
    # Nulls are kept: the input of a tool goes back to the provider unchanged.
    asked = convert(raw, body.MessagesBody, conversation=())
    _refuse_fields(asked)
    form = asked.output_config.format or asked.output_format
    choice = asked.tool_choice
    request = CompletionRequest(
        model=asked.model,
        messages=(*_instructions(asked.system), *_turns(asked)),
        max_output_tokens=asked.max_tokens or default_cap,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        vendor_tools=native,
        vendor_fields=fields_of(asked),
        stop=tuple(asked.stop_sequences),
        tools=tuple(
            Tool(
                tool.name,
                tool.description or "",
                tool.input_schema,
                strict=bool(tool.strict),
                native=native_words(tool),
                **_mark(tool),
            )
            for tool in asked.tools
        ),
        tool_choice=OneTool(choice.name) if isinstance(choice, body.ToolChoice) else _CHOICES[type(choice)],
        parallel_tool_calls=False if choice.disable_parallel_tool_use else None,
        response_format=None if form is None else ResponseFormat(form.schema, strict=True),
        reasoning_effort=_effort(asked),
        reasoning_tokens=asked.thinking.budget_tokens if isinstance(asked.thinking, body.ThinkingOn) else None,
    )
    return Asked(request=request, stream=asked.stream)


# -- what cannot be honoured ------------------------------------------------------------------------------------------


def _refuse_fields(asked: body.MessagesBody) -> None:
    """Refuse fields that would change the answer or its cost and cannot be honoured.

    Raises:
        FaultError: If there is one.
    """
    for name, why in REFUSED.items():
        if name != "thread" and getattr(asked, name, None):
            raise _unsupported(name, why)
    if asked.thread:
        message = "thread: nothing is kept here between requests; send the whole conversation"
        raise bad_request(message, "thread", THREADS_UNSUPPORTED)


def _unsupported(param: str, why: str = "this gateway cannot honour it") -> FaultError:
    return bad_request(f"{param}: {why}", param, "unsupported_parameter")


# -- turns ------------------------------------------------------------------------------------------------------------


def _instructions(system: str | list[body.Text]) -> Iterator[ChatMessage]:
    """Translate instructions into one turn, or one for each cache mark."""
    blocks = [body.Text(text=system)] if isinstance(system, str) else system
    words: list[str] = []
    for block in blocks:
        if block.text:
            words.append(block.text)
        if block.cache_control is not None and words:
            yield ChatMessage("system", "\n\n".join(words), **_mark(block))
            words = []
    if words:
        yield ChatMessage("system", "\n\n".join(words))


def _turns(asked: body.MessagesBody) -> Iterator[ChatMessage]:
    """Translate turns; reasoning comes first in each, where vendors want it."""
    for place, turn in enumerate(asked.messages):
        mark = _mark(asked) if place == len(asked.messages) - 1 else {}
        if isinstance(turn.content, str):
            yield ChatMessage(turn.role, turn.content, **mark)
            continue
        parts: list[Part] = []
        for at, block in enumerate(turn.content):
            parts += _parts(block, f"messages[{place}].content[{at}]")
            mark = _mark(block) or _native_mark(block) or mark
        if not any(isinstance(part, VendorItem) for part in parts):
            parts.sort(key=lambda part: not isinstance(part, Reasoning))
        yield ChatMessage(turn.role, _plain(parts), **mark)


class _Mark(TypedDict, total=False):
    """The fields of a turn or tool that ask the provider to cache everything up to it."""

    cache: bool
    cache_ttl: CacheTTL


def _mark(marked: object) -> _Mark:
    """Return the cache mark of a block, a tool or a whole request; empty if it has none."""
    wish = getattr(marked, "cache_control", None)
    return {"cache": True, "cache_ttl": wish.ttl or "5m"} if isinstance(wish, body.CacheControl) else {}


def _native_mark(block: object) -> _Mark:
    """Return the cache mark of a native block, which is moved to its turn; empty if it has none."""
    wish = block.value.get("cache_control") if isinstance(block, body.Native) else None
    return {"cache": True, "cache_ttl": "1h" if wish.get("ttl") == "1h" else "5m"} if isinstance(wish, dict) else {}


def _plain(parts: Sequence[Part]) -> str | tuple[Part, ...]:
    """Return a single plain text as a string, which every provider takes."""
    match parts:
        case [TextPart(text=text, citations=())]:
            return text
        case _:
            return tuple(parts)


def _parts(block: body.Block, at: str) -> Iterator[Part]:
    match block:
        case body.Text(text=text, citations=cited):
            yield TextPart(text, tuple(map(citation_of, cited or ())))
        case body.Native(value=value):
            yield VendorItem({name: each for name, each in value.items() if name != "cache_control"}, "messages")
        case body.Image(source=body.URLSource(url=url)):
            yield ImagePart(url=url)
        case body.Image(source=body.Base64Source(media_type=media_type, data=data)):
            yield ImagePart(media_type, data)
        case body.Document():
            yield from _document(block)
        case body.ToolUse(id=call_id, name=name, input=given):
            own_id, extra = split_id(call_id)
            yield ToolCall(own_id, name, msgspec.json.encode(given).decode(), extra)
        case body.ToolResult(tool_use_id=call_id, is_error=is_error):
            yield ToolResult(split_id(call_id)[0], _result(block.content or "", at), bool(is_error))
        case body.Thinking(thinking=thinking, signature=signature):
            yield Reasoning(thinking, signature)
        case body.RedactedThinking(data=data):
            yield Reasoning("", data, redacted=True)


_Result = str | tuple[TextPart | ImagePart | VendorItem, ...]


def _result(content: str | Sequence[Any], at: str) -> _Result:
    """Translate the result of a tool; a document in it must be text.

    Raises:
        FaultError: If a document in it is not text.
    """
    if isinstance(content, str):
        return content
    parts: list[Part] = []
    for place, piece in enumerate(content):
        for part in _parts(piece, f"{at}.content[{place}]"):
            if isinstance(part, FilePart) and not part.media_type.startswith("text/"):
                raise _unsupported(f"{at}.content[{place}]", "a document in a result must be text here")
            parts.append(TextPart(part.data.decode("utf-8", "replace")) if isinstance(part, FilePart) else part)
    return cast("_Result", _plain(parts))


def _document(document: body.Document) -> Iterator[Part]:
    cited = document.citations is not None and document.citations.enabled
    if document.context:
        yield TextPart(document.context)
    name = document.title or "file"
    match document.source:
        case body.URLSource(url=url):
            yield FilePart(_PDF, name=name, url=url, cited=cited)
        case body.TextSource(data=text):
            yield FilePart("text/plain", text.encode("utf-8", "replace"), name=name, cited=cited)
        case body.Base64Source(media_type=media_type, data=data):
            yield FilePart(media_type, data, name=name, cited=cited)


def _effort(asked: body.MessagesBody) -> Effort | None:
    """Return the reasoning effort: none where thinking is off, high where it is on without an effort."""
    effort: Effort | None = asked.output_config.effort
    match asked.thinking:
        case body.ThinkingOff():
            return "none"
        case body.ThinkingAdaptive() | body.ThinkingBetweenTools():
            return effort or "high"
        case _:
            return effort
