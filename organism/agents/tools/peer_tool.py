"""Other agents as tools: the model sends a typed message, and may wait for the reply."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec

from organism.agents.context import Context
from organism.agents.structured import object_schema
from organism.agents.tools.tool import AgentTool, OnProgress, ToolOutput, ToolRules, ToolRun, priced
from organism.amounts import Dollars
from organism.errors import ConfigError
from organism.llm.requests import Tool
from organism.messages import RUNTIME_MESSAGES, Gathered, Message, Text, as_text
from organism.pricing.tool_prices import ToolPrice

ASK_TIMEOUT_S = 60.0
"""Longer than for a function: the agent may call a model itself."""


def ask_tool(
    recipient: str,
    message_type: type[Message] = Text,
    *,
    description: str = "",
    rules: ToolRules | None = None,
    price: ToolPrice | Mapping[str, object] | Dollars | None = None,
) -> AgentTool:
    """Make a tool that asks an agent and waits for its reply, on this thread and its budget.

    Args:
        recipient: The agent; its asker must have it among its peers.
        message_type: The message the model fills in.
        description: What the agent is good for.
        rules: Bounds.
        price: What asking it costs beside what it spends itself, as for :func:`~organism.tools.tool`.
    """
    limits = priced(rules or ToolRules(timeout_s=ASK_TIMEOUT_S), price)

    def ask(message: Message, ctx: Context) -> ToolRun:
        return partial(_reply, ctx.asking(recipient, message, timeout_s=limits.timeout_s))

    purpose = f"Give the agent {recipient!r} a task and get its answer."
    return _tool(f"ask_{recipient}", recipient, message_type, f"{purpose} {description}", limits, ask)


def send_tool(
    recipient: str, message_type: type[Message] = Text, *, description: str = "", rules: ToolRules | None = None
) -> AgentTool:
    """Make a tool that sends an agent a message and goes on; the message leaves when the handler finishes.

    Args:
        recipient: The agent; its sender must have it among its peers.
        message_type: The message the model fills in.
        description: What the agent is good for.
        rules: Bounds.
    """

    def send(message: Message, ctx: Context) -> ToolRun:
        ctx.send(recipient, message)
        return partial(_say, ToolOutput("sent"))

    purpose = f"Send the agent {recipient!r} a message; no answer comes back."
    return _tool(f"send_{recipient}", recipient, message_type, f"{purpose} {description}", rules or ToolRules(), send)


async def _reply(ask: Callable[[], Awaitable[Message]], _progress: OnProgress) -> ToolOutput:
    return ToolOutput(as_text(await ask()))


async def _say(output: ToolOutput, _progress: OnProgress) -> ToolOutput:
    return output


def message_for(accepts: tuple[type[Message], ...]) -> type[Message]:
    """Return the type of message that a model fills in for an agent that accepts these types.

    Raises:
        ConfigError: If it accepts no message of another agent.
    """
    if Text in accepts or Message in accepts:
        return Text
    for accepted in accepts:
        if accepted is not Gathered and accepted not in RUNTIME_MESSAGES:
            return accepted
    raise ConfigError("it accepts no message that another agent could write")


def _tool(
    name: str,
    recipient: str,
    message_type: type[Message],
    description: str,
    rules: ToolRules,
    hand_over: Callable[[Message, Context], ToolRun],
) -> AgentTool:
    def call(arguments: str, ctx: Context) -> ToolRun:
        message = _message(arguments, message_type)
        return partial(_say, message) if isinstance(message, ToolOutput) else hand_over(message, ctx)

    schema = object_schema(message_type)
    # The tag names the type, which is fixed here: the model need not fill it in.
    tag = message_type.__struct_config__.tag_field
    fields = {field: kind for field, kind in schema.get("properties", {}).items() if field != tag}
    required = [field for field in schema.get("required", ()) if field != tag]
    shown = {**schema, "properties": fields, "required": required}
    spec = Tool(name, description.strip(), shown)
    return AgentTool(spec=spec, call=call, rules=rules, recipient=recipient)


def _message(arguments: str, message_type: type[Message]) -> Message | ToolOutput:
    try:
        given = msgspec.json.decode(arguments, type=dict[str, object])
        return msgspec.convert(given, message_type)
    except msgspec.MsgspecError as error:
        return ToolOutput(f"wrong arguments: {error}", is_error=True, ran=False)
