"""What a stream has shown is the beginning of its answer, however the server says it once more at the end."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from organism.formats.answers.decoder import AnswerDecoder, AnswerReader
from organism.formats.anthropic_messages.answer import MessagesReader
from organism.formats.openai_chat.answer import ChatReader
from organism.formats.openai_responses.answer import ResponsesReader
from organism.formats.vendors import VENDORS
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, DeltaRecord, ProviderPiece, ReasoningDelta, RefusalDelta, ToolCallDelta
from organism.llm.requests import ChatMessage, CompletionRequest, Tool

Json = dict[str, Any]

REQUEST = CompletionRequest(
    model="m",
    messages=(ChatMessage("user", "hi"),),
    max_output_tokens=100,
    tools=tuple(Tool(name, "", {"type": "object"}) for name in ("get", "now", "set")),
)
CALLS = (("get", '{"n":1}'), ("now", "{}"), ("set", '{"n":2}'))
LONG = {"text": "x" * 400}
SPACED, COMPACT = json.dumps(LONG), json.dumps(LONG, separators=(",", ":"))


def read(reader: type[AnswerReader], events: list[Json]) -> tuple[Completion, list[Delta]]:
    shown: list[ProviderPiece] = []
    vendor = () if reader is MessagesReader else (VENDORS["openai"],)
    decoder = AnswerDecoder("p", reader(REQUEST, *vendor, shown.append), shown.append)  # type: ignore[call-arg]
    for event in events:
        decoder.feed(f"data: {json.dumps(event)}\n\n".encode())
    return decoder.finish(), [each for each in shown if isinstance(each, str | ReasoningDelta | ToolCallDelta)]


def completed(answer: Completion, shown: list[Delta]) -> str:
    """Return the calls a client has at the end, and its text."""
    record = DeltaRecord()
    for delta in shown:
        record.add(delta)
    rest = record.rest_of(answer)
    assert rest is not None, "what was shown is none of the answer's"
    written: dict[str, str] = {}
    for delta in (*shown, *rest):
        if isinstance(delta, ToolCallDelta):
            written[delta.name] = written.get(delta.name, "") + delta.arguments
    assert written == {call.name: call.arguments for call in answer.tool_calls}
    return "".join(str(delta) for delta in (*shown, *rest) if isinstance(delta, str))


def chat(delta: Json, reason: str | None = None) -> Json:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def chat_calls() -> list[Json]:
    events = []
    for place, (name, arguments) in enumerate(CALLS):
        head = {"index": place, "id": f"c{place}", "type": "function", "function": {"name": name, "arguments": ""}}
        events.append(chat({"tool_calls": [head]}))
        events.append(chat({"tool_calls": [{"index": place, "function": {"arguments": arguments}}]}))
    return [*events, chat({}, "tool_calls")]


def messages_calls() -> list[Json]:
    events: list[Json] = [{"type": "message_start", "message": {"content": []}}]
    for place, (name, arguments) in enumerate(CALLS):
        block = {"type": "tool_use", "id": f"c{place}", "name": name, "input": {}}
        events.append({"type": "content_block_start", "index": place, "content_block": block})
        delta = {"type": "input_json_delta", "partial_json": "" if arguments == "{}" else arguments}
        events.append({"type": "content_block_delta", "index": place, "delta": delta})
        events.append({"type": "content_block_stop", "index": place})
    return [*events, {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}, {"type": "message_stop"}]


def item(place: int, name: str, arguments: object) -> Json:
    return {"type": "function_call", "id": f"f{place}", "call_id": f"c{place}", "name": name, "arguments": arguments}


def responses_call(place: int, name: str, written: list[str], done: object) -> list[Json]:
    at = {"output_index": place}
    pieces = [
        {"type": "response.function_call_arguments.delta", "item_id": f"f{place}", "delta": each} for each in written
    ]
    return [
        {"type": "response.output_item.added", **at, "item": item(place, name, "")},
        *({**piece, **at} for piece in pieces),
        {"type": "response.output_item.done", **at, "item": item(place, name, done)},
    ]  # fmt: skip


def responses_end(*output: Json) -> Json:
    return {"type": "response.completed", "response": {"status": "completed", "output": list(output)}}


def responses_calls() -> list[Json]:
    events = [each for place, (name, text) in enumerate(CALLS) for each in responses_call(place, name, [text], text)]
    return [*events, responses_end(*(item(place, *call) for place, call in enumerate(CALLS)))]


@pytest.mark.parametrize(
    ("reader", "events"),
    [(ChatReader, chat_calls()), (MessagesReader, messages_calls()), (ResponsesReader, responses_calls())],
    ids=["chat", "messages", "responses"],
)
def test_call_without_arguments_may_stand_between_others(reader: type[AnswerReader], events: list[Json]) -> None:
    """Of calls side by side one that takes nothing is shown last, and the answer stays the one that was begun."""
    answer, shown = read(reader, events)
    assert [(call.name, call.arguments) for call in answer.tool_calls] == list(CALLS)
    completed(answer, shown)


@pytest.mark.parametrize(
    ("written", "done", "whole"),
    [
        pytest.param(SPACED, COMPACT, COMPACT, id="written anew when it is done"),
        pytest.param(SPACED, SPACED, COMPACT, id="written anew at the end"),
        pytest.param(COMPACT, SPACED, SPACED, id="the other way round"),
        pytest.param(SPACED, LONG, LONG, id="as an object"),
        pytest.param('{"n":1}', '{"n": 1}', '{ "n": 1}', id="a short one, each time otherwise"),
    ],
)
def test_arguments_that_are_written_anew_stay_as_they_were_shown(written: str, done: object, whole: object) -> None:
    """A server that spaces arguments otherwise when it says them once more has not answered anew."""
    cut = len(written) * 3 // 4
    events = responses_call(0, "get", [written[:cut], written[cut:]], done)
    answer, shown = read(ResponsesReader, [*events, responses_end(item(0, "get", whole))])
    assert json.loads(answer.tool_calls[0].arguments) == json.loads(written)
    completed(answer, shown)


@pytest.mark.parametrize("more", ['{"n":3}', ":", '"}'])
def test_what_follows_arguments_that_were_shown_whole_is_none_of_them(more: str) -> None:
    """A server that writes on behind the end of a call's arguments does not change the call that was shown."""
    head = {"index": 0, "id": "c", "function": {"name": "get", "arguments": '{"n":1}'}}
    events = [chat({"tool_calls": [head]}), chat({"tool_calls": [{"index": 0, "function": {"arguments": more}}]})]
    answer, shown = read(ChatReader, [*events, chat({}, "tool_calls")])
    assert answer.tool_calls[0].arguments == '{"n":1}'
    completed(answer, shown)


def messages_call(pieces: list[str]) -> list[Json]:
    block = {"type": "tool_use", "id": "c0", "name": "get", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return [
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ]


def chat_call(pieces: list[str]) -> list[Json]:
    head = {"index": 0, "id": "c0", "function": {"name": "get", "arguments": ""}}
    more = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
    return [*(chat({"tool_calls": [each]}) for each in (head, *more)), chat({}, "tool_calls")]


def whole_call(pieces: list[str]) -> list[Json]:
    text = "".join(pieces)
    return [*responses_call(0, "get", pieces, text), responses_end(item(0, "get", text))]


@pytest.mark.parametrize(
    ("reader", "events"),
    [(ChatReader, chat_call), (MessagesReader, messages_call), (ResponsesReader, whole_call)],
    ids=["chat", "messages", "responses"],
)
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(['{"n":1}{"n":1}'], id="in one piece"),
        pytest.param(['{"n":1', '}{"n":1}'], id="in the piece of its end"),
        pytest.param(['{"n":1} {"n": 1}'], id="spaced otherwise"),
        pytest.param(['{}{"n":1}'], id="behind an empty one"),
        pytest.param([COMPACT + COMPACT], id="long, in one piece"),
        pytest.param([COMPACT[:300], COMPACT[300:] + COMPACT], id="long, in two"),
        pytest.param([COMPACT[:300], COMPACT[300:] + COMPACT[:20], COMPACT[20:]], id="long, in three"),
        pytest.param([COMPACT[:300], COMPACT[300:] + "{}"], id="an empty one behind it"),
    ],
)
def test_arguments_that_a_server_writes_twice_are_shown_once(
    reader: type[AnswerReader], events: Callable[[list[str]], list[Json]], pieces: list[str]
) -> None:
    """Relays that send what has come once more at the end have the stream end as the answer it began."""
    answer, shown = read(reader, events(pieces))
    assert json.loads(answer.tool_calls[0].arguments) in (LONG, {"n": 1})
    completed(answer, shown)


def test_many_ends_of_objects_are_followed_in_time_that_grows_with_their_text() -> None:
    """Quotes without end, as a model writes that has lost itself, do not stop the others' answers."""
    head = {"index": 0, "id": "c", "function": {"name": "get", "arguments": '""' * 200_000}}
    begun_s = time.process_time()
    read(ChatReader, [chat({"tool_calls": [head]}, "tool_calls")])
    assert time.process_time() - begun_s < 20


def said(text: str, place: int) -> Json:
    return {"type": "message", "id": f"m{place}", "content": [{"type": "output_text", "text": text}]}


def words(text: str, place: int) -> Json:
    return {"type": "response.output_text.delta", "output_index": place, "item_id": f"m{place}", "delta": text}


@pytest.mark.parametrize(
    ("events", "text"),
    [
        pytest.param(
            [words("first ", 0), words("second", 1), responses_end(said("second", 1))],
            "first second",
            id="the end leaves the first message out",
        ),
        pytest.param(
            [words("second", 1), words(" first", 0), responses_end(said(" first", 0), said("second", 1))],
            "second first",
            id="messages come out of order",
        ),
        pytest.param(
            [words("as it was", 0), responses_end(said("as it is now", 0))], "as it was", id="other words at the end"
        ),
    ],
)
def test_words_that_were_shown_stay(events: list[Json], text: str) -> None:
    """What a reader has seen is in the answer, in that order, whatever the server says of it at the end."""
    answer, shown = read(ResponsesReader, events)
    assert answer.text == text == completed(answer, shown)


@pytest.mark.parametrize("is_stream", [True, False])
def test_refusal_that_is_written_as_text_too_is_one(is_stream: bool) -> None:
    """A refusal that a gateway writes as text, for clients that know no refusals, is not said twice."""
    if is_stream:
        answer, shown = read(
            ChatReader, [chat({"content": "I "}), chat({"content": "won't"}), chat({"refusal": "I won't"}, "stop")]
        )
    else:
        message = {"content": "I won't", "refusal": "I won't"}
        answer, shown = read(ChatReader, [{"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}])
    assert (answer.text, answer.refusal, answer.finish_reason) == ("I won't", "I won't", "content_filter")
    assert completed(answer, shown) == "I won't"
    assert not any(isinstance(each, RefusalDelta) for each in shown)


JUNK_TYPES: list[object] = [{}, [], {"a": 1}, [["x"]], 5, True]


@pytest.mark.parametrize("kind", JUNK_TYPES, ids=str)
@pytest.mark.parametrize("reader", [ChatReader, MessagesReader, ResponsesReader], ids=["chat", "messages", "responses"])
def test_type_that_is_no_text_is_none(reader: type[AnswerReader], kind: object) -> None:
    """Whatever stands where the type of something belongs, the rest of the answer is read."""
    events: dict[object, list[Json]] = {
        ChatReader: [chat({"content": [{"type": kind, "text": "?"}]}), chat({"content": "words"}), chat({}, "stop")],
        MessagesReader: [
            {"type": "message_start", "message": {"content": [{"type": kind, "text": "?"}]}},
            {"type": kind},
            {"type": "content_block_delta", "index": 0, "delta": {"type": kind, "text": "words"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
            {"type": "message_stop"},
        ],
        ResponsesReader: [
            {"type": kind},
            {"type": "response.output_item.done", "output_index": 7, "item": {"type": kind, "id": "x"}},
            {"type": "response.output_item.done", "output_index": 8, "item": {
                "type": "web_search_call", "id": "w", "action": {"type": kind}}},
            words("words", 0),
            responses_end({"type": "message", "id": "m0", "content": [{"type": kind, "text": "words"}]}),
        ],
    }  # fmt: skip
    answer, shown = read(reader, events[reader])
    assert answer.text.endswith("words")
    completed(answer, shown)


@pytest.mark.parametrize("given", ['"cut \\ud83d"', '{"deep": ["\\ude00"]}', '{"\\ud83d": 1}'])
def test_half_a_character_in_what_a_tool_is_given_is_replaced(given: str) -> None:
    """An answer with a text that no encoding takes is an answer: it has been paid for."""
    block = f'{{"type": "tool_use", "id": "c", "name": "get", "input": {{"a": {given}}}}}'
    raw = f'{{"type": "message", "content": [{block}]}}'
    decoder = AnswerDecoder("p", MessagesReader(REQUEST))
    decoder.feed(raw.encode())
    (call,) = decoder.finish().tool_calls
    assert "?" in call.arguments.encode().decode()


def test_event_called_an_error_that_is_an_answer_is_one() -> None:
    """A relay that names its events wrongly has answered, and bills for it: nothing of it is free."""
    decoder = AnswerDecoder("p", ChatReader(REQUEST, VENDORS["openai"]))
    for event in (chat({"content": "words"}), chat({}, "stop")):
        decoder.feed(f"event: error\ndata: {json.dumps(event)}\n\n".encode())
    assert decoder.finish().text == "words"
