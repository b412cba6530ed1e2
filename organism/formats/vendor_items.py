"""What a request has for servers of one format, and what others say to it. Pure."""

from collections.abc import Iterator

from organism.llm.requests import CompletionRequest, VendorItem

_SPOKEN = {"responses": "'api: responses'", "messages": "'type: anthropic'"}
"""What a provider's section says that speaks a format."""


def foreign_to(request: CompletionRequest, speaks: str) -> str | None:
    """Return what a request has that only servers of another format understand; ``None`` when there is nothing.

    Args:
        request: The request.
        speaks: The format of the server.
    """
    for item in request.vendor_tools:
        if item.format != speaks:
            where = f"ask a model of a provider with {_SPOKEN[item.format]}"
            return f"tools of type {item.kind!r} (take them out, or {where})"
    for item in _items(request):
        if item.format != speaks:
            where = f"go on with a provider with {_SPOKEN[item.format]}"
            return f"items of type {item.kind!r} (take them out, or {where})"
    return None


def _items(request: CompletionRequest) -> Iterator[VendorItem]:
    for turn in request.messages:
        if not isinstance(turn.content, str):
            yield from (part for part in turn.content if isinstance(part, VendorItem))
