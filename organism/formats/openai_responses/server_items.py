"""The items and tools of a request as they come, made ready to be read by their types. Pure."""

from typing import Any

from organism.formats.openai_responses.server_body import NATIVE_ITEMS, NATIVE_TOOLS
from organism.formats.server_format import NATIVE, Json, wrapped


def typed(raw: Json) -> Json:
    """Return a request whose every item and tool has a type that its body names.

    Turns may leave out their type. Tools that stand in the conversation are tools like any others. What only servers of
    this format understand is wrapped: it is passed on as it is, and not looked into.
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
    """Return what is said as items with their types, where it is a list."""
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
