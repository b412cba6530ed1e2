"""The final request of a tool loop whose budget is running out: it keeps paid results and asks for an answer.

It is the same conversation with a note at its end. Results of tools are shortened until it fits: those of earlier
rounds first, of these the largest, and of each its images first.
"""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from organism.llm.requests import ChatMessage, CompletionRequest, ImagePart, TextPart, ToolResult, VendorItem

NOTE = (
    "[Note: this is the last call that the budget has room for. Give your final answer now, from what you have; "
    "no tool can be run any more.]"
)

KEPT_CHARACTERS = 80
"""The fewest characters that are left of a result, before its mark."""

Fits = Callable[[CompletionRequest], bool]
"""Tells whether the budget has room for a request and a useful answer."""

Content = str | tuple[TextPart | ImagePart | VendorItem, ...]
"""The content of a tool's result."""


def last_word(request: CompletionRequest, fits: Fits) -> CompletionRequest:
    """Return a request for the final answer, trimmed until it fits.

    Args:
        request: The request of the loop's next round, which no longer fits.
        fits: Tells whether a request fits.

    Returns:
        The least trimmed request that fits; the most trimmed one if none does.
    """
    *before, last = request.messages
    noted = replace(last, content=(*last.parts, TextPart(NOTE)))
    request = replace(request, messages=(*before, noted), tool_choice="none")
    for turn, place in _by_age_and_size(request):
        if fits(request):
            break
        request = _with_result(request, turn, place, fits)
    return request


def _by_age_and_size(request: CompletionRequest) -> list[tuple[int, int]]:
    """Return the places of results, by turn and part: earlier rounds before the last, the largest first."""
    found = [
        (turn, place, _size(part.content))
        for turn, message in enumerate(request.messages)
        for place, part in enumerate(message.parts)
        if isinstance(part, ToolResult)
    ]
    newest = max((turn for turn, _, _ in found), default=0)
    return [(turn, place) for turn, place, _ in sorted(found, key=lambda each: (each[0] == newest, -each[2], each[0]))]


def _size(content: Content) -> int:
    """Return the characters of a result; images count with their encoded data."""
    return len(content) if isinstance(content, str) else len(msgspec.json.encode(content))


def _with_result(request: CompletionRequest, turn: int, place: int, fits: Fits) -> CompletionRequest:
    """Return a request with one result shortened as little as possible to fit, else as much as possible."""
    message = request.messages[turn]
    part = message.parts[place]
    assert isinstance(part, ToolResult)  # noqa: S101 - this is how it was found
    whole, others = _text_and_others(part.content)

    def kept(characters: int) -> CompletionRequest:
        shorter = replace(part, content=whole[:characters] + _mark(len(whole) - characters, len(whole), others))
        parts = (*message.parts[:place], shorter, *message.parts[place + 1 :])
        changed = ChatMessage(message.role, parts, message.cache, message.cache_ttl)
        return replace(request, messages=(*request.messages[:turn], changed, *request.messages[turn + 1 :]))

    if others:
        request = kept(len(whole))
        if fits(request):
            return request
    least, most = min(KEPT_CHARACTERS, len(whole)), len(whole)
    if len(whole) <= 2 * KEPT_CHARACTERS:  # its mark would take as much
        return request
    if not fits(kept(least)):
        return kept(least)
    while most - least > KEPT_CHARACTERS:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(kept(middle)) else (least, middle)
    return kept(least)


def _text_and_others(content: Content) -> tuple[str, int]:
    """Return the text of a result, and the number of its parts that are not text."""
    if isinstance(content, str):
        return content, 0
    texts = [part.text for part in content if isinstance(part, TextPart)]
    return "\n".join(texts), len(content) - len(texts)


def _mark(left_out: int, whole: int, others: int) -> str:
    """Return the mark that says what is left out of a result."""
    parts = [f"{left_out:,} of {whole:,} characters"] if left_out else []
    if others:
        parts.append("1 part that is no text" if others == 1 else f"{others} parts that are no text")
    return f" [... trimmed: {' and '.join(parts)} left out]" if parts else ""
