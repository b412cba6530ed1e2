"""The messages format, spoken by Anthropic, by servers compatible with it, and by llama.cpp. Pure."""

import json
from base64 import b64encode
from collections.abc import Iterator

import msgspec

from organism.formats.attachments import ImageRule, file_text
from organism.formats.json_reading import Json
from organism.llm.requests import (
    ChatMessage,
    CompletionRequest,
    FilePart,
    ImagePart,
    OneTool,
    Part,
    Reasoning,
    TextPart,
    ToolCall,
    ToolResult,
)

THINKING_MIN_TOKENS = 1024
"""Anthropic takes no smaller budget for thinking."""

TOOL_TOKENS = 1000
"""Anthropic publishes up to 804 tokens of its own instructions when there are tools."""

IMAGES = (ImageRule(most=4_784, patch=28, patch_permille=1_046),)
"""What Anthropic publishes: a token for each 28 x 28 pixels, by its older rule one for each 750; at most 4,784 with its
newest models, to which larger images are made smaller, and 1,568 with older ones. Source: "Images and vision"."""

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_EFFORTS = {"minimal": "low"}
_SCHEMA_IN_WORDS = "Answer with one JSON object, and nothing else"
_KEEP: Json = {"cache_control": {"type": "ephemeral"}}


def encode(request: CompletionRequest, *, stream: bool, holds_to_schemas: bool = True) -> Json:
    """Write a request as the format's JSON object: instructions stand apart from the conversation in it.

    Args:
        request: What to ask.
        stream: Whether to ask for pieces.
        holds_to_schemas: Whether the server holds an answer to a JSON Schema; if not, it is asked to in words.
    """
    system = [block for turn in request.messages if turn.role == "system" for block in _blocks(turn)]
    system += [{"type": "text", "text": words} for words in _form_in_words(request, holds_to_schemas)]
    body: Json = {
        "model": request.model,
        "messages": [_turn(turn) for turn in request.messages if turn.role != "system"],
        "max_tokens": request.max_output_tokens,
    }
    options: Json = {
        # A lone text is written as text: some compatible servers know no other form.
        "system": system[0]["text"] if len(system) == 1 and "cache_control" not in system[0] else system or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop_sequences": list(request.stop) or None,
        "stream": stream or None,
        **_tools(request),
        **_thinking(request),
    }
    config: Json = {}
    if request.reasoning_effort not in {None, "none"}:
        config["effort"] = _EFFORTS.get(str(request.reasoning_effort), request.reasoning_effort)
    if request.response_format is not None and request.response_format.schema is not None and holds_to_schemas:
        config["format"] = {"type": "json_schema", "schema": request.response_format.schema}
    options["output_config"] = config or None
    return body | {name: value for name, value in options.items() if value is not None}


def _form_in_words(request: CompletionRequest, holds_to_schemas: bool) -> Iterator[str]:
    form = request.response_format
    if form is not None and form.schema is None:
        yield f"{_SCHEMA_IN_WORDS}."
    elif form is not None and not holds_to_schemas:
        yield f"{_SCHEMA_IN_WORDS}, that fits this JSON Schema:\n{msgspec.json.encode(form.schema).decode()}"


def _thinking(request: CompletionRequest) -> Json:
    """Ask for thinking within the output cap, which the router may have shrunk."""
    if request.reasoning_tokens is not None:
        budget = min(request.reasoning_tokens, request.max_output_tokens - 1)
        return {"thinking": {"type": "enabled", "budget_tokens": budget}} if budget >= THINKING_MIN_TOKENS else {}
    match request.reasoning_effort:
        case None:
            return {}
        case "none":
            return {"thinking": {"type": "disabled"}}
        case _:
            return {"thinking": {"type": "adaptive"}}


def _tools(request: CompletionRequest) -> Json:
    if not request.tools:
        return {}
    choice = request.tool_choice
    wire: Json = {"type": "tool", "name": choice.name} if isinstance(choice, OneTool) else {"type": _CHOICES[choice]}
    if request.parallel_tool_calls is False and choice != "none":
        wire["disable_parallel_tool_use"] = True
    tools = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in request.tools
    ]
    return {"tools": tools, "tool_choice": wire}


def _turn(turn: ChatMessage) -> Json:
    if isinstance(turn.content, str) and not turn.cache:
        return {"role": turn.role, "content": turn.content}
    return {"role": turn.role, "content": list(_blocks(turn))}


def _blocks(turn: ChatMessage) -> Iterator[Json]:
    """Write a turn's parts; the mark to keep the conversation goes to the last one."""
    pieces = turn.parts
    for place, piece in enumerate(pieces):
        last = place == len(pieces) - 1
        yield _block(piece) | (_KEEP if turn.cache and last else {})


def _block(piece: Part) -> Json:
    match piece:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ImagePart() | FilePart():
            return _attachment(piece)
        case ToolCall():
            return {"type": "tool_use", "id": piece.id, "name": piece.name, "input": _object(piece.arguments)}
        case ToolResult():
            inner = piece.content if isinstance(piece.content, str) else [_block(each) for each in piece.content]
            result: Json = {"type": "tool_result", "tool_use_id": piece.call_id, "content": inner}
            return result | ({"is_error": True} if piece.is_error else {})
        case Reasoning(redacted=True):
            return {"type": "redacted_thinking", "data": piece.signature}
        case Reasoning():
            return {"type": "thinking", "thinking": piece.text, "signature": piece.signature}


def _attachment(piece: ImagePart | FilePart) -> Json:
    if isinstance(piece, FilePart) and (words := file_text(piece)) is not None:
        return {"type": "text", "text": words}
    source: Json = {"type": "base64", "media_type": piece.media_type, "data": b64encode(piece.data).decode()}
    if piece.url:
        source = {"type": "url", "url": piece.url}
    if isinstance(piece, ImagePart):
        return {"type": "image", "source": source}
    return {"type": "document", "title": piece.name, "source": source}


def _object(arguments: str) -> Json:
    """Write arguments as the object this format wants; what a model has garbled is kept as text."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}
