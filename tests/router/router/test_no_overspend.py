"""The promise under load: many calls on one nearly empty budget, with failures, cancellations and hedges."""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from organism.amounts import Limits
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan, ScopedLimits
from organism.errors import BudgetError, ProviderError, RejectedError, UncertainError
from organism.llm.requests import CompletionRequest
from organism.router.call import RouterSettings
from organism.router.limits.provider_settings import ProviderSettings, Timeouts
from organism.router.limits.rate_limit import RateLimits
from organism.testing import ScriptedAnswer, ScriptedProvider, run
from organism.usage.events import UsageEvent

MakeRouter = Callable[..., Any]
"""See ``conftest.py``."""

LIMIT = Limits(tokens=2500, cost_nanousd=2500, calls=60)


def moody(name: str, seed: int) -> ScriptedProvider:
    """Make a provider that answers, refuses, fails after the work or takes for ever, as chance has it."""
    chance = random.Random(f"{name} {seed}")

    def answer(request: CompletionRequest) -> ScriptedAnswer:
        error: ProviderError | None = None
        match chance.randrange(8):
            case 0:
                error = RejectedError(name, "overloaded", status=503, again=True)
            case 1:
                error = RejectedError(name, "slow down", status=429, again=True, retry_after_s=chance.random() * 40)
            case 2:
                error = UncertainError(name, "reset")
        length = chance.randrange(1, 2 * request.max_output_tokens)
        return ScriptedAnswer(text=" ".join(["w"] * length), error=error, latency_s=chance.choice([0.1, 1, 5, 90]))

    return ScriptedProvider(answer, name=name)


@pytest.mark.parametrize("hedge_after_s", [None, 0.5])
@pytest.mark.parametrize("strategy", ["failover", "round_robin", "least_loaded", "cheapest"])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_ever_overspent(
    make_router: MakeRouter, seed: int, strategy: str, hedge_after_s: float | None
) -> None:
    """At every entry of the ledger spent and held stay within every limit, and recorded is at least billed."""
    worst = {"tokens": 0}

    def check(registry: ThreadBudgetRegistry) -> None:
        for state in registry.budgets("t"):
            used = state.spent + state.held
            for limit, amount in (
                (state.limits.tokens, used.tokens),
                (state.limits.cost_nanousd, used.cost_nanousd),
                (state.limits.calls, used.calls),
            ):
                assert limit is None or amount <= limit, state
            worst["tokens"] = max(worst["tokens"], used.tokens)

    async def main() -> None:
        providers = [moody(name, seed) for name in "abc"]
        chance = random.Random(seed)
        settings = RouterSettings(
            direct_calls_in_flight=40,
            attempts=4,
            timeout_s=30,
            retry_uncertain=bool(seed % 2),
            providers={
                "a": ProviderSettings(concurrency=5, timeouts=Timeouts(first_token_s=3, between_tokens_s=2)),
                "b": ProviderSettings(rates=RateLimits(requests=30, tokens=2000)),
            },
        )
        plan = BudgetPlan(thread=LIMIT, providers={"c": ScopedLimits(Limits(tokens=500))})
        options = {"strategy": strategy, "hedge_after_s": hedge_after_s, "limits": plan, "settings": settings}
        async with make_router(*providers, on_entry=check, **options) as it:

            async def call(patience_s: float, sink: Any) -> None:
                with anyio.move_on_after(patience_s), suppress(ProviderError, BudgetError):
                    await it.ask(words=chance.randrange(1, 20), cap=chance.randrange(1, 60), on_text=sink)

            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    patience = chance.choice([0.05, 2.0, 20.0, 1000.0])
                    tasks.start_soon(call, patience, chance.choice([None, lambda piece: None]))
                    await anyio.sleep(chance.random())
            await it.router.wait_idle("t")

            spent, billed = it.registry.budget("t").spent, sum(p.billed.total for p in providers)
            assert billed <= spent.tokens <= 2500
            assert it.registry.budget("t").held.tokens == 0
            assert it.registry.statistics().open_holds == 0
            assert all(health.in_flight == 0 for health in it.router.statistics().providers.values())
            assert sum(event.usage.total for event in it.of(UsageEvent)) == spent.tokens
            assert worst["tokens"] > 2000, "the budget was nearly empty, or the test says nothing"

    run(main, seed=seed)
