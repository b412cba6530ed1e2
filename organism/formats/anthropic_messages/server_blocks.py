"""Separates tools and blocks that only servers of Anthropic's messages understand. Pure.

They are passed on unread. Those that cannot be honoured are refused, with the reasons of :mod:`fields`.

Source: the reference of ``POST /v1/messages``, "tools" and "content".
"""

from typing import Any

from organism.formats.anthropic_messages.fields import REFUSED
from organism.formats.errors.faults import bad_request
from organism.formats.server_format import NATIVE, Json, wrapped
from organism.llm.requests import VendorItem

NATIVE_TOOLS = (
    "bash_", "text_editor_", "memory_", "computer_20", "web_search_", "web_fetch_", "code_execution_",
    "tool_search_tool_", "mcp_toolset",
)  # fmt: skip
"""Prefixes of the types of tools that the vendor runs, or has trained its models to call."""

NATIVE_BLOCKS = frozenset(
    {
        "bash_code_execution_tool_result", "code_execution_tool_result", "container_upload", "mcp_tool_listing",
        "mcp_tool_result", "mcp_tool_use", "search_result", "server_tool_use", "text_editor_code_execution_tool_result",
        "tool_addition", "tool_reference", "tool_removal", "tool_search_tool_result", "web_fetch_tool_result",
        "web_search_tool_result",
    }
)  # fmt: skip
"""Types of blocks that come with the vendor's tools, or that only its models can read."""


def native_apart(raw: Json) -> tuple[Json, tuple[VendorItem, ...]]:
    """Return a request with native blocks wrapped and native tools removed, and the native tools.

    Raises:
        FaultError: If there is a tool or a block that cannot be honoured.
    """
    own: list[Any] = []
    native: list[VendorItem] = []
    given = raw.get("tools")
    for place, tool in enumerate(given if isinstance(given, list) else ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str) or kind == "custom":
            own.append(tool)
        elif kind.startswith(NATIVE_TOOLS):
            native.append(VendorItem(tool, "messages"))
        else:
            _refuse_tool(kind, f"tools[{place}].type")
    turns = raw.get("messages")
    if isinstance(turns, list):
        turns = [_wrapped(turn, f"messages[{place}]") for place, turn in enumerate(turns)]
    return {**raw, "messages": turns, **({"tools": own} if native else {})}, tuple(native)


def _refuse_tool(kind: str, param: str) -> None:
    why = REFUSED.get(f"tools: {kind}")
    if why is None:
        there = ", ".join(f"{start}*" if start.endswith("_") else start for start in NATIVE_TOOLS)
        why = f"this gateway does not know it; beside tools with an 'input_schema' it knows {there}"
    raise bad_request(f"{param}: {kind[:40]!r}: {why}", param, "unsupported_parameter")


def _wrapped(turn: Any, at: str) -> Any:
    """Return a turn with its native blocks wrapped, also those within results of tools."""
    content = turn.get("content") if isinstance(turn, dict) else None
    if not isinstance(content, list):
        return turn
    return {**turn, "content": [_block(block, f"{at}.content[{place}]") for place, block in enumerate(content)]}


def _block(block: Any, at: str) -> Any:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        return block
    if kind == "tool_result":
        return _wrapped(block, at)
    if (why := REFUSED.get(f"content: {kind}")) is not None:
        raise bad_request(f"{at}.type: {kind!r}: {why}", f"{at}.type", "unsupported_parameter")
    source = block.get("source") if kind == "document" else None
    is_native = kind in NATIVE_BLOCKS or (isinstance(source, dict) and source.get("type") == "content")
    if is_native or kind == NATIVE:
        return wrapped(block, at)
    return block
