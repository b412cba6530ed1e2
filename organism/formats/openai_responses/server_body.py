"""The request of OpenAI's responses, field by field: what is honoured, what is harmless. All else is refused.

A request carries its whole conversation, put together by the gateway where it refers to earlier answers. What refers
to a stored prompt, a conversation or a file at the vendor is refused. Tools and items that only servers of this format
understand are passed on to those as they are.

Source: the reference of ``POST /v1/responses``. Pure.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from organism.formats.openai_chat.server_body import Body, PlainForm, ServiceTier
from organism.formats.server_format import NATIVE, OutputCap, ToolName
from organism.llm.requests import Effort, Verbosity

Status = Literal["in_progress", "completed", "incomplete"]


class InputText(Body, frozen=True, kw_only=True, tag_field="type", tag="input_text"):
    """A turn of the conversation."""

    text: str
    prompt_cache_breakpoint: dict[str, Any] | None = None


class InputImage(Body, frozen=True, kw_only=True, tag_field="type", tag="input_image"):
    """A picture, as an address or as ``data:``."""

    image_url: str
    detail: Literal["auto", "low", "high", "original"] = "auto"


class InputFile(Body, frozen=True, kw_only=True, tag_field="type", tag="input_file"):
    """A document, as an address or as ``data:``."""

    file_data: str | None = None
    file_url: str | None = None
    filename: str = "file"


class OutputText(Body, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """What the model has said."""

    text: str
    annotations: list[Any] = []
    logprobs: list[Any] = []
    parsed: Any = None


class OutputRefusal(Body, frozen=True, kw_only=True, tag_field="type", tag="refusal"):
    """What it said instead of an answer."""

    refusal: str


Content = InputText | InputImage | InputFile | OutputText | OutputRefusal


class Message(Body, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A turn."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Content]
    id: str | None = None
    status: Status | None = None
    phase: str | None = None


class FunctionCall(Body, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """The call of a tool, as the model asked for it."""

    call_id: str
    name: str
    arguments: str
    namespace: str = ""
    parsed_arguments: Any = None
    id: str | None = None
    status: Status | None = None


class CustomCall(Body, frozen=True, kw_only=True, tag_field="type", tag="custom_tool_call"):
    """The call of a tool that is given free text."""

    call_id: str
    name: str
    input: str
    namespace: str = ""
    id: str | None = None
    status: Status | None = None


class FunctionCallOutput(Body, frozen=True, kw_only=True, tag_field="type", tag="function_call_output"):
    """What came of a call."""

    call_id: str
    output: str | list[InputText | InputImage]
    id: str | None = None
    status: Status | None = None


class CustomCallOutput(FunctionCallOutput, frozen=True, kw_only=True, tag="custom_tool_call_output"):
    """What came of a call with free text."""

    name: str | None = None


class Native(Body, frozen=True, kw_only=True, tag_field="type", tag=NATIVE):
    """An item, a tool or a choice that only servers of this format understand; no client writes this type."""

    value: dict[str, Any]


class Summary(Body, frozen=True, kw_only=True):
    """A piece of reasoning."""

    text: str
    type: Literal["summary_text", "reasoning_text"]


class ReasoningItem(Body, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model thought, sent back to it."""

    id: str = ""
    summary: list[Summary] = []
    content: list[Summary] = []
    encrypted_content: str = ""
    status: Status | None = None


Item = Message | FunctionCall | CustomCall | FunctionCallOutput | CustomCallOutput | ReasoningItem | Native

NATIVE_ITEMS = frozenset(
    {
        "apply_patch_call", "apply_patch_call_output", "code_interpreter_call", "compaction", "computer_call",
        "computer_call_output", "file_search_call", "image_generation_call", "local_shell_call",
        "local_shell_call_output", "mcp_approval_request", "mcp_approval_response", "mcp_call", "mcp_list_tools",
        "shell_call", "shell_call_output", "tool_search_call", "tool_search_output", "web_search_call",
    }
)  # fmt: skip
"""Items that come with tools of the vendor's."""

NATIVE_TOOLS = frozenset(
    {
        "apply_patch", "code_interpreter", "computer", "computer_use", "computer_use_preview", "file_search",
        "image_generation", "local_shell", "mcp", "shell", "tool_search", "web_search", "web_search_2025_08_26",
        "web_search_preview", "web_search_preview_2025_03_11",
    }
)  # fmt: skip
"""Tools of the vendor's, run by it or, by rules that its models have learnt, by the client."""


class FunctionTool(Body, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A tool the model may ask for."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    output_schema: dict[str, Any] | None = None
    allowed_callers: list[str] | None = None


class CustomTool(Body, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A tool that is given free text, by a grammar if it has one."""

    name: ToolName
    description: str | None = None
    format: dict[str, Any] | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None


class Namespace(Body, frozen=True, kw_only=True, tag_field="type", tag="namespace"):
    """Tools of one family."""

    name: ToolName
    tools: list[FunctionTool | CustomTool]
    description: str | None = None


class NamedChoice(Body, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """The choice of one function."""

    name: str
    namespace: str = ""


class CustomChoice(NamedChoice, frozen=True, kw_only=True, tag="custom"):
    """The choice of one tool that is given free text."""


class AllowedChoice(Body, frozen=True, kw_only=True, tag_field="type", tag="allowed_tools"):
    """The choice among some of the tools."""

    tools: list[dict[str, Any]]
    mode: Literal["auto", "required"] = "auto"


class ObjectForm(Body, frozen=True, kw_only=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class SchemaForm(Body, frozen=True, kw_only=True, tag_field="type", tag="json_schema"):
    """A JSON object that fits a schema."""

    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class TextOptions(Body, frozen=True, kw_only=True):
    """The form of the answer."""

    format: PlainForm | ObjectForm | SchemaForm = PlainForm()
    verbosity: Verbosity | None = None


class ReasoningOptions(Body, frozen=True, kw_only=True):
    """How much to think, and whether a summary of it is wanted; which of it is read again is the provider's choice."""

    effort: Effort | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class StreamOptions(Body, frozen=True, kw_only=True):
    """How a stream is written; padding against the guessing of lengths is not written here."""

    include_obfuscation: bool = False


class ResponsesBody(Body, frozen=True, kw_only=True):
    """The whole request; what admits one value only is accepted as long as it asks for nothing else."""

    model: str
    input: Annotated[str, Meta(min_length=1)] | Annotated[list[Item], Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: OutputCap | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[FunctionTool | CustomTool | Namespace | Native] = []
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | CustomChoice | AllowedChoice | Native = "auto"
    parallel_tool_calls: bool | None = None
    text: TextOptions = TextOptions()
    reasoning: ReasoningOptions = ReasoningOptions()
    stream: bool = False
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] = 0
    service_tier: ServiceTier = "auto"
    # Only as far as they ask for what happens anyway.
    background: bool = False
    # Read by the gateway before the rest, which then finds the whole conversation in its input.
    store: bool = True
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    # Names, labels, hints and bounds of what does not happen here, which change neither the answer nor its price.
    stream_options: StreamOptions = StreamOptions()
    include: list[str] = []
    max_tool_calls: int | None = None
    truncation: Literal["auto", "disabled"] = "disabled"
    context_management: list[dict[str, Any]] = []
    client_metadata: dict[str, Any] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    image: dict[str, Any] | None = None
