"""How each field of OpenAI's completions of plain text is treated. Pure.

Source: the reference of ``POST /v1/completions``.
"""

from organism.formats.field_rules import refusals, rules

FIELDS = rules(
    {
        "model": "a name of `llm.models`",
        "prompt": "one text, as a conversation's one turn",
        "max_tokens": "the cap that is held for each answer; `gateway.max_output_tokens` unless given",
        "temperature, top_p": "",
        "top_k": "to servers that know it",
        "stop, seed, presence_penalty, frequency_penalty, logit_bias": "as in chat completions",
        "fields of one server's own": "such as `min_p`, as in chat completions",
        "n": "the cap is held so many times",
        "stream, stream_options": "",
        "stream_options.include_usage, stream_options.include_obfuscation": "",
    },
    {
        "user": "a label",
        "best_of": "`1`",
        "echo": "`false`",
        "logprobs": "`0`; chat completions have them",
        "suffix": "none",
    },
    {},
)

REFUSED = refusals(FIELDS)
