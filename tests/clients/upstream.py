"""A stub of a vendor: OpenAI's chat completions and responses and Anthropic's messages, streamed as the vendors stream.

``python -m tests.clients.upstream PORT FOLDER`` serves it. A stream has a status line at once, a pause before the first
piece, thoughts, tool arguments in small pieces with pauses between, and usage where the vendor has it. Each call is a
line of ``FOLDER/bill.jsonl``: what this vendor would charge, also for a stream whose client has gone away.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import msgspec
import uvicorn

from tests.clients.upstream_events import WRITERS, Event, Usage, as_text
from tests.clients.upstream_mind import Answer, answer
from tests.clients.upstream_requests import Asked, Kind, RefusedError, read

FIRST_PAUSE_S = 0.1
PAUSE_S = 0.005
SLOW_PAUSE_S = 0.05

_PATHS: dict[str, Kind] = {"/chat/completions": "chat", "/responses": "responses", "/messages": "messages"}


class Upstream:
    """The stub as an ASGI application."""

    def __init__(self, folder: Path) -> None:
        self._bill = (folder / "bill.jsonl").open("a", encoding="utf-8")
        self._begun = (folder / "begun.jsonl").open("a", encoding="utf-8")
        self._cached: set[int] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        path = scope["path"].removeprefix("/v1")
        body = await _body(receive)
        if path == "/models":
            await _whole(send, {"object": "list", "data": []})
        elif path == "/messages/count_tokens":
            await _whole(send, {"input_tokens": _tokens(json.dumps(body))})
        elif path in _PATHS:
            await self._call(_PATHS[path], body, receive, send)
        else:
            await _whole(send, {"error": {"message": f"no path {path}", "type": "not_found_error"}}, 404)

    async def _call(self, kind: Kind, body: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            asked = read(kind, body)
            said = answer(asked)
        except (RefusedError, LookupError) as error:
            reason = f"{type(error).__name__}: {error}"
            self._charge(asked=None, usage=Usage(0), how=reason)
            fault = {"message": reason, "type": "invalid_request_error", "param": None, "code": None}
            await _whole(send, {"type": "error", "error": fault}, 400)
            return
        usage = self._usage(asked, body, said)
        self._begun.write(f"{asked.model}\n")
        self._begun.flush()
        if not asked.stream:
            await anyio.sleep(FIRST_PAUSE_S)
            self._charge(asked, usage, "whole")
            await _whole(send, WRITERS[kind].whole(asked, said, usage))
            return
        await self._stream(asked, said, usage, receive, send)

    async def _stream(self, asked: Asked, said: Answer, usage: Usage, receive: Any, send: Any) -> None:
        written, how = 0, "cut"

        async def hang_up() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hang_up)
                await _begin(send, b"text/event-stream")
                for number, event in enumerate(WRITERS[asked.kind].stream(asked, said, usage)):
                    await _piece(send, event)
                    written += event.written
                    if number < 2:
                        await anyio.sleep(FIRST_PAUSE_S)
                    if event.written:
                        await anyio.sleep(SLOW_PAUSE_S if said.slow else PAUSE_S)
                how = "streamed"
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                tasks.cancel_scope.cancel()
        finally:
            if how == "cut":
                usage = msgspec.structs.replace(usage, output=_tokens(" " * written), reasoning=0)
            self._charge(asked, usage, how)

    def _usage(self, asked: Asked, body: dict[str, Any], said: Answer) -> Usage:
        """Count a token for four characters; a system prompt that was seen before is cached where that is asked for."""
        system = "".join(turn.text for turn in asked.turns if turn.role == "system")
        read_all = _tokens(
            json.dumps([body.get(field) for field in ("instructions", "tools", "system", "messages", "input")])
        )
        output = _tokens(said.text + "".join(call.name + as_text(call) for call in said.calls))
        part = min(_tokens(system), read_all) if asked.marks_cache or asked.kind != "messages" else 0
        known = hash(system) in self._cached
        self._cached.add(hash(system))
        written = part if not known and asked.kind == "messages" else 0
        kept = part if known else 0
        return Usage(read_all - written - kept, kept, written, output, _tokens(said.thoughts))

    def _charge(self, asked: Asked | None, usage: Usage, how: str) -> None:
        line = {
            "at": time.time(),
            "model": asked.model if asked is not None else None,
            "kind": asked.kind if asked is not None else None,
            "how": how,
            "usage": msgspec.structs.asdict(usage),
        }
        self._bill.write(json.dumps(line) + "\n")
        self._bill.flush()


def _tokens(text: str) -> int:
    return -(-len(text) // 4)


async def _body(receive: Any) -> dict[str, Any]:
    raw, more = b"", True
    while more:
        message = await receive()
        raw += message.get("body", b"")
        more = message.get("more_body", False)
    found: dict[str, Any] = json.loads(raw or b"{}")
    return found


async def _begin(send: Any, content_type: bytes, status: int = 200) -> None:
    headers = [(b"content-type", content_type), (b"request-id", b"req_stub"), (b"x-request-id", b"req_stub")]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _piece(send: Any, event: Event) -> None:
    await send({"type": "http.response.body", "body": event.encode(), "more_body": True})


async def _whole(send: Any, body: object, status: int = 200) -> None:
    await _begin(send, b"application/json", status)
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


if __name__ == "__main__":
    uvicorn.run(Upstream(Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
