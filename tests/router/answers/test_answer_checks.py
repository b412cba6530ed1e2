"""What adapters return, before anything is charged by it."""

import math
from typing import Any

import pytest

from organism.amounts import CALL_NANOUSD_MAX, COUNTED_TOKENS_MAX, TokenUsage
from organism.errors import RejectedError, UncertainError
from organism.llm.answers import Completion
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.router.answers.answer_checks import checked_answer, checked_failure

REQUEST = CompletionRequest(model="m", messages=(ChatMessage("user", "x"),), max_output_tokens=9)


def answer(**fields: Any) -> Completion:
    return Completion(**{"text": "yes", "model": "m", "finish_reason": "stop", "usage": None, **fields})


@pytest.mark.parametrize("side", TokenUsage.__struct_fields__)
@pytest.mark.parametrize("count", [-1, COUNTED_TOKENS_MAX + 1, 2**63, 1.0, True, "5", float("nan"), None], ids=repr)
def test_a_count_that_is_none_is_named_and_not_used(side: str, count: Any) -> None:
    """No bucket of a provider's usage is negative, beyond belief, or no whole number; which one was is said."""
    found = checked_answer(answer(usage=TokenUsage(**{side: count})), REQUEST, "p")

    assert found.usage is None
    assert f"usage.{side} is " in str(found.usage_error)


@pytest.mark.parametrize("count", [0, 1, COUNTED_TOKENS_MAX])
def test_a_count_within_bounds_is_used(count: int) -> None:
    """What may be a count is one, up to the very bound."""
    usage = TokenUsage(input=count, output=count)

    found = checked_answer(answer(usage=usage), REQUEST, "p")

    assert (found.usage, found.usage_error) == (usage, None)


@pytest.mark.parametrize(
    ("cost", "good"),
    [(0, True), (CALL_NANOUSD_MAX, True), (CALL_NANOUSD_MAX + 1, False), (-1, False), (1.5, False), (True, False)],
)
def test_a_cost_that_is_none_is_named_and_not_used(cost: Any, good: bool) -> None:
    """The same for what a provider says that a call has cost."""
    usage = TokenUsage(input=1, output=1)

    found = checked_answer(answer(usage=usage, cost_nanousd=cost), REQUEST, "p")

    if good:
        assert (found.cost_nanousd, found.usage, found.usage_error) == (cost, usage, None)
    else:
        assert (found.cost_nanousd, found.usage) == (None, None)
        assert "cost_nanousd is " in str(found.usage_error)


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"x": TokenUsage(input=-1_000)},
        {"x": TokenUsage(output=COUNTED_TOKENS_MAX + 1)},
        {"x": None},
        {"x" * 257: TokenUsage()},
        {5: TokenUsage()},
        {f"m{number}": TokenUsage() for number in range(65)},
        [("x", TokenUsage())],
    ],
    ids=["negative", "beyond belief", "nothing", "long name", "no name", "many", "no dictionary"],
)
def test_what_other_models_have_used_is_checked_as_the_answer_s_own_usage_is(elsewhere: Any) -> None:
    """A count below zero would make a call cost less than nothing, and each name is looked up among the prices."""
    found = checked_answer(answer(usage=TokenUsage(input=9), usage_elsewhere=elsewhere), REQUEST, "p")

    assert (found.usage, getattr(found, "usage_elsewhere", None)) == (None, {})
    assert "usage_elsewhere" in str(found.usage_error)


class HomeMadeError(RejectedError):
    """An adapter's own."""


@pytest.mark.parametrize("again", [True, False])
def test_what_an_adapter_s_own_refusal_says_of_another_try_counts(again: bool) -> None:
    """A call that may be tried again is, and one that never will be taken is not paid for with a wait."""
    told = checked_failure(HomeMadeError("p", "not now", again=again), "p")

    assert isinstance(told, RejectedError)
    assert told.again is again


@pytest.mark.parametrize(("said", "wait_s"), [(0, 0), (0.0, 0), (2.5, 2.5), (-1, None), (math.nan, None), ("3", None)])
def test_a_wait_that_an_adapter_asks_for_is_kept_if_it_is_one(said: Any, wait_s: float | None) -> None:
    """At once is a wait too; of what is none nobody knows how long, so it is as long as without a word."""
    for told in (
        checked_failure(HomeMadeError("p", "not now", again=True, retry_after_s=said), "p"),
        checked_failure(RejectedError("p", "not now", again=True, retry_after_s=said), "p"),
    ):
        assert isinstance(told, RejectedError)
        assert told.retry_after_s == wait_s


def test_an_error_of_ours_is_passed_on_as_it_is_if_its_words_are_words() -> None:
    """Whoever catches it finds what was raised; what is no text becomes one before an event or a log carries it."""
    sound = RejectedError("p", "not now", status=429, again=True)
    wrong: Any = RejectedError("p", "not now", status=429)
    wrong.detail = 5

    assert checked_failure(sound, "p") is sound
    assert (checked_failure(wrong, "p").detail, checked_failure(wrong, "p").status) == ("5", 429)


def test_words_that_no_file_can_hold_do_not_leave_an_adapter() -> None:
    """An error of ours that holds half a character would fail the entry that names it: it is told anew."""
    wrong = RejectedError("p", "not now", status=429)
    wrong.args = ("half \ud800",)

    told = checked_failure(wrong, "p")

    assert told is not wrong
    assert "not now" in str(told).encode().decode()
    assert (type(told), told.status) == (RejectedError, 429)


class OwnTroubleError(UncertainError):
    """An adapter's own."""


def test_an_adapter_s_own_trouble_is_uncertain_whatever_its_class() -> None:
    """It becomes one of ours, with its words and its status: its call is charged as one that may have been billed."""
    told = checked_failure(OwnTroubleError("p", "broken", status=502), "p")

    assert (type(told), told.detail, told.status) == (UncertainError, "broken", 502)


@pytest.mark.parametrize(
    ("counted", "usage", "fault"),
    [
        (answer(usage=TokenUsage(input=5, output=2)), TokenUsage(input=5, output=2), None),
        (answer(usage=TokenUsage(input=-5)), None, "usage.input is -5"),
        (answer(usage=TokenUsage(input=5), cost_nanousd=-1), None, "cost_nanousd is -1"),
    ],
    ids=["sound", "negative", "no cost"],
)
def test_what_a_failure_says_was_used_is_checked_as_an_answer_s_count_is(
    counted: Completion, usage: TokenUsage | None, fault: str | None
) -> None:
    """A provider that fails and says what it has used is believed as far as one that answers, and not below zero."""
    error = UncertainError("p", "stopped in the middle")
    error.counted = counted

    told = checked_failure(error, "p")

    assert isinstance(told, UncertainError)
    assert isinstance(told.counted, Completion)
    assert (told.counted.usage, told.counted.usage_error) == (usage, fault)


def test_a_count_of_a_failure_that_is_none_is_left_out() -> None:
    """What an adapter has put there that is no answer is not charged as one: the call is charged what it held."""
    error = UncertainError("p", "stopped in the middle")
    error.counted = {"input": 5}

    told = checked_failure(error, "p")

    assert isinstance(told, UncertainError)
    assert told.counted is None
