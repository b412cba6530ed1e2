"""The last call that a budget has room for in a loop of tools: it keeps what was paid for, and asks for an answer.

Nothing of it is run or paid again: it is the same conversation with a note at its end, in which results of tools are
shortened where it would not fit, those of earlier rounds first, and of these the largest.
"""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from organism.llm.requests import ChatMessage, CompletionRequest, TextPart, ToolResult

NOTE = (
    "[Note: this is the last call that the budget has room for. Give your final answer now, from what you have; "
    "no tool can be run any more.]"
)

KEPT_CHARACTERS = 80
"""What is left of a result at least, before its mark."""

Fits = Callable[[CompletionRequest], bool]
"""Whether the budget has room for a request and a useful answer to it."""


def last_word(request: CompletionRequest, fits: Fits) -> CompletionRequest:
    """Return a request that asks for the answer now, trimmed until it fits.

    Args:
        request: The request of the loop's next round, which does not fit any more.
        fits: Whether one does.

    Returns:
        The longest of its kind that fits; what is left when all is trimmed, if not even that does.
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
    """Return where text results stand: those of earlier rounds before those of the last, the largest first."""
    found = list(_results(request))
    newest = max((turn for turn, _, _ in found), default=0)
    return [(turn, place) for turn, place, _ in sorted(found, key=lambda each: (each[0] == newest, -each[2], each[0]))]


def _results(request: CompletionRequest) -> Iterator[tuple[int, int, int]]:
    for turn, message in enumerate(request.messages):
        for place, part in enumerate(message.parts):
            if isinstance(part, ToolResult) and isinstance(part.content, str):
                yield turn, place, len(part.content)


def _with_result(request: CompletionRequest, turn: int, place: int, fits: Fits) -> CompletionRequest:
    """Return a request with one result shortened as little as makes it fit, or as much as it can be."""
    message = request.messages[turn]
    part = message.parts[place]
    assert isinstance(part, ToolResult)  # noqa: S101 - this is how it was found
    assert isinstance(part.content, str)  # noqa: S101
    whole = part.content

    def kept(characters: int) -> CompletionRequest:
        mark = f" [... trimmed: {len(whole) - characters:,} of {len(whole):,} characters left out]"
        shorter = replace(part, content=whole[:characters] + mark)
        parts = (*message.parts[:place], shorter, *message.parts[place + 1 :])
        changed = ChatMessage(message.role, parts, message.cache, message.cache_ttl)
        return replace(request, messages=(*request.messages[:turn], changed, *request.messages[turn + 1 :]))

    least, most = min(KEPT_CHARACTERS, len(whole)), len(whole)
    if len(whole) <= 2 * KEPT_CHARACTERS:  # its mark would take as much
        return request
    if not fits(kept(least)):
        return kept(least)
    while most - least > KEPT_CHARACTERS:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(kept(middle)) else (least, middle)
    return kept(least)
