"""What an answer says and what it is billed, before any server writes it down in its own way."""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from organism.amounts import TokenUsage
from organism.llm.requests import ChatMessage, CompletionRequest, Tool

Json = dict[str, Any]

TOOLS = ("get", "get_weather", "set", "f")
"""One of them is the beginning of another, which a name written in pieces must not be mistaken for."""

WORDS = (
    "word", "two words", " ", "\n\n", "ü", "漢字", "🙂🙃", "\u2028", "\u2029", "\u0085", "\r\n", "data: x", "[DONE]",
    "{}",
    '{"a": 1}', "null", "0", "\\", '"', "</think>",
    "event: error", "e\u0301", "\t", "tool_calls", ": ping",
)  # fmt: skip
ARGUMENTS: tuple[Json, ...] = (
    {}, {"n": 1}, {"a": "}{"}, {"a": '"\\'}, {"deep": {"x": [1, {"y": None}]}}, {"text": "漢\u2028🙂\n"},
    {"q": "[DONE]"}, {"n": 2}, {"n": 1, "m": 1.5}, {"long": "x" * 600},
)  # fmt: skip

ENDS: dict[str, tuple[str, ...]] = {
    "stop": ("stop", "STOP", "end_turn", "eos", "eos_token", "COMPLETE", "stop_sequence"),
    "tool_calls": ("tool_calls", "tool_use", "TOOL_CALL", "function_call", "stop", "end_turn", "STOP"),
    "length": ("length", "MAX_TOKENS", "max_tokens", "model_length", "max_output_tokens", "TOOL_CALL_LIMIT_REACHED"),
    "content_filter": ("content_filter", "SAFETY", "refusal", "RECITATION", "sensitive", "guardrail_intervened"),
    "error": ("error", "abort", "cancelled", "network_error", "MALFORMED_FUNCTION_CALL", "OTHER", "nobody_knows"),
    "pause_turn": ("pause_turn", "pause_turn"),
}
"""Words of vendors, by what they mean; docs/PROVIDERS.md has them with their vendors."""


class Call(msgspec.Struct, frozen=True):
    """A call that the model makes."""

    id: str
    name: str
    arguments: Json


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """An answer.

    Attributes:
        thoughts: What it thinks, as far as it is shown.
        text: What it says; a refusal, where it is one.
        is_refusal: Whether the model has declined.
        calls: What it calls, in order.
        ended: Why it ended: a word of :data:`ENDS`.
        bill: What the provider charges.
    """

    thoughts: str
    text: str
    is_refusal: bool
    calls: tuple[Call, ...]
    ended: str
    bill: TokenUsage

    @property
    def request(self) -> CompletionRequest:
        """What was asked."""
        return THINKER if self.bill.reasoning and not self.thoughts else REQUEST

    @property
    def finish_reason(self) -> str:
        """What a reader must take it for."""
        if self.is_refusal and self.ended in {"stop", "tool_calls"}:
            return "content_filter"
        return self.ended


REQUEST = CompletionRequest(
    model="m",
    messages=(ChatMessage("user", "hi"),),
    max_output_tokens=4_000,
    tools=tuple(Tool(name, "", {"type": "object"}) for name in TOOLS),
)
THINKER = msgspec.structs.replace(REQUEST, model="o4-mini")
"""A model that is known to think although nothing shows: who is not told what it cost cannot know it otherwise."""


def some_truth(chance: random.Random) -> Truth:
    """Think of an answer, and count it: a token a word, as far as a tokenizer could."""
    thoughts = "".join(_some(chance, WORDS, 4)) if chance.random() < 0.3 else ""
    thoughts = thoughts if thoughts.strip() else ""
    text = "".join(_some(chance, WORDS, 8))
    is_refusal = chance.random() < 0.06 and bool(text)
    count = 0 if is_refusal else chance.choice((0, 0, 0, 1, 1, 2, 3))
    calls = tuple(
        Call(f"call_{chance.randrange(10**6)}", chance.choice(TOOLS), chance.choice(ARGUMENTS)) for _ in range(count)
    )
    if calls and chance.random() < 0.6:
        text = ""
    ended = "tool_calls" if calls else "stop"
    if chance.random() < 0.15:
        ended = chance.choice(("length", "content_filter", "error", "pause_turn"))
    if not text and not calls:
        text = "w"
    output = len(text.split()) + sum(2 + len(str(call.arguments).split()) for call in calls)
    bill = TokenUsage(
        input=chance.randint(1, 900),
        cached_input=chance.choice((0, 0, chance.randint(1, 900))),
        cache_write=chance.choice((0, 0, 0, chance.randint(1, 300))),
        output=max(1, output),
        reasoning=len(thoughts.split()) if thoughts else chance.choice((0, 0, 0, chance.randint(1, 500))),
    )
    return Truth(thoughts=thoughts, text=text, is_refusal=is_refusal, calls=calls, ended=ended, bill=bill)


def _some(chance: random.Random, of: tuple[str, ...], most: int) -> list[str]:
    return [chance.choice(of) for _ in range(chance.randint(1, most))]


def split(text: str, chance: random.Random, most: int = 5) -> list[str]:
    """Cut a text at random into pieces, none of them empty."""
    cuts = sorted({chance.randrange(1, len(text)) for _ in range(chance.randrange(most))} if len(text) > 1 else ())
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


class Draft(msgspec.Struct, kw_only=True):
    """An answer while a server writes it down: what oddities change.

    Attributes:
        truth: What it says.
        chance: Decides.
        streamed: Whether it is a stream; else it is one event.
        events: Its events.
        done: Whether ``[DONE]`` follows.
        names: Whether events have an ``event`` line, and whether it alone says their type.
        ends: In which ways it says that it is over in order; one must be left.
        is_counted: Which sides of the bill can be read from it.
        is_plain: Whether its counts can be read in only one way.
        oddities: The names of those it has.
    """

    truth: Truth
    chance: random.Random
    streamed: bool
    events: list[Json] = []
    done: bool = False
    names: str = "none"
    ends: set[str] = set()
    is_counted: bool = True
    is_plain: bool = True
    oddities: list[str] = []


class Oddity(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that servers write otherwise than the reference has it.

    Attributes:
        name: Names it in what failed.
        seen_with: Who writes so.
        change: Writes so.
        when: Whether a draft can have it.
        not_with: What it makes no sense beside.
    """

    name: str
    seen_with: str
    change: Callable[[Draft], None]
    when: Callable[[Draft], bool] = lambda _draft: True
    not_with: tuple[str, ...] = ()


def crossed(draft: Draft, table: tuple[Oddity, ...], odds: float = 0.25) -> Draft:
    """Give a draft some of a table's oddities, in the table's order."""
    for oddity in table:
        if draft.chance.random() >= odds or not set(oddity.not_with).isdisjoint(draft.oddities):
            continue
        if oddity.when(draft):
            oddity.change(draft)
            draft.oddities.append(oddity.name)
    return draft
