"""The names that this module had until 0.1, of :mod:`organism.llm`; they work for one more release. Pure."""

import warnings

from organism.llm.answers import Completion
from organism.llm.provider import Answer, Provider, Request, TextSink
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
    Role,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

__all__ = [
    "Answer",
    "ChatMessage",
    "Completion",
    "CompletionRequest",
    "Effort",
    "FilePart",
    "ImagePart",
    "OneTool",
    "Part",
    "Provider",
    "Reasoning",
    "Request",
    "ResponseFormat",
    "Role",
    "TextPart",
    "TextSink",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "ToolResult",
]

warnings.warn("organism.router.provider is now organism.llm", DeprecationWarning, stacklevel=2)
