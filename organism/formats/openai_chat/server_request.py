"""Translates a request of chat completions into a call: turns, tools, response format. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

from msgspec.structs import replace

from organism.formats.call_ids import split_id
from organism.formats.errors.faults import bad_request
from organism.formats.json_reading import text_of
from organism.formats.media.data_urls import unpack
from organism.formats.native_tools import arguments_of_text, custom_tool
from organism.formats.openai_chat import server_body as body
from organism.formats.openai_chat.fields import REFUSED
from organism.formats.openai_chat.legacy_functions import LEGACY, with_tools
from organism.formats.openai_chat.reasoning_details import read_details
from organism.formats.openai_chat.thinking_words import NO_REASONING, OPENROUTERS, REASONING, thinking_wish
from organism.formats.own_fields import split_off
from organism.formats.server_format import Asked, Json, convert
from organism.llm.requests import (
    CacheTTL,
    ChatMessage,
    CompletionRequest,
    Effort,
    FilePart,
    ImagePart,
    OneTool,
    Part,
    Reasoning,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    VendorItem,
)


def read_request(raw: Json, default_cap: int) -> Asked:
    """Translate a request; see :class:`organism.formats.server_format.ServerFormat`.

    Raises:
        FaultError: It is wrong, or asks for what cannot be honoured.
    """
    raw, is_legacy = with_tools(raw)
    raw, own = split_off(raw)
    asked = convert(raw, body.ChatBody, refused=REFUSED)
    if asked.top_logprobs and not asked.logprobs:
        raise bad_request("top_logprobs: they are told with 'logprobs: true' alone; add it", "top_logprobs")
    caps = [cap for cap in (asked.max_completion_tokens, asked.max_tokens) if cap is not None]
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    wish = thinking_wish(own, asked.reasoning_effort)
    request = CompletionRequest(
        model=asked.model,
        messages=tuple(_kept_whole(_turns(asked.messages), asked.cache_control)),
        max_output_tokens=min(caps, default=default_cap),
        temperature=asked.temperature,
        top_p=asked.top_p,
        stop=tuple(stop),
        seed=asked.seed,
        tools=tuple(tool for each in asked.tools if _is_allowed(tool := _tool(each), asked.tool_choice)),
        tool_choice=_choice(asked.tool_choice),
        parallel_tool_calls=asked.parallel_tool_calls,
        response_format=_form(asked.response_format),
        reasoning_effort=wish.effort,
        reasoning_tokens=wish.tokens,
        verbosity=asked.verbosity,
        top_k=asked.top_k,
        presence_penalty=asked.presence_penalty or None,
        frequency_penalty=asked.frequency_penalty or None,
        logit_bias=asked.logit_bias,
        logprobs=asked.top_logprobs if asked.logprobs else None,
        choices=asked.n,
        service_tier=tier_of(asked.service_tier),
        vendor_tools=_searches(asked.web_search_options),
        vendor_fields=_fields(own, asked.reasoning_effort),
    )
    dialect = {LEGACY: is_legacy, REASONING: not OPENROUTERS.isdisjoint(own), NO_REASONING: not wish.shown}
    return Asked(
        request=request,
        stream=asked.stream,
        usage=asked.stream_options.include_usage,
        dialect=frozenset(name for name, holds in dialect.items() if holds),
    )


def _turns(messages: list[body.Turn]) -> Iterator[ChatMessage]:
    """Translate turns; adjacent results of tools are parts of one turn."""
    results: list[Part] = []
    mark: _Mark = {}
    for place, message in enumerate(messages):
        if isinstance(message, body.ToolResult):
            results.append(ToolResult(split_id(message.tool_call_id)[0], _result(message.content, place)))
            mark = _mark(message) or mark
            continue
        if results:
            yield ChatMessage("user", tuple(results), **mark)
            results, mark = [], {}
        match message:
            case body.User():
                parts = message.content if isinstance(message.content, str) else _parts(message.content, place)
                yield ChatMessage("user", parts, **_mark(message))
            case body.Assistant():
                yield ChatMessage("assistant", _said(message, f"messages[{place}]"), **_mark(message))
            case _:
                plain = message.content
                words = plain if isinstance(plain, str) else "".join(part.text for part in plain)
                yield ChatMessage("system", words, **_mark(message))
    if results:
        yield ChatMessage("user", tuple(results), **mark)


class _Mark(TypedDict, total=False):
    """The fields of a turn or tool that ask the provider to cache everything up to it."""

    cache: bool
    cache_ttl: CacheTTL


def _mark(turn: body.Turn) -> _Mark:
    """Return the cache mark of a turn, which clients write on the turn, one of its parts or a call."""
    calls = turn.tool_calls or () if isinstance(turn, body.Assistant) else ()
    parts = turn.content if isinstance(turn.content, list) else ()
    return _wish(*(getattr(each, "cache_control", None) for each in (*parts, *calls, turn)))


def _wish(*wishes: body.CacheControl | None) -> _Mark:
    """Return the last of several cache marks; empty if there is none."""
    said = [wish for wish in wishes if wish is not None]
    return {"cache": True, "cache_ttl": said[-1].ttl or "5m"} if said else {}


def _kept_whole(turns: Iterable[ChatMessage], wish: body.CacheControl | None) -> Iterator[ChatMessage]:
    """Put the cache mark of the whole request on its last turn, unless that has one."""
    *before, last = turns
    yield from before
    yield last if wish is None or last.cache else replace(last, **_wish(wish))


def _result(
    content: str | list[body.TextPart | body.ImagePart], message: int
) -> str | tuple[TextPart | ImagePart, ...]:
    """Translate the result of a tool: text, or text and images in order."""
    if isinstance(content, str):
        return content
    if all(isinstance(part, body.TextPart) for part in content):
        return "".join(part.text for part in content if isinstance(part, body.TextPart))
    return tuple(part for part in _parts(content, message) if isinstance(part, TextPart | ImagePart))


def _parts(parts: Sequence[body.TextPart | body.ImagePart | body.FilePart], message: int) -> tuple[Part, ...]:
    found: list[Part] = []
    for place, part in enumerate(parts):
        at = f"messages[{message}].content[{place}]"
        match part:
            case body.TextPart(text=text):
                found.append(TextPart(text))
            case body.ImagePart(image_url=image):
                found.append(_picture(body.ImageURL(url=image) if isinstance(image, str) else image, at))
            case body.FilePart(file=file):
                kind, data = unpack(file.file_data, f"{at}.file.file_data")
                found.append(FilePart(kind, data, name=file.filename))
    return tuple(found)


def _picture(image: body.ImageURL, at: str) -> ImagePart:
    if not image.url.startswith("data:"):
        return ImagePart(url=image.url, detail=image.detail)
    kind, data = unpack(image.url, f"{at}.image_url.url")
    return ImagePart(kind, data, detail=image.detail)


def _said(message: body.Assistant, at: str) -> str | tuple[Part, ...]:
    content = message.content or message.refusal or ""
    if isinstance(content, list):
        content = "".join(part.text if isinstance(part, body.TextPart) else part.refusal for part in content)
    thoughts = tuple(_thoughts(message))
    if not message.tool_calls and not thoughts:
        return content
    words = (TextPart(content),) if content else ()
    calls = (_call(call, f"{at}.tool_calls[{place}]") for place, call in enumerate(message.tool_calls or ()))
    return (*thoughts, *words, *calls)


def _thoughts(message: body.Assistant) -> Iterator[Reasoning]:
    """Translate reasoning: with its seals where the client has kept them, else its text."""
    if message.reasoning_details:
        yield from read_details(message.reasoning_details)
    elif message.thinking_blocks:
        yield from map(_block, message.thinking_blocks)
    elif words := message.reasoning_content or message.reasoning:
        yield Reasoning(words)
    if message.extra_content:
        yield Reasoning("", extra={"extra_content": message.extra_content})


def _block(block: Json) -> Reasoning:
    """Translate a thinking block of Anthropic's, which is how LiteLLM keeps reasoning."""
    sealed = text_of(block.get("data"))
    return Reasoning(text_of(block.get("thinking")), sealed or text_of(block.get("signature")), redacted=bool(sealed))


def _call(call: body.Call, at: str) -> ToolCall:
    """Translate a call; the free text of a custom tool becomes the one argument of a function.

    Raises:
        FaultError: If it names neither a function nor a custom tool.
    """
    call_id, extra = split_id(call.id)
    extra |= {"extra_content": call.extra_content} if call.extra_content else {}
    if call.custom is not None:
        return ToolCall(call_id, call.custom.name, arguments_of_text(call.custom.input), extra)
    if call.function is None:
        raise bad_request(f"{at}: a call has a 'function' or is 'custom'", at)
    return ToolCall(call_id, call.function.name, call.function.arguments, extra)


def _tool(tool: body.Tool | body.CustomTool) -> Tool:
    if isinstance(tool, body.CustomTool):
        own = tool.custom
        native: Json = {"type": "custom", "name": own.name}
        native |= {"description": own.description} if own.description else {}
        match own.format:
            case body.GrammarForm(grammar=grammar):
                native["format"] = {"type": "grammar", "syntax": grammar.syntax, "definition": grammar.definition}
            case body.FreeForm():
                native["format"] = {"type": "text"}
        return replace(custom_tool(native), **_wish(tool.cache_control))
    function = tool.function
    parameters = function.parameters or {"type": "object", "properties": {}}
    mark = _wish(tool.cache_control)
    return Tool(function.name, function.description or "", parameters, strict=bool(function.strict), **mark)


def _choice(choice: object) -> ToolChoice:
    match choice:
        case "auto" | "none" | "required":
            return choice
        case "any":  # Mistral's word
            return "required"
        case body.NamedChoice(function=named) | body.CustomChoice(custom=named):
            return OneTool(named.name)
        case body.AllowedChoice(allowed_tools=allowed):
            return allowed.mode
        case _:
            return "auto"


def _is_allowed(tool: Tool, choice: object) -> bool:
    """Whether a tool choice allows a tool; tools that it does not allow are left out of the call."""
    if not isinstance(choice, body.AllowedChoice):
        return True
    named = (
        each.function if isinstance(each, body.NamedChoice) else each.custom for each in choice.allowed_tools.tools
    )
    return any(each.name == tool.name for each in named)


def tier_of(tier: str) -> str | None:
    """Return the service tier of a call; ``None`` leaves it to the account."""
    return {"auto": None, "fast": "priority"}.get(tier, tier)


def _searches(options: Json | None) -> tuple[VendorItem, ...]:
    """Return the web search that a request asks for, as the vendor's tool that it is in other formats."""
    return () if options is None else (VendorItem({"type": "web_search", **options}, "chat"),)


def _fields(own: Json, effort: Effort | None) -> VendorItem | None:
    """Return the fields that are one server's own, with the effort beside its own field for thinking."""
    beside = {"reasoning_effort": effort} if own and effort is not None else {}
    return VendorItem(own | beside, "chat") if own else None


def _form(form: body.Form) -> ResponseFormat | None:
    match form:
        case body.PlainForm():
            return None
        case body.ObjectForm():
            return ResponseFormat() if form.schema is None else ResponseFormat(form.schema)
        case body.SchemaForm(json_schema=schema):
            return ResponseFormat(schema.schema or {"type": "object"}, schema.name, strict=bool(schema.strict))
