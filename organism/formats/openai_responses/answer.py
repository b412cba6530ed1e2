"""Answers of OpenAI's responses, read: whole, and as a stream of events. Pure."""

from collections.abc import AsyncIterator

from organism.errors import UncertainError
from organism.formats.answer_collector import Answer
from organism.formats.counts import reported_cost, responses_usage
from organism.formats.json_reading import Json, part, text_of
from organism.formats.refusals import parse_answer, refused_in
from organism.formats.vendors import Vendor
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink

_REASONS = {"max_output_tokens": "length"}
_SEALED = "reasoning.encrypted_content"


def decode(raw: bytes, vendor: Vendor, provider: str, asked: str) -> Completion:
    """Read a whole answer.

    Raises:
        UncertainError: If it is not an answer in this format, or says that it failed.
    """
    return _completion(parse_answer(raw, provider), vendor, provider, asked)


async def decode_stream(
    events: AsyncIterator[str], vendor: Vendor, provider: str, asked: str, on_text: DeltaSink
) -> Completion:
    """Read an answer in pieces, handing each to ``on_text``; its last event has the whole answer once more.

    Raises:
        UncertainError: If the stream breaks off before its end, or is not in this format.
    """
    begun, started = False, False
    async for data in events:
        event = parse_answer(data, provider, begun=begun, started=started)
        started, begun = True, begun or str(event.get("type")).endswith(".delta")
        match event.get("type"):
            case "response.output_text.delta":
                if piece := text_of(event.get("delta")):
                    on_text(piece)
            case "response.reasoning_summary_text.delta" | "response.function_call_arguments.delta":
                on_text("")  # a sign of life
            case "response.failed" if not begun and (
                refused := refused_in(event.get("response"), provider, started=True)
            ):
                raise refused
            case "response.completed" | "response.incomplete" | "response.failed":
                whole = event.get("response")
                return _completion(whole if isinstance(whole, dict) else {}, vendor, provider, asked)
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
