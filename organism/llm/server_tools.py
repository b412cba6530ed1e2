"""Tools that a model's vendor runs itself: bounds on their uses and on the input they add. Pure.

The uses of a tool are bounded by the request, or by :data:`USES_MAX` where the client gives no number; the bound is
sent to the vendor, because the hold relies on it.

Sources: the references of the tools of OpenAI's responses and of Anthropic's messages.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from organism.llm.requests import CompletionRequest, VendorItem

VendorTools = Mapping[str, int] | Sequence[str]
"""Types of tools, with the most uses of each for one answer; without numbers, :data:`USES_MAX` each."""

USES_MAX = 10
"""The most uses of a tool for one answer, unless the client gives a number."""

SEARCH_TOKENS = 8_000
"""Input tokens held for one search: OpenAI publishes this number, and Anthropic's searches rarely take more."""

FETCH_TOKENS = 25_000
"""Input tokens held for a fetched page: a large one, by Anthropic's guide, unless the request sets a bound."""

LEARNT_TOKENS = 1_000
"""Input tokens held for a tool that clients run by rules which the vendor's models have learnt."""

_DATED = re.compile(r"[a-z_]+_20\d{6}")
_UNBOUNDED = "code_execution_"
"""The prefix of a tool that has no field for a bound; it runs once an answer, in one container."""

_CONTAINER: dict[str, dict[str, Any]] = {"code_interpreter": {"container": {"type": "auto"}}}
_COMPUTER_TOKENS = 1_500
_CONTAINERS = ("1g", "4g", "16g", "64g")


class ServerTool(msgspec.Struct, frozen=True):
    """A tool of a request that the vendor runs, or has trained its models to call.

    Attributes:
        fee: Its name in the table of fees; empty if a use costs only tokens.
        uses: The most uses for one answer.
        tokens: Input tokens held for all its uses.
    """

    fee: str
    uses: int
    tokens: int


def uses_of(wanted: VendorTools) -> Mapping[str, int]:
    """Return the most uses of each tool for one answer."""
    return wanted if isinstance(wanted, Mapping) else dict.fromkeys(wanted, USES_MAX)


def asked_tools(wanted: VendorTools) -> tuple[tuple[VendorItem, ...], VendorItem | None]:
    """Return the vendor's tools of a request, as items of its format.

    Args:
        wanted: The tools: one whose type has a date, such as ``web_search_20250305``, is Anthropic's, any other, such
            as ``web_search``, one of OpenAI's responses.

    Returns:
        The tools, and the request field that bounds the uses of all of OpenAI's together.

    Raises:
        ValueError: If there are tools of both vendors.
    """
    uses = uses_of(wanted)
    dated = {kind: most for kind, most in uses.items() if _DATED.fullmatch(kind)}
    others = {kind: most for kind, most in uses.items() if kind not in dated}
    if dated and others:
        raise ValueError(f"{next(iter(dated))!r} and {next(iter(others))!r} are tools of two vendors")
    if dated:
        found = (
            {"type": kind, "name": kind.rpartition("_")[0]}
            | ({} if kind.startswith(_UNBOUNDED) else {"max_uses": most})
            for kind, most in dated.items()
        )
        return tuple(VendorItem(value, "messages") for value in found), None
    items = tuple(VendorItem({"type": kind} | _CONTAINER.get(kind, {})) for kind in others)
    return items, VendorItem({"max_tool_calls": sum(others.values())}) if others else None


def server_tools(request: CompletionRequest) -> Iterator[ServerTool]:
    """Yield the tools of a request that its vendor runs, or has trained its models to call."""
    for item in request.vendor_tools:
        match item.format:
            case "messages":
                yield _of_messages(item)
            case "responses":
                yield _of_responses(item, _calls_max(request))
            case "chat":
                yield ServerTool("chat:web_search", 1, SEARCH_TOKENS)


def uses_at_most(request: CompletionRequest) -> dict[str, int]:
    """Return the most uses of each tool with a fee for a request's answer."""
    found: dict[str, int] = {}
    for tool in server_tools(request):
        if tool.fee:
            found[tool.fee] = found.get(tool.fee, 0) + tool.uses
    return found


def server_tool_tokens(request: CompletionRequest) -> int:
    """Return the input tokens held for the results of the vendor's tools."""
    return sum(tool.tokens for tool in server_tools(request))


def tokens_of_uses(request: CompletionRequest) -> int:
    """Return the part of :func:`server_tool_tokens` for tools whose uses show in the answer's stream."""
    return sum(tool.tokens for tool in server_tools(request) if tool.fee and not tool.fee.startswith("chat:"))


def needs_calls_max(request: CompletionRequest) -> bool:
    """Whether a bound on tool calls must be added to a request of responses, for its hold to be enough."""
    return any(tool.fee for tool in server_tools(request)) and _said(request.vendor_fields, "max_tool_calls") is None


def _calls_max(request: CompletionRequest) -> int:
    said = _said(request.vendor_fields, "max_tool_calls")
    return USES_MAX if said is None else said


def _said(item: VendorItem | None, name: str) -> int | None:
    return None if item is None else _count(item.value.get(name))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _of_messages(item: VendorItem) -> ServerTool:
    kind = item.kind
    said = _count(item.value.get("max_uses"))
    uses = USES_MAX if said is None else said
    if kind.startswith("web_search_"):
        return ServerTool("messages:web_search", uses, uses * SEARCH_TOKENS)
    if kind.startswith("web_fetch_"):
        most = _count(item.value.get("max_content_tokens"))
        return ServerTool("messages:web_fetch", uses, uses * (FETCH_TOKENS if most is None else most))
    if kind.startswith("code_execution_"):
        return ServerTool("messages:code_execution", 1, SEARCH_TOKENS)
    if kind == "mcp_toolset":
        return ServerTool("", uses, SEARCH_TOKENS)
    if kind.startswith("computer_"):
        return ServerTool("", 0, _COMPUTER_TOKENS)
    return ServerTool("", 0, LEARNT_TOKENS)


_RUN_BY_CLIENTS = frozenset(
    {"tool_search", "apply_patch", "local_shell", "computer", "computer_use", "computer_use_preview", "function",
     "custom"}
)  # fmt: skip


def _of_responses(item: VendorItem, calls: int) -> ServerTool:
    kind = item.kind
    if kind in _RUN_BY_CLIENTS or (kind == "shell" and not container_of(item.value)):
        return ServerTool("", 0, 0)
    if container := container_of(item.value):
        return ServerTool(f"responses:{container}", 1, SEARCH_TOKENS)
    name = "web_search_preview" if kind.startswith("web_search_preview") else kind
    name = "web_search" if kind.startswith("web_search_2") else name
    fee = "" if kind == "mcp" else f"responses:{name}"
    return ServerTool(fee, calls, SEARCH_TOKENS)


def container_of(tool: dict[str, Any]) -> str:
    """Return the name of the fee for a tool's container; empty if it has none."""
    kind = tool.get("type")
    place = tool.get("container") if kind == "code_interpreter" else tool.get("environment")
    if kind not in {"code_interpreter", "shell"} or (kind == "shell" and not isinstance(place, dict)):
        return ""
    said = place if isinstance(place, dict) else {}
    if kind == "shell" and said.get("type") == "local":
        return ""
    memory = said.get("memory_limit")
    return f"container_{memory if memory in _CONTAINERS else _CONTAINERS[0]}"
