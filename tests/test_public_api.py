"""What users may rely on, by tier. A name goes from here only with a release's notice: see docs/reference/api.md."""

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PUBLIC = {
    "organism": (
        "Agent AgentFailed Bounds BudgetExhaustedError BudgetPlan BudgetState BudgetWarning Completion "
        "ConfigError Context Gathered LLMRouter LLMSettings Limits Message ModelPlan Organism OrganismError "
        "Provider ProviderError Route ScopedLimits Text ThreadBudgetRegistry ThreadResult To TokenUsage "
        "UsageEvent UsageTracker agent llm_agent nanousd"
    ),
    "organism.budgets": (
        "Amounts Breakers BudgetGrant BudgetHold BudgetPlan BudgetState LabelLimits Limits LimitsRequest LoopWarning "
        "Mode PoolLimits RateBreaker ScopeRule ScopedLimits Settlement ThreadBudgetRegistry TokenUsage llm_router"
    ),
    "organism.events": (
        "AgentSaid AgentStopped AnyEvent ApprovalDecided ApprovalRequested BreakerTripped BudgetAdjusted "
        "BudgetExceeded "
        "DeadLetterEvent Event EventLoopBlocked LLMFailover LLMRetry LimitChanged ModelDegraded OperatorAction "
        "PartitionMoved Reported SlowConsumerError SpendingFrozen SpendingUnfrozen Subscription ThreadBlocked "
        "ThreadClosed ThreadOpened ThreadResumed ThresholdCrossed UsageEvent"
    ),
    "organism.providers": ("AnthropicProvider LocalProvider OpenAIProvider ScriptedProvider"),
    "organism.testing": (
        "BilledCall CrashingJournal FaultyDisk HTTPStep Handled ManualClock ScriptedAnswer "
        "ScriptedHTTPProvider ScriptedProvider SequentialIds VirtualClock handle_message run"
    ),
    "organism.testing.simulate": (
        "Found Opening RandomShape Scenario ScenarioResult ScenarioStep Subject World draw_scenario play search shorten"
    ),
    "organism.tools": (
        "AgentTool ServedTools ToolOutput ToolPrice ToolRules ToolServer ToolServerError ToolSource "
        "ask_tool function_tool request_budget_tool send_tool tool"
    ),
}
"""Each public module with its names."""


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_these_and_exist(name: str) -> None:
    """Each tier is what it says, no less and no more, and every name can be imported."""
    module = import_module(name)

    assert sorted(module.__all__) == sorted(PUBLIC[name].split())
    assert all(getattr(module, each) is not None for each in module.__all__)


def test_every_name_of_the_first_tier_is_in_the_reference() -> None:
    """The manual's API reference leaves out nothing that users may rely on."""
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")

    assert [name for name in PUBLIC["organism"].split() if f":: organism.{name}\n" not in page] == []
