"""Prepares the items and tools of a request for conversion by type. Pure."""

from typing import Any

from organism.formats.openai_responses.server_body import NATIVE_ITEMS, NATIVE_TOOLS
from organism.formats.server_format import NATIVE, Json, wrapped


def typed(raw: Json) -> Json:
    """Return a request in which every item and tool has a type that :mod:`server_body` knows.

    Messages may leave out their type. Tools in the conversation (``additional_tools``) join the others. Items and tools
    that only servers of this format understand are wrapped, to be passed on unread.
    """
    items, tools = items_of(raw.get("input")), raw.get("tools") or []
    if isinstance(items, list) and isinstance(tools, list):
        added = [item for item in items if isinstance(item, dict) and item.get("type") == "additional_tools"]
        tools = [*tools, *(tool for item in added if isinstance(item.get("tools"), list) for tool in item["tools"])]
        items = [
            _wrapped(item, NATIVE_ITEMS, f"input[{place}]") for place, item in enumerate(items) if item not in added
        ]
    if isinstance(tools, list):
        tools = [_wrapped(tool, NATIVE_TOOLS, f"tools[{place}]") for place, tool in enumerate(tools)]
    choice = _wrapped(raw.get("tool_choice"), NATIVE_TOOLS, "tool_choice")
    return {**raw, "input": items, "tools": tools, "tool_choice": choice}


def items_of(said: Any) -> Any:
    """Return a list of items with the type of messages filled in; anything but a list as it is."""
    if not isinstance(said, list):
        return said
    return [
        {"type": "message", **item} if isinstance(item, dict) and "role" in item and "type" not in item else item
        for item in said
    ]


def _wrapped(value: Any, native: frozenset[str], at: str) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or (kind not in native and kind != NATIVE):
        return value
    return wrapped(value, at)
