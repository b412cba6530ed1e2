"""The request of OpenAI's responses, field by field: what is honoured, what is harmless. All else is refused.

Nothing is kept between requests: each carries its whole conversation, so what refers to an earlier answer, a stored
prompt or a file at the vendor is refused, and so are tools that only the vendor runs.

Source: the reference of ``POST /v1/responses``. Pure.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from organism.formats.openai_chat.server_body import Body, Cap
from organism.llm.requests import Effort

Status = Literal["in_progress", "completed", "incomplete"]


class InputText(Body, frozen=True, kw_only=True, tag_field="type", tag="input_text"):
    """What the model is told."""

    text: str
    prompt_cache_breakpoint: dict[str, Any] | None = None


class InputImage(Body, frozen=True, kw_only=True, tag_field="type", tag="input_image"):
    """A picture, as an address or as ``data:``."""

    image_url: str
    detail: Literal["auto", "low", "high"] = "auto"


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
    id: str | None = None
    status: Status | None = None


class FunctionCallOutput(Body, frozen=True, kw_only=True, tag_field="type", tag="function_call_output"):
    """What came of a call."""

    call_id: str
    output: str | list[InputText | InputImage]
    id: str | None = None
    status: Status | None = None


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


Item = Message | FunctionCall | FunctionCallOutput | ReasoningItem


class FunctionTool(Body, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A tool the model may ask for."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedChoice(Body, frozen=True, kw_only=True):
    """The choice of one tool."""

    type: Literal["function"]
    name: str


class PlainForm(Body, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Free text."""


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
    verbosity: Literal["medium"] = "medium"


class ReasoningOptions(Body, frozen=True, kw_only=True):
    """How much to think; whether a summary of it is given is the provider's choice."""

    effort: Effort | None = None
    summary: str | None = None
    generate_summary: str | None = None


class StreamOptions(Body, frozen=True, kw_only=True):
    """How a stream is written; padding against the guessing of lengths is not written here."""

    include_obfuscation: bool = False


class ResponsesBody(Body, frozen=True, kw_only=True):
    """The whole request; what admits one value only is accepted as long as it asks for nothing else."""

    model: str
    input: Annotated[str, Meta(min_length=1)] | Annotated[list[Item], Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Cap | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[FunctionTool] = []
    tool_choice: Literal["auto", "none", "required"] | NamedChoice = "auto"
    parallel_tool_calls: bool | None = None
    text: TextOptions = TextOptions()
    reasoning: ReasoningOptions = ReasoningOptions()
    stream: bool = False
    # Only as far as they ask for what happens anyway.
    store: bool = False
    background: bool = False
    truncation: Literal["disabled"] = "disabled"
    top_logprobs: Literal[0] = 0
    service_tier: Literal["auto", "default"] = "auto"
    include: list[Literal["reasoning.encrypted_content"]] = []
    # Names, labels, hints and bounds of what does not happen here, which change neither the answer nor its price.
    stream_options: StreamOptions = StreamOptions()
    max_tool_calls: int | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
