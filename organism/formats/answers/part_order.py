"""In which order the parts of an answer came, and the words with what they rest on. Pure."""

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
    """Notes what begins when."""

    def __init__(self) -> None:
        self._begun: list[Kind] = []
        self._words: list[_Words] = []
        self._is_broken = False

    def note(self, kind: Literal["thought", "item", "call"], count: int = 1) -> None:
        """Note that so many parts of a kind begin."""
        self._begun += [kind] * count

    def write(self, piece: str) -> None:
        """Add words: to those that came last, unless something else has begun or a block of text has ended."""
        if not self._words or self._is_broken or self._begun[-1] != "text":
            self._begun.append("text")
            self._words.append(_Words())
            self._is_broken = False
        self._words[-1].pieces.append(piece)

    def end_block(self) -> None:
        """Note that a block of text has ended."""
        self._is_broken = True

    def cite(self, citation: Citation) -> bool:
        """Say what the last words rest on; whether that is news."""
        if not self._words or citation in self._words[-1].citations:
            return False
        self._words[-1].citations.append(citation)
        return True

    def parts(
        self, thoughts: Sequence[Reasoning], items: Sequence[VendorItem], calls: Sequence[ToolCall]
    ) -> tuple[Part, ...]:
        """Return the parts in their order; nothing where the usual order and the plain text say the same."""
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
        """Whether parts stand as one would tell them, blocks of text that follow each other taken as one."""
        kinds = [_USUAL.index(kind) for kind in self._begun]
        return kinds == sorted(kinds)


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Join texts that follow each other and rest on nothing."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, TextPart) and isinstance(last, TextPart) and not (part.citations or last.citations):
            joined[-1] = TextPart(last.text + part.text)
        else:
            joined.append(part)
    return joined
