"""The beginning of a conversation is held at what its provider has counted, and only the new turns at a guess."""

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.amounts import TokenUsage
from organism.budget.calibration import Calibration
from organism.budget.counted_prefixes import FAMILIES_MAX, CountedPrefixes
from organism.llm.provider import Request
from organism.llm.requests import ChatMessage, CompletionRequest, ImagePart, TextPart, Tool
from organism.router.planning.estimator import InputEstimator
from organism.router.planning.plan import Route
from organism.testing import ScriptedAnswer, ScriptedProvider

ROUTE = Route("p", "m-2026-01-02")
PROSE = "The tide comes in twice a day, and takes what it has left on the shore. "
Change = Callable[[CompletionRequest], CompletionRequest]


class Templated(ScriptedProvider):
    """A vendor that adds a note where there are tools."""

    def extra_tokens(self, request: Request) -> int:
        """Bound the note."""
        assert isinstance(request, CompletionRequest)
        return 300 if request.tools else 0


def estimator() -> InputEstimator:
    return InputEstimator("tight", {"p": Templated(lambda _: ScriptedAnswer(usage=TokenUsage()))}, Calibration())


def conversation(*turns: str, tools: tuple[Tool, ...] = (), **more: object) -> CompletionRequest:
    roles = ("user", "assistant") * len(turns)
    messages = tuple(map(ChatMessage, roles, turns))  # type: ignore[arg-type]
    return CompletionRequest(model="m", messages=messages, max_output_tokens=9, tools=tools, **more)  # type: ignore[arg-type]


def counted(it: InputEstimator, request: CompletionRequest, tokens: int, model: str = "m") -> None:
    """Have a call settled."""
    it.learn(ROUTE, it.estimate(ROUTE, request).guess, tokens, model)


def test_a_round_is_held_at_the_count_of_the_one_before_and_a_guess_of_what_is_new() -> None:
    """A question after 8,000 counted tokens is held at these and its own few, however the text was guessed."""
    it = estimator()
    first = conversation(PROSE * 500)
    counted(it, first, 8_000)

    held = it.estimate(ROUTE, conversation(PROSE * 500, "Yes.", PROSE)).tokens
    fresh = estimator().estimate(ROUTE, conversation("Yes.", PROSE)).tokens
    assert 8_000 + len(PROSE) // 5 < held <= 8_000 + fresh


@given(st.integers(0, 10**6), st.integers(300, 1500), st.integers(0, 40), st.integers(0, 8))
def test_growing_conversations_are_never_held_below_what_they_take(
    seed: int, permille: int, request: int, turn: int
) -> None:
    """Whatever a template adds and however the model cuts text, rounds after the first few are held at enough."""
    it, chance = estimator(), random.Random(seed)

    def takes(text: str) -> int:
        guess = Calibration().guess("", [text]).text
        return turn + -(-guess * permille // 1000)

    turns: tuple[str, ...] = ()
    taken = request
    for number in range(12):
        new = (PROSE * chance.randrange(10, 40),) if number == 0 else ("Fine. " * 9, PROSE * chance.randrange(10, 40))
        turns, taken = turns + new, taken + sum(map(takes, new))
        estimate = it.estimate(ROUTE, conversation(*turns))
        if permille <= 1000 or number > 1:
            assert estimate.tokens >= taken
        it.learn(ROUTE, estimate.guess, taken, "m")


def with_image(request: CompletionRequest) -> CompletionRequest:
    image = ChatMessage("user", (TextPart("look"), ImagePart("image/png", b"\x89PNG")))
    return CompletionRequest(model="m", messages=(*request.messages, image), max_output_tokens=9)


TOOL = Tool("look_up", "Looks it up.", {})


@pytest.mark.parametrize(
    "other",
    [
        lambda: conversation(PROSE * 499, "Yes.", PROSE),
        lambda: conversation(PROSE * 500, "Yes.", PROSE, tools=(TOOL,)),
        lambda: conversation(PROSE * 500, "Yes.", PROSE, reasoning_effort="high"),
        lambda: with_image(conversation(PROSE * 500, "Yes.", PROSE)),
    ],
)
def test_what_is_not_known_to_be_counted_alike_is_guessed_as_ever(other: Callable[[], CompletionRequest]) -> None:
    """Another first turn, tools that were not there, more thinking or an image: a count says nothing of these."""
    it = estimator()
    counted(it, conversation(PROSE * 500), 2_500)

    assert it.estimate(ROUTE, other()).tokens > 5_000


def test_tools_are_in_the_count_and_not_held_beside_it_once_more() -> None:
    """A note that a vendor adds for tools was counted with the first round."""
    it = estimator()
    counted(it, conversation(PROSE * 500, tools=(TOOL,)), 2_800)

    assert 2_800 < it.estimate(ROUTE, conversation(PROSE * 500, "Yes.", PROSE, tools=(TOOL,))).tokens < 2_800 + 60


def test_the_last_word_of_a_loop_goes_on_from_the_count_of_its_rounds_and_is_no_measure_for_them() -> None:
    """Without leave to use tools they take at most as much; a template that leaves them out teaches nothing."""
    it = estimator()
    rounds = conversation(PROSE * 500, "Yes.", PROSE, tools=(TOOL,))
    counted(it, conversation(PROSE * 500, tools=(TOOL,)), 2_800)
    last = msgspec.structs.replace(rounds, tool_choice="none")

    assert it.estimate(ROUTE, last).tokens < 2_800 + 60
    counted(it, last, 2_600)
    assert it.estimate(ROUTE, rounds).tokens > 2_800


@pytest.mark.parametrize(("tokens", "model"), [(1, "m"), (2_500, "m-large")])
def test_a_count_that_cannot_be_or_is_of_another_model_is_not_relied_on(tokens: int, model: str) -> None:
    """A server that says 1, or that has one model answer here and another there, is held at the guess."""
    it = estimator()
    counted(it, conversation(PROSE), 20)
    counted(it, conversation(PROSE * 500), tokens, model)

    assert it.estimate(ROUTE, conversation(PROSE * 500, "Yes.")).tokens > 5_000


def test_the_same_model_under_a_newer_date_counts_alike() -> None:
    """A release date in the name of who has answered makes no other model of it."""
    it = estimator()
    counted(it, conversation(PROSE), 20, "m-2025-12-01")
    counted(it, conversation(PROSE * 500), 2_500, "m-2026-01-02")

    assert it.estimate(ROUTE, conversation(PROSE * 500, "Yes.")).tokens < 2_600


def test_the_conversations_used_last_are_remembered_and_no_more() -> None:
    """Neither conversations nor names of models fill the memory."""
    known = CountedPrefixes(most=3)
    for number in range(5):
        known.remember(f"m{number}", f"m{number}", known.find(f"m{number}", (), ["x", "y"]), 10, 4)
    assert len(known) == 3
    assert [known.find(f"m{number}", (), ["x", "y", "z"]).turns for number in range(5)] == [0, 0, 2, 2, 2]
    for number in range(2 * FAMILIES_MAX):
        known.remember(f"n{number}", "n", known.find(f"n{number}", (), ["x"]), 10, 4)
    assert len(known._answered_by) == FAMILIES_MAX


def test_a_count_of_a_fourth_of_the_guess_is_relied_on_and_one_below_it_is_not() -> None:
    """No tokenizer is further from the guess than that; what is, was counted by mistake."""
    known = CountedPrefixes()
    for tokens, relied_on in ((25, 25), (24, 0)):
        known.remember("f", "m", known.find("f", None, [("user", "a")]), tokens, 100)
        assert known.find("f", None, [("user", "a"), ("assistant", "b")]).tokens == relied_on
