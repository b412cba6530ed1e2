"""Translates a request of Google's ``generateContent`` into a call: turns, functions, response format. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from organism.formats.errors.faults import bad_request
from organism.formats.google_content import server_body as body
from organism.formats.google_content.fields import REFUSED
from organism.formats.media.data_urls import unpack
from organism.formats.server_format import EVENT_STREAM, JSON_ARRAY, Asked, Json, convert
from organism.llm.requests import (
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
)

THOUGHTS = "thoughts"
"""The dialect of clients that ask for thoughts, which this format leaves out by default."""

STREAM_TYPES = {"sse": EVENT_STREAM, "json": JSON_ARRAY}
"""Media types of a stream, by the ``alt`` of the path."""

_CHOICES: dict[str, ToolChoice] = {"ANY": "required", "NONE": "none"}
_SNAKE = re.compile(r"_([a-z])")
_OPAQUE = frozenset({"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"})
"""Fields whose content has names of the client's own."""


def read_request(raw: Json, default_cap: int) -> Asked:
    """Translate a request; see :class:`organism.formats.server_format.ServerFormat`.

    Raises:
        FaultError: It is wrong, or asks for what cannot be honoured.
    """
    asked = convert(camel(raw), body.GenerateBody, conversation=("contents", "systemInstruction"), refused=REFUSED)
    wanted, calling = asked.generation_config, asked.tool_config.function_calling_config
    allowed = frozenset(calling.allowed_function_names)
    instructions = "\n\n".join(part.text or "" for part in (asked.system_instruction or body.Content()).parts)
    turns = (ChatMessage("system", instructions),) if instructions else ()
    thinking = wanted.thinking_config
    request = CompletionRequest(
        model=asked.model,
        messages=(*turns, *_turns(asked.contents)),
        max_output_tokens=wanted.max_output_tokens or default_cap,
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        top_k=None if wanted.top_k is None else int(wanted.top_k),
        seed=wanted.seed,
        stop=tuple(wanted.stop_sequences),
        tools=tuple(tool for tool in _tools(asked.tools) if not allowed or tool.name in allowed),
        tool_choice=_choice(calling.mode, allowed),
        response_format=_form(wanted),
        reasoning_effort=_effort(thinking),
        reasoning_tokens=thinking.thinking_budget if (thinking.thinking_budget or 0) > 0 else None,
        presence_penalty=wanted.presence_penalty or None,
        frequency_penalty=wanted.frequency_penalty or None,
        choices=wanted.candidate_count,
    )
    dialect = frozenset({THOUGHTS} if thinking.include_thoughts else ())
    media_type = STREAM_TYPES[asked.alt]
    return Asked(request=request, stream=asked.stream, usage=True, dialect=dialect, stream_type=media_type)


def _choice(mode: str, allowed: frozenset[str]) -> ToolChoice:
    """Return the choice of tools; only ``ANY`` forces a call, so only there one allowed function must be called."""
    if mode == "ANY" and len(allowed) == 1:
        return OneTool(next(iter(allowed)))
    return _CHOICES.get(mode, "auto")


def camel(value: Any) -> Any:
    """Return a request with fields in camel case; clients may write snake case, too."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    named = ((_SNAKE.sub(lambda found: found[1].upper(), name), each) for name, each in value.items())
    found = {name: each if name in _OPAQUE else camel(each) for name, each in named}
    if isinstance(found.get("parts"), dict):  # one part without a list around it
        found["parts"] = [found["parts"]]
    return found


def _effort(thinking: body.ThinkingConfig) -> Effort | None:
    if thinking.thinking_budget == 0:
        return "none"
    return body.LEVELS.get((thinking.thinking_level or "").lower())


class _Calls:
    """Gives ids to calls without one; a result without one belongs to the first open call of its function."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._count = 0

    def begin(self, call: body.FunctionCall) -> str:
        """Open a call and return its id."""
        self._count += 1
        call_id = call.id or f"call_{self._count}"
        self._open.append((call.name, call_id))
        return call_id

    def end(self, result: body.FunctionResponse) -> str:
        """Close the call that a result belongs to and return its id."""
        found = next(
            (each for each in self._open if result.id == each[1] or (not result.id and result.name == each[0])), None
        )
        if found is not None:
            self._open.remove(found)
        return result.id or (found[1] if found is not None else f"call_of_{result.name}")


def _turns(contents: Iterable[body.Content]) -> Iterator[ChatMessage]:
    calls = _Calls()
    for place, content in enumerate(contents):
        if content.role == "system":
            yield ChatMessage("system", "".join(part.text or "" for part in content.parts))
            continue
        parts = tuple(
            each
            for at, part in enumerate(content.parts)
            for each in _parts(part, calls, f"contents[{place}].parts[{at}]")
        )
        if parts:
            yield ChatMessage("assistant" if content.role == "model" else "user", parts)


def _parts(part: body.Part, calls: _Calls, at: str) -> Iterator[Part]:
    if part.thought:
        yield Reasoning(part.text or "", part.thought_signature)
    elif part.text is not None:
        yield TextPart(part.text)
    if (call := part.function_call) is not None:
        yield ToolCall(calls.begin(call), call.name, msgspec.json.encode(call.args).decode(), _sealed(part))
    if (result := part.function_response) is not None:
        said = result.response
        yield ToolResult(calls.end(result), said if isinstance(said, str) else msgspec.json.encode(said).decode())
    if (blob := part.inline_data) is not None:
        kind, data = unpack(f"data:{blob.mime_type};base64,{blob.data}", f"{at}.inlineData.data")
        yield (
            ImagePart(kind, data)
            if kind.startswith("image/")
            else FilePart(kind, data, name=blob.display_name or "file")
        )
    if (file := part.file_data) is not None:
        if file.file_uri.startswith("https://generativelanguage.googleapis.com/"):
            raise bad_request(
                f"{at}.fileData: files kept at the vendor are not read here; send the bytes", f"{at}.fileData"
            )
        is_picture = file.mime_type.startswith("image/") or not file.mime_type
        yield ImagePart(url=file.file_uri) if is_picture else FilePart(file.mime_type, url=file.file_uri)


def _sealed(part: body.Part) -> dict[str, Any]:
    """Return the thought signature of a call in the field that Gemini's OpenAI format has for it."""
    seal = part.thought_signature
    return {"extra_content": {"google": {"thought_signature": seal}}} if seal else {}


def _tools(tools: Iterable[body.Tool]) -> Iterator[Tool]:
    for tool in tools:
        for each in tool.function_declarations:
            schema = each.parameters_json_schema or _schema(each.parameters)
            yield Tool(each.name, each.description, schema or {"type": "object", "properties": {}})


def _schema(value: Any) -> Any:
    """Return Google's form of a schema as JSON Schema: lower-case types, and null for ``nullable``."""
    if isinstance(value, list):
        return [_schema(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {
        name: _schema(each)
        for name, each in value.items()
        if name not in {"nullable", "propertyOrdering", "property_ordering"}
    }
    if isinstance(kind := value.get("type"), str):
        found["type"] = [kind.lower(), "null"] if value.get("nullable") else kind.lower()
    return found


def _form(wanted: body.GenerationConfig) -> ResponseFormat | None:
    schema = wanted.response_json_schema or _schema(wanted.response_schema)
    if isinstance(schema, dict):
        return ResponseFormat(schema)
    return ResponseFormat() if wanted.response_mime_type == "application/json" else None
