"""Writes requests of chat completions, for OpenAI, compatible servers and llama.cpp. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from organism.formats.conversation import mended
from organism.formats.json_reading import JsonObject
from organism.formats.media.attachments import file_text
from organism.formats.media.data_urls import data_url
from organism.formats.native_tools import CallNames, text_of_arguments
from organism.formats.openai_chat.reasoning_details import FIELD, KEPT_FIELDS, write_details
from organism.formats.own_fields import own_fields
from organism.formats.vendor_items import foreign_to, native_of, sampling_untaken
from organism.formats.vendors import Vendor
from organism.llm.requests import (
    ChatMessage,
    CompletionRequest,
    FilePart,
    ImagePart,
    OneTool,
    Part,
    Reasoning,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
    ToolResult,
)

_SCHEMA_IN_WORDS = "Answer with one JSON object, and nothing else, that fits this JSON Schema:\n"


def untaken(request: CompletionRequest, vendor: Vendor) -> str | None:
    """Return, in words, what a request needs and the vendor lacks; ``None`` if there is nothing."""
    own = own_fields(request, vendor.own_fields)
    if not vendor.effort and own.get("reasoning_effort", request.reasoning_effort) not in {None, "none"}:
        return "'reasoning_effort'"
    if request.top_k is not None and "top_k" not in vendor.own_fields:
        return "'top_k'"
    if not vendor.tiers and (name := sampling_untaken(request, "service_tier")) is not None:
        return name
    return foreign_to(request, "chat", vendor.own_fields)


def encode(request: CompletionRequest, vendor: Vendor, *, stream: bool) -> JsonObject:
    """Write a request as the format's JSON object.

    Args:
        request: The request.
        vendor: The quirks of the server.
        stream: Whether to ask for a stream, with usage at its end.
    """
    body: JsonObject = {"model": request.model, vendor.cap: request.max_output_tokens}
    own = request.tools if vendor.custom_tools else ()  # this format has no namespaces of tools
    names = CallNames(tool for tool in own if native_of(tool, "responses").get("type") == "custom")
    messages = list(_turns_of(mended(request.messages, vendor.call_ids), vendor, names))
    options: JsonObject = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        vendor.seed: request.seed,
        "reasoning_effort": request.reasoning_effort if vendor.effort else None,
        "verbosity": request.verbosity,
        "top_k": request.top_k,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "logit_bias": request.logit_bias or None,
        "n": request.choices if request.choices > 1 else None,
        "logprobs": True if request.logprobs is not None else None,
        "top_logprobs": request.logprobs or None,
        "service_tier": request.service_tier if vendor.tiers else None,
        **own_fields(request, vendor.own_fields),
        **_search(request),
        **_tools(request, names),
    }
    if (form := request.response_format) is not None:
        options["response_format"] = _form(form, vendor)
        if form.schema is not None and vendor.answers_in == "object":
            words = _SCHEMA_IN_WORDS + msgspec.json.encode(form.schema).decode()
            messages.insert(0, {"role": "system", "content": words})
    if stream:
        options["stream"] = True
        options["stream_options"] = {"include_usage": True} if vendor.usage_on_request else None
    return body | {"messages": messages} | {name: value for name, value in options.items() if value is not None}


def _search(request: CompletionRequest) -> JsonObject:
    """Write the wish to search the web, a field in this format and a tool in all others."""
    tool = next((item.value for item in request.vendor_tools if item.format == "chat"), None)
    return {} if tool is None else {"web_search_options": {name: tool[name] for name in tool if name != "type"}}


def _turns_of(messages: Iterable[ChatMessage], vendor: Vendor, names: CallNames) -> Iterator[JsonObject]:
    """Write all turns; adjacent instructions are joined, as templates of many models take only one."""
    instructions: list[str] = []
    for message in messages:
        if message.role == "system":
            instructions.append(message.text)
            continue
        yield from _instructions(instructions)
        instructions = []
        yield from _turns(message, vendor, names)
    yield from _instructions(instructions)


def _instructions(texts: list[str]) -> Iterator[JsonObject]:
    if texts:
        yield {"role": "system", "content": "\n\n".join(texts)}


def _turns(message: ChatMessage, vendor: Vendor, names: CallNames) -> Iterator[JsonObject]:
    """Write one turn; results of tools are turns of their own in this format."""
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
    elif message.role == "assistant":
        yield _assistant(message, vendor, names)
    else:
        rest: list[Part] = []
        for piece in message.content:
            if not isinstance(piece, ToolResult):
                rest.append(piece)
                continue
            inner = (TextPart(piece.content),) if isinstance(piece.content, str) else piece.content
            words = "".join(each.text for each in inner if isinstance(each, TextPart))
            yield {"role": "tool", "tool_call_id": piece.call_id, "content": words}
            rest += [each for each in inner if isinstance(each, ImagePart)]
        if rest:
            yield {"role": "user", "content": [_part(piece) for piece in rest]}


def _assistant(message: ChatMessage, vendor: Vendor, names: CallNames) -> JsonObject:
    calls = [piece for piece in message.parts if isinstance(piece, ToolCall)]
    # Content may be null only beside calls; a turn of reasoning alone has an empty one.
    turn: JsonObject = {"role": "assistant", "content": message.text or (None if calls else "")}
    if calls:
        written = [_call(call, vendor, names) for call in calls]
        if not any(call.extra for call in calls):
            written[0] |= vendor.call_without_seal
        turn["tool_calls"] = written
    return turn | _thoughts_back(message, vendor, beside_calls=bool(calls))


def _call(call: ToolCall, vendor: Vendor, names: CallNames) -> JsonObject:
    if names.is_custom(call.name):
        given = {"name": names.own_name(call.name), "input": text_of_arguments(call.arguments)}
        return {"id": call.id, "type": "custom", "custom": given}
    kept = {name: value for name, value in call.extra.items() if name in vendor.takes_back}
    function = {"name": call.name, "arguments": call.arguments}
    return {**kept, "id": call.id, "type": "function", "function": function}


def _thoughts_back(message: ChatMessage, vendor: Vendor, *, beside_calls: bool) -> JsonObject:
    """Write the reasoning that a vendor wants back, in the fields in which it came."""
    thoughts = [piece for piece in message.parts if isinstance(piece, Reasoning)]
    back: JsonObject = {}
    for thought in thoughts:
        back |= {name: thought.extra[name] for name in KEPT_FIELDS & thought.extra.keys() if name in vendor.takes_back}
    own = [thought for thought in thoughts if FIELD in thought.extra]
    if own and FIELD in vendor.takes_back:
        return back | {FIELD: write_details(own)}
    words = "".join(thought.text for thought in thoughts)
    if words and (vendor.reasoning_back == "always" or (vendor.reasoning_back == "with calls" and beside_calls)):
        back["reasoning_content"] = words
    return back


def _part(piece: Part) -> JsonObject:
    match piece:
        case ImagePart():
            url = piece.url or data_url(piece.media_type, piece.data)
            return {"type": "image_url", "image_url": {"url": url, "detail": piece.detail}}
        case FilePart() if (words := file_text(piece)) is not None:
            return {"type": "text", "text": words}
        case FilePart():
            data = piece.url or data_url(piece.media_type, piece.data)
            return {"type": "file", "file": {"filename": piece.name, "file_data": data}}
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case _:
            raise TypeError(piece)


def _tools(request: CompletionRequest, names: CallNames) -> JsonObject:
    if not request.tools:
        return {}
    choice: object = request.tool_choice
    if isinstance(choice, OneTool):
        kind = "custom" if names.is_custom(choice.name) else "function"
        choice = {"type": kind, kind: {"name": names.own_name(choice.name) if kind == "custom" else choice.name}}
    return {
        "tools": [_custom(tool) if names.is_custom(tool.name) else _function(tool) for tool in request.tools],
        "tool_choice": choice,
        "parallel_tool_calls": request.parallel_tool_calls,
    }


def _function(tool: Tool) -> JsonObject:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function | ({"strict": True} if tool.strict else {})}


def _custom(tool: Tool) -> JsonObject:
    """Write a custom tool; its grammar is one object deeper than in responses."""
    own = native_of(tool, "responses")
    custom = {name: own[name] for name in ("name", "description") if own.get(name)}
    form = own.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar":
        form = {"type": "grammar", "grammar": {name: value for name, value in form.items() if name != "type"}}
    return {"type": "custom", "custom": custom | ({"format": form} if form else {})}


def _form(form: ResponseFormat, vendor: Vendor) -> JsonObject:
    if form.schema is None or vendor.answers_in == "object":
        return {"type": "json_object"}
    return {
        "type": "json_schema",
        "json_schema": {"name": form.name, "schema": form.schema, "strict": form.strict},
    }
