"""An MCP server written by hand that does one thing as servers should not; the standard library alone, to start fast.

``odd_server.py MODE [LOG]``: what it is told is written to the log, a line each.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

MODE = sys.argv[1]
LOG = sys.argv[2] if len(sys.argv) > 2 else os.devnull
CALLS: list[str] = []


def put(raw: bytes) -> None:
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


def say(message: dict[str, Any]) -> None:
    put(json.dumps(message).encode() + b"\n")


def note(text: str) -> None:
    with Path(LOG).open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def notify(method: str, **params: object) -> None:
    say({"jsonrpc": "2.0", "method": method, "params": params})


def fail(number: int) -> bool:
    """Do what costs a call its answer; whether anything was done."""
    match MODE:
        case "dies in a call":
            sys.stderr.write("out of memory\n")
            sys.stderr.flush()
            os._exit(7)
        case "endless line":
            try:
                while True:
                    put(b"x" * 65_536)
            except OSError:
                os._exit(0)
        case "huge answer":
            put(b'{"jsonrpc": "2.0", "id": %d, "result": {"content": [{"type": "text", "text": "' % number)
            for _ in range(20):
                put(b"y" * 1_048_576)
            put(b'"}]}}\n')
    if MODE == "hangs":
        while True:
            time.sleep(60)
    return MODE in ("huge answer", "never answers")


def tell_first(params: dict[str, Any]) -> None:
    """Say what is no answer."""
    if MODE == "banner":
        put(b"[info] it goes well\n{not json}\n[]\n42\n\n")
    if MODE == "stderr flood":
        sys.stderr.write("x" * 3_000_000 + "\n")
        sys.stderr.flush()
    for step in range(11 if MODE == "progress" else 0):
        time.sleep(0.2)  # the whole takes longer than the tool's timeout, and a busy machine may be late with each
        notify("notifications/progress", progressToken=params["_meta"]["progressToken"], progress=step)


def on_call(number: int, params: dict[str, Any]) -> None:
    CALLS.append(params["name"])
    if params["name"] == "die" and fail(number):
        return
    tell_first(params)
    text = f"call {len(CALLS)}"
    sound = {"jsonrpc": "2.0", "id": number, "result": {"content": [{"type": "text", "text": text}]}}
    plain = json.dumps(sound).encode()
    oddly = {
        "bad bytes": plain.replace(text.encode(), b"call \xff\xfe"),
        "in a list": b"[" + plain + b"]",
        "carriage returns": plain + b"\r",
        "no version": plain.replace(b'"jsonrpc": "2.0", ', b""),
        "number as text": json.dumps({**sound, "id": str(number)}).encode(),
        "null result": json.dumps({**sound, "result": None}).encode(),
        "text as result": json.dumps({**sound, "result": text}).encode(),
        "text as error": json.dumps({"jsonrpc": "2.0", "id": number, "error": f"no luck in {text}"}).encode(),
        "neither": json.dumps({"jsonrpc": "2.0", "id": number}).encode(),
        "indented": json.dumps(sound, indent=2).encode(),
        "indented, begun on its first line": json.dumps(sound, indent=1).replace("{\n ", "{", 1).encode(),
        "indented after a bracket": b"{\nstarting:\n" + json.dumps(sound).encode(),
        "refuses": json.dumps(
            {"jsonrpc": "2.0", "id": number, "error": {"code": -32000, "message": "Connection closed"}}
        ).encode(),
    }
    put(oddly.get(MODE, plain) + b"\n")
    if MODE == "changes":
        notify("notifications/tools/list_changed")


def tools(params: dict[str, Any]) -> dict[str, Any]:
    names = ["count", "die"] + [f"new{n}" for n in range(len(CALLS))]
    if MODE == "pages":
        at = int(params.get("cursor") or 0)
        return {"tools": [{"name": f"tool{at}"}], "nextCursor": "" if at == 3 else str(at + 1)}
    if MODE == "same page":
        return {"tools": [{"name": "count", "inputSchema": {}}], "nextCursor": "again"}
    if MODE == "odd tools":
        return {
            "tools": [
                {"name": "bare"},
                {"name": "null", "description": None, "inputSchema": None},
                {"name": "typeless", "inputSchema": {"properties": {"a": {"type": "string"}}}},
                {"description": "it has no name"},
                "text",
                {"name": "bare", "description": "again"},
            ]
        }
    return {"tools": [{"name": name, "inputSchema": {"type": "object", "properties": {}}} for name in names]}


note(f"start {os.getpid()}")
if MODE == "slow start":
    time.sleep(1)
if MODE == "banner":
    put("Server v1.2 läuft ...\n".encode("latin-1"))
if MODE == "ends at once":
    sys.exit("there is no database")
if MODE == "only noise":
    while True:
        put(b"tick\n" * 10_000)
for line in sys.stdin:
    message = json.loads(line)
    note(message.get("method", "answer"))
    number = message.get("id")
    match message.get("method"):
        case "initialize" if MODE == "never ready":
            continue
        case "initialize":
            version = {"unknown version": "2031-01-01", "old version": "2024-10-07"}.get(MODE, "2025-06-18")
            result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "odd"}}
            say({"jsonrpc": "2.0", "id": number, "result": result})
        case "tools/list" if MODE == "hangs on its list" and Path(LOG).read_text().count("tools/list") == 1:
            while True:
                time.sleep(60)
        case "tools/list":
            say({"jsonrpc": "2.0", "id": number, "result": tools(message.get("params", {}))})
        case "tools/call":
            on_call(number, message["params"])
        case _ if number is not None:
            say({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "Method not found"}})
