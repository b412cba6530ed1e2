"""What a model is asked: a conversation and all that may stand in it, in one vocabulary for every provider. Pure.

A turn of plain text is plain text. Everything else a turn may hold is a *part*: there is one vocabulary for it here,
and each format translates it into its vendor's. All of it survives JSON and back, unchanged.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import msgspec

from organism.llm.citations import Citation
from organism.usage.attempts import Operation

Role = Literal["system", "user", "assistant"]
"""Results of tools are parts of a ``user`` turn: they too are input of the model."""

CacheTTL = Literal["5m", "1h"]
"""For how long a provider is asked to keep what it has read."""

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model is to think before it answers; an adapter takes the nearest its provider knows."""

Verbosity = Literal["low", "medium", "high"]
"""How much a model is to say."""


class TextPart(msgspec.Struct, frozen=True, tag="text", omit_defaults=True):
    """Words among other parts.

    Attributes:
        text: The words.
        citations: What they rest on, where their provider says so.
    """

    text: str
    citations: tuple[Citation, ...] = ()


class ImagePart(msgspec.Struct, frozen=True, tag="image", omit_defaults=True):
    """A picture, as bytes with their media type or as an address that the provider fetches.

    Attributes:
        media_type: Such as ``image/png``; empty with an address.
        data: The bytes; empty with an address.
        url: Where the provider finds it; empty with bytes.
        detail: How closely to look, where the provider lets one choose.
    """

    media_type: str = ""
    data: bytes = b""
    url: str = ""
    detail: Literal["auto", "low", "high", "original"] = "auto"


class FilePart(msgspec.Struct, frozen=True, tag="file", omit_defaults=True):
    """A document such as a PDF.

    Attributes:
        media_type: Such as ``application/pdf``.
        data: The bytes; empty with an address.
        name: What it is called.
        url: Where the provider finds it; empty with bytes.
        cited: Whether the answer is to say where in it its words come from.
    """

    media_type: str
    data: bytes = b""
    name: str = "file"
    url: str = ""
    cited: bool = False


VendorFormat = Literal["responses", "messages", "chat"]
"""The formats that have words of their own."""


class VendorItem(msgspec.Struct, frozen=True, tag="vendor_item"):
    """What only servers of one format understand: a tool that the vendor runs, or an item of the conversation.

    Attributes:
        value: Just as it stands in that format.
        format: Which it is; providers that speak another refuse it by the type that it names.
    """

    value: dict[str, Any]
    format: VendorFormat = "responses"

    @property
    def kind(self) -> str:
        """Its type, as its format names it."""
        return str(self.value.get("type"))


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call", omit_defaults=True):
    """A model's wish to have a tool run.

    Attributes:
        id: The provider's name for it, unique in its conversation; the result repeats it.
        name: The tool.
        arguments: A JSON object as text, just as the model wrote it: it may not be valid.
        extra: Fields of the provider's own, by the names they have in its format, which it wants back unchanged.
    """

    id: str
    name: str
    arguments: str
    extra: dict[str, Any] = {}


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result", omit_defaults=True):
    """What came of a tool call.

    Attributes:
        call_id: The call's id.
        content: The result as text, or parts of it.
        is_error: Whether the tool failed; the text then says how.
    """

    call_id: str
    content: str | tuple[TextPart | ImagePart | VendorItem, ...]
    is_error: bool = False


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning", omit_defaults=True):
    """What a model thought before it answered; some providers want it back unchanged with the results of tools.

    Attributes:
        text: As far as the provider shows it.
        signature: The provider's seal on it, or its unreadable content.
        id: The provider's name for it.
        redacted: Whether there is nothing but the unreadable content.
        extra: Fields of the provider's own, by the names they have in its format, which it wants back unchanged.
    """

    text: str
    signature: str = ""
    id: str = ""
    redacted: bool = False
    extra: dict[str, Any] = {}


Part = TextPart | ImagePart | FilePart | ToolCall | ToolResult | Reasoning | VendorItem

DEFAULT_OUTPUT_TOKENS = 512
"""The cap of an answer when the caller names none."""


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of the conversation sent to a model.

    Attributes:
        role: Whose turn it is.
        content: Plain text, or parts in their order.
        cache: Whether the provider is asked to keep the conversation up to here, for a cheaper next call. Providers
            that do so by themselves are asked nothing.
        cache_ttl: For how long, where the provider lets one choose.
    """

    role: Role
    content: str | tuple[Part, ...]
    cache: bool = False
    cache_ttl: CacheTTL = "5m"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts, whatever its form."""
        return (TextPart(self.content),) if isinstance(self.content, str) else self.content

    @property
    def text(self) -> str:
        """The words of the turn, without results, calls and thoughts."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool the model may ask for.

    Attributes:
        name: Letters, digits, ``-`` and ``_``, at most 64.
        description: What it does and when to use it.
        parameters: A JSON Schema of type ``object``.
        strict: Whether the provider is to enforce the schema to the letter, where it can.
        cache: Whether the provider is asked to keep the tools up to here; see :class:`ChatMessage`.
        cache_ttl: For how long, where the provider lets one choose.
        native: How the tool is written where its format has more for it than a function, such as a grammar for what is
            written in place of an object, or the family it is of; elsewhere it is a function all the same.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool = False
    cache: bool = False
    cache_ttl: CacheTTL = "5m"
    native: VendorItem | None = None


class OneTool(msgspec.Struct, frozen=True):
    """The choice of one tool: the model must call it."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | OneTool


class ResponseFormat(msgspec.Struct, frozen=True, omit_defaults=True):
    """The form an answer must have.

    Attributes:
        schema: A JSON Schema of type ``object``; ``None`` for any JSON object.
        name: What the form is called.
        strict: Whether the provider is to enforce the schema to the letter, where it can.
    """

    schema: dict[str, Any] | None = None
    name: str = "answer"
    strict: bool = False


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one attempt sends.

    Attributes:
        model: The model's name at the provider.
        messages: The conversation, oldest first, never empty.
        max_output_tokens: The cap on everything generated, reasoning included. Always sent: the hold relies on it.
        temperature: Sampling temperature; ``None`` leaves the provider's default.
        top_p: Share of the likeliest tokens to choose from.
        stop: Texts that end the answer.
        seed: Makes sampling repeatable where the provider supports it.
        tools: What the model may ask for.
        tool_choice: Whether it may, must or must not.
        parallel_tool_calls: Whether one answer may ask for several; ``None`` leaves the provider's default.
        response_format: The form of the answer; ``None`` for free text.
        reasoning_effort: How much to think; ``None`` leaves the provider's default.
        reasoning_tokens: The most tokens to think with, within the output cap, where a provider lets one set it.
        verbosity: How much to say; ``None`` leaves the provider's default.
        top_k: From how many tokens each is chosen; ``None`` for any.
        presence_penalty: How much a token that was written is to be avoided.
        frequency_penalty: The same, for each time that it was.
        logit_bias: How much more or less likely tokens are to be, by their numbers.
        logprobs: How many alternatives to return beside each token, with how likely they were; ``None`` for nothing.
        choices: How many answers are wanted; each may have as many tokens as the cap says.
        service_tier: How fast it is to be served, in the provider's words; ``None`` leaves it to the account.
        vendor_tools: Tools that no other format has a word for.
        vendor_fields: Fields of the request that no other format has a word for; as hints, left out elsewhere.
    """

    operation: ClassVar[Operation] = "chat"

    model: str
    messages: tuple[ChatMessage, ...]
    max_output_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Effort | None = None
    reasoning_tokens: int | None = None
    verbosity: Verbosity | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] = {}
    logprobs: int | None = None
    choices: int = 1
    service_tier: str | None = None
    vendor_tools: tuple[VendorItem, ...] = ()
    vendor_fields: VendorItem | None = None

    def granted(self, model: str, output_cap: int) -> "CompletionRequest":
        """Return the request as it is sent to a model, with the output cap that the budget leaves for all answers."""
        return msgspec.structs.replace(self, model=model, max_output_tokens=max(1, output_cap // self.choices))

    @property
    def output_at_most(self) -> int:
        """The most tokens that may be generated, all answers together."""
        return self.max_output_tokens * self.choices

    @property
    def keeps_for_an_hour(self) -> bool:
        """Whether the provider is asked to keep any of it for longer than usual, which costs more."""
        marked: tuple[ChatMessage | Tool, ...] = (*self.messages, *self.tools)
        return any(each.cache and each.cache_ttl == "1h" for each in marked) or any(map(_hour, self.vendor_tools))

    @property
    def asks_to_think(self) -> bool:
        """Whether the model is to think, so that more may be generated than shows."""
        return self.reasoning_tokens is not None or self.reasoning_effort not in {None, "none"}

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """The conversation as turns of role and text, for observers of content."""
        return tuple((turn.role, turn.text) for turn in self.messages)

    def texts(self) -> Iterator[str]:
        """Yield every text that becomes input: turns, calls and results, descriptions of tools, the answer's form.

        One text a turn, a tool and a form, so that what a provider adds around each can be counted too.
        """
        for message in self.messages:
            content = message.content
            yield content if isinstance(content, str) else "\n".join(texts_of(content))
        for tool in self.tools:
            native = "" if tool.native is None else _json(tool.native.value)
            yield max(f"{tool.name}\n{tool.description}\n{_json(tool.parameters)}", native, key=len)
        yield from (_json(item.value) for item in self.vendor_tools)
        if self.vendor_fields is not None and "chat_template_kwargs" in self.vendor_fields.value:
            yield _json(self.vendor_fields.value["chat_template_kwargs"])
        if self.response_format is not None:
            yield f"{self.response_format.name}\n{_json(self.response_format.schema)}"

    def attachments(self) -> Iterator[ImagePart | FilePart]:
        """Yield what becomes input without being text."""
        for message in self.messages:
            for part in () if isinstance(message.content, str) else message.content:
                inner = part.content if isinstance(part, ToolResult) and not isinstance(part.content, str) else (part,)
                yield from (piece for piece in inner if isinstance(piece, ImagePart | FilePart))


def _hour(tool: VendorItem) -> bool:
    mark = tool.value.get("cache_control")
    return isinstance(mark, dict) and mark.get("ttl") == "1h"


def texts_of(parts: tuple[Part, ...]) -> Iterator[str]:
    """Yield the text that each part becomes for a model, images and files left out."""
    for part in parts:
        match part:
            case TextPart(text=text, citations=cited):
                yield text + "".join(_json(each.native) for each in cited if each.native)
            case Reasoning(text=text, signature=signature, extra=extra):
                yield text + signature + (_json(extra) if extra else "")
            case ToolCall(id=call_id, name=name, arguments=arguments, extra=extra):
                yield f"{call_id} {name} {arguments}" + (_json(extra) if extra else "")
            case ToolResult(call_id=call_id, content=str(text)):
                yield f"{call_id} {text}"
            case ToolResult(call_id=call_id, content=tuple(content)):
                yield " ".join((call_id, *texts_of(content)))
            case VendorItem(value=value):
                yield _json(value)
            case _:
                pass  # images and files: see CompletionRequest.attachments


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
