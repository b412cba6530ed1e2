"""How close the count is that clients plan by, against counts of Anthropic's published tokenizer, made once."""

import pytest

from organism.budget.estimate import input_tokens_likely, input_tokens_tight, output_tokens_from_text, size_of
from organism.text.token_bound import most_tokens

PROSE = """The harbour master writes the height of every tide into a book that his grandfather began. Nobody reads it,
but when the channel moved last winter it was the only record of where the water used to run."""
CODE = """def settle(self, hold_id: str, usage: TokenUsage) -> None:
    hold = self._holds.pop(hold_id)
    for account in hold.accounts:
        account.held -= hold.amounts
        account.spent += usage.amounts
"""
DATA = '{"items": [{"id": 17, "name": "tide", "height_m": 3.25, "tags": ["sea", "moon"]}], "next": null, "total": 1}'
PAGE = '<ul class="list"><li><a href="/threads/th_1">first</a></li><li><a href="/threads/th_2">second</a></li></ul>'
LINES = (
    '2026-11-28T12:05:03Z [info] handler_failed agent=writer thread_id=th_4711 error="ValueError: bad value 0.25"\n' * 5
)


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        pytest.param(PROSE, 42, id="prose"),
        pytest.param(CODE, 59, id="code"),
        pytest.param(DATA, 44, id="data"),
        pytest.param(PAGE, 42, id="page"),
        pytest.param(LINES, 205, id="lines"),
    ],
)
def test_count_is_within_a_third_of_a_real_tokenizer(text: str, counted: int) -> None:
    """What a client is told a text takes is what it takes, give or take: a coding agent cuts files by it."""
    frame = input_tokens_likely([""])
    likely = input_tokens_likely([text]) - frame
    assert counted * 0.9 <= likely <= counted * 4 / 3
    assert likely < input_tokens_tight([text]) - frame


def test_count_grows_with_every_turn_and_is_never_nothing() -> None:
    """An empty conversation has its frame, and each turn adds to it."""
    sizes = [input_tokens_likely(["tide"] * turns) for turns in range(4)]
    assert sizes[0] > 0
    assert sizes == sorted(set(sizes))


def test_an_answer_that_nobody_counted_is_taken_for_a_fifth_more_than_it_is_guessed_at() -> None:
    """What is charged by an estimate errs upwards, by a little; what is no guess but a bound has nothing on top."""
    for text in (PROSE, CODE, DATA, PAGE, LINES):
        size = size_of(text)
        guessed, bound = min(size.size, -(-size.tokens * 11 // 10)), most_tokens(text)
        assert output_tokens_from_text(text) == max(-(-guessed * 6 // 5), bound)
        assert input_tokens_tight([text]) - input_tokens_tight([""]) == max(guessed, bound)
    assert output_tokens_from_text("") == 0
