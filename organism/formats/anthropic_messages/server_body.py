"""The request of Anthropic's messages, field by field: what is honoured, and what is refused by its name.

Fields that are named nowhere here are passed over: clients of this format send what their newest version knows, and
nothing of it is sent on, so it can cost nothing. Kinds of content and of tools that are not known are refused.

Source: the reference of ``POST /v1/messages``. Pure.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from organism.formats.server_format import NATIVE, OutputCap


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """What all parts of the request have in common."""


class CacheControl(Body, frozen=True, kw_only=True):
    """A wish to keep the conversation up to here."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Citations(Body, frozen=True, kw_only=True):
    """Whether the answer is to cite a document."""

    enabled: bool = False


class Base64Source(Body, frozen=True, kw_only=True, tag_field="type", tag="base64"):
    """The bytes themselves."""

    media_type: str
    data: bytes


class URLSource(Body, frozen=True, kw_only=True, tag_field="type", tag="url"):
    """Where the vendor finds them."""

    url: str


class TextSource(Body, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """A document that is plain text."""

    data: str
    media_type: Literal["text/plain"] = "text/plain"


class Text(Body, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Words, and what words of an earlier answer rest on."""

    text: str
    citations: Annotated[list[dict[str, Any]], Meta(max_length=10_000)] | None = None
    cache_control: CacheControl | None = None


class Image(Body, frozen=True, kw_only=True, tag_field="type", tag="image"):
    """A picture."""

    source: Base64Source | URLSource
    cache_control: CacheControl | None = None


class Document(Body, frozen=True, kw_only=True, tag_field="type", tag="document"):
    """A document."""

    source: Base64Source | URLSource | TextSource
    title: str | None = None
    context: str | None = None
    citations: Citations | None = None
    cache_control: CacheControl | None = None


class Native(Body, frozen=True, kw_only=True, tag_field="type", tag=NATIVE):
    """A block that only servers of this format understand."""

    value: dict[str, Any]


class ToolResult(Body, frozen=True, kw_only=True, tag_field="type", tag="tool_result"):
    """What came of a call."""

    tool_use_id: str
    content: str | list[Text | Image | Document | Native] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None


class ToolUse(Body, frozen=True, kw_only=True, tag_field="type", tag="tool_use"):
    """A call as the model asked for it."""

    id: str
    name: str
    input: dict[str, Any]
    cache_control: CacheControl | None = None


class Thinking(Body, frozen=True, kw_only=True, tag_field="type", tag="thinking"):
    """What the model thought, with the vendor's seal on it."""

    thinking: str
    signature: str = ""


class RedactedThinking(Body, frozen=True, kw_only=True, tag_field="type", tag="redacted_thinking"):
    """What it thought, unreadable."""

    data: str


Block = Text | Image | Document | ToolResult | ToolUse | Thinking | RedactedThinking | Native


class Turn(Body, frozen=True, kw_only=True):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Tool(Body, frozen=True, kw_only=True):
    """A tool the model may ask for; what is said of how it is found and called is for servers of this format."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
    input_schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    input_examples: list[dict[str, Any]] | None = None
    eager_input_streaming: bool | None = None


class AutoChoice(Body, frozen=True, kw_only=True, tag_field="type", tag="auto"):
    """The model decides."""

    disable_parallel_tool_use: bool | None = None


class AnyChoice(Body, frozen=True, kw_only=True, tag_field="type", tag="any"):
    """It must call one."""

    disable_parallel_tool_use: bool | None = None


class ToolChoice(Body, frozen=True, kw_only=True, tag_field="type", tag="tool"):
    """It must call this one."""

    name: str
    disable_parallel_tool_use: bool | None = None


class NoChoice(Body, frozen=True, kw_only=True, tag_field="type", tag="none"):
    """It must call none."""

    disable_parallel_tool_use: bool | None = None


class ThinkingOn(Body, frozen=True, kw_only=True, tag_field="type", tag="enabled"):
    """It is to think, with at most so many tokens."""

    budget_tokens: Annotated[int, Meta(ge=1)]
    display: str | None = None
    block_binding: str | None = None


class ThinkingAdaptive(Body, frozen=True, kw_only=True, tag_field="type", tag="adaptive"):
    """It is to think as much as it finds right."""

    display: str | None = None
    block_binding: str | None = None


class ThinkingBetweenTools(Body, frozen=True, kw_only=True, tag_field="type", tag="between_tools"):
    """It is to think when it has results of tools to think about."""


class ThinkingOff(Body, frozen=True, kw_only=True, tag_field="type", tag="disabled"):
    """It is not to think."""


class SchemaForm(Body, frozen=True, kw_only=True):
    """The form of an answer."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Body, frozen=True, kw_only=True):
    """How the answer is to be."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: SchemaForm | None = None
    task_budget: dict[str, Any] | None = None


class ContextManagement(Body, frozen=True, kw_only=True):
    """How the conversation is to be shortened at the vendor."""

    edits: list[dict[str, Any]] = []


class BillingPolicy(Body, frozen=True, kw_only=True):
    """Who is to pay the vendor."""

    type: str = ""
    bill_to: Literal["self"] = "self"


class MessagesBody(Body, frozen=True, kw_only=True):
    """The whole request."""

    model: str
    messages: Annotated[list[Turn], Meta(min_length=1)]
    max_tokens: OutputCap | None = None
    system: str | list[Text] = ""
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] = []
    tools: list[Tool] = []
    tool_choice: AutoChoice | AnyChoice | ToolChoice | NoChoice = AutoChoice()
    thinking: ThinkingOn | ThinkingAdaptive | ThinkingBetweenTools | ThinkingOff | None = None
    output_config: OutputConfig = OutputConfig()
    output_format: SchemaForm | None = None
    cache_control: CacheControl | None = None
    context_management: ContextManagement = ContextManagement()
    speed: Literal["standard"] = "standard"
    top_k: int | None = None
    # For servers of this format alone; others need none of it.
    container: str | dict[str, Any] | None = None
    mcp_servers: list[dict[str, Any]] = []
    service_tier: Literal["auto", "standard_only"] = "auto"
    betas: list[str] = []
    # Only as far as they ask for what happens anyway.
    inference_geo: Literal["global"] | None = None
    billing_policy: BillingPolicy | None = None
    # What would change what the answer is or costs, and cannot be honoured.
    compaction: Any = None
    fallbacks: Any = None
    fallback_credit_token: Any = None
    # A conversation that the vendor would keep between requests.
    thread: Any = None
