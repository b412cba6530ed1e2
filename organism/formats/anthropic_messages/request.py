"""Writes requests of Anthropic's messages, for Anthropic, compatible servers and llama.cpp. Pure."""

from collections.abc import Iterator

import msgspec

from organism.formats.anthropic_messages.turns import acts_without_thought, cache_mark, conversation_of
from organism.formats.json_reading import JsonObject
from organism.formats.media.attachments import ImageRule
from organism.formats.vendor_items import fields_for, foreign_to, native_of, sampling_untaken
from organism.llm.requests import CompletionRequest, OneTool, Tool, VendorItem
from organism.llm.server_tools import USES_MAX

THINKING_MIN_TOKENS = 1024
"""Anthropic's smallest budget for thinking."""

TOOL_TOKENS = 1000
"""Anthropic adds up to 804 tokens of instructions when there are tools, by its documentation."""

IMAGES = (ImageRule(most=4_784, patch=28, patch_permille=1_046),)
"""What Anthropic publishes: a token for each 28 x 28 pixels, by its older rule one for each 750; at most 4,784 with its
newest models, to which larger images are made smaller, and 1,568 with older ones. Source: "Images and vision"."""

BETAS = "betas"
"""The beta features that a request switches on: a header of the API, and a parameter of its SDKs."""

_BILLED_BY_USE = ("web_search_", "web_fetch_")
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_EFFORTS = {"minimal": "low"}
_SCHEMA_IN_WORDS = "Answer with one JSON object, and nothing else"


COUNTED = frozenset({"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "mcp_servers"})
"""Fields of a request that count towards its input; source: ``POST /v1/messages/count_tokens``."""


def untaken(request: CompletionRequest) -> str | None:
    """Return, in words, what a request needs and this format lacks; ``None`` if there is nothing."""
    if request.verbosity not in {None, "medium"}:  # medium is the default
        return "'verbosity'"
    for name in ("presence_penalty", "frequency_penalty", "logit_bias"):
        if getattr(request, name):
            return repr(name)
    return sampling_untaken(request, "seed", "n", "logprobs", "service_tier") or foreign_to(request, "messages")


def encode(request: CompletionRequest, *, stream: bool, holds_to_schemas: bool = True) -> JsonObject:
    """Write a request as the format's JSON object, in which instructions are apart from the conversation.

    Args:
        request: The request.
        stream: Whether to ask for a stream.
        holds_to_schemas: Whether the server enforces JSON Schemas; if not, the schema is put into the instructions.
    """
    system, turns = conversation_of(request.messages)
    system += [{"type": "text", "text": words} for words in _form_in_words(request, holds_to_schemas)]
    body: JsonObject = {"model": request.model, "messages": turns, "max_tokens": request.max_output_tokens}
    fields = {name: value for name, value in fields_for(request, "messages").items() if name != BETAS}
    options: JsonObject = {
        # A single text is written as a string: some compatible servers take nothing else.
        "system": system[0]["text"] if len(system) == 1 and "cache_control" not in system[0] else system or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop_sequences": list(request.stop) or None,
        "stream": stream or None,
        **_tools(request, holds_to_schemas),
        "thinking": _thinking(request, turns, fields.pop("thinking", {})) or None,
    }
    config: JsonObject = fields.pop("output_config", {})
    if request.reasoning_effort not in {None, "none"}:
        config["effort"] = _EFFORTS.get(str(request.reasoning_effort), request.reasoning_effort)
    if request.response_format is not None and request.response_format.schema is not None and holds_to_schemas:
        config["format"] = {"type": "json_schema", "schema": request.response_format.schema}
    options["output_config"] = config or None
    return body | fields | {name: value for name, value in options.items() if value is not None}


def _form_in_words(request: CompletionRequest, holds_to_schemas: bool) -> Iterator[str]:
    form = request.response_format
    if form is not None and form.schema is None:
        yield f"{_SCHEMA_IN_WORDS}."
    elif form is not None and not holds_to_schemas:
        yield f"{_SCHEMA_IN_WORDS}, that fits this JSON Schema:\n{msgspec.json.encode(form.schema).decode()}"


def _thinking(request: CompletionRequest, turns: list[JsonObject], shown: JsonObject) -> JsonObject:
    """Return the ``thinking`` field, within the output cap that the router may have shrunk.

    Args:
        request: The request.
        turns: The conversation as it is sent.
        shown: How much of the thinking the client wants to see.
    """
    if request.reasoning_tokens is not None:
        budget = min(request.reasoning_tokens, request.max_output_tokens - 1)
        if budget < THINKING_MIN_TOKENS or acts_without_thought(turns):
            return {}
        return {"type": "enabled", "budget_tokens": budget, **shown}
    match request.reasoning_effort:
        case None:
            return {}
        case "none":
            return {"type": "disabled"}
        case _:
            return {"type": "adaptive", **shown}


def _tools(request: CompletionRequest, holds_to_schemas: bool) -> JsonObject:
    if not request.tools and not request.vendor_tools:
        return {}
    choice = request.tool_choice
    wire: JsonObject = (
        {"type": "tool", "name": choice.name} if isinstance(choice, OneTool) else {"type": _CHOICES[choice]}
    )
    if request.parallel_tool_calls is False and choice != "none":
        wire["disable_parallel_tool_use"] = True
    tools = [_tool(tool, holds_to_schemas) for tool in request.tools]
    return {"tools": [*tools, *map(_bounded, request.vendor_tools)], "tool_choice": wire}


def _tool(tool: Tool, holds_to_schemas: bool) -> JsonObject:
    return (
        native_of(tool, "messages")
        | {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
        | ({"strict": True} if tool.strict and holds_to_schemas else {})
        | (cache_mark(tool.cache_ttl) if tool.cache else {})
    )


def _bounded(item: VendorItem) -> JsonObject:
    """Write a tool that the vendor runs, with a bound on its uses, which the hold relies on."""
    if item.kind.startswith(_BILLED_BY_USE) and item.value.get("max_uses") is None:
        return {**item.value, "max_uses": USES_MAX}
    return item.value


def betas_of(request: CompletionRequest) -> list[str]:
    """Return the beta features that a request switches on."""
    return list(fields_for(request, "messages").get(BETAS, ()))
