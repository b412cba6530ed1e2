"""How many tokens does text take with *this* model? Learnt from settled calls; pure, bounded, in integers.

What a kind of text takes for each token guessed is much the same from call to call with one model, and differs between
models and between kinds of text. So for each family of models and each kind of text the last real counts are
remembered in proportion to what had been guessed, and the next guess is scaled by the largest of them, and a little
more. Until there are enough of them, or a few of long texts, the guess keeps its usual margin, or what was measured of
the model's tokenizer (:mod:`organism.budget.measured_tokenizers`).

Nobody knows how much of a count is the chat template's, between nothing and the most that is allowed for it. So a text
is taken for whichever is more: from a shorter one, as if all of its count grew with the text; from a longer one, as if
the template's most had to come back. Of texts half as long and longer alone, if there are enough of them: beside those
the template is little. Only long texts are learnt from.

Learning moves nothing but the close estimate. The strict bound is not learnt, and no guess is above it.
"""

from collections import deque
from collections.abc import Iterable, Sized

import msgspec

from organism.budget.counted_prefixes import PREFIXES_MAX, CountedPrefix, CountedPrefixes
from organism.budget.estimate import PER_MESSAGE, PER_REQUEST, TextPieces, TextSize, pieces_of, size_of
from organism.budget.measured_tokenizers import measured_tokens
from organism.text.token_bound import most_tokens

TextKind = tuple[int, ...]
"""How many eighths of a text are plain words, the logarithm of how much of it is not ASCII, and its manner.

The second tells languages apart that look alike otherwise: German has umlauts, and takes more tokens than English. The
manner (:attr:`.TextPieces.manner`, and how strange the letters are) is known of requests only; answers are counted
while they come, piece by piece.
"""

_STRANGE_PERMILLE = (1250, 1500, 2000)
"""From so much above the guess from bytes on, what a text takes at most says that it is of another kind: Finnish and
Polish, random words, random letters look like English in bytes, and take up to three times the tokens."""

_MANNERS = 3

PRIOR_PERMILLE = 1100
"""What the guess from bytes is multiplied by as long as nothing is known: the margin of the close estimate."""

MARGIN_PERMILLE = 1050
"""What the largest proportion remembered is multiplied by."""

TEXT_MIN = 256
"""Shorter texts, in tokens guessed, teach nothing."""

SAMPLES_MIN = 8
"""So many counts are relied on, however short the texts were."""

LONG_TEXT = 1_024
"""For each so many tokens guessed a text counts once more: the calls of a coding agent begin with thirty thousand."""

FEW_PERMILLE = 1150
"""What the largest proportion is multiplied by as long as the counts are few, though the texts were long."""

LEAST_PERMILLE, FEW_LEAST_PERMILLE = 850, 700
"""What the smallest proportion is multiplied by for what text takes at least, and as long as the counts are few."""

SAMPLES_MAX = 48
FAMILIES_MAX = 64
"""So many families are remembered, the ones used last."""


class Guess(msgspec.Struct, frozen=True):
    """An estimate of a request's text, and what it was made from.

    Attributes:
        tokens: What to hold.
        text: What there is of the text alone to scale by what was learnt: its pieces, or the bytes of an answer.
        kind: What kind of text it is.
        frame: The most that a chat template adds to it.
        prefix: What comes before the text and was counted, and is no part of the guess.
    """

    tokens: int
    text: int
    kind: TextKind
    frame: int = 0
    prefix: CountedPrefix | None = None


class TextCount(msgspec.Struct, frozen=True, gc=False):
    """What a text took by its provider's count.

    Attributes:
        text: The guess of the text alone.
        whole: The count in thousandths of that, as if it were all the text's.
        alone: The same without the most that a chat template adds.
        weight: The text that it counts for: more than its own if it was counted by itself.
    """

    text: int
    whole: int
    alone: int
    weight: int


class Range(msgspec.Struct, frozen=True):
    """What text takes, at least and at most, in thousandths of what is guessed; both with a margin."""

    least: int
    most: int


class Calibration:
    """Estimates text, and learns from what it really took.

    Args:
        samples_min: How many counts must be known before they are relied on.
        prefixes_max: How many conversations are known by what their last call took.

    Attributes:
        prefixes: These.
    """

    def __init__(self, *, samples_min: int = SAMPLES_MIN, prefixes_max: int = PREFIXES_MAX) -> None:
        self.prefixes = CountedPrefixes(prefixes_max)
        self._samples_min = samples_min
        self._families: dict[str, dict[TextKind, deque[TextCount]]] = {}

    def __len__(self) -> int:
        return len(self._families)

    def guess(self, family: str, texts: Iterable[str], prefix: CountedPrefix | None = None) -> Guess:
        """Estimate the tokens of a conversation; never above the strict bound.

        Args:
            family: Who serves the model, and its name without the release date.
            texts: The text of each turn.
            prefix: What comes before them and was counted.
        """
        texts = tuple(texts)
        turns, whole, pieces, bound = len(texts), TextSize(), TextPieces(), 0
        for text in texts:
            whole += size_of(text)
            pieces += pieces_of(text)
            bound += most_tokens(text)
        by_bytes = _scaled(whole.tokens, PRIOR_PERMILLE)
        kind = (*kind_of(whole), pieces.manner + _strangeness(bound, by_bytes))
        frame = PER_MESSAGE * turns + (0 if prefix is not None and prefix.turns else PER_REQUEST)
        if self.knows(family, kind):
            most = self._most(family, kind, pieces.tokens, frame)
        elif (measured := measured_tokens(family, kind, pieces, texts)) is not None:
            most = frame + min(measured, by_bytes)
        else:
            most = frame + max(by_bytes, bound)
        return Guess(min(frame + whole.size, most), pieces.tokens, kind, frame, prefix)

    def _most(self, family: str, kind: TextKind, text: int, frame: int) -> int:
        """Return what a text takes at most with its frame, by what is known of others of its kind."""
        seen = self._families[family][kind]
        near = [count for count in seen if 2 * count.text >= text]
        used = near if len(near) >= self._samples_min else seen
        margin = self._margin(seen)
        from_shorter = max((count.whole for count in used if count.text < text), default=0)
        from_longer = max((count.alone for count in used if count.text >= text), default=0)
        return max(_scaled(text, _scaled(from_shorter, margin)), frame + _scaled(text, _scaled(from_longer, margin)))

    def _margin(self, seen: Sized) -> int:
        return FEW_PERMILLE if len(seen) < self._samples_min else MARGIN_PERMILLE

    def range(self, family: str, kind: TextKind) -> "Range | None":
        """Return what a family's text of a kind takes for what is guessed; ``None`` as long as too little is known."""
        seen = self._families.get(family, {}).get(kind, ())
        if not self.knows(family, kind):
            return None
        few = len(seen) < self._samples_min
        proportions = [count.whole for count in seen]
        least = min(proportions) * (FEW_LEAST_PERMILLE if few else LEAST_PERMILLE) // 1000
        return Range(least, _scaled(max(proportions), self._margin(seen)))

    def knows(self, family: str, kind: TextKind) -> bool:
        """Whether what a family's text of a kind takes is known: by enough counts, or by some of long texts."""
        seen = self._families.get(family, {}).get(kind, ())
        return sum(max(1, count.weight // LONG_TEXT) for count in seen) >= self._samples_min

    def learn(self, family: str, guess: Guess, tokens: int, *, counted: bool = False) -> None:
        """Remember what the text of a guess really took, as the provider counted it.

        Args:
            family: Who serves the model, and its name without the release date.
            guess: The guess.
            tokens: What it took.
            counted: Whether it was counted on its own, which is as good as enough calls that were settled.
        """
        if guess.text < TEXT_MIN:
            return
        kinds = self._families.pop(family, {})
        self._families[family] = kinds  # the one used last stands last
        if len(self._families) > FAMILIES_MAX:
            del self._families[next(iter(self._families))]
        whole, alone = (-(-count * 1000 // guess.text) for count in (tokens, max(0, tokens - guess.frame)))
        weight = max(guess.text, self._samples_min * LONG_TEXT) if counted else guess.text
        known = kinds.setdefault(guess.kind, deque(maxlen=SAMPLES_MAX))
        known.append(TextCount(guess.text, whole, alone, weight))


def _scaled(amount: int, permille: int) -> int:
    return -(-amount * permille // 1000)


def _strangeness(bound: int, by_bytes: int) -> int:
    """Say how far above the guess from bytes a text's bound is, as a number that no other manner has."""
    return _MANNERS * sum(1000 * bound > permille * by_bytes for permille in _STRANGE_PERMILLE)


def kind_of(size: TextSize) -> TextKind:
    """Say what kind of text it is, by its size."""
    whole = max(1, size.size)
    return size.words * 8 // whole, (size.others * 512 // whole).bit_length()
