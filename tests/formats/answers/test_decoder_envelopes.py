"""Pieces of answers in lists or envelopes, or with choices otherwise than in a list: read, and charged as counted."""

import json
from typing import Any

import pytest

from organism.amounts import TokenUsage
from organism.errors import RejectedError, UncertainError
from organism.formats.answers import decoder
from tests.formats.test_answers import USAGE, chunk, read, sse, whole

STREAM = [
    chunk({"role": "assistant", "content": "one "}),
    chunk({"content": "two"}),
    chunk({}, "stop"),
    chunk(usage=USAGE),
]
MESSAGES = [
    {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 20, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "one two"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]
WAYS: dict[str, Any] = {
    "data": lambda piece: {"data": piece},
    "data, with a code": lambda piece: {"code": 0, "message": "success", "data": piece},
    "result": lambda piece: {"result": piece, "success": True, "errors": [], "messages": []},
    "a list": lambda piece: [piece],
    "a list in data": lambda piece: {"code": 200, "data": [piece]},
    "body": lambda piece: {"statusCode": 200, "body": piece},
    "data in a result": lambda piece: {"result": {"data": piece}},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "events"), [("chat", STREAM), ("messages", MESSAGES)])
def test_stream_is_read_in_whatever_its_pieces_are_wrapped(kind: str, events: list[Any], way: str) -> None:
    """Its words, its end and its count are those of the pieces."""
    answer = read(kind, sse(*map(WAYS[way], events), done=kind == "chat"))
    assert (answer.text, answer.finish_reason) == ("one two", "stop")
    assert answer.usage == TokenUsage(input=20, output=5)


@pytest.mark.parametrize("way", WAYS)
def test_pieces_in_envelopes_are_what_their_events_are_called(way: str) -> None:
    """The name of an event is that of the piece in its envelope, which may leave its type out."""
    for events in (MESSAGES, [{**event, "type": ""} for event in MESSAGES]):
        named = zip((event["type"] for event in MESSAGES), map(WAYS[way], events), strict=True)
        raw = "".join(f"event: {name}\ndata: {json.dumps(event)}\n\n" for name, event in named)
        answer = read("messages", raw.encode())
        assert (answer.text, answer.finish_reason) == ("one two", "stop")
        assert answer.usage == TokenUsage(input=20, output=5)


@pytest.mark.parametrize("way", WAYS)
def test_whole_answer_is_read_in_whatever_it_is_wrapped(way: str) -> None:
    """An answer in an envelope is the answer, in JSON as in a stream of one event."""
    wrapped = WAYS[way](whole({"content": "one two"}))
    for raw in (json.dumps(wrapped).encode(), sse(wrapped)):
        answer = read("chat", raw)
        assert (answer.text, answer.usage) == ("one two", TokenUsage(input=20, output=5))


@pytest.mark.parametrize("way", WAYS)
def test_error_in_an_envelope_is_one(way: str) -> None:
    """A limit that is told in place of an answer costs nothing there either."""
    error = {"error": {"message": "Rate limit reached", "code": 429}}
    for raw in (json.dumps(WAYS[way](error)).encode(), sse(WAYS[way](error))):
        with pytest.raises(RejectedError, match="Rate limit"):
            read("chat", raw)


def test_envelope_that_holds_nothing_tells_what_went_wrong() -> None:
    """A message beside an empty place for data is an error, not an answer without content."""
    said = {"code": 503, "message": "service unavailable, please retry", "data": None}
    for raw in (json.dumps(said).encode(), sse(said)):
        with pytest.raises(RejectedError, match="service unavailable"):
            read("chat", raw)


@pytest.mark.parametrize(
    "said",
    [
        {"code": 0, "message": "success", "data": None},
        {"code": "200", "msg": "processing", "data": None},
        {"message": "in the queue", "data": None},
        {"message": "at work", "usage": None},
        {"message": "at work", "choices": None, "id": "1"},
    ],
)
def test_relay_that_says_that_it_is_at_work_has_not_failed(said: Any) -> None:
    """An empty envelope before the first piece is no refusal: the call would be made, and billed, once more."""
    answer = read("chat", sse(said, *STREAM, said))
    assert (answer.text, answer.usage) == ("one two", TokenUsage(input=20, output=5))


def test_choices_may_be_one_object_or_numbered() -> None:
    """A server that writes no list means the choice that is there."""
    one = [{**event, "choices": event["choices"][0] if event["choices"] else {}} for event in STREAM]
    numbered = [{**event, "choices": {"0": event["choices"][0]} if event["choices"] else {}} for event in STREAM]
    for events in (one, numbered):
        answer = read("chat", sse(*events))
        assert (answer.text, answer.finish_reason, answer.usage) == ("one two", "stop", TokenUsage(input=20, output=5))


def test_choices_that_are_an_empty_object_are_none() -> None:
    """Nobody has served a call without a choice: it is no empty answer."""
    said = {"choices": {}, "message": "no channel available"}
    for raw in (json.dumps(said).encode(), sse(said)):
        with pytest.raises(RejectedError, match="nobody has served it"):
            read("chat", raw)


def test_whole_answer_may_have_a_piece_of_null() -> None:
    """A server with one type for both writes it beside the message; the answer is whole all the same."""
    said = {"choices": [{"message": {"content": "one two"}, "delta": None, "finish_reason": None}]}
    assert read("chat", json.dumps(said).encode()).text == "one two"


def test_list_has_no_more_pieces_than_an_answer_has_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes of empty pieces in one event would take minutes to read."""
    monkeypatch.setattr(decoder, "EVENTS_MAX", 100)
    for raw in (json.dumps([{}] * 101).encode(), sse([{}] * 60, [{}] * 60), sse({"data": [{}] * 101})):
        with pytest.raises(UncertainError, match="more than 100 events"):
            read("chat", raw)


def test_envelopes_without_end_are_an_answer_without_content() -> None:
    """However deep they are, they are not followed for ever."""
    value: Any = STREAM[0]
    for _ in range(50):
        value = {"data": value}
    with pytest.raises(UncertainError, match="an answer without content"):
        read("chat", sse(value))
