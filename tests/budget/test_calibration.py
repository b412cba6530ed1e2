"""What is learnt about text makes estimates closer, and never makes a bound less than one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.budget.calibration import FAMILIES_MAX, SAMPLES_MAX, SAMPLES_MIN, Calibration
from organism.budget.estimate import input_tokens_strict, input_tokens_tight, pieces_of

PROSE = "the tide comes in and the tide goes out, as it has always done and always will. " * 20
CODE = 'def f(x: int) -> dict[str, int]:\n    return {"A_1": x ** 2, "B_2": x // 3}\n' * 20
SCRIPT = "潮水每天两次涨落渔民们在岸边等待" * 20
FRAME = 48
"""What is held for the chat template of a single turn."""

texts = st.lists(st.text(max_size=200), max_size=5)


def taught(share_percent: int, *, times: int = SAMPLES_MIN, text: str = PROSE) -> Calibration:
    """Make a calibration that has seen a text take a share of what it is guessed at."""
    calibration = Calibration()
    for _ in range(times):
        guess = calibration.guess("m", [text])
        calibration.learn("m", guess, guess.text * share_percent // 100)
    return calibration


@given(texts)
def test_before_anything_is_known_the_guess_is_the_close_estimate(given_texts: list[str]) -> None:
    """A new model is estimated as it always was, give or take the rounding."""
    guess = Calibration().guess("m", given_texts)

    assert abs(guess.tokens - input_tokens_tight(given_texts)) <= 10 + len(given_texts)


@given(texts, st.lists(st.integers(0, 10**6), max_size=60))
def test_no_guess_is_above_the_true_bound_whatever_was_learnt(given_texts: list[str], counts: list[int]) -> None:
    """A provider that counts nonsense cannot make us hold more than there are bytes."""
    calibration = Calibration()
    for count in counts:
        calibration.learn("m", calibration.guess("m", given_texts), count)

    assert calibration.guess("m", given_texts).tokens <= input_tokens_strict(given_texts)


@given(texts)
def test_strict_is_not_learnt(given_texts: list[str]) -> None:
    """The true bound counts bytes and nothing else."""
    whole = sum(len(text.encode("utf-8", "replace")) for text in given_texts)

    assert input_tokens_strict(given_texts) >= whole


def test_guess_comes_down_to_what_was_seen() -> None:
    """After a few calls a model's prose is held at what it takes, and a twentieth more."""
    calibration = taught(60)
    guess = calibration.guess("m", [PROSE])

    assert guess.text * 60 // 100 <= guess.tokens <= guess.text * 63 // 100 + 1


@given(st.integers(300, 1500), st.integers(0, FRAME), st.lists(st.integers(60, 900), min_size=8), st.integers(1, 4000))
def test_what_the_template_adds_is_never_too_little(permille: int, added: int, seen: list[int], asked: int) -> None:
    """Whatever a template adds, up to its most, short texts teach enough for long ones, and long for short ones."""
    calibration = Calibration()

    def takes(words: int) -> int:
        return -(-calibration.guess("m", ["tide " * words]).text * permille // 1000) + added

    for words in seen:
        calibration.learn("m", calibration.guess("m", ["tide " * words]), takes(words))

    guess = calibration.guess("m", ["tide " * asked])
    if calibration.knows("m", guess.kind):
        assert guess.tokens >= min(takes(asked), input_tokens_strict(["tide " * asked]))


def test_largest_of_the_last_counts_rules_and_is_forgotten_in_time() -> None:
    """One dear call makes the next guesses careful, for as long as it is among the last."""
    calibration = taught(60)
    guess = calibration.guess("m", [PROSE])
    calibration.learn("m", guess, guess.text)
    assert calibration.guess("m", [PROSE]).tokens >= guess.text

    for _ in range(SAMPLES_MAX):
        calibration.learn("m", guess, guess.text // 2)
    assert calibration.guess("m", [PROSE]).tokens <= FRAME + guess.text * 53 // 100 + 1


def test_other_models_and_kinds_of_text_are_not_judged_by_it() -> None:
    """What was learnt of one model's prose says nothing about code, another script or another model."""
    calibration, fresh = taught(30), Calibration()

    for family, text in (("other", PROSE), ("m", CODE), ("m", SCRIPT)):
        assert calibration.guess(family, [text]) == fresh.guess(family, [text])


def test_short_texts_teach_nothing_and_keep_their_template() -> None:
    """What a chat template adds is not taken for text, and is always held."""
    short = "the tide comes in. " * 3
    assert taught(10, text=short).guess("m", [short]) == Calibration().guess("m", [short])

    guess = taught(1).guess("m", [short])
    assert guess.tokens >= FRAME


def test_too_few_counts_say_nothing() -> None:
    """Nothing is concluded from a handful of calls."""
    assert taught(30, times=SAMPLES_MIN - 1).guess("m", [PROSE]) == Calibration().guess("m", [PROSE])


@pytest.mark.parametrize("text", [PROSE, CODE, f"tide: {SCRIPT}", f"{PROSE}{CODE}", f'{{"a": "{PROSE}"}}'])
@pytest.mark.parametrize("share", [20, 53, 80, 105])
def test_one_long_text_says_as_much_as_many_short_ones(text: str, share: int) -> None:
    """A coding agent's second call is held by what its first has taken and a seventh more, not its ninth."""
    long = text * 60
    calibration = taught(share, times=1, text=long)
    guess = calibration.guess("m", [long, "go on"])
    real = guess.text * share // 100

    assert real <= guess.tokens <= real * 12 // 10
    assert calibration.guess("other", [long]) == Calibration().guess("m", [long])


def test_count_of_its_own_says_as_much_as_many_calls() -> None:
    """What a vendor has counted before the first call is held by at once, whatever its length."""
    calibration, text = Calibration(), CODE * 8
    guess = calibration.guess("m", [text])
    assert not calibration.knows("m", guess.kind)
    calibration.learn("m", guess, guess.text // 2, counted=True)
    assert calibration.knows("m", guess.kind)
    assert guess.text // 2 <= calibration.guess("m", [text]).tokens <= FRAME + guess.text * 6 // 10


def tide(words: int) -> list[str]:
    """Make a text of so many words."""
    return ["tide " * words]


@pytest.mark.parametrize(("long_ones", "percent"), [(SAMPLES_MIN, 60), (SAMPLES_MIN - 1, 90)])
def test_texts_of_half_the_length_decide_once_there_are_enough(long_ones: int, percent: int) -> None:
    """A long prompt is held at what long ones took, and at what made short ones dear only while those are few."""
    calibration = Calibration()
    for words, share in [(333, 90)] * 3 + [(500, 60)] * long_ones:
        guess = calibration.guess("m", tide(words))
        calibration.learn("m", guess, guess.text * share // 100)
    half, asked = calibration.guess("m", tide(500)), calibration.guess("m", tide(1000))
    assert asked.text == 2 * half.text, "half as long exactly"

    assert asked.text * percent // 100 <= asked.tokens <= asked.text * percent * 106 // 10_000


def test_a_chat_template_is_held_once_and_without_a_margin() -> None:
    """Of a text as long as one that was counted the same is held, and a twentieth of what is the text's own."""
    calibration = Calibration()
    for _ in range(SAMPLES_MIN):
        guess = calibration.guess("m", tide(273))
        calibration.learn("m", guess, guess.text)
    guess = calibration.guess("m", tide(273))

    assert guess.text <= guess.tokens <= FRAME + -(-(guess.text - FRAME) * 105 // 100) + 1


@pytest.mark.parametrize(
    ("text", "manner"),
    [
        ("reef, " * 20 + "- " * 1, 0),
        ("reef, " * 20 + "- " * 2, 0),  # a tenth more marks than words, as dense code has
        ("reef, " * 20 + "- " * 3, 1),
        ("reef --" + " " * 4, 0),  # as many spaces as letters and further marks
        ("reef --" + " " * 5, 2),
    ],
)
def test_code_is_held_as_prose_is_until_marks_or_spaces_are_most_of_it(text: str, manner: int) -> None:
    """Dense code is not held at what data takes, nor a line of dashes at what wide columns do."""
    assert pieces_of(text).manner == manner


def test_memory_is_bounded() -> None:
    """Ever new model names do not fill the memory; the one used last stays."""
    calibration = Calibration()
    guess = calibration.guess("m", [PROSE])
    for number in range(10 * FAMILIES_MAX):
        calibration.learn(f"m{number}", guess, guess.text)
        calibration.learn("m", guess, guess.text // 4)

    assert len(calibration) == FAMILIES_MAX
    assert calibration.guess("m", [PROSE]).tokens < FRAME + guess.text // 2


def test_same_calls_give_the_same_guesses() -> None:
    """Estimates depend on what was settled, in its order, and on nothing else."""
    assert taught(71, times=20).guess("m", [PROSE]) == taught(71, times=20).guess("m", [PROSE])


WORD = "the reef tide a shoal tide and tide low " * 60
TABLE = "| method | ok | - | 12 | yes |\n" * 80
JSON = '{"type": "string", "name": "tide", "items": [{"low": true}]},\n' * 40
SPACED = f"{'name':<40}{'state':<40}{'cost':>40}\n" * 40


@pytest.mark.parametrize(
    ("known", "text"),
    [(known, text) for known in (WORD, TABLE, JSON, SPACED) for text in (WORD, TABLE, JSON, SPACED) if known != text],
)
def test_prose_tables_data_and_wide_columns_are_kinds_of_their_own(known: str, text: str) -> None:
    """A thread of prose is not refused for what a table took, nor is a table held at what prose takes."""
    assert taught(60, text=known).guess("m", [text]) == Calibration().guess("m", [text])


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("x" * 4000, 1000),
        (" " * 4000, 100),
        ("the tide " * 100 + "q" * 2000, 700),
        ("-" * 4000, 500),
        ("7" * 4000, 3000),
        ("Q" * 4000, 1500),
        ("\n" * 4000, 1500),
        ("潮" * 1000, 1000),
        ("\x00" * 4000, 500),
    ],
)
def test_text_that_is_no_words_is_not_taken_for_a_few_long_ones(text: str, least: int) -> None:
    """What was learnt of prose holds enough for a key, a line of dashes or a column of digits in the midst of it."""
    calibration = taught(100)
    whole, prose = (calibration.guess("m", [given_text]) for given_text in (PROSE + text, PROSE))

    assert whole.tokens - prose.tokens >= least


def test_what_a_text_takes_is_told_as_a_range_once_enough_is_known() -> None:
    """About what was seen, with a margin to both sides; of what nobody has counted nothing is said."""
    known = taught(60)
    guess = known.guess("m", [PROSE])
    told = known.range("m", guess.kind)

    assert told is not None
    assert told.least < 600 <= told.most < 700
    assert known.range("other", guess.kind) is None
    assert Calibration().range("m", guess.kind) is None
    assert taught(60, times=SAMPLES_MIN - 1).range("m", guess.kind) is None
