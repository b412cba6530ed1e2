"""What a request to the stub upstream asks, the same for chat completions, responses and messages."""

import base64
import json
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

Json = dict[str, Any]
Kind = Literal["chat", "responses", "messages"]


class Tool(msgspec.Struct, frozen=True):
    """A tool that a client offers; ``custom`` takes a text, any other a JSON object that fits the schema."""

    name: str
    schema: Json
    custom: bool = False


class Turn(msgspec.Struct):
    """One turn: what was said, the pictures in it, and how many tools a model's turn called."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    pictures: list[bytes] = msgspec.field(default_factory=list)
    calls: int = 0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request."""

    kind: Kind
    model: str
    stream: bool
    turns: list[Turn]
    tools: list[Tool]
    schema: Json | None
    thinks: bool
    says_usage: bool
    marks_cache: bool


class RefusedError(Exception):
    """A request that the vendor would refuse with 400."""


def read(kind: Kind, body: Json) -> Asked:
    """Read a request as its vendor does.

    Raises:
        RefusedError: If the vendor would answer 400.
    """
    turns = {"chat": _chat_turns, "responses": _response_turns, "messages": _message_turns}[kind](body)
    if not any(turn.role == "user" for turn in turns):
        raise RefusedError("nobody has said anything")
    return Asked(
        kind=kind,
        model=body["model"],
        stream=bool(body.get("stream")),
        turns=turns,
        tools=list(_tools(kind, body)),
        schema=_schema(kind, body),
        thinks=_thinks(kind, body),
        says_usage=kind != "chat" or bool((body.get("stream_options") or {}).get("include_usage")),
        marks_cache="cache_control" in json.dumps(body),
    )


def _parts(content: object) -> Iterator[Json]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from (part if isinstance(part, dict) else {"type": "text", "text": str(part)} for part in content)


def _fill(turn: Turn, content: object) -> Turn:
    """Add the texts and pictures of a content to a turn."""
    for part in _parts(content):
        kind = part.get("type")
        if kind in ("text", "input_text", "output_text", "refusal"):
            turn.text += part.get("text") or ""
        elif kind in ("image_url", "input_image"):
            url = part["image_url"]
            turn.pictures.append(_from_url(url["url"] if isinstance(url, dict) else url))
        elif kind == "image":
            turn.pictures.append(base64.b64decode(part["source"]["data"]))
    return turn


def _from_url(url: str) -> bytes:
    return base64.b64decode(url.partition("base64,")[2])


def _chat_turns(body: Json) -> list[Turn]:
    turns: list[Turn] = []
    open_calls: set[str] = set()
    for message in body["messages"]:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                raise RefusedError("messages with role 'tool' must follow a message with 'tool_calls'")
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            raise RefusedError(f"tool_call_ids without a response: {sorted(open_calls)}")
        calls = message.get("tool_calls") or []
        open_calls |= {call["id"] for call in calls}
        role = "system" if message["role"] == "developer" else message["role"]
        turns.append(_fill(Turn(role, calls=len(calls)), message.get("content")))
    if open_calls:
        raise RefusedError(f"tool_call_ids without a response: {sorted(open_calls)}")
    return turns


def _response_turns(body: Json) -> list[Turn]:
    turns = [Turn("system", body["instructions"])] if body.get("instructions") else []
    if isinstance(body["input"], str):
        return [*turns, Turn("user", body["input"])]
    calls: set[str] = set()
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind == "message":
            role = "system" if item["role"] == "developer" else item["role"]
            turns.append(_fill(Turn(role), item["content"]))
        elif kind in ("function_call", "custom_tool_call"):
            calls.add(item["call_id"])
            if turns[-1].role == "assistant":
                turns[-1].calls += 1
            else:
                turns.append(Turn("assistant", calls=1))
        elif kind.endswith("_output"):
            if item["call_id"] not in calls:
                raise RefusedError(f"no tool call found for call_id {item['call_id']}")
            turns.append(_fill(Turn("tool"), item["output"]))
        elif kind == "item_reference":
            raise RefusedError(f"item {item['id']} is not kept here")
    if body.get("previous_response_id"):
        raise RefusedError(f"{body['previous_response_id']} is not kept here")
    return turns


def _message_turns(body: Json) -> list[Turn]:
    if "max_tokens" not in body:
        raise RefusedError("max_tokens: field required")
    turns = [_fill(Turn("system"), body["system"])] if body.get("system") else []
    open_calls: set[str] = set()
    for message in body["messages"]:
        turn = _fill(Turn(message["role"]), message["content"])
        blocks = list(_parts(message["content"]))
        results = [block for block in blocks if block["type"] == "tool_result"]
        for block in results:
            if block["tool_use_id"] not in open_calls:
                raise RefusedError(f"unexpected tool_use_id {block['tool_use_id']}")
            open_calls.discard(block["tool_use_id"])
            turns.append(_fill(Turn("tool"), block.get("content")))
        if open_calls:
            raise RefusedError(f"tool_use ids without a tool_result: {sorted(open_calls)}")
        open_calls |= {block["id"] for block in blocks if block["type"] == "tool_use"}
        turn.calls = len(open_calls)
        if any(block["type"] == "thinking" and not block.get("signature") for block in blocks):
            raise RefusedError("thinking: signature: field required")
        if turn.text or turn.pictures or turn.calls or not results:
            turns.append(turn)
    return turns


def _tools(kind: Kind, body: Json) -> Iterator[Tool]:
    for tool in body.get("tools") or []:
        sort = tool.get("type", "custom")
        if kind == "messages" and sort == "custom":
            yield Tool(tool["name"], tool["input_schema"])
        elif kind == "responses" and sort in ("function", "custom"):
            yield Tool(tool["name"], tool.get("parameters") or {}, custom=sort == "custom")
        elif kind == "chat" and sort == "function":
            yield Tool(tool["function"]["name"], tool["function"].get("parameters") or {})


def _schema(kind: Kind, body: Json) -> Json | None:
    if kind == "chat":
        asked = (body.get("response_format") or {}).get("json_schema")
    elif kind == "responses":
        asked = (body.get("text") or {}).get("format")
    else:
        asked = (body.get("output_config") or {}).get("format") or body.get("output_format")
    return (asked or {}).get("schema")


def _thinks(kind: Kind, body: Json) -> bool:
    if kind == "messages":
        return (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    return "reasoning_effort" in body or bool(body.get("reasoning"))
