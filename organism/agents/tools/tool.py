"""Tools of an LLM agent: their specs, their runs, and the bounds on both.

Invariant: every failure of a tool becomes text for the model, which may react to it. Only what is not the tool's fault
(no budget, a stopping organism) ends the handler.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Literal, Protocol

import anyio
import msgspec

from organism.agents.context import Context
from organism.agents.tools.tool_names import TOOL_NAME, tool_names
from organism.errors import AskError, ConfigError, DeliveryError, OrganismError
from organism.llm.requests import ImagePart, TextPart, Tool, ToolCall, ToolResult
from organism.pricing.tool_prices import ToolPrice, tool_price
from organism.text.error_text import describe, shown
from organism.text.redaction import redact

ToolContent = str | tuple[TextPart | ImagePart, ...]

Permission = Literal["allow", "ask", "deny"]
"""``allow``: it runs when the model asks. ``ask``: a person is asked each time, and the thread waits for the answer.
``deny``: it never runs, and the model gets that as its result."""

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_RESULT_BYTES = 16_384
"""About 4,000 tokens of English; each result is input of every following call."""

_PROGRESS_TIMES = 10
"""How many times its timeout a tool may take that reports progress."""

_ERROR_CHARACTERS = 500


class ToolOutput(msgspec.Struct, frozen=True):
    """The outcome of a tool's run.

    Attributes:
        content: Text, or text and images.
        is_error: Whether it failed; the text then says how.
        ran: Whether it ran, and so is paid: ``False`` if nothing was done, ``None`` if it is unknown how far it came.
    """

    content: ToolContent
    is_error: bool = False
    ran: bool | None = True


class ToolRules(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on one tool.

    Attributes:
        timeout_s: Seconds one run may take without a sign of progress; with such signs ten times as long.
        result_bytes: The most of a result that the model is shown.
        approval: Whether it may run.
        price: What a run costs; nothing unless given. It is held at its worst case before the run and charged after it.
            A tool that is paid by the second ends at its timeout, whatever progress it tells of.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    result_bytes: int = DEFAULT_RESULT_BYTES
    approval: Permission = "allow"
    price: ToolPrice | None = None


def priced(rules: ToolRules, price: object) -> ToolRules:
    """Return rules with a price as programs write it; as they are without one.

    Raises:
        ConfigError: If it is none.
    """
    return rules if price is None else msgspec.structs.replace(rules, price=tool_price(price))


OnProgress = Callable[[], None]
"""Called by a run to report progress."""

ToolRun = Callable[[OnProgress], Awaitable[ToolOutput]]
"""A run of a tool that has its number among the handler's steps, and has not begun."""


class AgentTool(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One tool.

    Attributes:
        spec: What the model is shown.
        call: Prepares a run of it on arguments that are a JSON object as text.
        rules: Bounds.
        recipient: The agent it writes to, which must be among the peers of the agent that uses it.
        replayed: Whether a second run of the handler runs it again, because all it does goes through the context, in
            an order that must stay the same. Such tools run one after another.
    """

    spec: Tool
    call: Callable[[str, Context], ToolRun]
    rules: ToolRules = ToolRules()
    recipient: str | None = None
    replayed: bool = False

    def __post_init__(self) -> None:
        """Refuse a name that no provider takes.

        Raises:
            ConfigError: If so.
        """
        if not TOOL_NAME.fullmatch(self.spec.name):
            raise ConfigError(
                f"{self.spec.name!r} cannot be a tool's name: use letters, digits, '-' and '_', at most 64 in all"
            )


class ToolServerError(OrganismError):
    """A tool server cannot be reached.

    Attributes:
        server: Its name in the configuration.
    """

    retryable = True

    def __init__(self, server: str, reason: str) -> None:
        self.server = server
        super().__init__(f"the tool server {server!r} cannot be used: {reason}")


class ToolServer(Protocol):
    """A foreign system that offers tools."""

    @property
    def name(self) -> str:
        """The server's name in the configuration."""
        ...

    async def run(self) -> None:
        """Keep the connection while it is wanted; the organism runs this as a task, and ends it by cancellation."""
        ...

    async def tools(self) -> tuple[Tool, ...]:
        """Return the tools it offers, under its own names.

        Raises:
            ToolServerError: It cannot be reached.
        """
        ...

    async def call(self, tool: str, arguments: str, progress: OnProgress) -> ToolOutput:
        """Run a tool by the server's own name for it; failures are returned as output."""
        ...


class ServedTools(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Tools of a server, looked up when they are first needed.

    Attributes:
        server: The server.
        only: Which of its tools, by its own names; ``None`` for all.
        rules: Bounds on each, and their price.
        prices: Prices of single tools, by the server's names for them; these win.
    """

    server: ToolServer
    only: tuple[str, ...] | None = None
    rules: ToolRules = ToolRules()
    prices: Mapping[str, ToolPrice] = msgspec.field(default_factory=dict)

    async def offered(self) -> tuple[Tool, ...]:
        """Return the selected tools of the server, under its own names.

        Raises:
            ToolServerError: The server cannot be reached, or lacks a tool that is named.
        """
        offered = {tool.name: tool for tool in await self.server.tools()}
        missing = [name for name in (*(self.only or ()), *self.prices) if name not in offered]
        if missing:
            there = ", ".join(sorted(offered)) or "none"
            raise ToolServerError(self.server.name, f"it has no tool {missing[0]!r}; there are: {there}")
        return tuple(offered[name] for name in (self.only if self.only is not None else offered))

    def tool(self, offered: Tool, name: str) -> AgentTool:
        """Make a tool of an offered one; the model calls it by ``name``, the server by its own name."""

        def call(arguments: str, _ctx: Context) -> ToolRun:
            return partial(self.server.call, offered.name, arguments)

        price = self.prices.get(offered.name, self.rules.price)
        rules = msgspec.structs.replace(self.rules, price=price)
        return AgentTool(spec=msgspec.structs.replace(offered, name=name), call=call, rules=rules)


ToolSource = AgentTool | ServedTools


async def open_tools(sources: tuple[ToolSource, ...]) -> dict[str, AgentTool]:
    """Return all tools by name; names of servers' tools are prefixed with the server's.

    Raises:
        ConfigError: Two share a name.
        ToolServerError: A server cannot be reached.
    """
    found: list[AgentTool | tuple[ServedTools, Tool]] = []
    for source in sources:
        if isinstance(source, ServedTools):
            found += [(source, tool) for tool in await source.offered()]
        else:
            found.append(source)
    served = [one for one in found if isinstance(one, tuple)]
    own = [one.spec.name for one in found if isinstance(one, AgentTool)]
    names = iter(tool_names([(source.server.name, tool.name) for source, tool in served], own))
    tools: dict[str, AgentTool] = {}
    for one in found:
        tool = one[0].tool(one[1], next(names)) if isinstance(one, tuple) else one
        if tools.setdefault(tool.spec.name, tool) is not tool:
            raise ConfigError(f"two tools of an agent are called {tool.spec.name!r}")
    return tools


async def refused(tool: AgentTool, call: ToolCall, ctx: Context) -> ToolResult | None:
    """Return the result of a tool that may not run; ``None`` if it may, after asking a person if need be."""
    if tool.rules.approval == "ask":
        decision = await ctx.approval(call.name, call.arguments)
        if not decision.allowed:
            why = f": {decision.note}" if decision.note else ""
            return ToolResult(call.id, f"a person has not allowed {call.name!r}{why}", is_error=True)
    if tool.rules.approval == "deny":
        return ToolResult(call.id, f"{call.name!r} is not allowed here; go on without it", is_error=True)
    return None


async def output_of(tool: AgentTool, work: ToolRun, ctx: Context) -> ToolOutput:
    """Run a tool within its timeout; every failure of the tool becomes its output."""
    begun = anyio.current_time()
    timeout_s = tool.rules.timeout_s
    with anyio.CancelScope(deadline=begun + timeout_s) as scope:

        def progress() -> None:
            if tool.rules.price is not None and tool.rules.price.second:
                return  # more time would cost more than is held
            scope.deadline = min(begun + timeout_s * _PROGRESS_TIMES, anyio.current_time() + timeout_s)

        output = await _guarded(tool, work, ctx, progress)
    if scope.cancelled_caught:
        longest_s = timeout_s * _PROGRESS_TIMES if scope.deadline > begun + timeout_s else timeout_s
        return ToolOutput(f"it took longer than {longest_s:g} s", is_error=True, ran=None)
    return output


def result_of(tool: AgentTool, call: ToolCall, output: ToolOutput) -> ToolResult:
    """Return the result of a run for the model."""
    content = _without_secrets(output.content) if output.is_error else output.content
    return ToolResult(call.id, cut(content, tool.rules.result_bytes), output.is_error)


def _without_secrets(content: ToolContent) -> ToolContent:
    """Redact an error's text, which goes to a model and so to another company."""
    if isinstance(content, str):
        return redact(content)
    return tuple(TextPart(redact(part.text)) if isinstance(part, TextPart) else part for part in content)


async def _guarded(tool: AgentTool, work: ToolRun, ctx: Context, progress: OnProgress) -> ToolOutput:
    try:
        output: object = await work(progress)  # foreign tools may return anything
    except (AskError, DeliveryError) as error:
        return ToolOutput(str(error), is_error=True, ran=False if isinstance(error, DeliveryError) else None)
    except OrganismError:
        raise
    except BaseException as error:
        # A tool's own failure is the model's to deal with, also a `sys.exit()` or the cancellation of a task it awaits;
        # but for a cancellation of ours, which comes from a scope around us.
        if isinstance(error, GeneratorExit) or (
            isinstance(error, asyncio.CancelledError) and anyio.current_effective_deadline() == -math.inf
        ):
            raise
        ctx.log.warning("tool_failed", tool=tool.spec.name, error=type(error).__name__)
        return ToolOutput(describe(error)[:_ERROR_CHARACTERS], is_error=True, ran=None)
    if not isinstance(output, ToolOutput):
        return ToolOutput(f"the tool gave {shown(output)} instead of a ToolOutput", is_error=True, ran=None)
    return output


def cut(content: ToolContent, most_bytes: int) -> ToolContent:
    """Bound a result for the model: long text is cut, images that do not fit are replaced by notes."""
    if isinstance(content, str):
        raw = content.encode("utf-8", "replace")
        if len(raw) <= most_bytes:
            return raw.decode()
        return f"{raw[:most_bytes].decode('utf-8', 'ignore')}\n[cut here: {len(raw):,} bytes in all]"
    kept: list[TextPart | ImagePart] = []
    for part in content:
        size = len(part.data) if isinstance(part, ImagePart) else len(part.text.encode("utf-8", "replace"))
        if isinstance(part, ImagePart) and size > most_bytes:
            part = TextPart(f"[an image of {size:,} bytes left out]")  # noqa: PLW2901 - what stands in its place
        elif isinstance(part, TextPart):
            part = TextPart(str(cut(part.text, most_bytes)))  # noqa: PLW2901
        most_bytes = max(0, most_bytes - size)
        kept.append(part)
    return tuple(kept)
