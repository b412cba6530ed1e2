"""Answers that a caller may refer to later, kept in the journal, bounded for each caller by number, size and age.

What is kept may be large and is looked up by its id, so no start reads it; that it is there, whose it is and how large,
is live state, so that the bounds hold across starts.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import msgspec

from organism.amounts import NS_PER_S
from organism.journal import Drop, Journal, Keep, Pieces, Remember

_KIND = "kept-answer"
_PREFIX = f"{_KIND}:"

KEPT_DAYS = 30
"""As long as OpenAI keeps them."""

ANSWERS_MAX = 1_000
"""So many of one caller are kept; the one that nobody has referred to for the longest time goes first."""

BYTES_MAX = 32 * 1024 * 1024
"""So many bytes of one caller are kept, requests included."""

_DAY_NS = 24 * 3600 * NS_PER_S


class StoredAnswer(msgspec.Struct, frozen=True, tag="KeptAnswer"):
    """What is known of a kept answer without reading it.

    Attributes:
        by: Whose it is.
        size: Its bytes.
        time_ns: When it was kept.
        items: The ids of what is in it.
        note: What stands in place of an answer where that is short and changes: how a conversation is now.
    """

    by: str
    size: int
    time_ns: int
    items: tuple[str, ...] = ()
    note: str = ""


class StoredAnswers:
    """Keeps answers for their callers; nobody finds another's."""

    def __init__(self, journal: Journal, now_ns: Callable[[], int]) -> None:
        self._journal = journal
        self._now_ns = now_ns
        self._answers: dict[str, OrderedDict[str, StoredAnswer]] = {}
        self._bytes: dict[str, int] = {}
        self._item_places: dict[tuple[str, str], str] = {}
        self._answers_max = ANSWERS_MAX
        self._kept_ns = KEPT_DAYS * _DAY_NS

    def restore(self, pieces: Pieces) -> None:
        """Take over what an earlier run has kept, as far as it may still be kept."""
        for piece, kept in pieces.read(_KIND, StoredAnswer):
            self._know(piece.key.removeprefix(_PREFIX), kept)
        self._drop_beyond_bounds()

    def bound(self, *, answers: int = ANSWERS_MAX, days: int = KEPT_DAYS) -> None:
        """Keep no more than that from now on, and forget what is kept beyond; durable with the next commit.

        Args:
            answers: Of one caller; with 0 nothing is kept of anybody.
            days: For so long at most.
        """
        self._answers_max = answers
        self._kept_ns = days * _DAY_NS
        self._drop_beyond_bounds()

    def keep(self, by: str, answer_id: str, items: Sequence[str], value: str) -> bool:
        """Keep an answer; durable with the next commit. Returns whether there is room for it.

        Args:
            answer_id: Its id, unique among all.
            items: The ids of what is in it.
        """
        size = len(value.encode())
        if size > BYTES_MAX or not self._answers_max or not self._journal.has_room:
            return False
        kept = StoredAnswer(by, size, self._now_ns(), tuple(items))
        self._know(answer_id, kept)
        until_ns = kept.time_ns + self._kept_ns
        self._journal.append(Remember(key=_PREFIX + answer_id, value=value, time_ns=kept.time_ns, until_ns=until_ns))
        self._journal.append(Keep(_PREFIX + answer_id, "", kept))
        self._drop_beyond_bounds(by)
        return True

    def note(self, by: str, note_id: str, note: str) -> bool:
        """Keep a short text in memory too, in place of the one under the same id, within the same bounds as answers.

        Durable with the next commit, and found before it. Returns whether there is room for it.
        """
        before = self._answers.get(by, OrderedDict()).pop(note_id, None)
        self._bytes[by] = self._bytes.get(by, 0) - (0 if before is None else before.size)
        if not self._answers_max or not self._journal.has_room:
            return False
        kept = StoredAnswer(by, len(note.encode()), self._now_ns(), note=note)
        self._know(note_id, kept)
        self._journal.append(Keep(_PREFIX + note_id, "", kept))
        self._drop_beyond_bounds(by)
        return True

    def note_of(self, by: str, note_id: str) -> str | None:
        """Return the text that is kept under an id; ``None`` if none is, or it is another's."""
        mine = self._answers.get(by, OrderedDict())
        kept = mine.get(note_id)
        if kept is None or not kept.note or self._is_old(kept):
            return None
        mine.move_to_end(note_id)
        return kept.note

    async def find(self, by: str, answer_id: str) -> str | None:
        """Return what is kept under an id; ``None`` if nothing is, or it is another's.

        Raises:
            JournalError: If it cannot be read.
        """
        mine = self._answers.get(by, OrderedDict())
        kept = mine.get(answer_id)
        if kept is None or self._is_old(kept):
            return None
        mine.move_to_end(answer_id)
        return await self._journal.remembered(_PREFIX + answer_id) or None

    def place_of(self, by: str, item_id: str) -> str | None:
        """Return the id of the newest answer that has an item of that id."""
        return self._item_places.get((by, item_id))

    def drop(self, by: str, answer_id: str) -> bool:
        """Forget an answer; durable with the next commit. Returns whether it was there."""
        kept = self._answers.get(by, OrderedDict()).pop(answer_id, None)
        if kept is None:
            return False
        self._bytes[by] -= kept.size
        for item in kept.items:
            if self._item_places.get((by, item)) == answer_id:
                del self._item_places[by, item]
        now_ns = self._now_ns()
        self._journal.append(Remember(key=_PREFIX + answer_id, time_ns=now_ns, until_ns=now_ns))
        self._journal.append(Drop(_PREFIX + answer_id, ""))
        return True

    def _know(self, answer_id: str, kept: StoredAnswer) -> None:
        self._answers.setdefault(kept.by, OrderedDict())[answer_id] = kept
        self._bytes[kept.by] = self._bytes.get(kept.by, 0) + kept.size
        self._item_places.update({(kept.by, item): answer_id for item in kept.items})

    def _drop_beyond_bounds(self, *callers: str) -> None:
        """Forget what must go, of these callers or of all."""
        for by in callers or tuple(self._answers):
            for gone in list(self._beyond_bounds(by)):
                self.drop(by, gone)

    def _beyond_bounds(self, by: str) -> Iterator[str]:
        """Yield what must go: what is too old, then what was used least lately until the rest fits."""
        count, size = len(self._answers[by]), self._bytes[by]
        for answer_id, kept in self._answers[by].items():
            if count > self._answers_max or size > BYTES_MAX or self._is_old(kept):
                count, size = count - 1, size - kept.size
                yield answer_id

    def _is_old(self, kept: StoredAnswer) -> bool:
        return self._now_ns() - kept.time_ns > self._kept_ns
