"""The request of Google's ``generateContent``, field by field: what is honoured, what is harmless. Pure.

Source: the reference of ``POST /v1beta/models/{model}:generateContent``.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from organism.formats.server_format import OutputCap
from organism.llm.requests import Effort


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What all parts of the request have in common: a field that is not named here is refused."""


class Blob(Body, frozen=True, kw_only=True):
    """Bytes in base 64."""

    mime_type: str
    data: str
    display_name: str | None = None


class FileData(Body, frozen=True, kw_only=True):
    """Where a picture or a document is."""

    file_uri: str
    mime_type: str = ""
    display_name: str | None = None


class FunctionCall(Body, frozen=True, kw_only=True):
    """A call as the model asked for it."""

    name: str
    args: dict[str, Any] = {}
    id: str = ""


class FunctionResponse(Body, frozen=True, kw_only=True):
    """What came of it."""

    name: str
    response: Any = None
    id: str = ""
    will_continue: Literal[False] = False
    scheduling: str | None = None


class Part(Body, frozen=True, kw_only=True):
    """One of several things that a turn is made of."""

    text: str | None = None
    thought: bool = False
    thought_signature: str = ""
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None


class Content(Body, frozen=True, kw_only=True):
    """A turn."""

    parts: list[Part] = []
    role: Literal["user", "model", "function", "system"] = "user"


class Declaration(Body, frozen=True, kw_only=True):
    """A function the model may ask for; its answer is whatever it is."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    parameters_json_schema: Any = None
    response: Any = None
    response_json_schema: Any = None
    behavior: str | None = None


class Tool(Body, frozen=True, kw_only=True):
    """Functions."""

    function_declarations: list[Declaration] = []


class CallingConfig(Body, frozen=True, kw_only=True):
    """Whether functions may, must or must not be called, and which."""

    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] = "AUTO"
    allowed_function_names: list[str] = []


class ToolConfig(Body, frozen=True, kw_only=True):
    """How tools are to be used."""

    function_calling_config: CallingConfig = CallingConfig()


class ThinkingConfig(Body, frozen=True, kw_only=True):
    """Whether and how much to think; a budget of -1 leaves it to the model."""

    include_thoughts: bool = False
    thinking_budget: Annotated[int, Meta(ge=-1, le=10_000_000)] | None = None
    thinking_level: str | None = None


class GenerationConfig(Body, frozen=True, kw_only=True):
    """How to answer."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    seed: int | None = None
    candidate_count: Annotated[int, Meta(ge=1, le=128)] = 1
    max_output_tokens: OutputCap | None = None
    stop_sequences: list[str] = []
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_mime_type: Literal["text/plain", "application/json"] = "text/plain"
    response_schema: dict[str, Any] | None = None
    response_json_schema: Any = None
    thinking_config: ThinkingConfig = ThinkingConfig()
    # Only as far as they ask for what happens anyway.
    response_modalities: list[Literal["TEXT"]] = []
    response_logprobs: Literal[False] = False
    media_resolution: str | None = None


class GenerateBody(Body, frozen=True, kw_only=True):
    """The whole request; the model, whether to stream and in what form stand in its path."""

    model: str
    stream: bool = False
    alt: Literal["json", "sse"] = "json"
    contents: Annotated[list[Content], Meta(min_length=1)]
    system_instruction: Content | None = None
    tools: list[Tool] = []
    tool_config: ToolConfig = ToolConfig()
    generation_config: GenerationConfig = GenerationConfig()
    # What changes neither the answer nor its price.
    safety_settings: list[Any] = []
    labels: dict[str, str] = {}
    store: bool | None = None


LEVELS: dict[str, Effort] = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high"}
"""How much to think, by the vendor's words."""
