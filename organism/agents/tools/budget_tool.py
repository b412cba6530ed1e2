"""The tool by which a model asks a person for more budget."""

from functools import partial

import msgspec

from organism.agents.context import Context
from organism.agents.tools.tool import AgentTool, OnProgress, ToolOutput, ToolRun
from organism.errors import ConfigError
from organism.llm.requests import Tool

REQUEST_BUDGET = "request_budget"
"""The tool's name, for the model and in the configuration."""


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    reason: str
    usd: float | str = 0
    tokens: int = 0


_SCHEMA = {
    "type": "object",
    "properties": {
        "usd": {"type": "number", "description": "dollars more than the budget has"},
        "tokens": {"type": "integer", "description": "tokens more than the budget has"},
        "reason": {"type": "string", "description": "what for, in a sentence; a person decides by it"},
    },
    "required": ["reason"],
}


def request_budget_tool() -> AgentTool:
    """Return the tool by which a model asks a person for more budget."""
    purpose = "Ask a person for more budget for this task. Only when what is left cannot do it; say what for."
    return AgentTool(spec=Tool(REQUEST_BUDGET, purpose, _SCHEMA), call=_call, replayed=True)


def _call(arguments: str, ctx: Context) -> ToolRun:
    return partial(_ask, arguments, ctx)


async def _ask(arguments: str, ctx: Context, _progress: OnProgress) -> ToolOutput:
    try:
        asked = msgspec.json.decode(arguments, type=_Asked)
        granted = await ctx.request_budget(usd=asked.usd, tokens=asked.tokens, reason=asked.reason)
    except (msgspec.MsgspecError, ConfigError) as error:
        return ToolOutput(f"wrong arguments: {error}", is_error=True, ran=False)
    said = f" The person says: {granted.note}" if granted.note else ""
    if not granted:
        return ToolOutput(f"refused; come to an end with what is left.{said}", is_error=True)
    until = "" if granted.seconds is None else f" for {granted.seconds} s"
    return ToolOutput(f"granted: ${granted.usd} and {granted.tokens} tokens more{until}.{said}")
