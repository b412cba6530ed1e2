"""How each field of OpenAI's responses is treated. Pure.

Source: the reference of ``POST /v1/responses``.
"""

from organism.formats.field_rules import refusals, rules

_NATIVE = "to `api: responses` as it is, and its items come back so; others refuse it by its name"
_FEE = f"{_NATIVE}; held and charged with its fee"

FIELDS = rules(
    {
        "model": "a name of `llm.models`",
        "input": "",
        "input: message, input: function_call, input: function_call_output, input: reasoning": "",
        "input: custom_tool_call, input: custom_tool_call_output": "",
        "input: additional_tools": "tools like others",
        "input: item_reference": "stands for an item that is kept here",
        "input: apply_patch_call, input: apply_patch_call_output, input: code_interpreter_call, input: compaction, "
        "input: computer_call, input: computer_call_output, input: file_search_call, input: image_generation_call, "
        "input: local_shell_call, input: local_shell_call_output, input: mcp_approval_request, "
        "input: mcp_approval_response, input: mcp_call, input: mcp_list_tools, input: shell_call, "
        "input: shell_call_output, input: tool_search_call, input: tool_search_output, input: web_search_call": _NATIVE,
        "content: input_text, content: output_text, content: refusal": "",
        "content: input_image, content: input_file": "bytes as `data:`, or an address",
        "instructions": "",
        "max_output_tokens": "the cap that is held",
        "max_tool_calls": "beside tools of the vendor's, and held; 10 unless given where such tools take a fee",
        "temperature, top_p": "",
        "top_logprobs": "to OpenAI's formats; in a stream at the end",
        "tools": "",
        "tools: function": "",
        "tools: custom, tools: namespace": "as they are to `api: responses`, as functions to all others",
        "tools: web_search, tools: web_search_2025_08_26, tools: web_search_preview, "
        "tools: web_search_preview_2025_03_11, tools: file_search, tools: code_interpreter, "
        "tools: image_generation": _FEE,
        "tools: shell": f"{_FEE}, where it runs in a container of the vendor's",
        "tools: mcp, tools: tool_search, tools: local_shell, tools: apply_patch, tools: computer, "
        "tools: computer_use, tools: computer_use_preview": _NATIVE,
        "tool_choice": "",
        "tool_choice: function, tool_choice: custom": "",
        "tool_choice: allowed_tools": "the other tools are left out",
        "tool_choice: apply_patch, tool_choice: code_interpreter, tool_choice: computer, tool_choice: computer_use, "
        "tool_choice: computer_use_preview, tool_choice: file_search, tool_choice: image_generation, "
        "tool_choice: mcp, tool_choice: shell, tool_choice: web_search_preview, "
        "tool_choice: web_search_preview_2025_03_11": "with their tool",
        "parallel_tool_calls": "",
        "text": "",
        "text.format": "",
        "text.verbosity": "to OpenAI's formats",
        "reasoning": "",
        "reasoning.effort": "as the nearest that the provider knows",
        "reasoning.summary, reasoning.generate_summary": "to `api: responses`, without effect elsewhere",
        "reasoning.context, reasoning.mode": "which thoughts are read again is the provider's choice",
        "include": "to `api: responses`, without effect elsewhere; logprobs to all of OpenAI's formats",
        "service_tier": "`flex`, `scale`, `priority` and `fast`, held and charged at the tier's price; `ultrafast` has "
        "none that is known",
        "prompt_cache_key": "to `api: responses`, without effect elsewhere",
        "previous_response_id": "goes on from an answer that is kept here",
        "conversation, conversation.id": "a conversation that is kept here",
        "store": "whether the answer is kept here",
        "stream": "",
    },
    {
        "user, metadata, client_metadata, safety_identifier": "labels",
        "prompt_cache_retention, prompt_cache_options": "the provider's own way to keep holds",
        "stream_options": "nothing is padded",
        "truncation": "nothing is left out here; a conversation that is too long is refused by its provider",
        "context_management": "conversations are not shortened here",
        "image": "the provider's own way to read pictures holds",
        "background": "`false`; an answer is given while its client waits",
    },
    {
        "access_programs": "it is the account's, and said where the provider is set up",
        "background_options": "an answer is given while its client waits; leave it out",
        "input: compaction_trigger": "conversations are not shortened here; leave it out",
        "input: configuration_update": "say it in the request's own fields",
        "input: program": "programs of the vendor's are not run; take it out",
        "input: program_output": "programs of the vendor's are not run; take it out",
        "moderation": "ask for moderation in a call of its own",
        "prompt": "prompts kept at the vendor are not read here; send the text",
        "tools: programmatic_tool_calling": "what it costs is not known here; take it out",
        "tool_choice: programmatic_tool_calling": "what it costs is not known here; take it out",
    },
)

REFUSED = refusals(FIELDS)
