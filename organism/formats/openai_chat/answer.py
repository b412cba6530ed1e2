"""Answers of chat completions, read: whole, and as a stream of chunks. Pure."""

from collections.abc import AsyncIterator

from organism.errors import ProviderError, RejectedError, UncertainError
from organism.formats.answer_collector import Answer
from organism.formats.counts import chat_usage, reported_cost
from organism.formats.json_reading import Json, part, text_of
from organism.formats.refusals import parse_answer
from organism.formats.vendors import Vendor
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink

_DONE = "[DONE]"
_REASONS = {"function_call": "tool_calls"}
_SCHEMA_IN_WORDS = "Answer with one JSON object, and nothing else, that fits this JSON Schema:\n"


def decode(raw: bytes, vendor: Vendor, provider: str, asked: str) -> Completion:
    """Read a whole answer.

    Raises:
        UncertainError: If it is not an answer in this format.
    """
    body = parse_answer(raw, provider)
    choice = part(body, "choices", 0)
    if not isinstance(choice, dict):
        raise _without_choices(body, provider)
    answer = Answer(text_of(body.get("model")) or asked)
    _read(answer, part(choice, "message"))
    answer.finish_reason = text_of(choice.get("finish_reason")) or "stop"
    answer.count(body.get("usage"))
    return _completion(answer, vendor)


async def decode_stream(
    events: AsyncIterator[str], vendor: Vendor, provider: str, asked: str, on_text: DeltaSink
) -> Completion:
    """Read an answer in pieces, handing each to ``on_text``.

    Raises:
        UncertainError: If the stream breaks off before its end, or is not in this format.
    """
    answer = Answer(asked, on_text)
    chunk: Json | None = None
    async for data in events:
        if data == _DONE:
            break
        chunk = parse_answer(data, provider, begun=answer.begun)
        answer.model = text_of(chunk.get("model")) or answer.model
        _read(answer, part(chunk, "choices", 0, "delta"))
        answer.finish_reason = text_of(part(chunk, "choices", 0, "finish_reason")) or answer.finish_reason
        answer.count(chunk.get("usage"))
    if answer.finish_reason is None:
        if not answer.begun and not answer.counted and chunk is not None:
            raise _without_choices(chunk, provider)
        raise UncertainError(provider, "the answer broke off in the middle")
    return _completion(answer, vendor)


def _without_choices(body: Json, provider: str) -> ProviderError:
    """Say what an answer of nothing means: a relay writes null choices when nobody served it, and counts nothing."""
    if "choices" in body and body["choices"] is None and not body.get("usage"):
        return RejectedError(provider, "an answer without choices: nobody behind it has served it", meaning="failed")
    return UncertainError(provider, "an answer without choices, or one that broke off in the middle")


def _read(answer: Answer, message: object) -> None:
    """Add a message, or a piece of one: both have the same fields."""
    content = part(message, "content")
    for piece in content if isinstance(content, list) else ():  # thinking among the text, as Mistral has it
        answer.write(text_of(part(piece, "text")))
        answer.think(text_of(part(piece, "thinking", 0, "text")))
    answer.write(text_of(content))
    answer.think(text_of(part(message, "reasoning_content")) or text_of(part(message, "reasoning")))
    calls = part(message, "tool_calls")
    for place, call in enumerate(calls if isinstance(calls, list) else ()):
        index = part(call, "index")
        answer.call(
            index if isinstance(index, int) else place,
            call_id=text_of(part(call, "id")),
            name=text_of(part(call, "function", "name")),
            arguments=text_of(part(call, "function", "arguments")),
        )


def _completion(answer: Answer, vendor: Vendor) -> Completion:
    return answer.completion(
        lambda usage: chat_usage(usage, vendor),
        lambda usage: reported_cost(usage, vendor),
        _REASONS,
    )
