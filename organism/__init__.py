"""A message-bus actor runtime for LLM agents with hard budgets per conversation thread.

The public names. Everything else may change between versions. Each is imported when it is first asked for, so that
``import organism`` costs nothing and the command line answers at once.
"""

from typing import TYPE_CHECKING

from organism import moved

__version__ = "0.2.0"

if TYPE_CHECKING:
    from organism.agents.agent import Agent, To, agent
    from organism.agents.context import Context
    from organism.agents.llm_agent import LLMSettings, llm_agent
    from organism.amounts import BudgetState, Limits, TokenUsage, nanousd
    from organism.app import Organism
    from organism.budget.registry import ThreadBudgetRegistry
    from organism.budget.scopes import BudgetPlan, ScopedLimits
    from organism.errors import BudgetExhaustedError, ConfigError, OrganismError, ProviderError
    from organism.llm.answers import Completion
    from organism.llm.provider import Provider
    from organism.messages import AgentFailed, BudgetWarning, Gathered, Message, Text, ThreadResult
    from organism.router.planning.plan import ModelPlan, Route
    from organism.router.router import LLMRouter
    from organism.runtime.bounds import Bounds
    from organism.usage.events import UsageEvent
    from organism.usage.tracker import UsageTracker

__all__ = [
    "Agent",
    "AgentFailed",
    "Bounds",
    "BudgetExhaustedError",
    "BudgetPlan",
    "BudgetState",
    "BudgetWarning",
    "Completion",
    "ConfigError",
    "Context",
    "Gathered",
    "LLMRouter",
    "LLMSettings",
    "Limits",
    "Message",
    "ModelPlan",
    "Organism",
    "OrganismError",
    "Provider",
    "ProviderError",
    "Route",
    "ScopedLimits",
    "Text",
    "ThreadBudgetRegistry",
    "ThreadResult",
    "To",
    "TokenUsage",
    "UsageEvent",
    "UsageTracker",
    "agent",
    "llm_agent",
    "nanousd",
]

_HOMES = {
    "Agent": "organism.agents.agent",
    "AgentFailed": "organism.messages",
    "Bounds": "organism.runtime.bounds",
    "BudgetExhaustedError": "organism.errors",
    "BudgetPlan": "organism.budget.scopes",
    "BudgetState": "organism.amounts",
    "BudgetWarning": "organism.messages",
    "Completion": "organism.llm.answers",
    "ConfigError": "organism.errors",
    "Context": "organism.agents.context",
    "Gathered": "organism.messages",
    "LLMRouter": "organism.router.router",
    "LLMSettings": "organism.agents.llm_agent",
    "Limits": "organism.amounts",
    "Message": "organism.messages",
    "ModelPlan": "organism.router.planning.plan",
    "Organism": "organism.app",
    "OrganismError": "organism.errors",
    "Provider": "organism.llm.provider",
    "ProviderError": "organism.errors",
    "Route": "organism.router.planning.plan",
    "ScopedLimits": "organism.budget.scopes",
    "Text": "organism.messages",
    "ThreadBudgetRegistry": "organism.budget.registry",
    "ThreadResult": "organism.messages",
    "To": "organism.agents.agent",
    "TokenUsage": "organism.amounts",
    "UsageEvent": "organism.usage.events",
    "UsageTracker": "organism.usage.tracker",
    "agent": "organism.agents.agent",
    "llm_agent": "organism.agents.llm_agent",
    "nanousd": "organism.amounts",
}
"""Where each public name lives."""


moved.install()

__getattr__ = moved.lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
