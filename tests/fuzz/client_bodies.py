"""Requests of clients in every format of the gateway, with one thing or several wrong, and what must hold of them."""

# ruff: noqa: E501 - a row of a table on a line

import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from organism.errors import OrganismError
from organism.formats import server_formats
from organism.formats.anthropic_messages import request as messages
from organism.formats.errors.faults import FaultError
from organism.formats.openai_chat import request as chat
from organism.formats.openai_embeddings import client as embeddings
from organism.formats.openai_responses import request as responses
from organism.formats.server_format import AskedFor, ServerFormat, with_headers
from organism.formats.vendors import COMPATIBLE, VENDORS
from organism.gateway.request_handler import parsed
from organism.gateway.routes import FORMATS, GOOGLE
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest
from organism.providers.anthropic import AnthropicProvider
from organism.providers.http import _json
from organism.providers.openai import OpenAIProvider
from organism.router.planning.request_checks import checked_request
from tests.fuzz.junk import Json, broken, damaged, written

IMAGE = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAAD", "detail": "low"},
}
FILE = {"type": "file", "file": {"filename": "n.txt", "file_data": "data:text/plain;base64,aGk="}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "enum": ["x", None]}}, "required": ["a"]}
READERS: Mapping[str, ServerFormat] = {**FORMATS, GOOGLE: server_formats.GOOGLE}
"""What reads each; that of Google's has the model, and whether to stream, in its path."""

GOOD: dict[str, Json] = {
    "/v1/chat/completions": {
        "model": "m", "max_tokens": 5, "max_completion_tokens": 6, "stop": ["END"], "stream": True, "n": 2,
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": [{"type": "text", "text": "and kind"}]},
            {"role": "user", "name": "u", "content": [
                {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}, IMAGE, FILE]},
            {"role": "assistant", "content": None, "reasoning_content": "hm", "refusal": None,
                "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s", "id": "r", "index": 0}],
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "s"}}},
                    {"id": "d", "type": "custom", "custom": {"name": "free", "input": "text"}}]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "done"}]},
            {"role": "assistant", "content": "said", "function_call": None, "audio": None},
        ],
        "stream_options": {"include_usage": True}, "temperature": 0.5, "top_p": 1, "top_k": 3, "seed": 7,
        "presence_penalty": 0.1, "frequency_penalty": -0.1, "logit_bias": {"50256": -100}, "logprobs": True,
        "top_logprobs": 2, "reasoning_effort": "low", "verbosity": "low", "parallel_tool_calls": False,
        "metadata": {"a": "b"}, "service_tier": "default", "prompt_cache_key": "k", "store": False, "user": "u",
        "web_search_options": {"search_context_size": "low"},
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}},
            {"type": "custom", "custom": {"name": "free", "format": {"type": "text"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    },
    "/v1/completions": {
        "model": "m", "prompt": ["once"], "max_tokens": 5, "stop": "END", "n": 1, "stream": True, "logit_bias": {"1": 1},
        "stream_options": {"include_usage": True}, "temperature": 1, "echo": False, "suffix": "", "best_of": 1,
    },
    "/v1/responses": {
        "model": "m", "instructions": "be brief", "max_output_tokens": 5, "stream": True, "store": False,
        "input": [
            {"role": "user", "content": "hi"},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "hi"},
                {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
                {"type": "input_file", "filename": "n.txt", "file_data": "data:text/plain;base64,aGk="}]},
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
            {"type": "message", "role": "assistant", "id": "msg", "status": "completed", "content": [
                {"type": "output_text", "text": "hi", "annotations": [{"type": "url_citation", "url": "u",
                    "start_index": 0, "end_index": 2, "title": "t"}]}]},
            {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "done"}]},
            {"type": "custom_tool_call", "call_id": "d", "name": "free", "input": "text"},
            {"type": "custom_tool_call_output", "call_id": "d", "output": "done"},
            {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "q"}},
        ],
        "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"],
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False},
            {"type": "custom", "name": "free"}, {"type": "web_search", "search_context_size": "low"}],
        "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": True, "truncation": "disabled",
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}, "verbosity": "low"},
        "metadata": {"a": "b"}, "prompt_cache_key": "k", "client_metadata": {"x": "y"},
    },
    "/v1/messages": {
        "model": "m", "max_tokens": 5, "stream": True,
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                {"type": "document", "title": "t", "citations": {"enabled": True},
                    "source": {"type": "text", "data": "a", "media_type": "text/plain"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "see", "citations": [{"type": "char_location", "cited_text": "a",
                    "document_index": 0, "document_title": "t", "start_char_index": 0, "end_char_index": 1}]},
                {"type": "server_tool_use", "id": "st", "name": "web_search", "input": {"query": "q"}},
                {"type": "web_search_tool_result", "tool_use_id": "st", "content": []},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": None}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "is_error": True,
                "content": [{"type": "text", "text": "done"}]}]},
        ],
        "stop_sequences": ["END"], "temperature": 0.5, "top_k": 3, "top_p": 0.9, "metadata": {"user_id": "u"},
        "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "betas": ["b"],
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]}, "service_tier": "auto",
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
    },
    "/v1/embeddings": {"model": "m", "input": ["a b", [1, 2, 3]], "dimensions": 4, "encoding_format": "base64"},
    GOOGLE: {
        "model": "m", "stream": True, "systemInstruction": {"role": "system", "parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]},
            {"role": "model", "parts": [
                {"text": "hm", "thought": True, "thoughtSignature": "s"}, {"text": "see"},
                {"functionCall": {"id": "c", "name": "f", "args": {"a": None}}, "thoughtSignature": "s"}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "c", "name": "f", "response": {"output": "done"}}}]},
            {"parts": [{"text": "go on"}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT",
            "properties": {"a": {"type": "STRING", "enum": ["x"], "nullable": True}}, "required": ["a"]}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {"maxOutputTokens": 5, "temperature": 0.5, "topP": 0.9, "topK": 3, "seed": 7, "candidateCount": 1,
            "stopSequences": ["END"], "responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"},
            "presencePenalty": 0.1, "frequencyPenalty": -0.1, "thinkingConfig": {"thinkingBudget": 1024,
            "includeThoughts": True}},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}], "labels": {"a": "b"},
    },
}  # fmt: skip
"""Each field that a format knows, in requests that nobody makes but that are right in each of their parts."""


class Wrong(msgspec.Struct):
    """A request that something may be wrong with.

    Attributes:
        path: Where it goes.
        raw: Its body.
        headers: Its headers.
    """

    path: str
    raw: bytes
    headers: dict[str, str]


def some_body(path: str, chance: random.Random) -> Wrong:
    """Return a body with something wrong, and sometimes fewer fields, so that what is left is looked at."""
    body: Any = dict(GOOD[path])
    if chance.randrange(3):
        kept = {"model", "messages", "input", "prompt", "contents", "max_tokens"}
        body = {name: value for name, value in body.items() if name in kept or chance.randrange(3) == 0}
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        body = broken(body, chance)
        if not isinstance(body, dict):
            break
    raw = written(body, chance).encode("utf-8", "surrogatepass")
    if chance.randrange(10) == 0:
        raw = damaged(raw, chance)
    betas = {"anthropic-beta": chance.choice(("a,b", ",", "\xe9", "x" * 300))} if chance.randrange(10) == 0 else {}
    return Wrong(path, raw, betas)


def faults_of(wrong: Wrong) -> Iterator[str]:
    """Say what is wrong with how a request is understood: refused by name, or sent on as JSON in every format."""
    format_ = READERS[wrong.path]
    try:
        asked: AskedFor[Any] = format_.read(with_headers(format_, parsed(wrong.raw), wrong.headers), 100)
    except FaultError as error:
        if not 400 <= error.fault.status < 500:
            yield f"refused as {error.fault}"
        if len(error.fault.message) > 5000:
            yield f"a refusal of {len(error.fault.message)} characters"
        json.dumps(format_.error(error.fault)).encode()
        return
    try:
        request = checked_request(asked.request, type(asked.request)).request
    except OrganismError:
        return
    if request.max_output_tokens < 0:
        yield f"asks for {request.max_output_tokens} tokens"
    for name, encode in ENCODERS.items():
        yield from _sent_faults(name, encode, request)
    msgspec.json.encode(asked.echo)


def _sent_faults(name: str, encode: Callable[[Request], Any], request: Request) -> Iterator[str]:
    try:
        sent = encode(request)
    except OrganismError:
        return  # it cannot be asked in this format, which is said before anything is held
    text = _json(sent).decode()
    again = json.loads(text, parse_constant=_no_number)
    if not isinstance(again, dict):
        yield f"{name}: sends {text[:200]}"


def _no_number(said: str) -> None:
    raise ValueError(f"{said} is no JSON")


OPENAI, OTHER = OpenAIProvider("p", "k"), OpenAIProvider("p", "k", "http://localhost:1/v1")
NEW, ANTHROPIC = OpenAIProvider("p", "k", api="responses"), AnthropicProvider("p", "k")


def _chat(request: Request) -> Any:
    (OPENAI if isinstance(request, EmbeddingRequest) else OTHER).extra_tokens(request)
    if isinstance(request, EmbeddingRequest):
        return embeddings.encode(request, VENDORS["openai"])
    return chat.encode(request, COMPATIBLE, stream=True)


def _vendors_chat(request: Request) -> Any:
    OPENAI.extra_tokens(request)
    if isinstance(request, EmbeddingRequest):
        return embeddings.encode(request, COMPATIBLE)
    return chat.encode(request, VENDORS["openai"], stream=False)


def _responses(request: Request) -> Any:
    NEW.extra_tokens(request)
    return responses.encode(_completion(request), stream=True)


def _messages(request: Request) -> Any:
    ANTHROPIC.extra_tokens(request)
    return messages.encode(_completion(request), stream=True)


def _completion(request: Request) -> CompletionRequest:
    if isinstance(request, EmbeddingRequest):
        raise OrganismError("no format for embeddings")
    return request


ENCODERS: dict[str, Callable[[Request], Any]] = {
    "chat": _chat,
    "OpenAI's chat": _vendors_chat,
    "responses": _responses,
    "messages": _messages,
}
"""How a request is sent on, with what its adapter checks before."""
