"""The chat completions format, spoken by OpenAI, by servers compatible with it, and by llama.cpp. Pure."""

from collections.abc import AsyncIterator

from organism.errors import UncertainError
from organism.providers.wire import Answer, Json, UsageError, inclusive_usage, parse, part, text_of
from organism.router.provider import Completion, CompletionRequest, TextSink

_DONE = "[DONE]"


def encode(request: CompletionRequest, *, cap_field: str, stream: bool) -> dict[str, object]:
    """Write a request as the format's JSON object.

    Args:
        request: What to ask.
        cap_field: The name of the output cap: newer models of OpenAI call it ``max_completion_tokens``.
        stream: Whether to ask for pieces, with usage in the last one.
    """
    body: dict[str, object] = {
        "model": request.model,
        "messages": [{"role": turn.role, "content": turn.content} for turn in request.messages],
        cap_field: request.max_output_tokens,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def decode(raw: bytes, provider: str, asked: str) -> Completion:
    """Read a whole answer.

    Raises:
        UncertainError: If it is not an answer in this format.
    """
    body = parse(raw, provider)
    choice = part(body, "choices", 0)
    if not isinstance(choice, dict):
        raise UncertainError(provider, "an answer without choices")
    answer = Answer(model=asked)
    _note_model(answer, body)
    answer.text.append(text_of(part(choice, "message", "content")))
    answer.finish_reason = text_of(choice.get("finish_reason")) or "stop"
    usage = body.get("usage")
    answer.usage = usage if isinstance(usage, dict) else None
    return finish(answer)


async def decode_stream(events: AsyncIterator[str], provider: str, asked: str, on_text: TextSink) -> Completion:
    """Read an answer in pieces, handing each to ``on_text``.

    Raises:
        UncertainError: If the stream breaks off before its end, or is not in this format.
    """
    answer = Answer(model=asked)
    async for data in events:
        if data == _DONE:
            break
        chunk = parse(data, provider)
        if (error := chunk.get("error")) is not None:
            raise UncertainError(provider, f"an error in the middle of the answer: {part(error, 'message') or error}")
        _note_model(answer, chunk)
        if (piece := text_of(part(chunk, "choices", 0, "delta", "content"))) != "":
            answer.text.append(piece)
            on_text(piece)
        answer.finish_reason = text_of(part(chunk, "choices", 0, "finish_reason")) or answer.finish_reason
        if isinstance(usage := chunk.get("usage"), dict):
            answer.usage = usage
    if answer.finish_reason is None:
        raise UncertainError(provider, "the answer broke off in the middle")
    return finish(answer)


def finish(answer: Answer) -> Completion:
    """Make an answer a completion; usage that cannot be believed is named, not used."""
    usage, fault = None, None
    if answer.usage is not None:
        try:
            usage = inclusive_usage(answer.usage)
        except UsageError as error:
            fault = str(error)
    return Completion(
        text="".join(answer.text),
        model=answer.model,
        finish_reason=answer.finish_reason or "stop",
        usage=usage,
        usage_error=fault,
    )


def _note_model(answer: Answer, body: Json) -> None:
    answer.model = text_of(body.get("model")) or answer.model
