"""How many tokens of an answer have come? At least so many, for certain, and at most about so many. Pure.

A stream is closed when it has passed its cap for certain, so what is counted for that must never be more than what its
provider counts. No tokenizer in use joins words over the space between them, so words are counted; of runs of one
character, which some do join, one. Where settled answers of a model have shown that to be too much, it is lowered. It
is never raised: texts of one kind may be in languages of which one takes twice the tokens of another. What is charged
for a closed stream follows what was learnt.
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
"""A word of so many letters may be one token. What has more is hardly a word, or of a writing without spaces."""

TAIL_MAX = 8
"""Beyond that, so many letters may be one token; with three bytes a letter five, of Chinese and kana three."""

PIECES_PER_TOKEN = 8
"""Servers send one token a piece or several; one that splits them sends no more pieces than that for each."""

SHORT_PERMILLE = 1650
"""What a short word of plain letters takes at most on average: it is one token in languages that models know well."""

_SHORT = re.compile(r" ?\b[a-z]{1,5}\b")
_RUN = 4
_RUNS = re.compile(r"(.)\1{3,}", re.DOTALL)

RangeOf = Callable[[TextKind], Range | None]
"""Says what text of a kind takes with the model that answers; ``None`` where it is not known."""


class OutputCount:
    """Counts text while it comes, piece by piece."""

    def __init__(self) -> None:
        self.words = 0
        self.pieces = 0
        self._text: list[str] = []
        self._open = 0
        """The length of the word that the last piece ended with, and the next may go on with."""
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
        """The text's bytes by what they are, but for the space between words."""
        if self._unsized:
            self._size += size_of("".join(self._unsized))
            self._unsized.clear()
        return self._size

    def __add__(self, other: "OutputCount") -> "OutputCount":
        """Count two texts together."""
        both = OutputCount()
        both.words, both.pieces = self.words + other.words, self.pieces + other.pieces
        both._size, both._text = self.size + other.size, self._text + other._text
        return both

    def at_least(self, range_of: RangeOf) -> int:
        """Return how many tokens there are for certain."""
        certain = max(self.words, self.pieces // PIECES_PER_TOKEN)
        known = range_of(kind_of(self.size))
        return certain if known is None else min(certain, self.size.tokens * known.least // 1000)

    def passes(self, cap: int, range_of: RangeOf) -> bool:
        """Whether there are more tokens than that for certain."""
        may_pass = self.words > cap or self.pieces // PIECES_PER_TOKEN > cap  # which is quicker to see
        return may_pass and self.at_least(range_of) > cap

    def at_most(self, range_of: RangeOf) -> int:
        """Return about how many tokens there are at most."""
        if (known := range_of(kind_of(self.size))) is not None:
            return max(self.words, -(-self.size.tokens * known.most // 1000))
        rest, short = _SHORT.subn("", "".join(self._text))
        return max(self.words, -(-short * SHORT_PERMILLE // 1000) + output_tokens_from_text(rest))


def _length(word: str) -> int:
    """Return the length of a word in thirds of a letter of ASCII."""
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
    """Learns from settled answers what the text of each model takes.

    Args:
        calibration: Where it is kept, beside what is known of requests.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration

    def range_of(self, route: Route) -> RangeOf:
        """Return what is known of the answers of a route's model."""
        family = _family(route)
        return lambda kind: self._calibration.range(family, kind)

    def learn(self, route: Route, request: Request, answer: object) -> None:
        """Take note of an answer whose tokens its provider has counted, if all of them show."""
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
