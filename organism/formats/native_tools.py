"""Tools that responses write in ways of their own, as the functions they are to every other format. Pure.

A custom tool is given free text, by a grammar if it has one: elsewhere it is a function with that text as its one
argument. Functions of a namespace are functions with the namespace's name before their own. Both ways lose nothing, so
a client of this format finds its own tools called, whichever provider serves the model.

What the vendor runs itself, or what a client runs by rules that only the vendor's models know, has no such meaning: it
goes to servers of this format as it is, and comes back so.

Source: the reference of ``POST /v1/responses``, "tools".
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from organism.formats.json_reading import loads
from organism.formats.vendor_items import native_of
from organism.llm.requests import CompletionRequest, Tool, ToolCall, VendorItem

ToolJson = dict[str, Any]

_NAME_MAX = 64
_TEXT = "input"
_TEXT_SCHEMA: ToolJson = {
    "type": "object",
    "properties": {_TEXT: {"type": "string"}},
    "required": [_TEXT],
    "additionalProperties": False,
}


def custom_tool(raw: ToolJson, namespace: ToolJson | None = None) -> Tool:
    """Return a custom tool; its grammar is in its description for those who take it as a function."""
    form = raw.get("format") if isinstance(raw.get("format"), dict) else {}
    words = str(raw.get("description") or "")
    if form and form.get("definition"):
        words += f"\n\nThe input must follow this grammar ({form.get('syntax')}):\n{form['definition']}"
    native = raw if namespace is None else {**namespace, "tools": [raw]}
    return Tool(_full_name(raw["name"], namespace), words.strip(), _TEXT_SCHEMA, native=VendorItem(native))


def function_tool(raw: ToolJson, namespace: ToolJson | None = None) -> Tool:
    """Return a function; by itself it needs no other form, unless it is only loaded when it is searched for."""
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
    """Write a request's tools as the format has them; functions of one namespace stand together again."""
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
    """Says what calls of tools are called in the format and what elsewhere.

    Args:
        tools: All that may be called.
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
        """Whether a tool is given free text."""
        return self._own(name).get("type") == "custom"

    def own_name(self, name: str) -> str:
        """Return the name that a tool has in the format."""
        return str(self._own(name).get("name") or name)

    def known(self, name: str, namespace: str) -> str:
        """Return the name that a tool has elsewhere."""
        return self._spaces.get((namespace, name)) or _full_name(name, {"name": namespace} if namespace else None)

    def write(self, call: ToolCall, call_id: str) -> ToolJson:
        """Write a call as an item that has neither an id nor a status yet."""
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
        """Return the type of an item with the result of a tool of that name."""
        return "custom_tool_call_output" if self.is_custom(name) else "function_call_output"

    def _own(self, name: str) -> ToolJson:
        native = self._native.get(name, {})
        inner: ToolJson = native["tools"][0] if native.get("type") == "namespace" else native
        return inner


def arguments_of_text(text: str) -> str:
    """Return what a custom tool is given, as arguments of a function."""
    return msgspec.json.encode({_TEXT: text}).decode()


def text_of_arguments(arguments: str) -> str:
    """Return what a custom tool is given; arguments that are none of its function's are the text themselves."""
    try:
        value = loads(arguments)
    except ValueError:
        return arguments
    text = value.get(_TEXT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def _full_name(name: str, namespace: ToolJson | None) -> str:
    return (f"{namespace['name']}__{name}" if namespace is not None else name)[:_NAME_MAX]
