"""An answer while its pieces come in, whatever format they come in. Pure."""

from collections.abc import Callable

import msgspec

from organism.amounts import TokenUsage
from organism.formats.counts import UsageError, merged
from organism.formats.json_reading import Json
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, DeltaSink, ReasoningDelta, ToolCallDelta
from organism.llm.requests import Reasoning, ToolCall


class _Thought(msgspec.Struct):
    """Reasoning while it is written."""

    pieces: list[str] = []
    signature: str = ""
    id: str = ""
    redacted: bool = False


class _Call(msgspec.Struct):
    """A call of a tool while its arguments are written."""

    id: str = ""
    name: str = ""
    arguments: list[str] = []
    shown: bool = False


class Answer:
    """Collects the pieces of one answer.

    Args:
        model: The model asked; the provider may name another.
        on_text: Told each piece.
    """

    def __init__(self, model: str, on_text: DeltaSink | None = None) -> None:
        self.model = model
        self.finish_reason: str | None = None
        self._on_text = on_text
        self._text: list[str] = []
        self._thoughts: dict[int, _Thought] = {}
        self._calls: dict[int, _Call] = {}
        self._usage: Json | None = None
        self._grown = False

    @property
    def begun(self) -> bool:
        """Whether any of the answer has come, so that it may be billed."""
        return bool(self._text or self._thoughts or self._calls)

    @property
    def counted(self) -> bool:
        """Whether the provider has counted anything."""
        return bool(self._usage)

    def write(self, piece: str) -> None:
        """Add visible text."""
        if piece:
            self._text.append(piece)
            self._grow(piece)

    def _grow(self, piece: Delta = "") -> None:
        """Note that there is more of the answer, and hand it on; what cannot be shown yet is a sign of life."""
        self._grown = True
        if self._on_text is not None:
            self._on_text(piece)

    def think(
        self, piece: str, place: int = 0, *, signature: str = "", thought_id: str = "", redacted: bool = False
    ) -> None:
        """Add to the reasoning at a place; each piece may bring more of it."""
        if not (piece or signature or thought_id):
            return
        self._grow(ReasoningDelta(piece, place, signature, thought_id, redacted))
        thought = self._thoughts.setdefault(place, _Thought())
        thought.pieces.append(piece)
        thought.signature += signature
        thought.id = thought.id or thought_id
        thought.redacted = thought.redacted or redacted

    def call(self, place: int, *, call_id: str = "", name: str = "", arguments: str = "") -> None:
        """Add to the call of a tool at a place; each piece may bring more of it."""
        call = self._calls.setdefault(place, _Call())
        call.id = call.id or call_id
        call.name = call.name or name
        call.arguments.append(arguments)
        # A call is shown from its first argument on: by then its name is whole, and its id, if it has one, is known.
        # What has been shown must not change any more.
        if not (arguments and call.name):
            self._grow()
            return
        if not call.shown:
            call.shown, call.id, arguments = True, call.id or f"call_{place}", "".join(call.arguments)
        self._grow(ToolCallDelta(call.id, call.name, arguments, place))

    def count(self, usage: object) -> None:
        """Note what the provider says of usage; see :func:`organism.formats.counts.merged`."""
        if isinstance(usage, dict):
            self._usage = merged(self._usage, usage)
            self._grown = False

    def completion(
        self,
        usage_of: Callable[[Json], TokenUsage],
        cost_of: Callable[[Json], int | None] = lambda _usage: None,
        reasons: dict[str, str] | None = None,
    ) -> Completion:
        """Make it a completion; usage that cannot be believed is named, not used.

        Usage that came before the last of the answer did not count it, and is as good as none.

        Args:
            usage_of: Reads the provider's usage.
            cost_of: Reads what the provider says it has cost.
            reasons: The port's words for the provider's reasons to end.
        """
        usage, cost, fault = None, None, None
        if self._usage is not None:
            try:
                usage, cost = usage_of(self._usage), cost_of(self._usage)
            except UsageError as error:
                usage, cost, fault = None, None, str(error)
            if self._grown and fault is None:
                usage, cost = None, None
        calls = tuple(
            ToolCall(call.id or f"call_{place}", call.name, "".join(call.arguments) or "{}")
            for place, call in sorted(self._calls.items())
        )
        thoughts = tuple(
            Reasoning("".join(thought.pieces), thought.signature, thought.id, thought.redacted)
            for _, thought in sorted(self._thoughts.items())
        )
        reason = self.finish_reason or "stop"
        return Completion(
            text="".join(self._text),
            model=self.model,
            finish_reason="tool_calls" if calls and reason == "stop" else (reasons or {}).get(reason, reason),
            usage=usage,
            usage_error=fault,
            tool_calls=calls,
            reasoning=thoughts,
            cost_nanousd=cost,
        )
