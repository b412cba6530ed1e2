"""Translates a request of OpenAI's responses into a call: items, tools, response format. Pure."""

from collections.abc import Iterator

import msgspec

from organism.formats.call_ids import split_id
from organism.formats.errors.faults import bad_request
from organism.formats.media.data_urls import unpack
from organism.formats.native_tools import (
    CallNames,
    arguments_of_text,
    custom_tool,
    function_tool,
)
from organism.formats.openai_chat.server_body import PlainForm
from organism.formats.openai_chat.server_request import tier_of
from organism.formats.openai_responses import server_body as body
from organism.formats.openai_responses.annotations import annotation_read
from organism.formats.openai_responses.fields import REFUSED
from organism.formats.openai_responses.server_answer import REDACTED
from organism.formats.openai_responses.server_items import typed
from organism.formats.server_format import Asked, Json, convert
from organism.llm.citations import Citation
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
    ToolChoice,
    ToolResult,
    VendorItem,
)

_LOGPROBS = "message.output_text.logprobs"
_ASKED_OTHERWISE = frozenset({"reasoning.encrypted_content", _LOGPROBS})
"""Values of ``include`` that are not passed on: every format has them, or the answer always has them."""

_REPEATED = (
    "conversation",
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
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
    """Translate a request; see :class:`organism.formats.server_format.ServerFormat`.

    Raises:
        FaultError: It is wrong, or asks for what cannot be honoured.
    """
    asked = convert(typed(raw), body.ResponsesBody, refused=REFUSED)
    if asked.background:
        raise bad_request(
            "background: an answer is given while its client waits; leave it out", "background", "unsupported_parameter"
        )
    said = [] if asked.instructions is None else [ChatMessage("system", asked.instructions)]
    tools = [each for tool in asked.tools for each in _tools(tool)]
    names = CallNames(each for each in tools if isinstance(each, Tool))
    choice = _choice(asked.tool_choice, names)
    tools = [each for each in tools if _is_allowed(each, asked.tool_choice, names)]
    request = CompletionRequest(
        model=asked.model,
        messages=(*said, *_turns(asked.input, names)),
        max_output_tokens=default_cap if asked.max_output_tokens is None else asked.max_output_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        tools=tuple(each for each in tools if isinstance(each, Tool)),
        tool_choice=choice,
        parallel_tool_calls=asked.parallel_tool_calls,
        response_format=_form(asked.text.format),
        reasoning_effort=asked.reasoning.effort,
        verbosity=asked.text.verbosity,
        logprobs=asked.top_logprobs if asked.top_logprobs or _LOGPROBS in asked.include else None,
        service_tier=tier_of(asked.service_tier),
        vendor_tools=tuple(each for each in tools if isinstance(each, VendorItem)),
        vendor_fields=_fields(asked),
    )
    echo = {name: raw[name] for name in _REPEATED if raw.get(name) is not None}
    return Asked(request=request, stream=asked.stream, echo=echo, keeps=asked.store)


def _choice(choice: object, names: CallNames) -> ToolChoice:
    match choice:
        case "auto" | "none" | "required":
            return choice
        case body.NamedChoice(name=name, namespace=namespace):
            return OneTool(names.known(name, namespace))
        case body.AllowedChoice(mode=mode):
            return mode
        case _:
            return "auto"


def _is_allowed(tool: Tool | VendorItem, choice: object, names: CallNames) -> bool:
    """Whether a tool choice allows a tool; tools that it does not allow are left out of the call."""
    if not isinstance(choice, body.AllowedChoice):
        return True
    for each in choice.tools:
        name = each.get("name") or each.get("server_label")
        if isinstance(tool, Tool) and isinstance(name, str):
            if tool.name == names.known(name, str(each.get("namespace") or "")):
                return True
        elif isinstance(tool, VendorItem) and each.get("type") == tool.kind:
            return True
    return False


def _fields(asked: body.ResponsesBody) -> VendorItem | None:
    """Return the fields that only this format has; to others they are hints and left out."""
    summary = asked.reasoning.summary or asked.reasoning.generate_summary
    tool_calls = asked.max_tool_calls if any(isinstance(tool, body.Native) for tool in asked.tools) else None
    fields: Json = {
        "include": [each for each in asked.include if each not in _ASKED_OTHERWISE] or None,
        "max_tool_calls": tool_calls,
        "prompt_cache_key": asked.prompt_cache_key,
        "reasoning": None if summary is None else {"summary": summary},
        "tool_choice": asked.tool_choice.value if isinstance(asked.tool_choice, body.Native) else None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return VendorItem(given) if given else None


def _turns(said: str | list[body.Item], names: CallNames) -> Iterator[ChatMessage]:
    """Translate items into turns; adjacent items of one role are one turn."""
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
        turn += _parts(item, f"input[{place}]", names)
        if _cached(item):
            yield ChatMessage(whose, tuple(turn), cache=True)
            turn = []
    if turn:
        yield _turn(whose, turn)


def _turn(role: Role, parts: list[Part]) -> ChatMessage:
    match parts:
        case [TextPart(text=text, citations=())]:
            return ChatMessage(role, text)
        case _:
            return ChatMessage(role, tuple(parts))


def _role(item: body.Item) -> Role:
    match item:
        case body.Message(role="developer" | "system"):
            return "system"
        case body.Message(role="user") | body.FunctionCallOutput():
            return "user"
        case body.Native(value=value) if str(value.get("type")).endswith(("_output", "_response")):
            return "user"
        case _:
            return "assistant"


def _cached(item: body.Item) -> bool:
    content = item.content if isinstance(item, body.Message) else ()
    return any(isinstance(part, body.InputText) and part.prompt_cache_breakpoint is not None for part in content)


def _parts(item: body.Item, at: str, names: CallNames) -> Iterator[Part]:
    match item:
        case body.Message(content=str(text)):
            yield TextPart(text)
        case body.Message(content=list(content)):
            yield from (_part(part, f"{at}.content[{place}]") for place, part in enumerate(content))
        case body.FunctionCall() | body.CustomCall():
            call_id, extra = split_id(item.call_id)
            given = item.arguments if isinstance(item, body.FunctionCall) else arguments_of_text(item.input)
            yield ToolCall(call_id, names.known(item.name, item.namespace), given, extra)
        case body.FunctionCallOutput(output=str(text)):
            yield ToolResult(split_id(item.call_id)[0], text)
        case body.FunctionCallOutput(output=list(output)):
            inner = [_part(part, f"{at}.output[{place}]") for place, part in enumerate(output)]
            parts = tuple(part for part in inner if isinstance(part, TextPart | ImagePart))
            yield ToolResult(split_id(item.call_id)[0], parts)
        case body.ReasoningItem():
            words = "".join(piece.text for piece in (*item.summary, *item.content))
            yield Reasoning(words, item.encrypted_content, item.id, item.id.startswith(REDACTED))
        case body.Native(value=value):
            yield VendorItem(value)
        case _:
            raise TypeError(item)


def _part(part: body.Content, at: str) -> Part:
    match part:
        case body.InputText(text=text) | body.OutputText(text=text) | body.OutputRefusal(refusal=text):
            return TextPart(text, _citations(part))
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


def _citations(part: body.Content) -> tuple[Citation, ...]:
    """Return the citations of a text that the model wrote in an earlier turn."""
    listed = part.annotations if isinstance(part, body.OutputText) else ()
    return tuple(annotation_read(each) for each in listed if isinstance(each, dict))


def _tools(tool: body.FunctionTool | body.CustomTool | body.Namespace | body.Native) -> Iterator[Tool | VendorItem]:
    match tool:
        case body.FunctionTool():
            yield function_tool(_raw(tool))
        case body.CustomTool():
            yield custom_tool(_raw(tool))
        case body.Namespace():
            space = {"type": "namespace", "name": tool.name, "description": tool.description or ""}
            for each in tool.tools:
                make = function_tool if isinstance(each, body.FunctionTool) else custom_tool
                yield make(_raw(each), space)
        case body.Native(value=value):
            yield VendorItem(value)


def _raw(tool: body.FunctionTool | body.CustomTool) -> Json:
    return {name: value for name, value in msgspec.to_builtins(tool).items() if value is not None}


def _form(form: PlainForm | body.ObjectForm | body.SchemaForm) -> ResponseFormat | None:
    match form:
        case PlainForm():
            return None
        case body.ObjectForm():
            return ResponseFormat()
        case body.SchemaForm():
            return ResponseFormat(form.schema or {"type": "object"}, form.name, strict=bool(form.strict))
