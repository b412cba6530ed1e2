"""What MCP servers write, broken and cut, and what must hold of it: each answer that says whose it is ends a call."""

import json
import random
from collections.abc import Iterator
from typing import Any

import msgspec

from organism.llm.requests import ImagePart, TextPart
from organism.tool_servers.messages import LineReader, id_of_head, is_answer, read_messages
from organism.tool_servers.results import output_schemas, plain_tools, read_result
from organism.tool_servers.stdio import session_message
from tests.fuzz.junk import Json, broken, damaged, written

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAAD"
RESULTS: tuple[Json, ...] = (
    {"content": [{"type": "text", "text": "a"}, {"type": "image", "data": PNG, "mimeType": "image/png"}]},
    {"content": [{"type": "resource", "resource": {"uri": "u", "mimeType": "text/plain", "text": "t"}}]},
    {"content": [{"type": "resource", "resource": {"uri": "u", "mimeType": "image/png", "blob": PNG}}]},
    {"content": [{"type": "resource_link", "uri": "u", "name": "n", "description": "d"}]},
    {"content": [{"type": "audio", "data": "aGk=", "mimeType": "audio/wav"}], "isError": True},
    {"content": [], "structuredContent": {"rows": [{"n": 1.5, "t": None}]}, "_meta": {"x": 1}},
    {"tools": [{"name": "f", "title": "F", "description": "d", "inputSchema": {"type": "object", "properties": {}},
        "outputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}}}], "nextCursor": "c"},
    {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "n", "version": "1"}},
)  # fmt: skip
MESSAGES: tuple[Json, ...] = (
    *({"jsonrpc": "2.0", "id": 7, "result": result} for result in RESULTS),
    {"jsonrpc": "2.0", "id": 7, "error": {"code": -32602, "message": "no", "data": {"a": 1}}},
    {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 0.5}},
    {"jsonrpc": "2.0", "id": 3, "method": "sampling/createMessage", "params": {"messages": []}},
    {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}},
)
NOISE = (b"listening on stdio", b"{'python': 'dict'}", b"{", b"", b"\xff\xfe", b"null", b"[]", b"\x1b[32minfo\x1b[0m")


def some_lines(chance: random.Random) -> bytes:
    """Return what a server writes."""
    lines: list[bytes] = []
    for _ in range(chance.randrange(1, 5)):
        if chance.randrange(6) == 0:
            lines.append(chance.choice(NOISE))
            continue
        message: Any = chance.choice(MESSAGES)
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            message = broken(message, chance)
        line = written([message] if chance.randrange(12) == 0 else message, chance).encode("utf-8", "surrogatepass")
        lines.append(damaged(line, chance) if chance.randrange(6) == 0 else line)
    return chance.choice((b"\n", b"\n", b"\r\n")).join([*lines, b""])


def faults_of(raw: bytes, chance: random.Random) -> Iterator[str]:
    """Say what is wrong with how lines are read."""
    size = chance.choice((1, 3, 50, 10**6))
    reader = LineReader(4096)
    lines = [line for at in range(0, len(raw), size) for line in reader.feed(raw[at : at + size])]
    whole = list(LineReader(4096).feed(raw))
    if [line for line, overlong in lines if not overlong] != [line for line, overlong in whole if not overlong]:
        yield f"by the split: {lines}, whole: {whole}"
    for line, overlong in lines:
        if overlong:
            id_of_head(line)
            continue
        found = list(read_messages(line))
        if not found and (number := id_of_head(line)) is not None and not _is_other(line):
            yield f"nobody is told of the answer to {number}: {line[:300]!r}"
        for message in found:
            msgspec.json.encode(message)
            yield from _message_faults(message)


def _is_other(line: bytes) -> bool:
    """Whether it can be read, and is no answer nor request."""
    try:
        value = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return not isinstance(value, dict) or isinstance(value.get("id"), bool | float | dict | list | None)


def _message_faults(message: Json) -> Iterator[str]:
    told = session_message(message)
    if told is None and is_answer(message):
        yield f"an answer that is dropped: {message}"
    result = message.get("result")
    if not isinstance(result, dict):
        return
    tools = plain_tools(result)
    json.dumps(tools).encode("utf-8")
    if not all(isinstance(tool["name"], str) and isinstance(tool["inputSchema"], dict) for tool in tools["tools"]):
        yield f"tools that are none: {tools}"
    output_schemas(result)
    read = read_result(result)
    if not read.parts or not all(isinstance(part, TextPart | ImagePart) for part in read.parts):
        yield f"a result of nothing: {read}"
    msgspec.json.encode(read)
