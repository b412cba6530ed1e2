"""What English and code take with tokenizers that were measured, for models of which nothing is learnt yet. Pure.

Of 626 English texts of 4 to 40 KB that :func:`measured_tokens` takes (manuals, Python, TypeScript, JavaScript, C, Perl,
HTML), two took up to 8 % more than it says, lists of a text editor's commands in columns; those that flow took 74 to
95 % of it, and the first requests of coding agents 79 to 93 %. Measured were the tokenizers of GPT-3.5 and 4, GPT-4o
and 5, Llama 3, Qwen 3, DeepSeek V3, Gemini, Gemma 3 and Mistral's Tekken. Other languages, data, and code without
spaces take more, and the tokenizers of some makers are not published: for these the guess from bytes stands.
"""

import re
from collections.abc import Sequence

from organism.budget.estimate import TextPieces

MEASURED_PERMILLE = 1175
"""Of the tokens guessed from pieces: the largest proportion measured of anything but those lists."""

LENGTH_MIN = 2_048
"""Shorter texts, in tokens guessed, differ more."""

FLOWING_LENGTH_MIN = 1_024
"""The same of texts that flow, with hardly more than one space between two words: prose, and schemas on a line."""

_FLOWING_SPACES_PERCENT = 106
_FLOWING_PERMILLE = 1050
"""What the least that is enough for every flowing text measured is multiplied by."""

_FLOWING_PIECES: tuple[tuple[re.Pattern[str], tuple[int, ...]], ...] = (
    (re.compile(r"(chat)?gpt-|o[134]\b|codex|llama-?3|qwen"), (740, 0, 4000, 300, 930, 0, 970, 130, 940, 410, 600)),
    (
        re.compile(r"deepseek|gemini-|gemma|devstral|magistral|ministral|mistral-nemo"),
        (710, 0, 4000, 300, 970, 1780, 1190, 220, 1260, 390, 600),
    ),
)
"""Whose tokenizer was measured, by its model's name; and thousandths of a token for each of :class:`.TextPieces`.

Of all weights that are enough for each of the flowing texts those with the least sum. What decides is how spaces, marks
and digits are joined: the tokenizers of the second line cut numbers and line ends smaller.
"""

_COMMON_WORDS = (" the ", " to ", " of ", " and ", " a ")
_WORDS_FOR_A_COMMON_ONE = 12
"""One of twelve words of English is one of those; in code with comments and in requests with schemas as well."""

_STRETCHES = 6
_STRETCH_MIN, _STRETCH_MAX = 1_000, 2_500
_CHARACTERS_FOR_A_COMMON_ONE = 833
"""In each sixth of a text that flows, wherever it begins, one character of so many begins one of the first four.

Other writing beside English, such as a text to translate or base 64, takes up to twice as many tokens for its pieces.
"""

_PLAIN_EIGHTHS = (6, 7)
_FOREIGN_MAX = 2
"""Of the logarithm of how much is not ASCII: eight bytes of a thousand."""

_WORDS_FOR_A_SPACE = 4


def measured_tokens(family: str, kind: tuple[int, ...], pieces: TextPieces, texts: Sequence[str]) -> int | None:
    """Return what a long text takes at most, without its frame; ``None`` where nothing like it was measured.

    Args:
        family: Who serves the model, and its name without the release date.
        kind: The text's, see :data:`organism.budget.calibration.TextKind`.
        pieces: The text's.
        texts: The text of each turn.
    """
    eighths, foreign, manner = kind
    is_plain = eighths in _PLAIN_EIGHTHS and foreign <= _FOREIGN_MAX and manner == 0
    flows = 100 * pieces.spaces <= _FLOWING_SPACES_PERCENT * pieces.words
    length_min = FLOWING_LENGTH_MIN if flows else LENGTH_MIN
    if not is_plain or pieces.tokens < length_min or _WORDS_FOR_A_SPACE * pieces.spaces < pieces.words:
        return None
    name = family.rpartition("/")[2].lower()
    weights = next((weights for names, weights in _FLOWING_PIECES if names.match(name)), None)
    if weights is None or not _is_english(texts, pieces.words):
        return None
    if flows:
        if not _is_english_throughout("\n".join(texts)):
            return None
        return -(-pieces.weighed(weights) * _FLOWING_PERMILLE // 1_000_000)
    return -(-pieces.tokens * MEASURED_PERMILLE // 1000)


def _is_english(texts: Sequence[str], words: int) -> bool:
    return _WORDS_FOR_A_COMMON_ONE * sum(text.count(word) for text in texts for word in _COMMON_WORDS) >= words


def _is_english_throughout(text: str) -> bool:
    stretch = min(_STRETCH_MAX, max(_STRETCH_MIN, len(text) // _STRETCHES))
    last = max(0, len(text) - stretch)
    return all(
        sum(text.count(word, start, start + stretch) for word in _COMMON_WORDS[:4])
        >= stretch // _CHARACTERS_FOR_A_COMMON_ONE
        for start in (*range(0, last, stretch // 2), last)
    )
