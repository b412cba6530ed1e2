"""What English and code take with tokenizers that were measured, for models of which nothing is learnt yet. Pure.

Of 350 texts of 4 to 20 KB each (manuals, Python, TypeScript, JavaScript, C, JSON, HTML, logs, 18 languages), and of the
first requests of six coding agents, :func:`measured_tokens` takes 63. These needed 0.83 to 1.12 tokens for each that is
guessed from their pieces, with the tokenizers of GPT-3.5 and 4, GPT-4o and 5, Llama 3, Qwen 3, DeepSeek V3, Gemini,
Gemma 3 and Mistral's Tekken. Other languages, data, and code without spaces take up to 1.9, and the tokenizers of some
makers are not published: for these the guess from bytes stands.
"""

import re
from collections.abc import Sequence

from organism.budget.estimate import TextPieces

MEASURED_PERMILLE = 1175
"""Of the tokens guessed from pieces: the largest proportion measured, and a twentieth more."""

LENGTH_MIN = 2_048
"""Shorter texts, in tokens guessed, differ more."""

_MEASURED = re.compile(
    r"(chat)?gpt-|o[134]\b|codex|llama-?3|qwen|deepseek|gemini-|gemma|devstral|magistral|ministral|mistral-nemo"
)
_COMMON_WORDS = (" the ", " to ", " of ", " and ", " a ")
_WORDS_FOR_A_COMMON_ONE = 12
"""One of twelve words of English is one of those; in code with comments and in requests with schemas as well."""

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
    if not is_plain or pieces.tokens < LENGTH_MIN or _WORDS_FOR_A_SPACE * pieces.spaces < pieces.words:
        return None
    if _MEASURED.match(family.rpartition("/")[2].lower()) is None or not _is_english(texts, pieces.words):
        return None
    return -(-pieces.tokens * MEASURED_PERMILLE // 1000)


def _is_english(texts: Sequence[str], words: int) -> bool:
    return _WORDS_FOR_A_COMMON_ONE * sum(text.count(word) for text in texts for word in _COMMON_WORDS) >= words
