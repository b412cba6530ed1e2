"""The parts of a request that only servers of one format understand. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

from organism.formats.own_fields import own_field_untaken
from organism.llm.requests import CompletionRequest, FilePart, Tool, ToolResult, VendorItem

_SPOKEN = {"responses": "'api: responses'", "messages": "'type: anthropic'", "chat": "'api: chat'"}
"""The setting of a provider that speaks a format, for error messages."""


def foreign_to(request: CompletionRequest, speaks: str, own_fields: Iterable[str] = ()) -> str | None:
    """Return, in words, a part of a request that only servers of another format understand; ``None`` if there is none.

    Args:
        request: The request.
        speaks: The format of the server.
        own_fields: The server's own fields of chat completions.
    """
    if (name := own_field_untaken(request, own_fields)) is not None:
        return name
    for item in request.vendor_tools:
        if item.format != speaks:
            where = f"ask a model of a provider with {_SPOKEN[item.format]}"
            return f"tools of type {item.kind!r} (take them out, or {where})"
    for item in _items(request):
        if item.format != speaks:
            where = f"go on with a provider with {_SPOKEN[item.format]}"
            return f"items of type {item.kind!r} (take them out, or {where})"
    if speaks != "messages" and any(isinstance(piece, FilePart) and piece.cited for piece in request.attachments()):
        where = f"ask a model of a provider with {_SPOKEN['messages']}"
        return f"citations of documents (leave 'citations' out, or {where})"
    return None


def _items(request: CompletionRequest) -> Iterator[VendorItem]:
    for turn in request.messages:
        for part in () if isinstance(turn.content, str) else turn.content:
            if isinstance(part, VendorItem):
                yield part
            elif isinstance(part, ToolResult) and not isinstance(part.content, str):
                yield from (piece for piece in part.content if isinstance(piece, VendorItem))


def fields_for(request: CompletionRequest, speaks: str) -> dict[str, Any]:
    """Return a copy of the request's fields that only servers of one format understand."""
    fields = request.vendor_fields
    return {} if fields is None or fields.format != speaks else dict(fields.value)


def native_of(tool: Tool, speaks: str) -> dict[str, Any]:
    """Return the native form of a tool in a format; empty if it is a plain function there."""
    return {} if tool.native is None or tool.native.format != speaks else tool.native.value


def sampling_untaken(request: CompletionRequest, *names: str) -> str | None:
    """Return, quoted, the first of the named features that a request uses; ``None`` if it uses none."""
    asked = {
        "seed": request.seed is not None,
        "n": request.choices > 1,
        "logprobs": request.logprobs is not None,
        "service_tier": request.service_tier not in {None, "default"},
    }
    return next((repr(name) for name in names if asked[name]), None)
