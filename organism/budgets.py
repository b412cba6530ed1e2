"""Budgets on their own, for programs that are no organism: see :class:`ThreadBudgetRegistry`."""

from organism.amounts import Amounts, BudgetState, Limits, TokenUsage
from organism.budget.budget_hold import BudgetHold
from organism.budget.holds import Mode, Settlement
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.requests import LimitsRequest
from organism.budget.scopes import BudgetPlan, ScopedLimits
from organism.llm_router import llm_router

__all__ = [
    "Amounts",
    "BudgetHold",
    "BudgetPlan",
    "BudgetState",
    "Limits",
    "LimitsRequest",
    "Mode",
    "ScopedLimits",
    "Settlement",
    "ThreadBudgetRegistry",
    "TokenUsage",
    "llm_router",
]
