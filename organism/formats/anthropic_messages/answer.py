"""Answers of Anthropic's messages, read: whole, and as a stream of events. Pure."""

from collections.abc import AsyncIterator

import msgspec

from organism.errors import UncertainError
from organism.formats.answer_collector import Answer
from organism.formats.attachments import ImageRule
from organism.formats.counts import messages_usage
from organism.formats.json_reading import Json, part, text_of
from organism.formats.refusals import parse_answer
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink

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


def decode(raw: bytes, provider: str, asked: str) -> Completion:
    """Read a whole answer.

    Raises:
        UncertainError: If it is not an answer in this format.
    """
    body = parse_answer(raw, provider)
    content = body.get("content")
    if not isinstance(content, list):
        raise UncertainError(provider, "an answer without content")
    answer = Answer(text_of(body.get("model")) or asked)
    for place, block in enumerate(content):
        _read_block(answer, place, block)
    answer.finish_reason = text_of(body.get("stop_reason")) or "end_turn"
    answer.count(body.get("usage"))
    return answer.completion(messages_usage, reasons=_REASONS)


async def decode_stream(events: AsyncIterator[str], provider: str, asked: str, on_text: DeltaSink) -> Completion:
    """Read an answer in pieces, handing each to ``on_text``.

    Usage comes twice: with the first event and, cumulative, with the last delta.

    Raises:
        UncertainError: If the stream breaks off before its end, or is not in this format.
    """
    answer = Answer(asked, on_text)
    async for data in events:
        event = parse_answer(data, provider, begun=answer.begun, started=answer.counted)
        place = event.get("index")
        index = place if isinstance(place, int) else 0
        match event.get("type"):
            case "message_start":
                answer.model = text_of(part(event, "message", "model")) or asked
                answer.count(part(event, "message", "usage"))
            case "content_block_start":
                _read_block(answer, index, event.get("content_block"), begins=True)
            case "content_block_delta":
                _read_delta(answer, index, event.get("delta"))
            case "message_delta":
                answer.finish_reason = text_of(part(event, "delta", "stop_reason")) or answer.finish_reason
                answer.count(event.get("usage"))
            case "message_stop":
                break
            case _:
                pass
    if answer.finish_reason is None:
        raise UncertainError(provider, "the answer broke off in the middle")
    return answer.completion(messages_usage, reasons=_REASONS)


def _read_block(answer: Answer, place: int, block: object, *, begins: bool = False) -> None:
    """Add a block; one that only begins has no arguments yet."""
    match part(block, "type"):
        case "text":
            answer.write(text_of(part(block, "text")))
        case "tool_use":
            arguments = "" if begins else msgspec.json.encode(part(block, "input")).decode()
            answer.call(
                place, call_id=text_of(part(block, "id")), name=text_of(part(block, "name")), arguments=arguments
            )
        case "thinking":
            answer.think(text_of(part(block, "thinking")), place, signature=text_of(part(block, "signature")))
        case "redacted_thinking":
            answer.think("", place, signature=text_of(part(block, "data")), redacted=True)
        case _:
            pass


def _read_delta(answer: Answer, place: int, delta: object) -> None:
    match part(delta, "type"):
        case "input_json_delta":
            answer.call(place, arguments=text_of(part(delta, "partial_json")))
        case "thinking_delta":
            answer.think(text_of(part(delta, "thinking")), place)
        case "signature_delta":
            answer.think("", place, signature=text_of(part(delta, "signature")))
        case _:
            answer.write(text_of(part(delta, "text")))
