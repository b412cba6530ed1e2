"""The bytes of an answer as they come: how much of it is read."""

import pytest

from organism.errors import UncertainError
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
