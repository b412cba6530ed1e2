"""Bounds on the tokens of a streamed text: a certain lower one and a likely upper one. Pure.

A stream is closed when it has passed its cap for certain, so the lower bound must never exceed the provider's count. No
tokenizer in use joins words across a space, so words are counted; a run of one character, which some tokenizers join,
counts once. Where settled answers of a model have shown that to be too much, the bound is lowered. It is never raised:
texts of one kind may be in languages of which one takes twice the tokens of another. The charge of a closed stream uses
the upper bound.
"""

import re
from collections.abc import Callable

from organism.budget.calibration import Calibration, Guess, Range, TextKind, kind_of
from organism.budget.estimate import TextSize, output_tokens_from_text, size_of
from organism.llm.answers import Completion
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest
from organism.pricing.names import undated
from organism.router.answers.partial_usage import is_hidden
from organism.router.planning.plan import Route

WORD_MAX = 24
"""Letters of a word that may be one token; a longer one is hardly a word, or of a script without spaces."""

TAIL_MAX = 8
"""Letters a token beyond that; five of three bytes each, three of Chinese and kana."""

PIECES_PER_TOKEN = 8
"""The most pieces in which a server sends one token; most send one token or several a piece."""

SHORT_PERMILLE = 1650
"""The most tokens, in thousandths, that short plain words take on average."""

_SHORT = re.compile(r" ?\b[a-z]{1,5}\b")
_RUN = 4
_RUNS = re.compile(r"(.)\1{3,}", re.DOTALL)

RangeOf = Callable[[TextKind], Range | None]
"""Returns the range of tokens that text of a kind takes with a model; ``None`` if it is not known."""


class OutputCount:
    """Counts a text piece by piece."""

    def __init__(self) -> None:
        self.words = 0
        self.pieces = 0
        self._text: list[str] = []
        self._open = 0
        """The length of the word at the end of the last piece, which the next piece may continue."""
        self._size = TextSize()
        self._unsized: list[str] = []

    def add(self, piece: str) -> None:
        """Count more of the text."""
        self._text.append(piece)
        if piece[:1].isspace():
            self._open = 0
        may_have_runs = len(piece) - len(set(piece)) >= _RUN - 1  # which is quicker to see
        words = (_RUNS.sub(r"\1", piece) if may_have_runs else piece).split()
        if not words:
            return
        self.pieces += 1
        self._unsized += words
        for word in words:
            length = self._open + _length(word)
            self.words += _tokens(length) - _tokens(self._open)
            self._open, last = 0, length
        self._open = 0 if piece[-1].isspace() else last

    @property
    def size(self) -> TextSize:
        """The text's bytes by kind, without the spaces between words."""
        if self._unsized:
            self._size += size_of("".join(self._unsized))
            self._unsized.clear()
        return self._size

    def __add__(self, other: "OutputCount") -> "OutputCount":
        """Return the count of two texts together."""
        both = OutputCount()
        both.words, both.pieces = self.words + other.words, self.pieces + other.pieces
        both._size, both._text = self.size + other.size, self._text + other._text
        return both

    def at_least(self, range_of: RangeOf) -> int:
        """Return a lower bound on the tokens."""
        certain = max(self.words, self.pieces // PIECES_PER_TOKEN)
        known = range_of(kind_of(self.size))
        return certain if known is None else min(certain, self.size.tokens * known.least // 1000)

    def passes(self, cap: int, range_of: RangeOf) -> bool:
        """Whether there are more tokens than ``cap`` for certain."""
        may_pass = self.words > cap or self.pieces // PIECES_PER_TOKEN > cap  # which is quicker to see
        return may_pass and self.at_least(range_of) > cap

    def at_most(self, range_of: RangeOf) -> int:
        """Return a likely upper bound on the tokens."""
        if (known := range_of(kind_of(self.size))) is not None:
            return max(self.words, -(-self.size.tokens * known.most // 1000))
        rest, short = _SHORT.subn("", "".join(self._text))
        return max(self.words, -(-short * SHORT_PERMILLE // 1000) + output_tokens_from_text(rest))


def _length(word: str) -> int:
    """Return the length of a word in thirds of an ASCII letter."""
    return 3 * len(word) if word.isascii() else sum(map(_thirds, word))


def _thirds(letter: str) -> int:
    if letter < "\u0800":  # two bytes at most
        return 3
    return 8 if "\u3040" <= letter <= "\u9fff" else 5


def _tokens(length: int) -> int:
    if not length:
        return 0
    return 1 + max(0, length - 3 * WORD_MAX) // (3 * TAIL_MAX)


class OutputCalibration:
    """Learns from settled answers how many tokens the text of each model takes.

    Args:
        calibration: Where that is kept, beside what is known of requests.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration

    def range_of(self, route: Route) -> RangeOf:
        """Return a function with what is known of the answers of a route's model."""
        family = _family(route)
        return lambda kind: self._calibration.range(family, kind)

    def learn(self, route: Route, request: Request, answer: object) -> None:
        """Learn from an answer that its provider has counted, if nothing of it is hidden."""
        if not isinstance(answer, Completion) or not isinstance(request, CompletionRequest) or answer.usage is None:
            return
        if answer.usage_missing or is_hidden(answer, request):
            return
        count = OutputCount()
        count.add(answer.generated)
        guess = Guess(count.size.tokens, count.size.tokens, kind_of(count.size))
        self._calibration.learn(_family(route), guess, answer.usage.output_total)


def _family(route: Route) -> str:
    return f"answers of {route.provider}/{undated(route.model)}"
