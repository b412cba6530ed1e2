"""OpenAI's chat completions, as a server speaks them: requests in, answers and streams out. Pure.

The other direction is :mod:`organism.providers.chat`.
"""

from collections.abc import Iterator

from organism.amounts import TokenUsage
from organism.gateway import chat_body as body
from organism.gateway.data_urls import unpack
from organism.gateway.faults import Fault, bad_request
from organism.gateway.formats import Asked, EventWriter, Json, Meta, convert, event
from organism.gateway.openai_errors import error_body
from organism.router.provider import (
    ChatMessage,
    Completion,
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

_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
_DONE = b"data: [DONE]\n\n"


class ChatFormat:
    """Chat completions."""

    def read(self, raw: Json, default_cap: int) -> Asked:
        """Read a request; see :meth:`organism.gateway.formats.Format.read`."""
        asked = convert(raw, body.ChatBody)
        for name in ("logprobs", "store", "presence_penalty", "frequency_penalty", "logit_bias"):
            if getattr(asked, name):
                raise bad_request(f"{name}: this gateway cannot honour it", name, "unsupported_parameter")
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
        )
        return Asked(request=request, stream=asked.stream, usage=asked.stream_options.include_usage)

    def whole(self, asked: Asked, meta: Meta, answer: Completion) -> Json:
        """Write an answer; see :meth:`organism.gateway.formats.Format.whole`."""
        del asked
        message: Json = {"role": "assistant", "content": answer.text or None, "refusal": None}
        if answer.tool_calls:
            message["tool_calls"] = [_call(call) for call in answer.tool_calls]
        else:
            message["content"] = answer.text
        if thoughts := "".join(thought.text for thought in answer.reasoning):
            message["reasoning_content"] = thoughts
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(answer)}
        return {
            "id": f"chatcmpl-{meta.id}",
            "object": "chat.completion",
            "created": meta.created_s,
            "model": answer.model,
            "choices": [choice],
            "usage": _usage(answer.usage),
        }

    def writer(self, asked: Asked, meta: Meta) -> EventWriter:
        """Return what writes an answer in pieces."""
        return _Writer(asked, meta)

    def error(self, fault: Fault) -> Json:
        """Write an error as OpenAI does."""
        return error_body(fault)


class _Writer:
    """Writes chunks; calls of tools come whole, in one of the last."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._usage = asked.usage
        self._head: Json = {
            "id": f"chatcmpl-{meta.id}",
            "object": "chat.completion.chunk",
            "created": meta.created_s,
            "model": asked.request.model,
        }

    def begin(self) -> bytes:
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def text(self, piece: str) -> bytes:
        return self._chunk({"content": piece})

    def end(self, answer: Completion) -> bytes:
        calls = [{"index": place, **_call(call)} for place, call in enumerate(answer.tool_calls)]
        data = self._chunk({"tool_calls": calls}) if calls else b""
        data += self._chunk({}, _reason(answer))
        if self._usage:
            data += event(self._head | {"choices": [], "usage": _usage(answer.usage)})
        return data + _DONE

    def fail(self, fault: Fault) -> bytes:
        return event(error_body(fault))

    def _chunk(self, delta: Json, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        last = {"usage": None} if self._usage else {}
        return event(self._head | {"choices": [choice]} | last)


def _turns(
    messages: list[body.System | body.Developer | body.User | body.Assistant | body.ToolResult],
) -> Iterator[ChatMessage]:
    """Translate turns; results of tools that follow each other are parts of one."""
    results: list[Part] = []
    for place, message in enumerate(messages):
        if isinstance(message, body.ToolResult):
            words = message.content if isinstance(message.content, str) else "".join(p.text for p in message.content)
            results.append(ToolResult(message.tool_call_id, words))
            continue
        if results:
            yield ChatMessage("user", tuple(results))
            results = []
        match message:
            case body.User():
                parts = message.content if isinstance(message.content, str) else _parts(message.content, place)
                yield ChatMessage("user", parts, cache=_cached(message.content))
            case body.Assistant():
                yield ChatMessage("assistant", _said(message))
            case _:
                plain = message.content
                words = plain if isinstance(plain, str) else "".join(part.text for part in plain)
                yield ChatMessage("system", words, cache=_cached(plain))
    if results:
        yield ChatMessage("user", tuple(results))


def _cached(content: object) -> bool:
    return isinstance(content, list) and any(getattr(part, "cache_control", None) is not None for part in content)


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
    if not message.tool_calls and not message.reasoning_content:
        return content
    thoughts = (Reasoning(message.reasoning_content),) if message.reasoning_content else ()
    words = (TextPart(content),) if content else ()
    calls = (ToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ())
    return (*thoughts, *words, *calls)


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


def _call(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _reason(answer: Completion) -> str:
    return answer.finish_reason if answer.finish_reason in _REASONS else "stop"


def _usage(usage: TokenUsage | None) -> Json | None:
    """Write usage; ``None`` where the provider gave none, which is not zero."""
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output_total,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
