"""Answers are read by their meaning, in whatever shape they come, and from bytes split anywhere."""

# ruff: noqa: E501 - a stream on a line each is a table

import json
from collections.abc import Callable
from typing import Any

import pytest

from organism.amounts import TokenUsage
from organism.errors import RejectedError, UncertainError
from organism.formats.answers.decoder import AnswerDecoder, AnswerReader
from organism.formats.anthropic_messages.answer import MessagesReader
from organism.formats.openai_chat.answer import ChatReader
from organism.formats.openai_responses.answer import ResponsesReader
from organism.formats.vendors import COMPATIBLE, VENDORS
from organism.llm.answers import Completion
from organism.llm.deltas import Delta
from organism.llm.requests import ChatMessage, CompletionRequest, Tool

REQUEST = CompletionRequest(
    model="m", messages=(ChatMessage("user", "hi"),), max_output_tokens=100, tools=(Tool("f", "", {"type": "object"}),)
)
USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def reader_of(kind: str, pieces: list[Delta] | None) -> AnswerReader:
    sink: Callable[[Any], None] | None = None if pieces is None else pieces.append
    match kind:
        case "chat":
            return ChatReader(REQUEST, COMPATIBLE, sink)
        case "responses":
            return ResponsesReader(REQUEST, VENDORS["openai"], sink)
        case _:
            return MessagesReader(REQUEST, sink)


def read(kind: str, raw: bytes, pieces: list[Delta] | None = None, size: int = 7) -> Completion:
    decoder = AnswerDecoder("p", reader_of(kind, pieces))
    for at in range(0, len(raw), size):
        decoder.feed(raw[at : at + size])
    return decoder.finish()


def sse(*events: Any, done: bool = True) -> bytes:
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {text}\n\n" for text in (*texts, *(["[DONE]"] if done else []))).encode()


def chunk(delta: Any = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"choices": choices, **more}


def whole(message: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE, **more}


def named(*events: dict[str, Any]) -> bytes:
    """Write events whose type stands only in their name, as some relays do."""
    bare = [(event["type"], {name: each for name, each in event.items() if name != "type"}) for event in events]
    return "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in bare).encode()


COUNTED = chunk(usage=USAGE)
LAST = {"type": "response.completed", "response": {"status": "completed", "output": [], "usage": {"input_tokens": 20, "output_tokens": 5}}}  # fmt: skip
TEXT = {
    "chat": {
        "stream": sse(chunk({"content": "one "}), chunk({"content": "two"}), chunk({}, "stop"), COUNTED),
        "whole": json.dumps(whole({"content": "one two"})).encode(),
        "whole behind blanks": b"\n   \n" + json.dumps(whole({"content": "one two"})).encode(),
        "whole as an event": sse(whole({"content": "one two"})),
        "chunks as lines": b"\n".join(json.dumps(each).encode() for each in (chunk({"content": "one "}), chunk({"content": "two"}, "stop"), COUNTED)),
        "no blank lines": b"data: " + b"\ndata: ".join(json.dumps(each).encode() for each in (chunk({"content": "one "}), chunk({"content": "two"}, "stop"), COUNTED)) + b"\n\n",
        "no reason, but an end": sse(chunk({"content": "one two"}), COUNTED),
        "no reason, no end, but counted": sse(chunk({"content": "one two"}), COUNTED, done=False),
        "pieces under message": sse({"choices": [{"message": {"content": "one "}}]}, {"choices": [{"message": {"content": "two"}, "finish_reason": "stop"}]}, COUNTED),
        "refused": sse(chunk({"refusal": "one "}), chunk({"refusal": "two"}), chunk({}, "stop"), COUNTED),
        "another choice first": sse({"choices": [{"index": 1, "delta": {"content": "NO"}}]}, chunk({"content": "one two"}), chunk({}, "stop"), COUNTED),
        "usage after the end": sse(chunk({"content": "one two"}), chunk({}, "stop")) + sse(COUNTED, done=False),
        "words to keep alive": sse("ping", chunk({"content": "one two"}), "[PING]", chunk({}, "stop"), COUNTED),
        "cut behind the end": sse(chunk({"content": "one two"}), chunk({}, "stop"), COUNTED) + b'data: {"cho',
    },
    "responses": {
        "items only when done": sse({"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "content": [{"type": "output_text", "text": "one two"}]}}, {"type": "response.completed", "response": {"status": "completed", "output": [], "usage": {"input_tokens": 20, "output_tokens": 5}}}),
        "only in the last event": sse({"type": "response.completed", "response": {"status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "one two"}]}], "usage": {"input_tokens": 20, "output_tokens": 5}}}, done=False),
        "no last event": sse({"type": "response.output_text.delta", "delta": "one "}, {"type": "response.output_text.delta", "delta": "two"}, {"type": "response.in_progress", "response": {}, "usage": {"input_tokens": 20, "output_tokens": 5}}),
        "whole": json.dumps({"status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "one two"}]}], "usage": {"input_tokens": 20, "output_tokens": 5}}).encode(),
        "only in its part": sse({"type": "response.content_part.added", "item_id": "m", "output_index": 0, "content_index": 0, "part": {"type": "output_text", "text": ""}}, {"type": "response.content_part.done", "item_id": "m", "output_index": 0, "content_index": 0, "part": {"type": "output_text", "text": "one two"}}, LAST),
        "only in two parts": sse(*({"type": "response.content_part.done", "item_id": "m", "output_index": 0, "content_index": place, "part": {"type": "output_text", "text": text}} for place, text in enumerate(("one ", "two"))), LAST),
        "only when two parts are done": sse(*({"type": "response.output_text.done", "item_id": "m", "output_index": 0, "content_index": place, "text": text} for place, text in enumerate(("one ", "two"))), LAST),
        "one id for two messages": sse(*({"type": "response.output_text.delta", "item_id": "m", "output_index": place, "delta": text} for place, text in enumerate(("one ", "two"))), {"type": "response.completed", "response": {"output": [{"type": "message", "id": "m", "content": [{"type": "output_text", "text": text}]} for text in ("one ", "two")], "usage": {"input_tokens": 20, "output_tokens": 5}}}),
        "type only in the event's name": named({"type": "response.created", "response": {}}, {"type": "response.output_text.delta", "output_index": 0, "delta": "one "}, {"type": "response.output_text.delta", "output_index": 0, "delta": "two"}, LAST),
        "said four times": sse({"type": "response.output_text.delta", "output_index": 0, "delta": "one two"}, {"type": "response.output_text.done", "output_index": 0, "text": "one two"}, {"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "id": "x", "content": [{"type": "output_text", "text": "one two"}]}}, {"type": "response.completed", "response": {"status": "completed", "output": [{"type": "message", "id": "y", "content": [{"type": "output_text", "text": "one two"}]}], "usage": {"input_tokens": 20, "output_tokens": 5}}}, done=False),
    },
    "messages": {
        "stream": sse({"type": "message_start", "message": {"usage": {"input_tokens": 20, "output_tokens": 1}}}, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one two"}}, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}, {"type": "message_stop"}, done=False),
        "type only in the event's name": named({"type": "message_start", "message": {"usage": {"input_tokens": 20, "output_tokens": 1}}}, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one two"}}, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}, {"type": "message_stop"}),
        "no start, no reason": sse({"type": "content_block_delta", "delta": {"text": "one two"}}, {"type": "message_delta", "usage": {"input_tokens": 20, "output_tokens": 5}}, {"type": "message_stop"}, done=False),
        "whole": json.dumps({"content": [{"type": "text", "text": "one two"}], "stop_reason": "end_turn", "usage": {"input_tokens": 20, "output_tokens": 5}}).encode(),
        "whole as an event": sse({"type": "message", "content": [{"type": "text", "text": "one two"}], "stop_reason": "end_turn", "usage": {"input_tokens": 20, "output_tokens": 5}}),
        "all in the start": sse({"type": "message_start", "message": {"content": [{"type": "text", "text": "one two"}], "stop_reason": "end_turn", "usage": {"input_tokens": 20, "output_tokens": 5}}}, {"type": "message_stop"}, done=False),
    },
}  # fmt: skip
SHAPES = [(kind, name) for kind, shapes in TEXT.items() for name in shapes]


@pytest.mark.parametrize(("kind", "name"), SHAPES)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole asked", "stream asked"])
def test_text_and_counts_are_read_in_any_shape(kind: str, name: str, streamed: bool) -> None:
    """No word is lost, none is said twice, and the call is charged as it was counted."""
    for size in (1, 5, 100_000):
        pieces: list[Delta] | None = [] if streamed else None
        answer = read(kind, TEXT[kind][name], pieces, size)
        assert answer.text == "one two"
        assert answer.usage == TokenUsage(input=20, output=5)
        assert answer.finish_reason == ("content_filter" if name == "refused" else "stop")
        assert pieces is None or "".join(piece for piece in pieces if isinstance(piece, str)) == "one two"


CALLS = {
    "in pieces": sse(chunk({"tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"a"'}}]}), chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}), chunk({}, "tool_calls"), COUNTED),
    "an object": sse(chunk({"tool_calls": [{**CALL, "function": {"name": "f", "arguments": {"a": 1}}}]}), chunk({}, "stop"), COUNTED),
    "the old way": sse(chunk({"function_call": {"name": "f", "arguments": '{"a"'}}), chunk({"function_call": {"arguments": ": 1}"}}), chunk({}, "function_call"), COUNTED),
    "no function": sse(chunk({"tool_calls": [{"name": "f", "arguments": '{"a": 1}'}]}), COUNTED),
    "index as text": sse(chunk({"tool_calls": [{**CALL, "index": "0"}]}, "tool_calls"), COUNTED),
    "whole once more": sse(chunk({"tool_calls": [CALL]}), {"choices": [{"index": 0, "delta": {}, "message": {"tool_calls": [CALL]}, "finish_reason": "tool_calls"}]}, COUNTED),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_read_in_any_shape(name: str) -> None:
    """A call reaches its tool once, with its name and its arguments."""
    answer = read("chat", CALLS[name], [])
    assert [(call.name, json.loads(call.arguments)) for call in answer.tool_calls] == [("f", {"a": 1})]
    assert answer.finish_reason == "tool_calls"


def test_piece_of_a_call_at_a_wrong_index_goes_where_its_id_says() -> None:
    """Thoughts stand at index 0 and a server counts only calls: the call is made once, not once more without a name."""
    thought, call = {"type": "reasoning", "id": "r"}, {"type": "function_call", "id": "i", "call_id": "c", "name": "f"}
    added = {"type": "response.output_item.added"}
    raw = sse(
        {**added, "output_index": 0, "item": thought},
        {**added, "output_index": 1, "item": call},
        {"type": "response.function_call_arguments.delta", "item_id": "i", "output_index": 0, "delta": '{"a": 1}'},
        LAST,
    )
    assert [(call.name, call.arguments) for call in read("responses", raw, []).tool_calls] == [("f", '{"a": 1}')]


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("chat", sse(chunk({"content": "half"}), done=False)),
        ("chat", sse(chunk({"content": "half"}, usage=USAGE), done=False)),
        ("chat", json.dumps(whole({"content": "half"})).encode()[:-9]),
        ("chat", b""),
        ("chat", sse()),
        ("messages", sse({"type": "content_block_delta", "delta": {"text": "half"}}, done=False)),
        ("responses", sse({"type": "response.output_text.delta", "delta": "half"}, done=False)),
        ("responses", b'{"status": "in_progress", "output": [{"type": "message", "content": []}], "usage": null'),
    ],
)
def test_what_broke_off_is_uncertain(kind: str, raw: bytes) -> None:
    """Half an answer is none, and may have been billed."""
    with pytest.raises(UncertainError, match=r"broke off in the middle|that is no JSON|without content"):
        read(kind, raw, [])


ERROR = {"error": {"message": "rate limit", "code": 429}}


@pytest.mark.parametrize(
    ("kind", "raw", "refused"),
    [
        ("chat", sse(ERROR), True),
        ("chat", json.dumps(ERROR).encode(), True),
        ("chat", b": wait\n\n" + sse(ERROR), True),
        ("chat", sse({"choices": [{"index": 0, "delta": {"content": ""}, "error": ERROR["error"], "finish_reason": "error"}]}), True),
        ("chat", b'{"choices": null, "id": null}', True),
        ("chat", b'{"choices": null, "id": "", "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}', True),
        ("chat", b'{"choices": null, "id": "", "usage": {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}}', False),
        ("chat", b'{"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}', True),
        ("chat", b"<!DOCTYPE html><html><title>Sorry</title><body>We are down for maintenance.</body></html>", True),
        ("messages", b"no healthy upstream", True),
        ("responses", b"upstream connect error. reset reason: connection failure", True),
        ("chat", b"upstream connect error. reset reason: connection termination", False),
        ("chat", b"<html><body>Welcome</body></html>", False),
        ("chat", sse(chunk({"content": "a"}), ERROR), False),
        ("messages", b"event: error\ndata: " + json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}).encode() + b"\n\n", True),
        ("responses", sse({"type": "response.output_text.delta", "delta": "a"}, {"type": "error", "message": "x"}), False),
    ],
)  # fmt: skip
def test_error_before_any_answer_costs_nothing(kind: str, raw: bytes, refused: bool) -> None:
    """An error as the first event is a refusal, so another route is asked; one in the middle may have been billed."""
    with pytest.raises(RejectedError if refused else UncertainError, match=r"provider 'p' (failed|answered 429): "):
        read(kind, raw, [])


REASONS = {
    "stop": "stop", "STOP": "stop", "eos": "stop", "COMPLETE": "stop", "length": "length", "MAX_TOKENS": "length",
    "model_context_window_exceeded": "length", "TOOL_CALL_LIMIT_REACHED": "length", "content_filter": "content_filter",
    "SAFETY": "content_filter", "RECITATION": "content_filter", "sensitive": "content_filter", "abort": "error",
    "insufficient_system_resource": "error", "network_error": "error", "zzz": "error", "pause_turn": "pause_turn",
    "FINISH_REASON_MAX_TOKENS": "length", "null": "stop", "": "stop",
}  # fmt: skip


@pytest.mark.parametrize("word", REASONS)
def test_why_it_ended_is_never_better_than_it_was(word: str) -> None:
    """What was cut, filtered or broke does not look whole, whoever says it in whatever words."""
    answer = read("chat", sse(chunk({"content": "a"}), chunk({}, word), chunk({}, "stop"), COUNTED))
    assert answer.finish_reason == REASONS[word]
    assert answer.is_complete == (REASONS[word] == "stop")


COUNTS: dict[str, tuple[dict[str, Any], TokenUsage]] = {
    "either family": ({"input_tokens": 20, "output_tokens": 5}, TokenUsage(input=20, output=5)),
    "both, one of them zero": ({**USAGE, "input_tokens": 0, "output_tokens": 0}, TokenUsage(input=20, output=5)),
    "as text and floats": ({"prompt_tokens": "20", "completion_tokens": 5.0, "total_tokens": "25"}, TokenUsage(input=20, output=5)),
    "cached inside": ({**USAGE, "prompt_tokens_details": {"cached_tokens": 8}}, TokenUsage(input=12, cached_input=8, output=5)),
    "cached beside": ({**USAGE, "total_tokens": 33, "cache_read_input_tokens": 8}, TokenUsage(input=20, cached_input=8, output=5)),
    "reasoning beside": ({**USAGE, "total_tokens": 28, "completion_tokens_details": {"reasoning_tokens": 3}}, TokenUsage(input=20, output=5, reasoning=3)),
    "reasoning larger than all": ({"prompt_tokens": 20, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 30}}, TokenUsage(input=20, output=5, reasoning=30)),
    "reasoning in the total alone": ({**USAGE, "total_tokens": 40}, TokenUsage(input=20, output=5, reasoning=15)),
    "prompt from the total": ({"prompt_tokens": 0, "completion_tokens": 5, "total_tokens": 25}, TokenUsage(input=20, output=5)),
    "minus one for unknown": ({**USAGE, "completion_tokens_details": {"reasoning_tokens": -1}}, TokenUsage(input=20, output=5)),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_read_as_the_total_explains_them(name: str) -> None:
    """Of two readings the one that explains the total holds, else the larger; what was not plain is noted."""
    usage, expected = COUNTS[name]
    answer = read("chat", json.dumps({**whole({"content": "a"}), "usage": usage}).encode())
    assert answer.usage == expected
    if "beside" in name or "larger" in name or "total" in name:
        assert answer.usage_note


PARTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "reasoning, and no output": ({"prompt_tokens": 20, "completion_tokens": None, "completion_tokens_details": {"reasoning_tokens": 3}}, ("output",)),
    "reasoning, and an output of 0": ({"prompt_tokens": 20, "completion_tokens": 0, "completion_tokens_details": {"reasoning_tokens": 3}}, ("output",)),
    "cached, and no input": ({"completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}, ("input",)),
    "cached, and an input of 0": ({"prompt_tokens": 0, "completion_tokens": 5, "cache_read_input_tokens": 8}, ("input",)),
    "an output of -1 with a point": ({"prompt_tokens": 20, "completion_tokens": "-1.0"}, ("output",)),
    "both": ({**USAGE, "prompt_tokens_details": {"cached_tokens": 8}}, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_counted_part_says_nothing_of_its_whole(name: str) -> None:
    """Where only what was cached or reasoned is counted, the rest is unknown, and not nothing."""
    usage, missing = PARTS[name]
    answer = read("chat", json.dumps({**whole({"content": "a"}), "usage": usage}).encode())
    assert answer.usage is not None
    assert answer.usage_missing == missing


def test_rest_of_a_total_is_read_as_the_dearer() -> None:
    """Of readings that leave different rests of one total, the one holds that leaves more to reasoning."""
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 200, "cache_read_input_tokens": 40}
    answer = read("chat", json.dumps({**whole({"content": "a"}), "usage": usage}).encode())
    assert answer.usage == TokenUsage(input=60, cached_input=40, output=5, reasoning=95)


FIRST = chunk({"role": "assistant", "content": ""}, id="c", object="chat.completion.chunk")
SERVER_TOOL = ({"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}}, {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"query": "q"}'}})  # fmt: skip


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(FIRST).encode(),
        json.dumps({"choices": [{"index": 0, "delta": {"content": "half"}}]}).encode(),
        json.dumps({**FIRST, "choices": [{"index": 0, "message": {"role": "assistant", "content": None}}]}).encode(),
        sse(FIRST, {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}]}, done=False),
        sse(chunk({"content": "half"}), {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}, done=False),
    ],
)
def test_beginning_of_an_answer_is_not_the_whole(raw: bytes) -> None:
    """Neither one chunk of those a line each, nor the end of a choice that nobody asked for, ends an answer."""
    with pytest.raises(UncertainError, match="the answer broke off in the middle"):
        read("chat", raw, [])


@pytest.mark.parametrize(
    ("texts", "whole_text"),
    [
        (("ha", "haha", "hahaha"), "hahaha"),
        (("h", "a", "haha"), "hahaha"),
        (("one", " two", "one two three"), "one twoone two three"),
    ],
)
def test_messages_are_pieces_once_one_has_not_gone_on(texts: tuple[str, ...], whole_text: str) -> None:
    """Messages that grow say all each time; after one that does not, none is left out for what it begins with."""
    events = [{"choices": [{"index": 0, "message": {"content": text}}]} for text in texts]
    assert read("chat", sse(*events, chunk({}, "stop"))).text == whole_text


@pytest.mark.parametrize("typed", [True, False])
def test_tools_that_the_server_runs_are_no_calls(typed: bool) -> None:
    """What a server's own tools are given makes no call, and the answer goes on behind it."""
    events: list[dict[str, Any]] = [*SERVER_TOOL, {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "a"}}, {"type": "message_stop"}]  # fmt: skip
    if not typed:
        del events[1]["delta"]["type"]
    answer = read("messages", sse(*events, done=False))
    assert (answer.text, answer.tool_calls) == ("a", ())


@pytest.mark.parametrize("kind", ["messages", "responses"])
def test_events_may_say_their_type_in_their_name_alone(kind: str) -> None:
    """An event whose data has no type is what the stream names it."""
    raw = {
        "messages": 'event: content_block_delta\ndata: {"delta": {"text": "a"}}\n\nevent: message_stop\ndata: {}\n\n',
        "responses": 'event: response.output_text.delta\ndata: {"delta": "a"}\n\nevent: response.completed\ndata: {"response": {"status": "completed", "output": []}}\n\n',
    }[kind].encode()
    assert read(kind, raw, []).text == "a"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("message", "text", "called"),
    [
        ({"content": {"type": "text", "text": "hello"}}, "hello", 0),
        ({"content": None, "audio": {"id": "a", "data": "AAAA", "transcript": "hello"}}, "hello", 0),
        ({"content": None, "tool_calls": {"id": "c1", "function": {"name": "f", "arguments": "{}"}}}, "", 1),
    ],
)
def test_a_list_of_one_is_read_without_its_brackets(
    message: dict[str, Any], text: str, called: int, streamed: bool
) -> None:
    """What is paid for is not lost because a server writes one part, or one call, where a list belongs."""
    raw = sse(chunk(message), chunk({}, "stop"), COUNTED) if streamed else json.dumps(whole(message)).encode()
    answer = read("chat", raw)
    assert (answer.text, len(answer.tool_calls)) == (text, called)
