"""OpenAI's responses format, spoken by OpenAI, by some compatible servers, and by llama.cpp. Pure.

Nothing is stored at the provider: each request carries its whole conversation, as in the other formats.
"""

from collections.abc import Iterator

from organism.formats.attachments import file_text
from organism.formats.conversation import ANY_ID, mended
from organism.formats.data_urls import data_url
from organism.formats.json_reading import Json
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
)

_REASONS = {"max_output_tokens": "length"}
_SEALED = "reasoning.encrypted_content"


def untaken(request: CompletionRequest) -> str | None:
    """Return what a request asks for that this format has no word for; ``None`` when there is nothing."""
    if request.stop:
        return "'stop'"
    return None if request.seed is None else "'seed'"


def encode(request: CompletionRequest, *, stream: bool) -> Json:
    """Write a request as the format's JSON object. What it has no words for: :func:`untaken`.

    Args:
        request: What to ask.
        stream: Whether to ask for pieces.
    """
    thinks = request.reasoning_effort not in {None, "none"}
    options: Json = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": stream or None,
        "reasoning": {"effort": request.reasoning_effort} if request.reasoning_effort is not None else None,
        "include": [_SEALED] if thinks else None,
        "text": {"format": _form(request.response_format)} if request.response_format is not None else None,
        **_tools(request),
    }
    body: Json = {
        "model": request.model,
        "input": [item for turn in mended(request.messages, ANY_ID) for item in _items(turn)],
        "max_output_tokens": request.max_output_tokens,
        "store": False,
    }
    return body | {name: value for name, value in options.items() if value is not None}


def _items(turn: ChatMessage) -> Iterator[Json]:
    """Write one turn as items; calls, results and thoughts are items of their own in this format."""
    if isinstance(turn.content, str):
        yield {"type": "message", "role": turn.role, "content": turn.content}
        return
    rest: list[Json] = []
    for piece in turn.content:
        match piece:
            case ToolCall():
                yield {
                    "type": "function_call",
                    "call_id": piece.id,
                    "name": piece.name,
                    "arguments": piece.arguments,
                }
            case ToolResult():
                inner = piece.content if isinstance(piece.content, str) else [_part(each) for each in piece.content]
                yield {"type": "function_call_output", "call_id": piece.call_id, "output": inner}
            case Reasoning():
                if piece.id and piece.signature:  # anything else cannot be verified, and is refused
                    yield {
                        "type": "reasoning",
                        "id": piece.id,
                        "summary": [],
                        "encrypted_content": piece.signature,
                    }
            case TextPart(text=text) if turn.role == "assistant":
                yield {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
            case _:
                rest.append(_part(piece))
    if rest:
        yield {"type": "message", "role": turn.role, "content": rest}


def _part(piece: Part) -> Json:
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


def _tools(request: CompletionRequest) -> Json:
    if not request.tools:
        return {}
    choice = request.tool_choice
    return {
        "tools": [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": tool.strict,
            }
            for tool in request.tools
        ],
        "tool_choice": {"type": "function", "name": choice.name} if isinstance(choice, OneTool) else choice,
        "parallel_tool_calls": request.parallel_tool_calls,
    }


def _form(form: ResponseFormat) -> Json:
    if form.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "name": form.name, "schema": form.schema, "strict": form.strict}
