"""How many tokens did the beginning of a conversation take? Known from the call before; pure and bounded.

A chat or a loop of tools sends all that was said again in every round, and a little more. What the provider has counted
once need not be estimated again: it counts the same beginning alike, so only the new turns are a guess.

A conversation is known by the hash of its turns, with all beside them that a model is shown. Counts of a model that
answers under several names are not used: each of these may count in a way of its own.
"""

from collections.abc import Hashable, Iterable

import msgspec

FAMILIES_MAX = 64
"""So many families of models are told apart, the ones seen last."""

PREFIXES_MAX = 10_000
"""So many conversations are remembered, the ones used last: about 2 MB."""

BELIEVED_PARTS = 4
"""A count below a fourth of the text's guess is not relied on: no tokenizer is that far from it."""


class CountedPrefix(msgspec.Struct, frozen=True):
    """How a conversation begins.

    Attributes:
        key: Of the whole conversation.
        turns: How many turns of it were counted before; 0 where nothing is known.
        tokens: What these took, with all beside them that is sent.
    """

    key: int
    turns: int
    tokens: int


class CountedPrefixes:
    """Remembers what conversations took.

    Args:
        most: How many; with 0 none is known.
    """

    def __init__(self, most: int = PREFIXES_MAX) -> None:
        self._most = most
        self._counts: dict[int, int] = {}
        self._answered_by: dict[str, frozenset[str]] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def find(self, family: str, beside: Hashable, turns: Iterable[Hashable]) -> CountedPrefix:
        """Return the longest beginning of a conversation that was counted.

        Args:
            family: Who serves the model, and its name without the release date.
            beside: What is sent beside the turns and has part in the count.
            turns: The turns, each with who speaks.
        """
        key, known, tokens = hash((family, beside)), 0, 0
        counts = self._counts if len(self._answered_by.get(family, ())) <= 1 else {}
        for number, turn in enumerate(turns, 1):
            key = hash((key, turn))
            if key in counts:
                known, tokens = number, counts[key]
        return CountedPrefix(key, known, tokens)

    def remember(self, family: str, model: str | None, prefix: CountedPrefix, tokens: int, guessed: int) -> None:
        """Note what a conversation took.

        Args:
            family: As in :meth:`find`.
            model: The name under which the answer came; ``None`` for a count without an answer.
            prefix: The conversation.
            tokens: Its provider's count.
            guessed: The guess of its new text.
        """
        if model is not None:
            names = self._answered_by.pop(family, frozenset())
            self._answered_by[family] = names if len(names) > 1 else names | {model}
            if len(self._answered_by) > FAMILIES_MAX:
                del self._answered_by[next(iter(self._answered_by))]
        self._counts.pop(prefix.key, None)
        if BELIEVED_PARTS * (tokens - prefix.tokens) < guessed or not self._most:
            return
        self._counts[prefix.key] = tokens
        if len(self._counts) > self._most:
            del self._counts[next(iter(self._counts))]
