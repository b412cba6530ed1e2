"""Collects the pieces of an answer, of any format, into a completion. Pure."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import msgspec

from organism.formats.answers.finish_reasons import FinishReason, gravest, is_whole, reason_of
from organism.formats.answers.part_order import AnswerOrder
from organism.formats.counts import Counted, Counting, UsageError, counted
from organism.formats.json_reading import JsonObject
from organism.formats.served import keeps_for_an_hour, surcharges_in
from organism.formats.tool_calls import Place, ToolCallCollector, ToolCallPiece
from organism.formats.usage_history import UsageHistory
from organism.llm.answers import Completion
from organism.llm.citations import Citation
from organism.llm.deltas import (
    CitationDelta,
    Delta,
    ProviderPiece,
    ProviderSink,
    ReasoningDelta,
    RefusalDelta,
    ServerToolUse,
    TextBreak,
    UsageDelta,
)
from organism.llm.requests import CompletionRequest, Reasoning, ToolCall, VendorItem

BROKE_OFF = "the answer broke off in the middle"


class _Thought(msgspec.Struct):
    """Reasoning while it is written."""

    number: int
    pieces: list[str] = []
    signature: str = ""
    id: str = ""
    redacted: bool = False
    extra: JsonObject = {}


class AnswerCollector:
    """Collects the pieces of one answer.

    Args:
        request: What was asked.
        on_text: Called with each piece.
        usage: Collects the usage objects; shared by the answers (choices) of one exchange.
    """

    def __init__(
        self, request: CompletionRequest, on_text: ProviderSink | None = None, usage: UsageHistory | None = None
    ) -> None:
        self.model = request.model
        self.service_tier = ""
        self.is_ended = False
        """Whether the format's own end of an answer has come."""
        self.is_counted_out = False
        """Whether usage has come by itself after all pieces, which is how many streams end."""
        self.usage = usage if usage is not None else UsageHistory()
        self._on_text = on_text
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._thoughts: dict[Place, _Thought] = {}
        taken = (part.id for turn in request.messages for part in turn.parts if isinstance(part, ToolCall))
        self._calls = ToolCallCollector({tool.name for tool in request.tools}, frozenset(taken))
        self._words: list[str] = []
        self._kept: JsonObject = {}
        self._items: list[VendorItem] = []
        self._order = AnswerOrder()
        self.logprobs: list[JsonObject] = []
        """How likely each token was, in OpenAI's words."""
        self.tool_uses: dict[str, int] = {}
        """How often the vendor has run tools of its own that it takes a fee for."""
        self.vendor_fields: VendorItem | None = None
        """Fields of the whole answer that only its own format has."""

    @property
    def is_begun(self) -> bool:
        """Whether any of the answer has come, so that it may be billed."""
        return bool(self._text or self._thoughts or self._calls or self._words or self._items)

    @property
    def is_complete(self) -> bool:
        """Whether it has ended properly: it says so, says why, or has sent usage after its last piece.

        Some servers never say why they end, some leave out the end itself. A stream with neither, and without usage,
        broke off.
        """
        return self.is_ended or self.is_counted_out or bool(self._words)

    @property
    def is_concluded(self) -> bool:
        """Whether it says that it has ended, or why, and no reason is an error."""
        return self.is_ended or (bool(self._words) and all(reason_of(word) != "error" for word in self._words))

    @property
    def text(self) -> str:
        """The visible text so far."""
        return "".join(self._text)

    @property
    def has_calls(self) -> bool:
        """Whether any call of a tool has begun."""
        return len(self._calls) > 0

    @property
    def generated(self) -> str:
        """Everything that has been written so far."""
        thoughts = ("".join(thought.pieces) for thought in self._thoughts.values())
        return "\n".join(filter(None, (*thoughts, self.text, self._calls.text)))

    def write(self, piece: str) -> None:
        """Add visible text."""
        if piece:
            self._write(piece, piece)

    def _write(self, piece: str, shown: Delta) -> None:
        self._text.append(piece)
        self._order.write(piece)
        self._grow(shown)

    def begin_block(self) -> None:
        """Begin a block of text; citations of the block before belong to that one."""
        self._order.end_block()
        if self._text:
            self._show(TextBreak())

    def cite(self, *citations: Citation) -> None:
        """Attach citations to the last block of text."""
        for citation in citations:
            if self._order.cite(citation):
                self._show(CitationDelta(citation))

    def note_use(self) -> None:
        """Hand on that the vendor runs a tool of its own."""
        self._show(ServerToolUse())

    def _show(self, piece: ProviderPiece) -> None:
        if self._on_text is not None:
            self._on_text(piece)

    def hush(self) -> None:
        """Hand on nothing more: the pieces that follow have been handed over already."""
        self._on_text = None

    def write_whole(self, text: str) -> None:
        """Take the whole text and write the part of it that has not come in pieces yet."""
        said = self.text
        if text.startswith(said):
            self.write(text[len(said) :])

    def refuse(self, piece: str) -> None:
        """Add to the refusal, which is part of the visible text and is marked as a refusal.

        Servers whose clients may not know of refusals, this gateway among them, write one as text first.
        """
        if piece and not self._refusal and piece == self.text:
            self._refusal.append(piece)
        elif piece:
            self._refusal.append(piece)
            self._write(piece, RefusalDelta(piece))

    def refuse_whole(self, text: str) -> None:
        """Take the whole refusal and add the part of it that has not come in pieces yet."""
        said = "".join(self._refusal)
        if text.startswith(said):
            self.refuse(text[len(said) :])

    def _grow(self, piece: ProviderPiece = "") -> None:
        """Note that the answer has grown and hand the piece on; an empty text is a sign of life."""
        self.usage.grow()
        self.is_counted_out = False
        if self._on_text is not None:
            self._on_text(piece)

    def think(
        self,
        piece: str,
        place: Place = 0,
        *,
        signature: str = "",
        thought_id: str = "",
        redacted: bool = False,
        extra: JsonObject | None = None,
    ) -> None:
        """Add to the reasoning at a place; each piece may bring more of it."""
        if not (piece or signature or thought_id):
            return
        if (thought := self._thoughts.get(place)) is None:
            thought = self._thoughts[place] = _Thought(number=len(self._thoughts))
            self._order.note("thought")
        self._grow(ReasoningDelta(piece, thought.number, signature, thought_id, redacted))
        thought.pieces.append(piece)
        thought.signature += signature
        thought.id = thought.id or thought_id
        thought.redacted = thought.redacted or redacted
        thought.extra = {**thought.extra, **(extra or {})}

    def show_usage(self, said: object, counting: Counting) -> None:
        """Hand on usage that comes before the end, for the case that the answer is cut short.

        Where nobody knows whether reasoning stands beside the output or within it, the smaller count is certain.
        """
        if self._on_text is None or not isinstance(said, dict) or not said or self.is_complete:
            return
        with suppress(UsageError):  # it is said again at the end, and told then
            if (read := counted(said, msgspec.structs.replace(counting, reasoning_inside=True))) is not None:
                self._on_text(UsageDelta(read.usage))

    def keep(self, extra: JsonObject) -> None:
        """Keep a vendor's own fields of the message, which must come back with it."""
        self._kept = {**self._kept, **extra}

    def take(self, item: VendorItem) -> None:
        """Add an item that only servers of the same format understand."""
        self._items.append(item)
        self._order.note("item")
        self._grow(item)

    def call(self, *pieces: ToolCallPiece) -> None:
        """Add pieces of tool calls; the pieces of one event are added together."""
        before = len(self._calls)
        shown = list(self._calls.add(pieces))
        self._order.note("call", len(self._calls) - before)
        for delta in shown:
            self._grow(delta)
        for unshown in self._calls.held_back:
            self._grow(unshown)
        if pieces and not shown and not self._calls.held_back:
            self._grow()

    def end(self, word: object) -> None:
        """Note why the provider says that the answer has ended; an empty word says nothing."""
        if isinstance(word, str) and reason_of(word) is not None:
            self._words.append(word)

    def reason(self, calls: Iterable[ToolCall]) -> FinishReason:
        """Return the finish reason; the gravest one wins, and a refusal counts as filtered."""
        reason = gravest(reason for word in self._words if (reason := reason_of(word)) is not None) or "stop"
        if self._refusal and is_whole(reason):
            return "content_filter"
        if is_whole(reason):
            called = any(True for _ in calls)
            if reason == "tool_calls" and not called and not self._text:
                return "error"  # it announces calls and has none
            return "tool_calls" if called else "stop"
        return reason

    def completion(
        self, counting: Counting, cost_of: Callable[[JsonObject], int | None] = lambda _usage: None, *, unused: str = ""
    ) -> Completion:
        """Return what has come as a completion; usage that is not sane becomes its ``usage_error``.

        Args:
            counting: How the provider counts.
            cost_of: Reads the reported cost, in nano-USD, from the usage object.
            unused: Text that the provider has written and billed beside this answer.
        """
        cut = any(not is_whole(reason) for word in self._words if (reason := reason_of(word)) is not None)
        calls = self._calls.finished(cut=cut)
        said, note = self.usage.merged()
        read: Counted | None = None
        cost, fault = None, None
        if said:
            try:
                read, cost = counted(said, counting), cost_of(said)
            except UsageError as error:
                read, cost, fault = None, None, str(error)
        reason = self.reason(calls)
        words = [word for word in self._words if word != reason]
        thoughts = tuple(self._reasoning())
        answer = Completion(
            text=self.text,
            model=self.model,
            finish_reason=reason,
            usage=None,
            usage_error=fault,
            tool_calls=calls,
            reasoning=thoughts,
            cost_nanousd=cost,
            refusal="".join(self._refusal),
            provider_reason=words[-1][:64] if words else "",
            unused=unused,
            service_tier=self.service_tier[:64],
            surcharges=tuple(surcharges_in(said)),
            keeps_for_an_hour=keeps_for_an_hour(said),
            vendor_items=tuple(self._items),
            parts=self._order.parts(thoughts, self._items, calls),
            tool_uses=self.tool_uses,
            logprobs=tuple(self.logprobs),
            vendor_fields=self.vendor_fields,
        )
        return answer if read is None else self._with_usage(answer, read, note)

    def _reasoning(self) -> Iterator[Reasoning]:
        for thought in self._thoughts.values():
            yield Reasoning("".join(thought.pieces), thought.signature, thought.id, thought.redacted, thought.extra)
        if self._kept:
            yield Reasoning("", extra=self._kept)

    def _with_usage(self, answer: Completion, read: Counted, note: str) -> Completion:
        """Add usage; an output count that came before the end of the answer is a lower bound."""
        missing, notes = set(read.missing), [note, read.note]
        if not answer.generated:
            missing.discard("output")
        elif not self.usage.is_late:
            missing.add("output")
            notes.append("counted before the end of the answer")
        return msgspec.structs.replace(
            answer,
            usage=read.usage,
            usage_missing=tuple(sorted(missing)),
            usage_note="; ".join(filter(None, notes)),
            usage_elsewhere=read.elsewhere,
        )
