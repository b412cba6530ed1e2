"""What a provider's usage leaves out is unknown and never zero."""

from typing import Any

import pytest

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
