"""How each field of OpenAI's chat completions is treated. Pure.

Source: the reference of ``POST /v1/chat/completions``.
"""

from organism.formats.field_rules import refusals, rules

FIELDS = rules(
    {
        "model": "a name of `llm.models`",
        "messages": "",
        "messages: system, messages: developer, messages: user, messages: assistant, messages: tool": "",
        "content: text, content: refusal": "",
        "content: image_url, content: file": "bytes as `data:`; a picture also by its address",
        "max_completion_tokens, max_tokens": "the cap that is held for each answer; the smaller of the two",
        "temperature, top_p": "",
        "top_k": "to servers that know it; it is no word of OpenAI's",
        "stop": "not to `api: responses`",
        "seed, presence_penalty, frequency_penalty, logit_bias": "to chat completions",
        "n": "to chat completions; the cap is held so many times; in a stream all but the first come whole at the end",
        "logprobs, top_logprobs": "to OpenAI's formats; in a stream at the end",
        "tools": "",
        "tools: function": "",
        "tools: custom": "as it is to OpenAI, as a function with one text to all others",
        "tool_choice": "",
        "tool_choice: function, tool_choice: custom": "",
        "tool_choice: allowed_tools": "the other tools are left out",
        "parallel_tool_calls": "",
        "response_format": "",
        "response_format: text, response_format: json_object, response_format: json_schema": "",
        "reasoning_effort": "as the nearest that the provider knows",
        "verbosity": "to OpenAI's formats",
        "service_tier": "`flex`, `scale`, `priority` and `fast` to OpenAI, Azure, OpenRouter and servers of unknown "
        "make; held and charged at the tier's price; `ultrafast` has none that is known",
        "web_search_options": "to chat completions; a search is held and charged",
        "web_search_options.search_context_size, web_search_options.user_location": "",
        "stream": "",
        "stream_options": "",
        "stream_options.include_usage": "",
        "stream_options.include_obfuscation": "nothing is padded",
        "prompt_cache_key, prompt_cache_retention, safety_identifier": "to OpenAI, without effect elsewhere",
    },
    {
        "store": "nothing is kept of chat completions",
        "user, metadata, client_metadata": "labels",
        "prompt_cache_options": "the provider's own way to keep holds",
        "prediction": "the answer is written in full",
        "modalities": "`text` alone",
        "usage": "OpenRouter's wish to have it counted, which is granted anyway",
    },
    {
        "audio": "models are asked for text; leave it out",
        "content: input_audio": "send what was said as text",
        "functions": "write them as 'tools'",
        "function_call": "write it as 'tool_choice'",
        "messages: function": "write it as a message with the role 'tool'",
        "moderation": "ask for moderation in a call of its own",
    },
)

REFUSED = refusals(FIELDS)
