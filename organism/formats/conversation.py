"""Repairs a conversation so that every vendor takes it: unique call ids, one result a call. Pure.

Vendors differ in the ids they take (Anthropic letters, digits, ``_`` and ``-``; OpenAI at most 40 characters; Mistral
nine letters and digits), models repeat ids or invent ones with dots and colons, and clients cut conversations in the
middle. For any of that a vendor refuses the whole request, although the answers in it have been paid for.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from organism.llm.requests import ChatMessage, Part, TextPart, ToolCall, ToolResult

NO_RESULT = "There is no result: the call was never run."
_LOST = "Result of a tool: "


class IdRule(msgspec.Struct, frozen=True):
    """Which ids a vendor takes.

    Attributes:
        kept: Characters, as in a regular expression's set.
        most: The most characters.
        exact: Whether an id must have just so many.
    """

    kept: str = r"A-Za-z0-9_-"
    most: int = 64
    exact: bool = False

    def takes(self, call_id: str) -> bool:
        """Whether an id can be sent unchanged."""
        return re.fullmatch(f"[{self.kept}]{{{self.most if self.exact else 1},{self.most}}}", call_id) is not None

    def made_of(self, call_id: str, again: int) -> str:
        """Return an id that can be sent, always the same for the same arguments; ``again`` counts collisions."""
        cleaned = re.sub(f"[^{self.kept}]", "_" if "_" in self.kept else "", call_id)
        digest = sha256(f"{call_id}\n{again}".encode("utf-8", "replace")).hexdigest()
        if self.exact:
            return digest[: self.most]
        if cleaned and not again and len(cleaned) <= self.most:
            return cleaned
        return f"{cleaned[: self.most - 9]}_{digest[:8]}" if "_" in self.kept else digest[: self.most]


ANY_ID = IdRule(kept=r"\x20-\x7e", most=40)
"""What OpenAI and servers like its take."""


def mended(messages: Iterable[ChatMessage], rule: IdRule) -> tuple[ChatMessage, ...]:
    """Return a conversation in which each call has a unique id that the vendor takes, and one result right after it.

    Adjacent turns of the model are merged if one has calls. A result without a call becomes text; a call without a
    result gets one that says so.
    """
    return tuple(_answered(_renamed(_joined(messages), rule)))


def _joined(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """Merge adjacent turns of the model of which one has calls: their results follow both."""
    before: ChatMessage | None = None
    for turn in messages:
        if before is not None and before.role == turn.role == "assistant" and (_calls(before) or _calls(turn)):
            before = replace(before, content=(*before.parts, *turn.parts), cache=before.cache or turn.cache)
            continue
        if before is not None:
            yield before
        before = turn
    if before is not None:
        yield before


def _renamed(messages: Iterable[ChatMessage], rule: IdRule) -> Iterator[ChatMessage]:
    """Give calls and their results ids; a result without an open call becomes text."""
    taken: set[str] = set()
    open_calls: dict[str, deque[str]] = {}
    for turn in messages:
        if turn.role == "assistant":
            open_calls = {}
        if isinstance(turn.content, str):
            yield turn
            continue
        parts: list[Part] = []
        for part in turn.content:
            match part:
                case ToolCall():
                    own = _own(part.id, rule, taken)
                    taken.add(own)
                    open_calls.setdefault(part.id, deque()).append(own)
                    parts.append(part if own == part.id else replace(part, id=own))
                case ToolResult() if waiting := open_calls.get(part.call_id):
                    own = waiting.popleft()
                    parts.append(part if own == part.call_id else replace(part, call_id=own))
                case ToolResult(content=content):
                    inner = (TextPart(content),) if isinstance(content, str) else content
                    parts += [TextPart(_LOST), *inner]
                case _:
                    parts.append(part)
        yield turn if parts == list(turn.content) else replace(turn, content=tuple(parts))


def _own(call_id: str, rule: IdRule, taken: set[str]) -> str:
    if rule.takes(call_id) and call_id not in taken:
        return call_id
    again = 0
    while (made := rule.made_of(call_id, again)) in taken:
        again += 1
    return made


def _answered(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """Move the results of a turn's calls to the front of what follows, and add those that are missing."""
    turns = deque(messages)
    while turns:
        turn = turns.popleft()
        yield turn
        calls = _calls(turn) if turn.role == "assistant" else ()
        if not calls:
            continue
        following: list[ChatMessage] = []
        while turns and turns[0].role != "assistant":
            following.append(turns.popleft())
        results = {part.call_id: part for each in following for part in each.parts if isinstance(part, ToolResult)}
        missing = [ToolResult(call.id, NO_RESULT, is_error=True) for call in calls if call.id not in results]
        if missing or not _in_place(calls, following):
            ordered = [results.get(call.id) or ToolResult(call.id, NO_RESULT, is_error=True) for call in calls]
            following = [ChatMessage("user", tuple(ordered)), *_without_results(following)]
        yield from following


def _in_place(calls: Sequence[ToolCall], following: Sequence[ChatMessage]) -> bool:
    """Whether the next turn begins with the results of all calls."""
    first = following[0].parts[: len(calls)] if following else ()
    return {part.call_id for part in first if isinstance(part, ToolResult)} == {call.id for call in calls}


def _without_results(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    for turn in messages:
        if isinstance(turn.content, str):
            yield turn
        elif rest := tuple(part for part in turn.content if not isinstance(part, ToolResult)):
            yield replace(turn, content=rest)


def _calls(turn: ChatMessage) -> tuple[ToolCall, ...]:
    return tuple(part for part in turn.parts if isinstance(part, ToolCall))
