"""What usage says of how a call was served reaches its price, in stream and whole answer, in every format."""

from typing import Any

import msgspec
import pytest

from organism.pricing.rates import flat_rates
from organism.pricing.service_tiers import FAST, IN_USA
from organism.router.planning.call_rates import charged_rates
from tests.formats.test_answers import REQUEST, chunk, read, sse, whole

MARKS = {"speed": "fast", "inference_geo": "us"}
HOUR = {"cache_creation_input_tokens": 40, "cache_creation": {"ephemeral_1h_input_tokens": 40}}
RATES = flat_rates(input=1000, output=5000, cached_input=100, cache_write=1250, source="a list")


def messages_whole(more: dict[str, Any]) -> tuple[str, Any]:
    usage = {"input_tokens": 5, "output_tokens": 2, **more}
    return "messages", {"type": "message", "content": [{"type": "text", "text": "a"}], "usage": usage}


def messages_stream(more: dict[str, Any]) -> tuple[str, Any]:
    return "messages", sse(
        {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1, **more}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
        done=False,
    )


def chat_whole(more: dict[str, Any]) -> tuple[str, Any]:
    usage = {"prompt_tokens": 45, "completion_tokens": 2, "total_tokens": 47, **more}
    return "chat", whole({"content": "a"}) | {"usage": usage}


def chat_stream(more: dict[str, Any]) -> tuple[str, Any]:
    usage = {"prompt_tokens": 45, "completion_tokens": 2, "total_tokens": 47, **more}
    return "chat", sse(chunk({"content": "a"}), chunk({}, "stop"), chunk(usage=usage))


@pytest.mark.parametrize("empty", ["", None])
def test_what_was_said_once_is_not_taken_back_by_an_empty_word(empty: Any) -> None:
    """Relays write each of their fields in each of their events, empty where they know nothing."""
    kind, raw = messages_stream(MARKS)
    later = b'"usage": {"output_tokens": 2, ' + msgspec.json.encode(dict.fromkeys(MARKS, empty))[1:]
    assert raw.count(b'"usage": {"output_tokens": 2}') == 1
    got = read(kind, raw.replace(b'"usage": {"output_tokens": 2}', later))
    assert set(got.surcharges) == {FAST, IN_USA}


ANSWERS = [messages_whole, messages_stream, chat_whole, chat_stream]


@pytest.mark.parametrize("answer", ANSWERS)
def test_speed_and_place_are_read_wherever_usage_stands(answer: Any) -> None:
    """A workspace may have its work done in one country, or faster, whatever a request says: its usage tells."""
    kind, raw = answer(MARKS)
    got = read(kind, raw if isinstance(raw, bytes) else msgspec.json.encode(raw))
    assert set(got.surcharges) == {FAST, IN_USA}
    assert charged_rates(RATES, REQUEST, got).output.base == 11_000
    kind, raw = answer({"speed": None, "inference_geo": "not_available"})
    got = read(kind, raw if isinstance(raw, bytes) else msgspec.json.encode(raw))
    assert charged_rates(RATES, REQUEST, got) == RATES


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_cache_kept_for_an_hour_that_nobody_asked_for_has_its_price(answer: Any) -> None:
    """A relay that has input kept for an hour by itself is billed twice the price of input for it."""
    kind, raw = answer(HOUR)
    got = read(kind, raw if isinstance(raw, bytes) else msgspec.json.encode(raw))
    assert got.usage is not None
    assert got.usage.cache_write == 40
    assert charged_rates(RATES, REQUEST, got).cache_write.base == 2000
    kind, raw = answer({"cache_creation": {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 0}})
    got = read(kind, raw if isinstance(raw, bytes) else msgspec.json.encode(raw))
    assert charged_rates(RATES, REQUEST, got).cache_write.base == 1250
