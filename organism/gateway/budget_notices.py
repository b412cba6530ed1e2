"""Tells of low budgets within a conversation: people by a line in the answer, models by a note in the request.

The line is only in the answer that the client gets: kept answers are without it, and it is removed from what the client
sends back. The note is at the end of one request and in none after it. So neither changes the prefix of a conversation,
which providers cache.
"""

import re
from collections.abc import Iterator

from msgspec.structs import replace

from organism.amounts.units import format_amount
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.relief import raise_command
from organism.control.orders.told_warnings import Audience, Threshold, ToldWarnings
from organism.gateway.payer import Payer
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, DeltaSink, RefusalDelta, ToolCallDelta
from organism.llm.requests import ChatMessage, CompletionRequest, Part, TextPart
from organism.messages import BudgetWarning

_LINE = re.compile(r"\n\n\[organism: [^\]\n]{1,500}\]")
_MARK = "[organism: "
_NO_PROSE = ("{", "[", "<", "```json")
"""Beginnings of answers that programs read; requests do not always say that they want JSON."""


class Told:
    """Remembers which thresholds each payer has been warned of.

    Args:
        audience: Who is warned.
        told: The record of warnings.
        budgets: The organism's budgets.
    """

    def __init__(self, audience: Audience, told: ToldWarnings, budgets: ThreadBudgetRegistry) -> None:
        self._audience: Audience = audience
        self._told = told
        self._budgets = budgets
        self._accounts = budgets.accounts

    def news(self, payer: Payer) -> BudgetWarning | None:
        """Return the warning of the limit that is nearest to its end, unless it has been given already."""
        if not self._budgets.has_budget(payer.thread_id):
            return None
        warning = self._budgets.standing_warning(payer.thread_id)
        if warning is None or self._threshold(warning) in self._told.of(self._audience, payer.thread_id):
            return None
        return warning

    def note(self, payer: Payer, warning: BudgetWarning) -> None:
        """Record that a warning has been given, and forget those of windows that are over."""
        told, over = self._told.of(self._audience, payer.thread_id), self._accounts.over
        present = frozenset(each for each in told if not over(each.account))
        self._told.note(self._audience, payer.thread_id, present | {self._threshold(warning)})

    def _threshold(self, warning: BudgetWarning) -> Threshold:
        revision = self._budgets.state(warning.account).revision
        return Threshold(warning.account, revision, warning.dimension, warning.threshold)


class PersonsLine:
    """Puts the line for people into one answer, if there is a warning and people read the answer.

    Args:
        told: The warnings that people have been given.
        payer: Who pays.
        request: The request.
    """

    def __init__(self, told: Told, payer: Payer, request: CompletionRequest) -> None:
        self._told = told
        self._payer = payer
        self._takes_any = _is_read_by_people(request)
        self._streams = False
        self._written: list[str] = []
        self._line = ""
        self._at = 0

    @property
    def is_taken(self) -> bool:
        """Whether there is a line, so that the warning counts as given."""
        return bool(self._line)

    def beside(self, sink: DeltaSink) -> DeltaSink:
        """Return a sink that inserts the line into a stream: after the text that precedes the first tool call."""
        self._streams = True
        if not self._takes_any:
            return sink

        def write(delta: Delta) -> object:
            if isinstance(delta, ToolCallDelta) and not self._line and self._take("".join(self._written)):
                sink(self._line)
            elif isinstance(delta, str) and not isinstance(delta, RefusalDelta):
                self._written.append(delta)
            return sink(delta)

        return write

    def put_into(self, answer: Completion) -> Completion:
        """Return an answer with the line: where the stream had it, or else at the end of its text."""
        if not self._line and not (self._has_place(answer) and self._take(answer.text)):
            return answer
        text = answer.text[: self._at] + self._line + answer.text[self._at :]
        return replace(answer, text=text, parts=tuple(self._parts(answer.parts)))

    def _has_place(self, answer: Completion) -> bool:
        """Whether the line may be at the end of an answer's text; not after calls that have been streamed."""
        is_plain = not (answer.refusal or answer.alternatives or answer.logprobs)
        is_behind_calls = self._streams and bool(answer.tool_calls)
        is_said = answer.finish_reason in {"stop", "length", "tool_calls"}
        return self._takes_any and is_plain and is_said and not is_behind_calls

    def _take(self, words: str) -> bool:
        """Claim the warning for this answer; ``False`` if there is none, or the text is not for people."""
        if not words.strip() or words.lstrip().startswith(_NO_PROSE):
            return False
        warning = self._told.news(self._payer)
        if warning is None:
            return False
        self._told.note(self._payer, warning)
        self._line, self._at = line_for(warning), len(words)
        return True

    def _parts(self, parts: tuple[Part, ...]) -> Iterator[Part]:
        at = self._at  # offset from the start of the next text part; negative once the line is in
        for part in parts:
            if not isinstance(part, TextPart):
                yield part
                continue
            if 0 <= at <= len(part.text):
                part = replace(part, text=part.text[:at] + self._line + part.text[at:])  # noqa: PLW2901
                at = -1
            elif at > 0:
                at -= len(part.text)
            yield part


def line_for(warning: BudgetWarning) -> str:
    """Return a warning as a line for people: every number, and the command that raises the limit."""
    unit = warning.dimension
    used = warning.spent * 100 // warning.limit
    left, limit = format_amount(unit, warning.remaining), format_amount(unit, warning.limit)
    words = f"{used} % of {warning.account} is used, {left} left of {limit}"
    words += f"; to go on for longer: {raise_command(warning.account, unit, warning.limit)}"
    return f"\n\n{_MARK}{words.replace(']', ')')[:500]}]"


def without_lines(request: CompletionRequest) -> CompletionRequest:
    """Return a request without the lines for people that a client has sent back in turns of the model."""
    if not any(turn.role == "assistant" and _MARK in turn.text for turn in request.messages):
        return request
    return replace(request, messages=tuple(map(_turn_without_lines, request.messages)))


def with_note(request: CompletionRequest, note: str) -> CompletionRequest | None:
    """Return a request with a note for the model at its end; ``None`` if there is no place for one.

    The note has the role ``user``: some vendors move instructions from the end to the beginning, which empties their
    caches, and templates of many models refuse them there. A turn that the model is to continue stays the last.
    """
    *before, last = request.messages
    if last.role == "assistant":
        return None
    if last.role == "system" or last.cache:  # the cache mark stays where the client has set it
        return replace(request, messages=(*request.messages, ChatMessage("user", note)))
    content = f"{last.content}\n\n{note}" if isinstance(last.content, str) else (*last.content, TextPart(note))
    return replace(request, messages=(*before, replace(last, content=content)))


def _turn_without_lines(turn: ChatMessage) -> ChatMessage:
    if turn.role != "assistant":
        return turn
    if isinstance(turn.content, str):
        return replace(turn, content=_LINE.sub("", turn.content))
    parts = [
        replace(part, text=_LINE.sub("", part.text)) if isinstance(part, TextPart) else part for part in turn.content
    ]
    return replace(turn, content=tuple(parts))


def _is_read_by_people(request: CompletionRequest) -> bool:
    """Whether an answer may have a line for people: not one with a response format, nor a continued turn."""
    return request.response_format is None and request.messages[-1].role != "assistant"
