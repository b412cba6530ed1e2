"""How much of an answer has come: never more than any tokenizer in use makes of it, and never far less."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism.amounts import TokenUsage
from organism.budget.calibration import Calibration
from organism.llm.answers import Completion
from organism.llm.deltas import UsageDelta
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.router.answers.output_count import OutputCalibration, OutputCount
from organism.router.answers.streamed_answer import COUNTS_MORE, StreamedAnswer
from organism.router.planning.plan import Route

ROUTE = Route("p", "m-2026-01-31")
REQUEST = CompletionRequest(model="m", messages=(ChatMessage("user", "x"),), max_output_tokens=1_000)


def tokens_of(text: str, most: int = 8) -> int:
    """Count as a tokenizer that makes one token of a word, of runs of one character, and of so many letters beyond."""
    count = 0
    for word in text.split():
        short = re.sub(r"(.)\1{3,}", r"\1", word)
        thirds = sum(3 if len(each.encode()) < 3 else 8 if "\u3040" <= each <= "\u9fff" else 5 for each in short)
        count += 1 + max(0, -(-(thirds - 72) // (3 * most)))
    return count


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Zs", "Cc"]), min_size=1, max_size=30)
texts = st.lists(
    st.one_of(words, st.sampled_from(["the", "of", "ab" * 40, "=" * 80, "x", "世界", "e=mc2", "\n\n", " "])),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(texts, st.data())
def test_what_has_come_is_never_counted_as_more_than_it_is(text: list[str], data: st.DataObject) -> None:
    """However a text is cut into pieces of a token or more, a provider that stays within its cap is not stopped."""
    whole = " ".join(text)
    real = tokens_of(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=max(0, real - 1))))
    count = OutputCount()
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        if whole[start:end]:
            count.add(whole[start:end])
    assert count.at_least(lambda _kind: None) <= real


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text("abcdefghijklmnop", min_size=1, max_size=12), min_size=30, max_size=200), st.integers(4, 12))
def test_a_stream_is_closed_before_it_is_three_times_its_cap(text: list[str], most: int) -> None:
    """Of words of up to twelve letters no tokenizer makes more than three times the tokens before they are too many."""
    streamed, cap, written = StreamedAnswer(REQUEST), 20, 0
    for word in text:
        streamed.add(f"{word} ")
        written += -(-len(word) // most)
        if streamed.passes(cap):
            break
    assert streamed.passes(cap)
    assert written <= 3 * (cap + 1)
    assert written <= streamed.usage(0, cap, 0.0).output, "and all of it is charged"


@pytest.mark.parametrize("piece", ["x", "ab", "世", "=", "\u0e01"])
def test_pieces_without_spaces_are_counted_too(piece: str) -> None:
    """A provider that writes without a space, a token a piece, is stopped after some times its cap, not never."""
    streamed, sent = StreamedAnswer(REQUEST), 0
    while not streamed.passes(100):
        streamed.add(piece)
        sent += 1
    assert 100 < sent <= 1_000


def settled(text: str, tokens: int, **more: object) -> Completion:
    usage = TokenUsage(input=1, output=tokens)
    return Completion(text=text, model="m", finish_reason="stop", usage=usage, **more)  # type: ignore[arg-type]


PROSE = "the ship went out with the tide and came back with the next one all the same "
CODE = 'if (a[0] != "x") { return f(b, c); } '


@pytest.mark.parametrize(("text", "tokens"), [(PROSE, 18), (CODE, 20), ("世界是你们的也是我们的", 8)])
def test_settled_answers_tell_what_the_next_one_takes(text: str, tokens: int) -> None:
    """What a model's answers have taken is what a closed stream is charged by, and never makes a stop come sooner."""
    known = OutputCalibration(Calibration())
    for _ in range(8):
        known.learn(ROUTE, REQUEST, settled(text * 60, tokens * 60))
    count = OutputCount()
    for _ in range(50):
        count.add(text)
    learnt, plain = known.range_of(Route("p", "m")), lambda _kind: None
    real = tokens * 50
    assert count.at_least(plain) <= real <= count.at_most(plain)
    assert count.at_least(learnt) <= count.at_least(plain)
    assert real <= count.at_most(learnt) <= real * 11 // 10


def test_a_tokenizer_that_joins_words_is_learnt_before_it_is_stopped() -> None:
    """Where settled answers have had fewer tokens than words, words are no longer taken for tokens."""
    known = OutputCalibration(Calibration())
    for _ in range(8):
        known.learn(ROUTE, REQUEST, settled(PROSE * 60, 9 * 60))
    streamed = StreamedAnswer(REQUEST, known.range_of(ROUTE))
    for word in (PROSE * 20).split():
        streamed.add(f"{word} ")
    assert not streamed.passes(9 * 20)


@pytest.mark.parametrize(
    "answer",
    [
        settled(PROSE * 60, 4, usage_missing=("output",)),
        settled(PROSE * 60, 90_000).__class__(
            text=PROSE * 60, model="o3-mini", finish_reason="stop", usage=TokenUsage(1, output=90_000)
        ),
        Completion(text=PROSE * 60, model="m", finish_reason="length", usage=TokenUsage(1, output=90_000)),
    ],
    ids=["counted before its end", "thinks unseen", "cut"],
)
def test_nothing_is_learnt_from_answers_that_do_not_show_what_was_counted(answer: Completion) -> None:
    """A count of more, or less, than what is seen says nothing of what text takes."""
    calibration = Calibration(samples_min=1)
    OutputCalibration(calibration).learn(ROUTE, REQUEST, answer)
    assert len(calibration) == 0


def test_a_providers_own_count_stops_it_but_not_for_the_mark_of_an_end() -> None:
    """Usage that comes in the middle is believed; a few tokens more than the cap are how some count an answer's end."""
    streamed = StreamedAnswer(REQUEST)
    streamed.add(UsageDelta(TokenUsage(input=9_999, output=100 + COUNTS_MORE)))
    assert not streamed.passes(100), "and what the input was is not held against the answer"
    streamed.add(UsageDelta(TokenUsage(input=9_999, output=101 + COUNTS_MORE)))
    assert streamed.passes(100)
