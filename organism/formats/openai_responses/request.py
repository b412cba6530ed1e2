"""OpenAI's responses format, spoken by OpenAI, by some compatible servers, and by llama.cpp. Pure.

Nothing is stored at the provider: each request carries its whole conversation, as in the other formats.
"""

from collections.abc import Iterator

from organism.formats.conversation import ANY_ID, mended
from organism.formats.json_reading import JsonObject
from organism.formats.media.attachments import file_text
from organism.formats.media.data_urls import data_url
from organism.formats.native_tools import CallNames, write_tools
from organism.formats.vendor_items import fields_for, foreign_to, sampling_untaken
from organism.llm.requests import (
    ChatMessage,
    CompletionRequest,
    FilePart,
    ImagePart,
    OneTool,
    Part,
    Reasoning,
    ResponseFormat,
    TextPart,
    ToolCall,
    ToolResult,
    VendorItem,
)
from organism.llm.server_tools import USES_MAX, needs_calls_max

_SEALED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"


COUNTED = frozenset(
    {"model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", "truncation"}
)
"""Fields of a request that count towards its input; source: ``POST /v1/responses/input_tokens``."""


def untaken(request: CompletionRequest) -> str | None:
    """Return, in words, what a request needs and this format lacks; ``None`` if there is nothing."""
    for name in ("stop", "top_k", "presence_penalty", "frequency_penalty", "logit_bias"):
        if getattr(request, name):
            return repr(name)
    return sampling_untaken(request, "seed", "n") or foreign_to(request, "responses")


def encode(request: CompletionRequest, *, stream: bool) -> JsonObject:
    """Write a request as the format's JSON object; features it lacks are refused before, see :func:`untaken`.

    Args:
        request: The request.
        stream: Whether to ask for a stream.
    """
    fields = fields_for(request, "responses")
    thinks = request.reasoning_effort not in {None, "none"}
    include = [*fields.pop("include", ()), *([_SEALED] if thinks else ())]
    if request.logprobs is not None:
        include.append(_LOGPROBS)
    if needs_calls_max(request):
        fields["max_tool_calls"] = USES_MAX
    reasoning = fields.pop("reasoning", {}) | ({"effort": effort} if (effort := request.reasoning_effort) else {})
    names = CallNames(request.tools)
    called: dict[str, str] = {}
    options: JsonObject = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": stream or None,
        "reasoning": reasoning or None,
        "include": list(dict.fromkeys(include)) or None,
        "text": _text(request) or None,
        "top_logprobs": request.logprobs or None,
        "service_tier": request.service_tier,
        **_tools(request, names),
        **fields,
    }
    body: JsonObject = {
        "model": request.model,
        "input": [item for turn in mended(request.messages, ANY_ID) for item in _items(turn, names, called)],
        "max_output_tokens": request.max_output_tokens,
        "store": False,
    }
    return body | {name: value for name, value in options.items() if value is not None}


def _items(turn: ChatMessage, names: CallNames, called: dict[str, str]) -> Iterator[JsonObject]:
    """Write one turn as items; calls, results and thoughts are items of their own in this format."""
    if isinstance(turn.content, str):
        yield {"type": "message", "role": turn.role, "content": turn.content}
        return
    rest: list[JsonObject] = []
    for piece in turn.content:
        match piece:
            case ToolCall():
                called[piece.id] = piece.name
                yield names.write(piece, piece.id)
            case ToolResult():
                inner = piece.content if isinstance(piece.content, str) else [_part(each) for each in piece.content]
                kind = names.write_result(called.get(piece.call_id, ""))
                yield {"type": kind, "call_id": piece.call_id, "output": inner}
            case VendorItem(value=value):
                yield value
            case Reasoning():
                if piece.id and piece.signature:  # OpenAI refuses reasoning that it cannot verify
                    yield {
                        "type": "reasoning",
                        "id": piece.id,
                        "summary": [],
                        "encrypted_content": piece.signature,
                    }
            case TextPart() if turn.role == "assistant":
                yield {"type": "message", "role": "assistant", "content": [_said(piece)]}
            case _:
                rest.append(_part(piece))
    if rest:
        yield {"type": "message", "role": turn.role, "content": rest}


def _said(piece: TextPart) -> JsonObject:
    """Write text of the model, with citations that came in this format."""
    cited = [each.native for each in piece.citations if each.format == "responses"]
    return {"type": "output_text", "text": piece.text} | ({"annotations": cited} if cited else {})


def _part(piece: Part) -> JsonObject:
    match piece:
        case TextPart(text=text):
            return {"type": "input_text", "text": text}
        case ImagePart():
            url = piece.url or data_url(piece.media_type, piece.data)
            return {"type": "input_image", "image_url": url, "detail": piece.detail}
        case FilePart() if (words := file_text(piece)) is not None:
            return {"type": "input_text", "text": words}
        case FilePart() if piece.url:
            return {"type": "input_file", "file_url": piece.url}
        case FilePart():
            return {
                "type": "input_file",
                "filename": piece.name,
                "file_data": data_url(piece.media_type, piece.data),
            }
        case _:
            raise TypeError(piece)


def _text(request: CompletionRequest) -> JsonObject:
    form = {} if request.response_format is None else {"format": _form(request.response_format)}
    return form | ({} if request.verbosity is None else {"verbosity": request.verbosity})


def _tools(request: CompletionRequest, names: CallNames) -> JsonObject:
    if not request.tools and not request.vendor_tools:
        return {}
    choice: object = request.tool_choice
    if isinstance(choice, OneTool):
        kind = "custom" if names.is_custom(choice.name) else "function"
        choice = {"type": kind, "name": names.own_name(choice.name)}
    return {
        "tools": write_tools(request),
        "tool_choice": choice,
        "parallel_tool_calls": request.parallel_tool_calls,
    }


def _form(form: ResponseFormat) -> JsonObject:
    if form.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "name": form.name, "schema": form.schema, "strict": form.strict}
