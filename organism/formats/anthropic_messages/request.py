"""The messages format, spoken by Anthropic, by servers compatible with it, and by llama.cpp. Pure."""

from collections.abc import Iterator

import msgspec

from organism.formats.anthropic_messages.turns import acts_without_thought, cache_mark, conversation_of
from organism.formats.json_reading import JsonObject
from organism.formats.media.attachments import ImageRule
from organism.formats.vendor_items import fields_for, foreign_to, native_of, sampling_untaken
from organism.llm.requests import CompletionRequest, OneTool, Tool, VendorItem
from organism.llm.server_tools import USES_MAX

THINKING_MIN_TOKENS = 1024
"""Anthropic takes no smaller budget for thinking."""

TOOL_TOKENS = 1000
"""Anthropic publishes up to 804 tokens of its own instructions when there are tools."""

IMAGES = (ImageRule(most=4_784, patch=28, patch_permille=1_046),)
"""What Anthropic publishes: a token for each 28 x 28 pixels, by its older rule one for each 750; at most 4,784 with its
newest models, to which larger images are made smaller, and 1,568 with older ones. Source: "Images and vision"."""

BETAS = "betas"
"""What a request has switched on beside its fields: a header of the API, and a parameter of its SDKs."""

_BILLED_BY_USE = ("web_search_", "web_fetch_")
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_EFFORTS = {"minimal": "low"}
_SCHEMA_IN_WORDS = "Answer with one JSON object, and nothing else"


COUNTED = frozenset({"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "mcp_servers"})
"""What of a request the vendor wants to see to count its input; source: ``POST /v1/messages/count_tokens``."""


def untaken(request: CompletionRequest) -> str | None:
    """Return what a request asks for that this format has no word for; ``None`` when there is nothing."""
    if request.verbosity not in {None, "medium"}:  # which is what one has without a wish
        return "'verbosity'"
    for name in ("presence_penalty", "frequency_penalty", "logit_bias"):
        if getattr(request, name):
            return repr(name)
    return sampling_untaken(request, "seed", "n", "logprobs", "service_tier") or foreign_to(request, "messages")


def encode(request: CompletionRequest, *, stream: bool, holds_to_schemas: bool = True) -> JsonObject:
    """Write a request as the format's JSON object: instructions stand apart from the conversation in it.

    Args:
        request: What to ask.
        stream: Whether to ask for pieces.
        holds_to_schemas: Whether the server holds an answer to a JSON Schema; if not, it is asked to in words.
    """
    system, turns = conversation_of(request.messages)
    system += [{"type": "text", "text": words} for words in _form_in_words(request, holds_to_schemas)]
    body: JsonObject = {"model": request.model, "messages": turns, "max_tokens": request.max_output_tokens}
    fields = {name: value for name, value in fields_for(request, "messages").items() if name != BETAS}
    options: JsonObject = {
        # A lone text is written as text: some compatible servers know no other form.
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
    """Ask for thinking within the output cap, which the router may have shrunk.

    Args:
        request: What to ask.
        turns: The conversation, as it is sent.
        shown: What of the thoughts is wanted to be seen.
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
    """Write a tool that the vendor runs, with how often it may: the hold relies on it."""
    if item.kind.startswith(_BILLED_BY_USE) and item.value.get("max_uses") is None:
        return {**item.value, "max_uses": USES_MAX}
    return item.value


def betas_of(request: CompletionRequest) -> list[str]:
    """Return what the request's header switches on."""
    return list(fields_for(request, "messages").get(BETAS, ()))
