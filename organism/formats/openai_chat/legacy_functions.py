"""Translates chat completions' functions, the predecessor of tools, to tools and back. Pure.

Source: the reference of ``POST /v1/chat/completions``, ``functions`` and ``function_call``, which are deprecated there.
"""

from typing import Any

from organism.formats.server_format import Json
from organism.llm.requests import ToolCall

LEGACY = "function_call"
"""The field of the one call that there could be before tools; also the name of this dialect."""


def with_tools(raw: Json) -> tuple[Json, bool]:
    """Return a request with tools in place of functions, and whether its answer needs the old form.

    The old form has one call a turn and no ids; ids are made up so that results find their calls.
    """
    messages = raw.get("messages")
    has_turns = isinstance(messages, list) and any(map(_is_legacy, messages))
    functions, choice = raw.get("functions"), raw.get("function_call")
    if functions is None and choice is None and not has_turns:
        return raw, False
    found = {name: value for name, value in raw.items() if name not in {"functions", "function_call"}}
    if has_turns:
        found["messages"] = _turns(messages)  # type: ignore[arg-type]
    if isinstance(functions, list) and functions:
        found["tools"] = [*(raw.get("tools") or ()), *({"type": "function", "function": each} for each in functions)]
        found["parallel_tool_calls"] = False
    if choice is not None and found.get("tools"):
        found["tool_choice"] = {"type": "function", "function": choice} if isinstance(choice, dict) else choice
    return found, not raw.get("tools")


def _is_legacy(turn: object) -> bool:
    return isinstance(turn, dict) and (turn.get("role") == "function" or isinstance(turn.get("function_call"), dict))


def _turns(messages: list[Any]) -> list[Any]:
    turns: list[Any] = []
    call_id = "call_0"
    for place, turn in enumerate(messages):
        if not _is_legacy(turn):
            turns.append(turn)
        elif turn.get("role") == "function":
            turns.append({**turn, "role": "tool", "tool_call_id": call_id, "content": turn.get("content") or ""})
        else:
            call_id = f"call_{place}"
            rest = {name: value for name, value in turn.items() if name != "function_call"}
            call = {"id": call_id, "type": "function", "function": turn["function_call"]}
            turns.append({**rest, "tool_calls": [call]})
    return turns


def function_call(call: ToolCall) -> Json:
    """Write a call in the old form."""
    return {LEGACY: {"name": call.name, "arguments": call.arguments}}
