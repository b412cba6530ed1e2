"""Custom tools and namespaces of responses, as functions for all other formats. Pure.

The input of a custom tool is free text, by a grammar if it has one: elsewhere it is a function with that text as its
one argument. Functions of a namespace get its name as a prefix. Both translations can be undone, so a client of this
format gets calls of its own tools, whichever provider serves the model.

Tools that the vendor runs itself, or that a client runs by rules which only the vendor's models know, cannot be
translated: they go to servers of this format unchanged, and come back unchanged.

Source: the reference of ``POST /v1/responses``, "tools".
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from organism.formats.json_reading import loads
from organism.formats.vendor_items import native_of
from organism.llm.requests import CompletionRequest, Tool, ToolCall, VendorItem

ToolJson = dict[str, Any]

_NAME_MAX = 64
_DIGEST = 8
_TEXT = "input"
_TEXT_SCHEMA: ToolJson = {
    "type": "object",
    "properties": {_TEXT: {"type": "string"}},
    "required": [_TEXT],
    "additionalProperties": False,
}


def custom_tool(raw: ToolJson, namespace: ToolJson | None = None) -> Tool:
    """Return a custom tool as a function; its description has the grammar, for providers that see the function."""
    form = raw.get("format") if isinstance(raw.get("format"), dict) else {}
    words = str(raw.get("description") or "")
    if form and form.get("definition"):
        words += f"\n\nThe input must follow this grammar ({form.get('syntax')}):\n{form['definition']}"
    native = raw if namespace is None else {**namespace, "tools": [raw]}
    return Tool(_full_name(raw["name"], namespace), words.strip(), _TEXT_SCHEMA, native=VendorItem(native))


def function_tool(raw: ToolJson, namespace: ToolJson | None = None) -> Tool:
    """Return a function; the native form is kept for one of a namespace, or one that is loaded on demand."""
    parameters = raw.get("parameters") or {"type": "object", "properties": {}}
    native: ToolJson | None = raw if raw.get("defer_loading") else None
    if namespace is not None:
        native = {**namespace, "tools": [raw]}
    return Tool(
        _full_name(raw["name"], namespace),
        raw.get("description") or "",
        parameters,
        strict=bool(raw.get("strict")),
        native=None if native is None else VendorItem(native),
    )


def write_tools(request: CompletionRequest) -> list[ToolJson]:
    """Write a request's tools in the format; functions of one namespace are grouped again."""
    written: list[ToolJson] = []
    spaces: dict[str, ToolJson] = {}
    for tool in request.tools:
        native = native_of(tool, "responses")
        if not native:
            written.append({
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": tool.strict,
            })  # fmt: skip
        elif native.get("type") != "namespace":
            written.append(native)
        elif (space := spaces.get(native["name"])) is not None:
            space["tools"] = [*space["tools"], *native["tools"]]
        else:
            space = spaces[native["name"]] = dict(native)
            written.append(space)
    return [*written, *(item.value for item in request.vendor_tools)]


class CallNames:
    """Translates names of tools between this format and the others.

    Args:
        tools: The tools of the request.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._native: Mapping[str, ToolJson] = {
            tool.name: native for tool in tools if (native := native_of(tool, "responses"))
        }
        self._spaces: dict[tuple[str, str], str] = {}
        for name, native in self._native.items():
            if native.get("type") == "namespace":
                self._spaces[native["name"], native["tools"][0]["name"]] = name

    def is_custom(self, name: str) -> bool:
        """Whether a tool is a custom tool, whose input is free text."""
        return self._own(name).get("type") == "custom"

    def own_name(self, name: str) -> str:
        """Return the name that a tool has in this format."""
        return str(self._own(name).get("name") or name)

    def known(self, name: str, namespace: str) -> str:
        """Return the name that a tool has in other formats."""
        return self._spaces.get((namespace, name)) or _full_name(name, {"name": namespace} if namespace else None)

    def write(self, call: ToolCall, call_id: str) -> ToolJson:
        """Write a call as an item without id and status."""
        native, own = self._native.get(call.name, {}), self._own(call.name)
        space = {"namespace": native["name"]} if native.get("type") == "namespace" else {}
        name = own.get("name") or call.name
        if own.get("type") == "custom":
            text = text_of_arguments(call.arguments)
            return {"type": "custom_tool_call", "call_id": call_id, "name": name, _TEXT: text, **space}
        return {
            "type": "function_call",
            "call_id": call_id,
            "name": name,
            "arguments": call.arguments,
            **space,
        }

    def write_result(self, name: str) -> str:
        """Return the type of an item with a result of the tool."""
        return "custom_tool_call_output" if self.is_custom(name) else "function_call_output"

    def _own(self, name: str) -> ToolJson:
        native = self._native.get(name, {})
        inner: ToolJson = native["tools"][0] if native.get("type") == "namespace" else native
        return inner


def arguments_of_text(text: str) -> str:
    """Return the input of a custom tool as arguments of a function."""
    return msgspec.json.encode({_TEXT: text}).decode()


def text_of_arguments(arguments: str) -> str:
    """Return the input of a custom tool; arguments that do not fit its function are the input themselves."""
    try:
        value = loads(arguments)
    except ValueError:
        return arguments
    text = value.get(_TEXT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def _full_name(name: str, namespace: ToolJson | None) -> str:
    """Return the name of a namespace's function elsewhere: no longer than any server takes, and no other's."""
    if namespace is None:
        return name
    full = f"{namespace['name']}__{name}"
    if len(full) <= _NAME_MAX:
        return full
    digest = sha256(full.encode("utf-8", "replace")).hexdigest()[:_DIGEST]
    return f"{full[: _NAME_MAX - _DIGEST - 1]}_{digest}"
