"""From a request of chat completions to a call: turns, tools and the form of the answer. Pure."""

from collections.abc import Iterator
from typing import TypedDict

from organism.formats.call_ids import split_id
from organism.formats.errors.faults import bad_request
from organism.formats.media.data_urls import unpack
from organism.formats.openai_chat import server_body as body
from organism.formats.openai_chat.reasoning_details import read_details
from organism.formats.server_format import Asked, Json, convert
from organism.llm.requests import (
    CacheTTL,
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


def read_request(raw: Json, default_cap: int) -> Asked:
    """Return what a request asks for; see :meth:`organism.formats.server_format.Format.read`.

    Raises:
        FaultError: It is wrong, or asks for what cannot be honoured.
    """
    asked = convert(raw, body.ChatBody)
    if asked.logprobs:
        raise bad_request(
            "logprobs: this gateway does not pass them on; leave it out", "logprobs", "unsupported_parameter"
        )
    caps = [cap for cap in (asked.max_completion_tokens, asked.max_tokens) if cap is not None]
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    request = CompletionRequest(
        model=asked.model,
        messages=tuple(_turns(asked.messages)),
        max_output_tokens=min(caps, default=default_cap),
        temperature=asked.temperature,
        top_p=asked.top_p,
        stop=tuple(stop),
        seed=asked.seed,
        tools=tuple(_tool(tool.function) for tool in asked.tools),
        tool_choice=asked.tool_choice if isinstance(asked.tool_choice, str) else _one(asked.tool_choice),
        parallel_tool_calls=asked.parallel_tool_calls,
        response_format=_form(asked.response_format),
        reasoning_effort=asked.reasoning_effort,
        verbosity=asked.verbosity,
        top_k=asked.top_k,
        presence_penalty=asked.presence_penalty or None,
        frequency_penalty=asked.frequency_penalty or None,
        logit_bias=asked.logit_bias,
    )
    return Asked(request=request, stream=asked.stream, usage=asked.stream_options.include_usage)


def _turns(
    messages: list[body.System | body.Developer | body.User | body.Assistant | body.ToolResult],
) -> Iterator[ChatMessage]:
    """Translate turns; results of tools that follow each other are parts of one."""
    results: list[Part] = []
    mark: _Mark = {}
    for place, message in enumerate(messages):
        if isinstance(message, body.ToolResult):
            words = message.content if isinstance(message.content, str) else "".join(p.text for p in message.content)
            results.append(ToolResult(split_id(message.tool_call_id)[0], words))
            mark = _mark(message.content) or mark
            continue
        if results:
            yield ChatMessage("user", tuple(results), **mark)
            results, mark = [], {}
        match message:
            case body.User():
                parts = message.content if isinstance(message.content, str) else _parts(message.content, place)
                yield ChatMessage("user", parts, **_mark(message.content))
            case body.Assistant():
                yield ChatMessage("assistant", _said(message))
            case _:
                plain = message.content
                words = plain if isinstance(plain, str) else "".join(part.text for part in plain)
                yield ChatMessage("system", words, **_mark(plain))
    if results:
        yield ChatMessage("user", tuple(results), **mark)


class _Mark(TypedDict, total=False):
    """The fields of a turn that ask to keep the conversation up to it."""

    cache: bool
    cache_ttl: CacheTTL


def _mark(content: object) -> _Mark:
    """Return the mark on the parts of a turn, as some clients write it for models that are told to keep."""
    parts = content if isinstance(content, list) else ()
    wishes = [part.cache_control for part in parts if getattr(part, "cache_control", None) is not None]
    return {"cache": True, "cache_ttl": wishes[-1].ttl or "5m"} if wishes else {}


def _parts(parts: list[body.TextPart | body.ImagePart | body.FilePart], message: int) -> tuple[Part, ...]:
    found: list[Part] = []
    for place, part in enumerate(parts):
        at = f"messages[{message}].content[{place}]"
        match part:
            case body.TextPart(text=text):
                found.append(TextPart(text))
            case body.ImagePart(image_url=image):
                if image.url.startswith("data:"):
                    kind, data = unpack(image.url, f"{at}.image_url.url")
                    found.append(ImagePart(kind, data, detail=image.detail))
                else:
                    found.append(ImagePart(url=image.url, detail=image.detail))
            case body.FilePart(file=file):
                kind, data = unpack(file.file_data, f"{at}.file.file_data")
                found.append(FilePart(kind, data, name=file.filename))
    return tuple(found)


def _said(message: body.Assistant) -> str | tuple[Part, ...]:
    content = message.content or message.refusal or ""
    if isinstance(content, list):
        content = "".join(part.text if isinstance(part, body.TextPart) else part.refusal for part in content)
    thoughts = tuple(_thoughts(message))
    if not message.tool_calls and not thoughts:
        return content
    words = (TextPart(content),) if content else ()
    return (*thoughts, *words, *map(_call, message.tool_calls or ()))


def _thoughts(message: body.Assistant) -> Iterator[Reasoning]:
    """Translate what was thought: with its seals where the client has kept them, else its text."""
    if message.reasoning_details:
        yield from read_details(message.reasoning_details)
    elif words := message.reasoning_content or message.reasoning:
        yield Reasoning(words)
    if message.extra_content:
        yield Reasoning("", extra={"extra_content": message.extra_content})


def _call(call: body.Call) -> ToolCall:
    call_id, extra = split_id(call.id)
    extra |= {"extra_content": call.extra_content} if call.extra_content else {}
    return ToolCall(call_id, call.function.name, call.function.arguments, extra)


def _tool(tool: body.FunctionTool) -> Tool:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return Tool(tool.name, tool.description or "", parameters, strict=bool(tool.strict))


def _one(choice: body.NamedChoice) -> OneTool:
    return OneTool(choice.function.name)


def _form(form: body.PlainForm | body.ObjectForm | body.SchemaForm) -> ResponseFormat | None:
    match form:
        case body.PlainForm():
            return None
        case body.ObjectForm():
            return ResponseFormat()
        case body.SchemaForm(json_schema=schema):
            return ResponseFormat(schema.schema or {"type": "object"}, schema.name, strict=bool(schema.strict))
