"""The request of OpenAI's chat completions, field by field: what is honoured, what is harmless. All else is refused.

Source: the reference of ``POST /v1/chat/completions``. Pure.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from organism.formats.server_format import OutputCap, ToolName
from organism.llm.requests import Effort, Verbosity

ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast"]
"""How fast to serve; for any other the price is not known."""


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all parts of the request have in common: a field that is not named here is refused."""


class CacheControl(Body, frozen=True, kw_only=True):
    """A wish to keep the conversation up to here, as some clients write it for models with an explicit cache."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Marked(Body, frozen=True, kw_only=True):
    """Whatever such a wish may stand on: the AI SDK writes it on turns, calls and tools, others on their parts."""

    cache_control: CacheControl | None = None


class TextPart(Marked, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Words."""

    text: str


class RefusalPart(Body, frozen=True, kw_only=True, tag_field="type", tag="refusal"):
    """What a model said instead of an answer."""

    refusal: str


class ImageURL(Body, frozen=True, kw_only=True):
    """Where a picture is, or the picture itself as a ``data:`` address."""

    url: str
    detail: Literal["auto", "low", "high", "original"] = "auto"
    format: str | None = None


class ImagePart(Marked, frozen=True, kw_only=True, tag_field="type", tag="image_url"):
    """A picture; the address alone is Mistral's way to write it."""

    image_url: ImageURL | str


class FileData(Body, frozen=True, kw_only=True):
    """A document as a ``data:`` address; files kept at the vendor cannot be referred to."""

    file_data: str
    filename: str = "file"
    format: str | None = None


class FilePart(Marked, frozen=True, kw_only=True, tag_field="type", tag="file"):
    """A document."""

    file: FileData


class System(Marked, frozen=True, kw_only=True, tag_field="role", tag="system"):
    """Instructions."""

    content: str | list[TextPart]
    name: str | None = None


class Developer(Marked, frozen=True, kw_only=True, tag_field="role", tag="developer"):
    """Instructions, under the newer name."""

    content: str | list[TextPart]
    name: str | None = None


class User(Marked, frozen=True, kw_only=True, tag_field="role", tag="user"):
    """A turn of the conversation."""

    content: str | list[TextPart | ImagePart | FilePart]
    name: str | None = None


class Function(Body, frozen=True, kw_only=True):
    """The call of a tool."""

    name: str
    arguments: str
    parsed_arguments: Any = None


class Custom(Body, frozen=True, kw_only=True):
    """The call of a tool that is given free text."""

    name: str
    input: str


class Call(Marked, frozen=True, kw_only=True):
    """A call as the model asked for it: of a function, or of a tool that is given free text."""

    id: str
    function: Function | None = None
    custom: Custom | None = None
    type: Literal["function", "custom"] = "function"
    index: int | None = None
    extra_content: dict[str, Any] | None = None


class Assistant(Marked, frozen=True, kw_only=True, tag_field="role", tag="assistant"):
    """What the model has said before; clients send its whole message back, with all that stood in it."""

    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    extra_content: dict[str, Any] | None = None
    name: str | None = None
    annotations: list[Any] | None = None
    parsed: Any = None
    audio: None = None
    function_call: None = None
    # What LiteLLM's messages have beside: the same thoughts in Anthropic's words, what it has read, and pictures.
    thinking_blocks: list[dict[str, Any]] | None = None
    provider_specific_fields: dict[str, Any] | None = None
    images: Annotated[list[Any], Meta(max_length=0)] | None = None


class ToolResult(Marked, frozen=True, kw_only=True, tag_field="role", tag="tool"):
    """What came of a call; pictures in it are no word of OpenAI's, but of many clients."""

    content: str | list[TextPart | ImagePart]
    tool_call_id: str
    name: str | None = None


Turn = System | Developer | User | Assistant | ToolResult


class FunctionTool(Body, frozen=True, kw_only=True):
    """What a tool is."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Marked, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A tool the model may ask for."""

    function: FunctionTool


class Grammar(Body, frozen=True, kw_only=True):
    """What a text must follow."""

    definition: str
    syntax: Literal["lark", "regex"]


class GrammarForm(Body, frozen=True, kw_only=True, tag_field="type", tag="grammar"):
    """Text that follows a grammar."""

    grammar: Grammar


class FreeForm(Body, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Any text."""


class FreeTool(Body, frozen=True, kw_only=True):
    """What a tool is that is given text."""

    name: ToolName
    description: str | None = None
    format: FreeForm | GrammarForm | None = None


class CustomTool(Marked, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A tool that is given free text, by a grammar if it has one."""

    custom: FreeTool


class Named(Body, frozen=True, kw_only=True):
    """A tool by its name."""

    name: str


class NamedChoice(Body, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """The choice of one function."""

    function: Named


class CustomChoice(Body, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """The choice of one tool that is given free text."""

    custom: Named


class Allowed(Body, frozen=True, kw_only=True):
    """Some of the tools, and whether one must be called."""

    tools: list[NamedChoice | CustomChoice]
    mode: Literal["auto", "required"] = "auto"


class AllowedChoice(Body, frozen=True, kw_only=True, tag_field="type", tag="allowed_tools"):
    """The choice among some of the tools."""

    allowed_tools: Allowed


class JsonSchema(Body, frozen=True, kw_only=True):
    """The form of an answer."""

    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class PlainForm(Body, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Free text."""


class ObjectForm(Body, frozen=True, kw_only=True, tag_field="type", tag="json_object"):
    """Any JSON object; one of a schema, as Together and llama.cpp write it."""

    schema: dict[str, Any] | None = None


class SchemaForm(Body, frozen=True, kw_only=True, tag_field="type", tag="json_schema"):
    """A JSON object that fits a schema."""

    json_schema: JsonSchema


Form = PlainForm | ObjectForm | SchemaForm


class StreamOptions(Body, frozen=True, kw_only=True):
    """How a stream is written; padding against the guessing of lengths is not written here."""

    include_usage: bool = False
    include_obfuscation: bool = False
    continuous_usage_stats: bool = False


class ChatBody(Body, frozen=True, kw_only=True):
    """The whole request; what admits one value only is accepted as long as it asks for nothing else."""

    model: str
    messages: Annotated[list[Turn], Meta(min_length=1)]
    max_completion_tokens: OutputCap | None = None
    max_tokens: OutputCap | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    tools: list[Tool | CustomTool] = []
    tool_choice: Literal["auto", "none", "required", "any"] | NamedChoice | CustomChoice | AllowedChoice = "auto"
    parallel_tool_calls: bool | None = None
    response_format: Form = PlainForm()
    reasoning_effort: Effort | None = None
    verbosity: Verbosity | None = None
    top_k: int | None = None
    cache_control: CacheControl | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] = {}
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    n: Annotated[int, Meta(ge=1, le=128)] = 1
    logprobs: bool = False
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] = 0
    service_tier: ServiceTier = "auto"
    web_search_options: dict[str, Any] | None = None
    # Only as far as they ask for what happens anyway.
    modalities: list[Literal["text"]] = []
    # Names, labels and hints, which change neither the answer nor its price.
    store: bool = False
    client_metadata: dict[str, Any] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prediction: Any = None
    usage: dict[str, Any] | None = None
    keep_alive: str | int | None = None
    session_id: str | None = None
    trace: Any = None
