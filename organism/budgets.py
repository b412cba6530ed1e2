"""Budgets on their own, for programs that are no organism: see :class:`ThreadBudgetRegistry`."""

from organism.amounts import Amounts, BudgetState, Limits, TokenUsage
from organism.budget.budget_hold import BudgetHold
from organism.budget.guards.breakers import Breakers, RateBreaker
from organism.budget.holds import Mode, Settlement
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.requests import LimitsRequest
from organism.budget.scopes import BudgetPlan, LabelLimits, PoolLimits, ScopedLimits, ScopeRule
from organism.llm_router import llm_router
from organism.messages import LoopWarning
from organism.threads.approvals import BudgetGrant

__all__ = [
    "Amounts",
    "Breakers",
    "BudgetGrant",
    "BudgetHold",
    "BudgetPlan",
    "BudgetState",
    "LabelLimits",
    "Limits",
    "LimitsRequest",
    "LoopWarning",
    "Mode",
    "PoolLimits",
    "RateBreaker",
    "ScopeRule",
    "ScopedLimits",
    "Settlement",
    "ThreadBudgetRegistry",
    "TokenUsage",
    "llm_router",
]
