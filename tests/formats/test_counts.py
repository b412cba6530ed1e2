"""What a provider's usage leaves out is unknown and never zero."""

from typing import Any

import pytest

from organism.amounts import TokenUsage
from organism.formats.counts import MESSAGES_COUNTING, Counting, counted

NOTHING_KNOWN = Counting()


@pytest.mark.parametrize(
    ("usage", "counting", "missing"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 100}, "completion_tokens": 12}, NOTHING_KNOWN, ("input",)),
        ({"prompt_tokens": None, "cached_tokens": 100, "completion_tokens": 12}, NOTHING_KNOWN, ("input",)),
        ({"prompt_cache_hit_tokens": 100, "completion_tokens": 12}, NOTHING_KNOWN, ("input",)),
        ({"cache_read_input_tokens": 100, "output_tokens": 5}, MESSAGES_COUNTING, ("input",)),
        ({"cache_creation_input_tokens": 100, "output_tokens": 5}, MESSAGES_COUNTING, ("input",)),
        ({"prompt_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 4}}, NOTHING_KNOWN, ("output",)),
        ({"input_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}, MESSAGES_COUNTING, ("output",)),
        ({"cached_tokens": 7, "reasoning_tokens": 4}, NOTHING_KNOWN, ("input", "output")),
        # A whole that is there leaves nothing out, be it zero beside its parts.
        ({"input_tokens": 0, "cache_read_input_tokens": 100, "output_tokens": 5}, MESSAGES_COUNTING, ()),
        ({"prompt_tokens": 180, "cached_tokens": 100, "completion_tokens": 12}, NOTHING_KNOWN, ()),
    ],
)
def test_a_part_of_a_count_is_not_taken_for_the_whole(
    usage: dict[str, Any], counting: Counting, missing: tuple[str, ...]
) -> None:
    """Where only what was cached, or only what was thought, is counted, the rest of that side is estimated."""
    read = counted(usage, counting)
    assert read is not None
    assert read.missing == missing


@pytest.mark.parametrize("total", [-5, True, "n/a", "NaN", [1], {"all": 1}])
def test_a_total_that_cannot_be_read_takes_nothing_from_what_it_sums(total: object) -> None:
    """The total repeats what stands beside it: without it the counts are read as they are."""
    read = counted({"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": total}, NOTHING_KNOWN)
    assert read is not None
    assert (read.usage, read.missing) == (TokenUsage(input=20, output=5), ())


def test_what_was_written_is_counted_where_only_its_parts_are_named() -> None:
    """Anthropic names what was written for five minutes and for an hour beside their sum; relays leave the sum out."""
    parts = {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60}
    usage: dict[str, Any] = {"input_tokens": 20, "output_tokens": 5, "cache_creation": parts}
    for said in (usage, {**usage, "cache_creation_input_tokens": 100}):
        read = counted(said, MESSAGES_COUNTING)
        assert read is not None
        assert read.usage == TokenUsage(input=20, cache_write=100, output=5)


def test_rounds_beside_the_answer_are_counted() -> None:
    """What a message's own counts leave out, and the bill has: compaction, and the advice of another model."""
    rounds: list[object] = [
        {"type": "compaction", "input_tokens": 500, "cache_read_input_tokens": 30, "output_tokens": 50},
        {"type": "advisor_message", "model": "wise", "input_tokens": 4, "output_tokens": 2},
        {"type": "advisor_message", "model": "wise", "input_tokens": 3, "output_tokens": 1},
        {"type": "message", "input_tokens": 20, "output_tokens": 5},
        "no round",
    ]
    read = counted({"input_tokens": 20, "output_tokens": 5, "iterations": rounds}, MESSAGES_COUNTING)
    assert read is not None
    assert read.usage == TokenUsage(input=527, cached_input=30, output=58)
    assert "590 tokens of rounds" in read.note
    assert read.elsewhere == {"wise": TokenUsage(input=7, output=3)}
