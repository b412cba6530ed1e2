"""The measurement of a budget's errors measures what it says."""

import re

import pytest

from bench.budget_errors import NEVER, Errors, Workload, measure, table
from organism.testing import run

pytestmark = pytest.mark.thorough


def a_token_a_word(turns: tuple[str, ...]) -> int:
    """Count tokens as a model would that knows every word, with a short chat template."""
    return 3 + sum(3 + len(re.findall(r"\w+|[^\w\s]", turn)) for turn in turns)


def a_token_a_byte(turns: tuple[str, ...]) -> int:
    """Count tokens as a model would that knows no word at all."""
    return sum(8 + len(turn.encode()) for turn in turns)


def test_strict_never_overspends_even_on_the_dearest_tokenizer() -> None:
    """The true bound holds where every byte is a token; the close estimate does not claim to, and is seen not to."""
    workload = Workload(("English", "numbers"), 30, 3, a_token_a_byte)

    strict = run(measure, "strict", NEVER, workload)
    assert (strict.overspent, strict.overruns) == (0, 0)
    assert run(measure, "tight", NEVER, workload).overruns > 0


def test_learning_refuses_less_that_would_have_fitted_and_overspends_nothing() -> None:
    """What is learnt from settled calls lets more calls through, without a token above the limit."""
    workload = Workload(("German", "Russian"), 60, 3, a_token_a_word)  # which no edit of a document changes

    strict, fixed, learnt = (
        run(measure, estimate, known, workload)
        for estimate, known in (("strict", NEVER), ("tight", NEVER), ("tight", 8))
    )
    assert strict.over_blocks > fixed.over_blocks > learnt.over_blocks
    assert strict.calls < fixed.calls < learnt.calls
    assert fixed.overspent == learnt.overspent == 0


def test_growing_conversations_are_held_at_what_they_take() -> None:
    """Rounds of chats and tool loops: of refusals less than one in twenty was needless, nothing is overspent."""
    workload = Workload(("German", "Russian"), 60, 3, a_token_a_word, grows=True)

    fixed, learnt = run(measure, "tight", NEVER, workload), run(measure, "tight", 8, workload)
    assert learnt.refusals == 60
    assert learnt.over_blocks < 3 < fixed.over_blocks
    assert (learnt.overspent, learnt.warned) == (0, 60)


def test_figures_are_shares_of_what_they_say() -> None:
    """The table divides by the refusals, the calls and the limits."""
    errors = Errors(
        calls=200, refusals=50, over_blocks=5, cuts=1, warned=49, limits=10_000, overspent=10, held_permille=[1500]
    )

    row = "| a | b | 200 | 50 | 1.000 ‰ | 0 | 10.0 % | 0.50 % | 1.50 | 98.0 % |"
    assert table([("a | b", errors)]).splitlines()[-1] == row
