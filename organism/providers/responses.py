"""OpenAI's responses format, spoken by OpenAI, by some compatible servers, and by llama.cpp. Pure.

Nothing is stored at the provider: each request carries its whole conversation, as in the other formats.
"""

from collections.abc import AsyncIterator, Iterator

from organism.errors import UncertainError
from organism.providers.answer import Answer
from organism.providers.attachments import file_text
from organism.providers.chat import data_url
from organism.providers.counts import reported_cost, responses_usage
from organism.providers.vendors import Vendor
from organism.providers.wire import Json, parse, part, text_of
from organism.router.provider import (
    ChatMessage,
    Completion,
    CompletionRequest,
    FilePart,
    ImagePart,
    OneTool,
    Part,
    Reasoning,
    ResponseFormat,
    TextPart,
    TextSink,
    ToolCall,
    ToolResult,
)

_REASONS = {"max_output_tokens": "length"}
_SEALED = "reasoning.encrypted_content"


# -- requests ---------------------------------------------------------------------------------------------------------


def encode(request: CompletionRequest, *, stream: bool) -> Json:
    """Write a request as the format's JSON object. It knows neither a seed nor texts that end the answer.

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
        "input": [item for turn in request.messages for item in _items(turn)],
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


# -- answers ----------------------------------------------------------------------------------------------------------


def decode(raw: bytes, vendor: Vendor, provider: str, asked: str) -> Completion:
    """Read a whole answer.

    Raises:
        UncertainError: If it is not an answer in this format, or says that it failed.
    """
    return _completion(parse(raw, provider), vendor, provider, asked)


async def decode_stream(
    events: AsyncIterator[str], vendor: Vendor, provider: str, asked: str, on_text: TextSink
) -> Completion:
    """Read an answer in pieces, handing each to ``on_text``; its last event has the whole answer once more.

    Raises:
        UncertainError: If the stream breaks off before its end, or is not in this format.
    """
    async for data in events:
        event = parse(data, provider)
        match event.get("type"):
            case "response.output_text.delta":
                if piece := text_of(event.get("delta")):
                    on_text(piece)
            case "response.reasoning_summary_text.delta" | "response.function_call_arguments.delta":
                on_text("")  # a sign of life
            case "response.completed" | "response.incomplete" | "response.failed":
                whole = event.get("response")
                return _completion(whole if isinstance(whole, dict) else {}, vendor, provider, asked)
            case "error":
                said = part(event, "message") or part(event, "error", "message")
                raise UncertainError(provider, f"an error in the middle of the answer: {said}")
            case _:
                pass
    raise UncertainError(provider, "the answer broke off in the middle")


def _completion(body: Json, vendor: Vendor, provider: str, asked: str) -> Completion:
    output = body.get("output")
    if body.get("status") == "failed" or not isinstance(output, list):
        raise UncertainError(provider, f"no answer: {part(body, 'error', 'message') or 'an answer without output'}")
    answer = Answer(text_of(body.get("model")) or asked)
    for place, item in enumerate(output):
        _read_item(answer, place, item)
    answer.finish_reason = text_of(part(body, "incomplete_details", "reason")) or "stop"
    answer.count(body.get("usage"))
    return answer.completion(responses_usage, lambda usage: reported_cost(usage, vendor), _REASONS)


def _read_item(answer: Answer, place: int, item: object) -> None:
    match part(item, "type"):
        case "message":
            content = part(item, "content")
            for piece in content if isinstance(content, list) else ():
                answer.write(text_of(part(piece, "text")) or text_of(part(piece, "refusal")))
        case "function_call":
            answer.call(
                place,
                call_id=text_of(part(item, "call_id")),
                name=text_of(part(item, "name")),
                arguments=text_of(part(item, "arguments")),
            )
        case "reasoning":
            summary, content = part(item, "summary"), part(item, "content")
            pieces = [*(summary if isinstance(summary, list) else ()), *(content if isinstance(content, list) else ())]
            answer.think(
                "".join(text_of(part(piece, "text")) for piece in pieces),
                place,
                signature=text_of(part(item, "encrypted_content")),
                thought_id=text_of(part(item, "id")),
            )
        case _:
            pass
