"""From a request of OpenAI's responses to a call: items, tools and the form of the answer. Pure."""

from collections.abc import Iterable, Iterator

from organism.formats.call_ids import split_id
from organism.formats.data_urls import unpack
from organism.formats.faults import bad_request
from organism.formats.openai_responses import server_body as body
from organism.formats.openai_responses.server_answer import REDACTED
from organism.formats.server_format import Asked, Json, convert
from organism.llm.requests import (
    ChatMessage,
    CompletionRequest,
    FilePart,
    ImagePart,
    OneTool,
    Part,
    Reasoning,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolCall,
    ToolResult,
)

_REPEATED = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "reasoning",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "user",
)
"""Fields of the request that stand in the answer too."""


def read_request(raw: Json, default_cap: int) -> Asked:
    """Return what a request asks for; see :meth:`organism.formats.server_format.Format.read`.

    Raises:
        FaultError: It is wrong, or asks for what cannot be honoured.
    """
    asked = convert({**raw, "input": _typed(raw.get("input"))}, body.ResponsesBody)
    for name in ("store", "background"):
        if getattr(asked, name):
            raise bad_request(f"{name}: nothing is kept here between requests", name, "unsupported_parameter")
    said = [] if asked.instructions is None else [ChatMessage("system", asked.instructions)]
    choice = asked.tool_choice
    request = CompletionRequest(
        model=asked.model,
        messages=(*said, *_turns(asked.input)),
        max_output_tokens=default_cap if asked.max_output_tokens is None else asked.max_output_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        tools=tuple(_tool(tool) for tool in asked.tools),
        tool_choice=choice if isinstance(choice, str) else OneTool(choice.name),
        parallel_tool_calls=asked.parallel_tool_calls,
        response_format=_form(asked.text.format),
        reasoning_effort=asked.reasoning.effort,
    )
    echo = {name: raw[name] for name in _REPEATED if raw.get(name) is not None}
    return Asked(request=request, stream=asked.stream, echo=echo)


def _typed(items: object) -> object:
    """Name the type of turns that leave it out, as the short form of a turn does."""
    if not isinstance(items, list):
        return items
    return [
        {"type": "message", **item} if isinstance(item, dict) and "role" in item and "type" not in item else item
        for item in items
    ]


def _turns(said: str | list[body.Item]) -> Iterator[ChatMessage]:
    """Translate items; those of one role that follow each other are one turn."""
    if isinstance(said, str):
        yield ChatMessage("user", said)
        return
    turn: list[Part] = []
    whose: Role = "user"
    for place, item in enumerate(said):
        role = _role(item)
        if turn and (role != whose or role == "system"):
            yield _turn(whose, turn)
            turn = []
        whose = role
        turn += _parts(item, f"input[{place}]")
        if _cached(item):
            yield ChatMessage(whose, tuple(turn), cache=True)
            turn = []
    if turn:
        yield _turn(whose, turn)


def _turn(role: Role, parts: list[Part]) -> ChatMessage:
    match parts:
        case [TextPart(text=text)]:
            return ChatMessage(role, text)
        case _:
            return ChatMessage(role, tuple(parts))


def _role(item: body.Item) -> Role:
    match item:
        case body.Message(role="developer" | "system"):
            return "system"
        case body.Message(role="user") | body.FunctionCallOutput():
            return "user"
        case _:
            return "assistant"


def _cached(item: body.Item) -> bool:
    content = item.content if isinstance(item, body.Message) else ()
    return any(isinstance(part, body.InputText) and part.prompt_cache_breakpoint is not None for part in content)


def _parts(item: body.Item, at: str) -> Iterable[Part]:
    match item:
        case body.Message(content=str(text)):
            return (TextPart(text),)
        case body.Message(content=list(content)):
            return [_part(part, f"{at}.content[{place}]") for place, part in enumerate(content)]
        case body.FunctionCall():
            call_id, extra = split_id(item.call_id)
            return (ToolCall(call_id, item.name, item.arguments, extra),)
        case body.FunctionCallOutput(output=str(text)):
            return (ToolResult(split_id(item.call_id)[0], text),)
        case body.FunctionCallOutput(output=list(output)):
            inner = [_part(part, f"{at}.output[{place}]") for place, part in enumerate(output)]
            return (
                ToolResult(split_id(item.call_id)[0], tuple(p for p in inner if isinstance(p, TextPart | ImagePart))),
            )
        case body.ReasoningItem():
            words = "".join(piece.text for piece in (*item.summary, *item.content))
            return (Reasoning(words, item.encrypted_content, item.id, item.id.startswith(REDACTED)),)
        case _:
            raise TypeError(item)


def _part(part: body.Content, at: str) -> Part:
    match part:
        case body.InputText(text=text) | body.OutputText(text=text) | body.OutputRefusal(refusal=text):
            return TextPart(text)
        case body.InputImage(image_url=url) if url.startswith("data:"):
            kind, data = unpack(url, f"{at}.image_url")
            return ImagePart(kind, data, detail=part.detail)
        case body.InputImage(image_url=url):
            return ImagePart(url=url, detail=part.detail)
        case body.InputFile(file_data=str(url)):
            kind, data = unpack(url, f"{at}.file_data")
            return FilePart(kind, data, name=part.filename)
        case body.InputFile(file_url=str(url)):
            return FilePart("application/octet-stream", name=part.filename, url=url)
        case body.InputFile():
            raise bad_request(f"{at}: give the file as file_data or file_url", at)


def _tool(tool: body.FunctionTool) -> Tool:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return Tool(tool.name, tool.description or "", parameters, strict=bool(tool.strict))


def _form(form: body.PlainForm | body.ObjectForm | body.SchemaForm) -> ResponseFormat | None:
    match form:
        case body.PlainForm():
            return None
        case body.ObjectForm():
            return ResponseFormat()
        case body.SchemaForm():
            return ResponseFormat(form.schema or {"type": "object"}, form.name, strict=bool(form.strict))
