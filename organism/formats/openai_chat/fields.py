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
        "content: image_url, content: file": "bytes as `data:`; a picture also by its address, and in results of tools",
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
        "reasoning, thinking, enable_thinking, thinking_budget, include_reasoning, reasoning_format, "
        "separate_reasoning": "as it is to servers that have the word (OpenRouter, DeepSeek, vLLM, Groq, ...), as "
        "`reasoning_effort` and a "
        "budget of thoughts to others; what is not to be shown is not",
        "extra_body": "`google.thinking_config`, likewise",
        "chat_template_kwargs": "to vLLM, llama.cpp and servers of unknown make; a mere switch of thinking to all",
        "min_p, repetition_penalty": "to vLLM, llama.cpp, OpenRouter and servers of unknown make",
        "top_a, transforms": "to OpenRouter; `transforms` has no effect elsewhere",
        "guided_json, guided_regex, guided_choice, guided_grammar, structured_outputs, regex, ebnf, min_tokens, "
        "length_penalty, stop_token_ids, bad_words, allowed_token_ids, include_stop_str_in_output, "
        "skip_special_tokens, spaces_between_special_tokens, truncate_prompt_tokens": "to vLLM and servers of unknown "
        "make",
        "grammar, typical_p, repeat_penalty, repeat_last_n, dynatemp_range, dynatemp_exponent, mirostat, mirostat_tau, "
        "mirostat_eta, dry_multiplier, dry_base, dry_allowed_length, dry_penalty_last_n, dry_sequence_breakers, "
        "xtc_probability, xtc_threshold, samplers, thinking_forced_open, parse_tool_calls": "to llama.cpp and servers "
        "of unknown make",
        "ignore_eos, add_generation_prompt, continue_final_message": "to vLLM, llama.cpp and servers of unknown make",
        "cache_control": "the conversation as a whole; marks on its parts as in Anthropic's messages",
        "functions, function_call, messages: function": "as tools; calls are written in the same way",
        "functions.name, functions.description, functions.parameters, function_call.name": "",
        "verbosity": "to OpenAI's formats",
        "service_tier": "`flex`, `scale`, `priority` and `fast` to OpenAI, Azure, OpenRouter and servers of unknown "
        "make; held and charged at the tier's price; `ultrafast` has none that is known",
        "web_search_options": "to chat completions; a search is held and charged",
        "web_search_options.search_context_size, web_search_options.user_location": "",
        "stream": "",
        "stream_options": "",
        "stream_options.include_usage": "",
        "stream_options.include_obfuscation": "nothing is padded",
        "response_format.schema": "beside `json_object`, as `json_schema`",
        "prompt_cache_key, prompt_cache_retention, safety_identifier": "to OpenAI, without effect elsewhere",
    },
    {
        "store": "nothing is kept of chat completions",
        "user, metadata, client_metadata": "labels",
        "prompt_cache_options": "the provider's own way to keep holds",
        "stream_options.continuous_usage_stats": "usage comes at the end",
        "keep_alive, session_id, trace": "what a server does between calls is set there",
        "prediction": "the answer is written in full",
        "modalities": "`text` alone",
        "usage": "OpenRouter's wish to have it counted, which is granted anyway",
    },
    {
        "audio": "models are asked for text; leave it out",
        "content: input_audio": "send what was said as text",
        "provider": "hosts have other prices than the model's that is held; choose them in the account at OpenRouter",
        "models": "which model takes over is said by the routes of the model in organism.yaml; leave it out",
        "route": "which model takes over is said by the routes of the model in organism.yaml; leave it out",
        "plugins": "what they cost is not known here; take them out",
        "best_of": "only one of the answers would be seen; ask for 'n'",
        "moderation": "ask for moderation in a call of its own",
    },
)

REFUSED = refusals(FIELDS)
