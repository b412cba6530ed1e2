"""How often OpenAI has run tools of its own for an answer. Pure.

Source: ``tool_usage`` of a response counts billable searches; other tools are counted by their items.
"""

from collections.abc import Iterable

from organism.formats.json_reading import JsonObject, part, text_of, whole_number
from organism.llm.requests import CompletionRequest
from organism.llm.server_tools import container_of

_BILLED = {
    "file_search_call": "responses:file_search",
    "image_generation_call": "responses:image_generation",
}
_CONTAINERS = {"code_interpreter_call": "code_interpreter", "shell_call": "shell"}
"""Items of tools that run in a container; a container is paid once an answer."""


def tool_uses(request: CompletionRequest, items: Iterable[JsonObject], tool_usage: object) -> dict[str, int]:
    """Return the number of uses of each tool with a fee, by the fee's name.

    Args:
        request: What was asked.
        items: The answer's items.
        tool_usage: The provider's own count.
    """
    search = "web_search"
    if any(item.kind.startswith("web_search_preview") for item in request.vendor_tools):
        search = "web_search_preview"
    uses: dict[str, int] = {}
    for item in items:
        kind = text_of(item.get("type"))
        fee = _BILLED.get(kind)
        if kind == "web_search_call" and text_of(part(item, "action", "type")) in {"", "search"}:
            fee = f"responses:{search}"
        if fee is not None:
            uses[fee] = uses.get(fee, 0) + 1
        elif (container := _container(request, _CONTAINERS.get(kind))) is not None:
            uses[container] = 1
    counted = whole_number(part(tool_usage, "web_search", "num_requests"))
    if counted is not None and counted >= 0:
        uses[f"responses:{search}"] = counted
    return {fee: count for fee, count in uses.items() if count}


def _container(request: CompletionRequest, kind: str | None) -> str | None:
    """Return the name of the fee for a tool's container, if the request has such a tool."""
    if kind is None:
        return None
    names = [container_of(item.value) for item in request.vendor_tools if item.kind == kind]
    return next((f"responses:{name}" for name in names if name), None)
