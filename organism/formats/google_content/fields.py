"""How each field of Google's ``generateContent`` is treated. Pure.

Source: the reference of ``POST /v1beta/models/{model}:generateContent``.
"""

from organism.formats.field_rules import refusals, rules

_SET = "generationConfig"

FIELDS = rules(
    {
        "contents": "",
        "contents: text, contents: thought, contents: functionCall, contents: functionResponse": "",
        "contents: inlineData": "pictures and documents",
        "contents: fileData": "a picture or a document by its address",
        "contents: thoughtSignature": "back to the vendor whose it is",
        "systemInstruction": "",
        "tools: functionDeclarations": "",
        "toolConfig.functionCallingConfig": "functions that are not allowed are left out",
        f"{_SET}.maxOutputTokens": "the cap that is held for each answer; `gateway.max_output_tokens` unless given",
        f"{_SET}.candidateCount": "as `n` of chat completions",
        f"{_SET}.temperature, {_SET}.topP, {_SET}.topK, {_SET}.seed, {_SET}.stopSequences": "as in chat completions",
        f"{_SET}.presencePenalty, {_SET}.frequencyPenalty": "as in chat completions",
        f"{_SET}.responseMimeType, {_SET}.responseSchema, {_SET}.responseJsonSchema": "as the provider's own form",
        f"{_SET}.thinkingConfig": "as the nearest that the provider knows",
    },
    {
        "safetySettings": "each provider keeps to its own",
        "labels, store": "labels",
        f"{_SET}.responseModalities": "`TEXT` alone",
        f"{_SET}.mediaResolution": "the provider's own way to read pictures holds",
        f"{_SET}.responseLogprobs": "`false`",
    },
    {
        "cachedContent": "what is kept at the vendor is not read here; send it",
        "serviceTier": "its price is not known here; leave it out",
        "tools: googleSearch": "what it costs is not known here; take it out",
        f"{_SET}.speechConfig": "models are asked for text; leave it out",
    },
)

REFUSED = refusals(FIELDS)
