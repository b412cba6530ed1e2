"""The pieces of a streamed answer, and what they add up to. Pure."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from organism.amounts import TokenUsage
from organism.errors import ConfigError
from organism.llm.answers import Completion
from organism.llm.citations import Citation
from organism.llm.requests import Reasoning, TextPart, ToolCall, VendorItem
from organism.text.error_text import shown


class ReasoningDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of reasoning.

    Attributes:
        text: Text to append.
        place: The number of the thought; thoughts are numbered in the order of the answer, with gaps allowed.
        signature: The provider's seal to append, or its unreadable content.
        id: The provider's name for the thought.
        redacted: Whether there is nothing but the unreadable content.
    """

    text: str = ""
    place: int = 0
    signature: str = ""
    id: str = ""
    redacted: bool = False


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A piece of a tool call.

    Attributes:
        id: The call's id, the same in each of its pieces and in the answer.
        name: The tool, likewise.
        arguments: JSON text to append.
        place: Which call it belongs to; numbered as thoughts are.
        extra: Fields of the provider's own, as far as they are known with the first piece.
    """

    id: str
    name: str
    arguments: str = ""
    place: int = 0
    extra: dict[str, Any] = {}


class RefusalDelta(str):
    """A piece of a refusal; listeners that do not tell refusals apart take it for text.

    An encoder that knows text alone is given ``str(delta)``.
    """

    __slots__ = ()


class TextBreak(msgspec.Struct, frozen=True):
    """A new block of text begins; citations of earlier blocks do not apply to it."""


class CitationDelta(msgspec.Struct, frozen=True):
    """A citation of the last block of text.

    Attributes:
        citation: The citation.
    """

    citation: Citation


Delta = str | ReasoningDelta | ToolCallDelta | VendorItem | TextBreak | CitationDelta
"""A piece of an answer; text is a plain ``str``. An empty text is a sign of life without content."""

DeltaSink = Callable[[Delta], object]
"""Called with each piece as it arrives. Must not block, nor return something to await; what it raises is the caller's
own error: it ends the call for its caller, and the attempt is charged what it really costs."""


class UsageDelta(msgspec.Struct, frozen=True):
    """Usage that comes before the end of an answer: a lower bound, and all there is if the answer is cut short.

    Attributes:
        usage: The count so far.
    """

    usage: TokenUsage


class Unshown(msgspec.Struct, frozen=True):
    """Text that has been written but is not shown yet, or never, as in an answer that is not streamed to the caller.

    It is billed like text that is shown, so it is counted.

    Attributes:
        text: What was written.
        place: The call of a tool that it belongs to, whose first piece will show all of it; ``None`` for anything else.
    """

    text: str
    place: int | None = None


class ServerToolUse(msgspec.Struct, frozen=True):
    """The vendor has begun to run a tool of its own, whose results are billed as input."""


class StreamEnd(msgspec.Struct, frozen=True):
    """The provider has ended; pieces after this one have been received, and counted, before."""


class Ping(msgspec.Struct, frozen=True):
    """A sign of life of the provider, or of a proxy, without any of the answer."""


ProviderPiece = Delta | UsageDelta | Unshown | ServerToolUse | StreamEnd | Ping
"""A piece that an adapter hands to the router."""

ProviderSink = Callable[[ProviderPiece], object]
"""Takes an adapter's pieces: the router, which passes on those of type :data:`Delta`."""


def text_only(on_text: Callable[[str], object] | None) -> DeltaSink | None:
    """Return a sink that passes non-empty text to a function and returns what that returns.

    Raises:
        ConfigError: If ``on_text`` is not callable.
    """
    if on_text is None:
        return None
    if not callable(on_text):
        raise ConfigError(f"it must be a function of a text, not {shown(on_text)}", path="on_text")

    def pass_on(delta: Delta) -> object:
        return on_text(str(delta)) if isinstance(delta, str) and delta else None

    return pass_on


class DeltaRecord:
    """Records the pieces that have been streamed, to find out what of an answer is missing."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thoughts: dict[int, list[str]] = {}
        self._calls: dict[int, tuple[ToolCallDelta, list[str]]] = {}
        self._items = 0
        self._citations = 0
        self._is_empty = True

    def add(self, delta: Delta) -> None:
        """Append a piece."""
        self._is_empty = self._is_empty and delta == ""
        match delta:
            case str():
                self._text.append(delta)
            case ReasoningDelta():
                self._thoughts.setdefault(delta.place, []).append(delta.text)
            case ToolCallDelta():
                self._calls.setdefault(delta.place, (delta, []))[1].append(delta.arguments)
            case VendorItem():
                self._items += 1
            case CitationDelta():
                self._citations += 1
            case TextBreak():
                pass

    def rest_of(self, answer: Completion) -> list[Delta] | None:
        """Return the pieces that complete an answer; ``None`` if the pieces so far are not a prefix of it.

        They are not if a provider broke off and another attempt has answered from the start.
        """
        if self._is_empty:
            return list(deltas_of(answer))
        text = "".join(self._text)
        thoughts = ["".join(pieces) for _, pieces in sorted(self._thoughts.items())]
        begun = [(first, "".join(pieces)) for _, (first, pieces) in sorted(self._calls.items())]
        calls = _matched(answer.tool_calls, begun)
        if (
            not answer.text.startswith(text)
            or len(thoughts) > len(answer.reasoning)
            or calls is None
            or not all(
                thought.text.startswith(so_far) for thought, so_far in zip(answer.reasoning, thoughts, strict=False)
            )
        ):
            return None
        return [
            *_rest_of_thoughts(answer.reasoning, thoughts, sorted(self._thoughts)),
            *answer.vendor_items[self._items :],
            *_rest_of_text(answer, len(text)),
            *[CitationDelta(each) for each in _citations(answer)[self._citations :]],
            *_rest_of_calls(answer.tool_calls, calls),
        ]


def deltas_of(answer: Completion) -> Iterator[Delta]:
    """Yield a whole answer as pieces, in the order of its parts."""
    thoughts = calls = 0
    has_text = False
    for part in answer.turn.parts:
        match part:
            case Reasoning():
                if part.text or part.signature:
                    yield ReasoningDelta(part.text, thoughts, part.signature, part.id, part.redacted)
                thoughts += 1
            case ToolCall():
                yield ToolCallDelta(part.id, part.name, part.arguments, calls, part.extra)
                calls += 1
            case TextPart() if part.text:
                if has_text:
                    yield TextBreak()
                has_text = True
                yield _said(answer, part.text, part.text)
                yield from map(CitationDelta, part.citations)
            case VendorItem():
                yield part
            case _:
                pass


def _rest_of_text(answer: Completion, written: int) -> Iterator[Delta]:
    if rest := answer.text[written:]:
        yield _said(answer, rest, answer.text)


def _said(answer: Completion, words: str, whole: str) -> str:
    return RefusalDelta(words) if whole == answer.refusal else words


def _citations(answer: Completion) -> list[Citation]:
    return [cited for part in answer.parts if isinstance(part, TextPart) for cited in part.citations]


_Begun = tuple[ToolCallDelta, str]
"""The first piece of a call, and its arguments so far."""


def _matched(calls: tuple[ToolCall, ...], begun: list[_Begun]) -> list[_Begun | None] | None:
    """Return what has been streamed of each call; ``None`` if anything else has been streamed.

    Calls are matched by id, not by order: one that is shown only at the end, such as one without arguments, may be
    between those that were streamed.
    """
    left = list(begun)
    found: list[_Begun | None] = []
    for call in calls:
        shown = next((each for each in left if each[0].id == call.id), None)
        if shown is not None:
            left.remove(shown)
            if shown[0].name != call.name or not call.arguments.startswith(shown[1]):
                return None
        found.append(shown)
    return None if left else found


def _rest_of_thoughts(
    thoughts: tuple[Reasoning, ...], written: list[str], places: list[int]
) -> Iterator[ReasoningDelta]:
    """Yield the rest of thoughts that have begun, and all of those that have not."""
    for thought, place, so_far in zip(thoughts, *_placed(len(thoughts), written, places), strict=True):
        if so_far is not None:
            if rest := thought.text[len(so_far) :]:
                yield ReasoningDelta(rest, place)
        elif thought.text or thought.signature:
            yield ReasoningDelta(thought.text, place, thought.signature, thought.id, thought.redacted)


def _rest_of_calls(calls: tuple[ToolCall, ...], shown: list[_Begun | None]) -> Iterator[ToolCallDelta]:
    """Yield the rest of calls that have begun, and after them all of those that have not."""
    behind = max((each[0].place for each in shown if each is not None), default=-1) + 1
    for call, begun in zip(calls, shown, strict=True):
        if begun is None:
            yield ToolCallDelta(call.id, call.name, call.arguments, behind, call.extra)
            behind += 1
        elif rest := call.arguments[len(begun[1]) :]:
            yield ToolCallDelta(call.id, call.name, rest, begun[0].place)


def _placed(count: int, written: list[str], places: list[int]) -> tuple[list[int], list[str | None]]:
    """Return places for all parts, new ones after those assigned, and the text streamed of each."""
    new = count - len(places)
    behind = places[-1] + 1 if places else 0
    return [*places, *range(behind, behind + new)], [*written, *[None] * new]
