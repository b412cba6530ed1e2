"""The order of an answer's parts, and its texts with their citations. Pure."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from organism.llm.citations import Citation
from organism.llm.requests import Part, Reasoning, TextPart, ToolCall, VendorItem

Kind = Literal["text", "thought", "item", "call"]

_USUAL: tuple[Kind, ...] = ("thought", "item", "text", "call")
"""The default order of an answer's fields."""


class _Words(msgspec.Struct):
    """Text between two other parts, or between two blocks of text."""

    pieces: list[str] = []
    citations: list[Citation] = []

    @property
    def part(self) -> TextPart:
        return TextPart("".join(self.pieces), tuple(self.citations))


class AnswerOrder:
    """Records the order in which parts begin."""

    def __init__(self) -> None:
        self._begun: list[Kind] = []
        self._words: list[_Words] = []
        self._is_broken = False

    def note(self, kind: Literal["thought", "item", "call"], count: int = 1) -> None:
        """Note that a number of parts of one kind begin."""
        self._begun += [kind] * count

    def write(self, piece: str) -> None:
        """Add text to the last text part; to a new one if another part has begun or a block has ended."""
        if not self._words or self._is_broken or self._begun[-1] != "text":
            self._begun.append("text")
            self._words.append(_Words())
            self._is_broken = False
        self._words[-1].pieces.append(piece)

    def end_block(self) -> None:
        """Note that a block of text has ended."""
        self._is_broken = True

    def cite(self, citation: Citation) -> bool:
        """Attach a citation to the last text part; ``False`` if it has it already, or there is no text."""
        if not self._words or citation in self._words[-1].citations:
            return False
        self._words[-1].citations.append(citation)
        return True

    def parts(
        self, thoughts: Sequence[Reasoning], items: Sequence[VendorItem], calls: Sequence[ToolCall]
    ) -> tuple[Part, ...]:
        """Return the parts in their order; empty where the answer's fields in the usual order say the same."""
        words = [each.part for each in self._words]
        if not any(each.citations for each in words) and self._is_usual():
            return ()
        waiting: dict[Kind, list[Part]] = {
            "thought": list(thoughts), "item": list(items), "call": list(calls), "text": list(words),
        }  # fmt: skip
        ordered = [waiting[kind].pop(0) for kind in self._begun if waiting[kind]]
        for kind in _USUAL:  # what was added at the end, such as fields that are only to be given back
            ordered += waiting[kind]
        return tuple(_joined(ordered))

    def _is_usual(self) -> bool:
        """Whether parts came in the usual order."""
        kinds = [_USUAL.index(kind) for kind in self._begun]
        return kinds == sorted(kinds)


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Join adjacent texts that have no citations."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, TextPart) and isinstance(last, TextPart) and not (part.citations or last.citations):
            joined[-1] = TextPart(last.text + part.text)
        else:
            joined.append(part)
    return joined
