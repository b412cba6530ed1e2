"""What a model may have run before it answers: functions, other agents, and the tools of servers."""

from organism.agents.tools.budget_tool import request_budget_tool
from organism.agents.tools.function_tool import function_tool, tool
from organism.agents.tools.peer_tool import ask_tool, send_tool
from organism.agents.tools.tool import (
    AgentTool,
    ServedTools,
    ToolOutput,
    ToolRules,
    ToolServer,
    ToolServerError,
    ToolSource,
)
from organism.pricing.tool_prices import ToolPrice

__all__ = [
    "AgentTool",
    "ServedTools",
    "ToolOutput",
    "ToolPrice",
    "ToolRules",
    "ToolServer",
    "ToolServerError",
    "ToolSource",
    "ask_tool",
    "function_tool",
    "request_budget_tool",
    "send_tool",
    "tool",
]
