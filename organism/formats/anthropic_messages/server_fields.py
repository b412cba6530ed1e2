"""Fields of a request that only servers of Anthropic's messages have a word for. Pure.

To all others they are hints: how the vendor shortens old parts of a conversation, which container a tool runs in, what
is shown of thoughts. What the vendor switches on by its header is passed on as far as it is known to change no price.
"""

import msgspec

from organism.formats.anthropic_messages import server_body as body
from organism.formats.server_format import Json
from organism.llm.requests import VendorItem

PASSED_BETAS = (
    "advanced-tool-use-", "code-execution-", "computer-use-", "context-management-", "effort-", "extended-cache-ttl-",
    "fine-grained-tool-streaming-", "interleaved-thinking-", "mcp-client-", "mid-conversation-tool-changes-", "pdfs-",
    "prompt-caching-", "structured-outputs-", "task-budgets-", "thinking-display-updates-", "token-efficient-tools-",
    "tool-search-", "web-fetch-",
)  # fmt: skip
"""How the names begin of what may be switched on: it belongs to fields that are passed on, and changes no price."""

_SHORTENS = ("clear_thinking", "clear_tool_uses")
"""Edits that leave something out. Others write: a summary, at a price that is in no count."""


def fields_of(asked: body.MessagesBody) -> VendorItem | None:
    """Return what a request has for servers of this format alone."""
    edits = [edit for edit in asked.context_management.edits if str(edit.get("type")).startswith(_SHORTENS)]
    betas = [beta for beta in asked.betas if beta.startswith(PASSED_BETAS)]
    task_budget = asked.output_config.task_budget
    fields: Json = {
        "container": asked.container,
        "mcp_servers": asked.mcp_servers or None,
        "context_management": {"edits": edits} if edits else None,
        "service_tier": asked.service_tier if asked.service_tier != "auto" else None,
        "thinking": _shown(asked.thinking) or None,
        "output_config": {"task_budget": task_budget} if task_budget else None,
        "betas": betas or None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return VendorItem(given, "messages") if given else None


def _shown(thinking: object) -> Json:
    if isinstance(thinking, body.ThinkingBetweenTools):
        return {"type": "between_tools"}
    if not isinstance(thinking, body.ThinkingOn | body.ThinkingAdaptive):
        return {}
    shown = {"display": thinking.display, "block_binding": thinking.block_binding}
    return {name: value for name, value in shown.items() if value is not None}


def native_words(tool: body.Tool) -> VendorItem | None:
    """Return what is said of a tool beyond what every format says."""
    names = ("defer_loading", "allowed_callers", "input_examples", "eager_input_streaming")
    said = {name: msgspec.to_builtins(value) for name in names if (value := getattr(tool, name)) is not None}
    return VendorItem(said, "messages") if said else None
