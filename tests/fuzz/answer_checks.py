"""What must hold of whatever a provider sends: how it is read, charged, and written to clients of every format."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from organism.amounts import TokenUsage
from organism.errors import ProviderError, RejectedError, UncertainError
from organism.formats import server_formats
from organism.formats.answers.decoder import AnswerDecoder, AnswerReader
from organism.formats.answers.event_stream import EventStreamParser, EventTooLargeError
from organism.formats.anthropic_messages.answer import MessagesReader
from organism.formats.errors.refusals import error_in
from organism.formats.json_reading import part, values_in
from organism.formats.openai_chat.answer import ChatReader
from organism.formats.openai_responses.answer import ResponsesReader
from organism.formats.server_format import Meta, ServerFormat
from organism.formats.vendors import COMPATIBLE, VENDORS
from organism.llm.answers import Completion
from organism.llm.deltas import (
    CitationDelta,
    Delta,
    DeltaRecord,
    ProviderPiece,
    ProviderSink,
    ReasoningDelta,
    TextBreak,
    ToolCallDelta,
)
from organism.llm.requests import CompletionRequest, VendorItem
from organism.router.answers.answer_checks import checked_answer
from organism.router.answers.charge import Charge
from organism.router.answers.piece_checks import checked_piece
from tests.formats.dialects.judge import charged
from tests.formats.dialects.truth import TOOLS
from tests.fuzz.answer_streams import Answer

TOOL = {"name": "f", "parameters": {"type": "object"}}
ASKED: dict[str, tuple[ServerFormat, dict[str, Any]]] = {
    "chat": (server_formats.CHAT, {"messages": [{"role": "user", "content": "hi"}],
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": {"name": name}} for name in TOOLS]}),
    "responses": (server_formats.RESPONSES, {"input": "hi",
        "tools": [{"type": "function", "name": name} for name in TOOLS]}),
    "messages": (server_formats.MESSAGES, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9,
        "tools": [{"name": name, "input_schema": {"type": "object"}} for name in TOOLS]}),
    "completions": (server_formats.COMPLETIONS, {"prompt": "hi"}),
}  # fmt: skip
META = Meta(id="i", created_s=1)
Heard = tuple[Completion | ProviderError, list[ProviderPiece]]


def reader_of(answer: Answer, request: CompletionRequest, sink: ProviderSink | None) -> AnswerReader:
    """Return what reads an answer's format."""
    vendor = VENDORS["openai"] if answer.known else COMPATIBLE
    match answer.name:
        case "chat":
            return ChatReader(request, vendor, sink)
        case "responses":
            return ResponsesReader(request, vendor, sink)
        case _:
            return MessagesReader(request, sink)


def heard(answer: Answer, pieces: list[bytes], request: CompletionRequest) -> Heard:
    """Read an answer to its last byte; whatever else than an error of a provider comes out of it is a crash."""
    told: list[ProviderPiece] = []
    sink = told.append
    decoder = AnswerDecoder("p", reader_of(answer, request, sink), sink)
    try:
        for piece in pieces:
            decoder.feed(piece)
            assert isinstance(decoder.is_ended, bool)
            assert isinstance(decoder.is_counted, bool)
        return decoder.finish(), told
    except (UncertainError, RejectedError) as error:
        return error, told
    except EventTooLargeError as error:
        return UncertainError("p", str(error)), told


def faults_of(answer: Answer, pieces: list[bytes]) -> Iterator[str]:
    """Say what is wrong with how an answer was read."""
    request = answer.truth.request
    result, told = heard(answer, pieces, request)
    whole, _ = heard(answer, [answer.raw], request)
    if _shape(whole) != _shape(result):
        yield f"by the split: {_shape(result)}, whole: {_shape(whole)}"
    charge = charged(result, request)
    yield from _charge_faults(answer, result, charge)
    if not isinstance(result, Completion):
        return
    checked = checked_answer(result, request, "p")
    assert isinstance(checked, Completion)
    deltas = [piece for each in told if _is_shown(piece := checked_piece(each))]
    if not _says_twice(answer):
        yield from _piece_faults(checked, deltas)
    for name, (format_, body) in ASKED.items():
        yield from _written_faults(name, format_, body, checked, deltas)


def _says_twice(answer: Answer) -> bool:
    """Whether the whole comes behind its pieces, and may say something else than they did, each time it comes."""
    return answer.name == "responses" or (answer.name == "chat" and b'"message"' in answer.raw)


def _shape(result: Completion | ProviderError) -> object:
    if isinstance(result, Completion):
        return result
    return type(result).__name__, getattr(result, "meaning", None)


def _is_shown(piece: ProviderPiece) -> bool:
    return isinstance(piece, str | ReasoningDelta | ToolCallDelta | VendorItem | TextBreak | CitationDelta)


def _charge_faults(answer: Answer, result: Completion | ProviderError, charge: Charge) -> Iterator[str]:
    """Nothing is charged below what came, nor above what anybody counts; only what was refused is free."""
    usage = charge.usage
    if min(usage.input, usage.cached_input, usage.cache_write, usage.output, usage.reasoning) < 0:
        yield f"negative: {usage}"
    if (charge.cost_nanousd or 0) < 0:
        yield f"negative: {charge.cost_nanousd}"
    if charge.outcome == "released" and not isinstance(result, RejectedError):
        yield f"free: {result!r}"
    if charge.outcome != "released" and not usage.total:
        yield f"recorded nothing as {charge.outcome} of {result!r}"
    if isinstance(result, RejectedError) and (counted := _said(answer)):
        yield f"free though counted: {counted}, {result!r}"


def _said(answer: Answer) -> list[object]:
    """Return the words and counts that came before an error, as a plain reader of the reference finds them."""
    found: list[object] = []
    if not answer.is_stream:
        return found
    for event in EventStreamParser().feed(answer.raw):
        for value in values_in(event.data) or ():
            if error_in(value) is not None or part(value, "type") == "response.failed":
                return found
            found += _plain_words(answer.name, value)
    return found


def _plain_words(name: str, value: Any) -> Iterator[object]:
    try:
        match name:
            case "chat":
                words = value["choices"][0]["delta"]["content"]
            case "responses":
                words = value["delta"] if value["type"] == "response.output_text.delta" else ""
            case _:
                words = value["delta"]["text"] if value["type"] == "content_block_delta" else ""
    except (KeyError, TypeError, IndexError):
        return
    if isinstance(words, str) and words:
        yield words


def _piece_faults(answer: Completion, deltas: list[Delta]) -> Iterator[str]:
    """What was handed on while it came is the beginning of what the answer is."""
    record = DeltaRecord()
    for delta in deltas:
        record.add(delta)
    if record.rest_of(answer) is None:
        yield f"handed on {deltas}, which {answer} does not begin with"


def _written_faults(
    name: str, format_: ServerFormat, body: dict[str, Any], answer: Completion, deltas: list[Delta]
) -> Iterator[str]:
    """An answer is written as JSON that its own reader takes for the same answer."""
    asked = format_.read({"model": "m", "stream": True, **body}, 100)
    whole = json.dumps(format_.whole(asked, META, answer)).encode()
    record, writer = DeltaRecord(), format_.writer(asked, META)
    stream = writer.begin()
    for delta in deltas:
        record.add(delta)
        stream += writer.delta(delta) if delta != "" else b""
    rest = record.rest_of(answer)
    stream += b"".join(writer.delta(delta) for delta in rest or ()) + writer.end(answer)
    stream.decode()
    if name == "completions":
        return
    for raw in (whole,) if rest is None else (whole, stream):
        again = heard(Answer(name, None, True, raw, True), [raw], asked.request)[0]  # type: ignore[arg-type]
        if not isinstance(again, Completion):
            if _is_something(answer):
                yield f"{name}: written as {raw!r}, which is {again!r}"
            continue
        if again.text != answer.text and answer.refusal in {"", answer.text}:
            yield f"{name}: text {again.text!r}, not {answer.text!r}: {raw!r}"
        if answer.is_complete and _calls(again) != _calls(answer):
            yield f"{name}: calls {again.tool_calls}, not {answer.tool_calls}: {raw!r}"
        if answer.usage is not None and not _same(again.usage, answer.usage):
            yield f"{name}: {again.usage}, not {answer.usage}: {raw!r}"


def _calls(answer: Completion) -> list[tuple[str, str]]:
    """Return calls in some order, for one that could not be shown while it came is shown last."""
    return sorted((call.name, _object(call.arguments)) for call in answer.tool_calls)


def _object(text: str) -> str:
    """Write arguments in one way; what is no object, or has half a character, stands in one where one is wanted."""
    try:
        value = json.loads(text)
        msgspec.json.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        value = None
    return json.dumps(value if isinstance(value, dict) else {"arguments": text}, sort_keys=True)


def _is_something(answer: Completion) -> bool:
    return bool(answer.text or answer.tool_calls)


def _same(again: TokenUsage | None, usage: TokenUsage) -> bool:
    return again is not None and again.total == usage.total
