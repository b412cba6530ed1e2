"""The bytes of an answer as they come: how much of it is read."""

import json

import pytest

from organism.amounts import TokenUsage
from organism.errors import RejectedError, UncertainError
from organism.formats.answers import decoder
from organism.formats.answers.decoder import AnswerDecoder
from organism.formats.openai_chat.answer import ChatReader
from organism.formats.vendors import VENDORS
from organism.llm.requests import ChatMessage, CompletionRequest

REQUEST = CompletionRequest(model="m", messages=(ChatMessage("user", "hello"),), max_output_tokens=9)


def test_stream_of_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that say nothing, one after another, end the call long before their bytes would."""
    monkeypatch.setattr(decoder, "EVENTS_MAX", 1_000)
    reading = AnswerDecoder("p", ChatReader(REQUEST, VENDORS["openai"], None))

    for _ in range(10):
        reading.feed(b"data: {}\n\n" * 100)
    with pytest.raises(UncertainError, match="more than 1,000 events"):
        reading.feed(b"data: {}\n\n")


def test_blanks_that_keep_a_connection_alive_are_not_kept() -> None:
    """A relay may send blanks for minutes before the answer: they are not read again with each piece of it."""
    reading = AnswerDecoder("p", ChatReader(REQUEST, VENDORS["openai"], None))
    for _ in range(1_000):
        reading.feed(b" \n" * 500)
    assert len(reading._head) == 0

    reading.feed(b'\n {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}')

    assert reading.finish().text == "yes"


def test_an_answer_has_room_for_an_event_a_token() -> None:
    """The bound is above what any model writes in one answer, were each token an event of its own."""
    assert decoder.EVENTS_MAX >= 400_000


def event(value: object) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def piece(delta: dict[str, str], reason: str | None = None) -> bytes:
    return event({"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


COUNT = event({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 5}})
LATE = {
    "an error": event({"error": {"message": "the connection to the model was lost", "code": 502}}),
    "a broken event": b'data: {"choices": [{"del\n\n',
    "the end in small letters": b"data: [done]\n\n",
}


@pytest.mark.parametrize("late", LATE)
def test_what_comes_behind_a_whole_answer_takes_nothing_of_it_back(late: str) -> None:
    """An answer that has said why it ended, and has been counted, is charged as counted, whatever a relay adds."""
    reading = AnswerDecoder("p", ChatReader(REQUEST, VENDORS["openai"], None))
    reading.feed(piece({"content": "yes"}) + piece({}, "stop") + COUNT)
    reading.feed(LATE[late])

    answer = reading.finish()

    assert (answer.text, answer.finish_reason, answer.usage) == ("yes", "stop", TokenUsage(input=20, output=5))


@pytest.mark.parametrize(
    "before",
    [piece({"content": "half"}), piece({"content": "half"}) + COUNT, piece({"content": "half"}, "stop"),
     piece({"content": "half"}, "error") + COUNT],
    ids=["no end", "a count, and no end", "an end, and no count", "an end that is an error"],
)  # fmt: skip
def test_an_error_in_the_middle_of_an_answer_is_an_error(before: bytes) -> None:
    """Half of an answer does not look whole because it has been counted."""
    reading = AnswerDecoder("p", ChatReader(REQUEST, VENDORS["openai"], None))
    reading.feed(before)
    with pytest.raises(UncertainError, match="the connection to the model was lost"):
        reading.feed(LATE["an error"])


@pytest.mark.parametrize("page", [b"<html><title>Sign in</title></html>", b"Sign in"])
def test_what_came_in_place_of_an_answer_is_told(page: bytes) -> None:
    """A page of what stands before the server, with a status of success, is shown to whoever looks for the fault."""
    reading = AnswerDecoder("p", ChatReader(REQUEST, VENDORS["openai"], None))
    reading.feed(page)
    with pytest.raises(UncertainError, match="neither JSON nor a stream of events: Sign in"):
        reading.finish()


def test_a_damaged_error_that_has_counts_is_not_free() -> None:
    """It may be the last piece of an answer that was billed; words without counts are a refusal, as ever."""
    reading = AnswerDecoder("p", ChatReader(REQUEST, VENDORS["openai"], None))
    with pytest.raises(UncertainError, match="no JSON and has counts"):
        reading.feed(b'event: error\ndata: {"model": "m", ": [{"i": 0}], "usage": {"prompt_tokens": 379}}\n\n')

    reading = AnswerDecoder("p", ChatReader(REQUEST, VENDORS["openai"], None))
    with pytest.raises(RejectedError, match="overloaded"):
        reading.feed(b"event: error\ndata: overloaded\n\n")
