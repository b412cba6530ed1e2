"""The port to a model provider under the name it had first; it has a room of its own now: :mod:`organism.llm`. Pure."""

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
