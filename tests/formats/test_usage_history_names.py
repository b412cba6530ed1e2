"""Usage under the names of other vendors, and in other places than usual, counts as it does elsewhere."""

from typing import Any

import pytest

from organism.amounts import TokenUsage
from organism.errors import UncertainError
from organism.llm.deltas import UsageDelta
from tests.formats.test_answers import USAGE, chunk, read, sse

GOOGLE = {"promptTokenCount": 20, "candidatesTokenCount": 5, "totalTokenCount": 25}
PLACES: dict[str, Any] = {
    "a list": {"choices": [], "usage": [USAGE]},
    "the text of JSON": {"choices": [], "usage": '{"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}'},
    "camel case": {"choices": [], "usage": {"promptTokens": 20, "completionTokens": 5, "totalTokens": 25}},
    "Bedrock": {"choices": [], "usage": {"inputTokens": 20, "outputTokens": 5, "totalTokens": 25}},
    "Bedrock's metrics": {
        "choices": [],
        "amazon-bedrock-invocationMetrics": {"inputTokenCount": 20, "outputTokenCount": 5, "invocationLatency": 10},
    },
    "Google": {"choices": [], "usageMetadata": GOOGLE},
    "Google, in Python's words": {
        "usage_metadata": {"prompt_token_count": 20, "candidates_token_count": 5, "total_token_count": 25}
    },
    "Groq": {"choices": [], "x_groq": {"usage": USAGE}},
    "a piece": {"choices": [{"index": 0, "delta": {"usage": USAGE}}]},
    "a message": {"choices": [{"index": 0, "delta": {}, "message": {"usage": USAGE}}]},
    "a choice": {"choices": [{"index": 0, "delta": {}, "usage": USAGE}]},
}


@pytest.mark.parametrize("place", PLACES)
def test_usage_is_found_wherever_and_however_it_is_named(place: str) -> None:
    """A count that is there is charged, and not an estimate."""
    answer = read("chat", sse(chunk({"content": "one two"}), chunk({}, "stop"), PLACES[place]))
    assert (answer.usage, answer.usage_missing) == (TokenUsage(input=20, output=5), ())


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            {"promptTokenCount": 100, "candidatesTokenCount": 10, "thoughtsTokenCount": 30, "totalTokenCount": 140},
            TokenUsage(input=100, output=10, reasoning=30),
            id="thoughts beside the answer",
        ),
        pytest.param(
            {"promptTokenCount": 90, "cachedContentTokenCount": 80, "candidatesTokenCount": 5, "totalTokenCount": 95},
            TokenUsage(input=10, cached_input=80, output=5),
            id="cached inside the prompt",
        ),
        pytest.param(
            {"prompt_token_count": 100, "tool_use_prompt_token_count": 50, "candidates_token_count": 10,
             "thoughts_token_count": 5, "total_token_count": 165},
            TokenUsage(input=150, output=10, reasoning=5),
            id="what tools have put before the model",
        ),
        pytest.param(
            {"inputTokens": 20, "cacheReadInputTokens": 300, "cacheWriteInputTokens": 40, "outputTokens": 5,
             "totalTokens": 365},
            TokenUsage(input=20, cached_input=300, cache_write=40, output=5),
            id="Bedrock's cache beside the input",
        ),
        pytest.param(
            {"inputTokenCount": 20, "cacheReadInputTokenCount": 300, "cacheWriteInputTokenCount": 40,
             "outputTokenCount": 5},
            TokenUsage(input=20, cached_input=300, cache_write=40, output=5),
            id="the cache in Bedrock's metrics",
        ),
        pytest.param(
            {"promptTokenCount": "100", "toolUsePromptTokenCount": "50", "candidatesTokenCount": 10},
            TokenUsage(input=150, output=10),
            id="what tools have put before the model, as text",
        ),
        pytest.param(
            {"promptTokenCount": 100, "toolUsePromptTokenCount": -1, "candidatesTokenCount": 10},
            TokenUsage(input=100, output=10),
            id="an unknown count takes nothing off another",
        ),
    ],
)  # fmt: skip
def test_parts_are_billed_as_what_they_are(usage: dict[str, Any], expected: TokenUsage) -> None:
    """The total says which parts stand inside and which beside."""
    assert read("chat", sse(chunk({"content": "a"}), chunk({}, "stop"), chunk(usage=usage))).usage == expected


@pytest.mark.parametrize(
    "usage",
    [
        USAGE | {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0},
        {"inputTokens": 0, "outputTokens": None, "inputTokenCount": "20", "outputTokenCount": 5.0},
    ],
)
def test_count_under_two_names_is_the_larger(usage: dict[str, Any]) -> None:
    """A relay that writes both leaves one at zero, and that takes nothing back."""
    answer = read("chat", sse(chunk({"content": "a"}), chunk({}, "stop"), chunk(usage=usage)))
    assert (answer.usage, answer.usage_missing) == (TokenUsage(input=20, output=5), ())


@pytest.mark.parametrize("name", ["promptTokenCount", "toolUsePromptTokenCount"])
def test_count_that_is_none_is_disputed(name: str) -> None:
    """It is not passed over because another name of it, or its other part, can be read."""
    answer = read("chat", sse(chunk({"content": "a"}), chunk({}, "stop"), chunk(usage=USAGE | {name: 10**12})))
    assert answer.usage_error is not None
    assert answer.usage_error.startswith("usage field prompt_tokens is")


def test_list_of_several_is_no_count() -> None:
    """Who knows whether the first is the whole; the sides are estimated, as where nothing is counted."""
    answer = read("chat", sse(chunk({"content": "a"}), chunk({}, "stop"), chunk(usage=[USAGE, USAGE])))
    assert answer.usage is None


def test_usage_elsewhere_is_known_when_an_answer_is_cut_short() -> None:
    """What has been counted before a stream breaks off is charged, wherever and however it is named."""
    pieces: list[Any] = []
    with pytest.raises(UncertainError, match="broke off"):
        read("chat", sse({**chunk({"content": "one two"}), "usageMetadata": GOOGLE}, done=False), pieces)
    assert [piece.usage for piece in pieces if isinstance(piece, UsageDelta)] == [TokenUsage(input=20, output=5)]
