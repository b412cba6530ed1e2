"""A message-bus actor runtime for LLM agents with hard budgets per conversation thread.

The public names. Everything else may change between versions.
"""

from organism.agents.agent import Agent, To, agent
from organism.agents.context import Context
from organism.agents.llm import LLMSettings, llm_agent
from organism.amounts import BudgetState, Limits, TokenUsage, nanousd
from organism.app import Organism
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan, ScopedLimits
from organism.errors import BudgetExhaustedError, ConfigError, OrganismError, ProviderError
from organism.messages import AgentFailed, BudgetWarning, Gathered, Message, Text, ThreadResult
from organism.pump.bounds import Bounds
from organism.router.plan import ModelPlan, Route
from organism.router.provider import Completion, Provider
from organism.router.router import LLMRouter
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
