"""How each field of Anthropic's messages is treated. Pure.

Source: the reference of ``POST /v1/messages``, with what its beta versions add.
"""

from organism.formats.field_rules import refusals, rules

_NATIVE = "to `type: anthropic` as it is; others refuse it by its name"
_FEE = f"{_NATIVE}; held and charged with its fee"
_HINT = "to `type: anthropic`, without effect elsewhere"

FIELDS = rules(
    {
        "model": "a name of `llm.models`",
        "max_tokens": "the cap that is held",
        "messages": "",
        "messages: user, messages: assistant, messages: system": "",
        "content: text, content: image, content: tool_use, content: tool_result": "",
        "content: document": "its citations to `type: anthropic`",
        "content: thinking, content: redacted_thinking": "back to the vendor whose they are",
        "content: bash_code_execution_tool_result, content: code_execution_tool_result, content: container_upload, "
        "content: mcp_tool_listing, content: mcp_tool_result, content: mcp_tool_use, content: search_result, "
        "content: server_tool_use, content: text_editor_code_execution_tool_result, content: tool_addition, "
        "content: tool_reference, content: tool_removal, content: tool_search_tool_result, "
        "content: web_fetch_tool_result, content: web_search_tool_result": _NATIVE,
        "system": "",
        "system: text": "",
        "stop_sequences, temperature, top_p, top_k": "",
        "stream": "",
        "tools": "",
        "tools: custom": "`defer_loading`, `allowed_callers` and examples to `type: anthropic`",
        "tools: bash_20241022, tools: bash_20250124, tools: memory_20250818, tools: text_editor_20241022, "
        "tools: text_editor_20250124, tools: text_editor_20250429, tools: text_editor_20250728, "
        "tools: computer_20241022, tools: computer_20250124, tools: computer_20251124": _NATIVE,
        "tools: web_search_20250305, tools: web_search_20260209, tools: web_search_20260318, "
        "tools: web_fetch_20250910, tools: web_fetch_20260209, tools: web_fetch_20260309, "
        "tools: web_fetch_20260318": f"{_FEE}, `max_uses` times; 10 unless given",
        "tools: code_execution_20250522, tools: code_execution_20250825, tools: code_execution_20260120, "
        "tools: code_execution_20260521": f"{_FEE} of one hour",
        "tools: tool_search_tool_bm25_20251119, tools: tool_search_tool_bm25, "
        "tools: tool_search_tool_regex_20251119, tools: tool_search_tool_regex, tools: mcp_toolset": _NATIVE,
        "tool_choice": "",
        "tool_choice: auto, tool_choice: any, tool_choice: tool, tool_choice: none": "",
        "thinking": "",
        "thinking: enabled, thinking: adaptive, thinking: between_tools, thinking: disabled": "as the nearest that "
        "the provider knows",
        "output_config": "",
        "output_config.effort": "as the nearest that the provider knows",
        "output_config.format": "as the provider's own form of an answer",
        "output_config.task_budget": _HINT,
        "output_format": "as `output_config.format`",
        "cache_control": "to `type: anthropic`, with its `ttl`",
        "cache_control: ephemeral": "",
        "context_management": f"{_HINT}; edits that leave something out, and none that write a summary",
        "context_management.edits": "",
        "container, mcp_servers, service_tier": _HINT,
        "mcp_servers: url": "",
        "container.id, container.skills": "",
        "betas": "the header `anthropic-beta`: what belongs to fields that are passed on and changes no price",
    },
    {
        "metadata, user_profile_id, workspace_id, diagnostics": "labels",
        "inference_geo": "`global`; elsewhere has another price",
        "speed": "`standard`; `fast` has another price",
        "billing_policy": "`bill_to: self`",
    },
    {
        "compaction": "conversations are not shortened here; send one that fits",
        "fallbacks": "which model takes over is said by the routes of the model in organism.yaml; leave it out",
        "fallback_credit_token": "it belongs to fallbacks, which are not asked for here; leave it out",
        "thread": "nothing is kept here between requests; send the whole conversation",
        "content: advisor_tool_result": "it belongs to a tool that is refused; take it out",
        "content: compaction": "conversations are not shortened here; send the messages that it stands for",
        "content: fallback": "no other model takes over here; take it out",
        "tools: advisor_20260301": "it asks a second model, at a price that is not known here; take it out",
        "tools: browser_toolset_20260801": "how much its tools put before the model is not published; give the tools "
        "one by one",
        "tools: computer_toolset_20260801": "how much its tools put before the model is not published; use "
        "'computer_20251124'",
    },
)

REFUSED = refusals(FIELDS)
