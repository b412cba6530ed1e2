"""A router of its own, for programs that want hard budgets and several providers, and no agents."""

from collections.abc import Mapping

from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock, SteadyClock, SystemClock, utc
from organism.ids import RandomIds
from organism.llm.provider import Provider
from organism.pricing.book import PriceBook, ProviderPrices
from organism.router.call import RouterSettings
from organism.router.planning.plan import ModelPlan, check_plans, model_plan
from organism.router.router import LLMRouter
from organism.router.router_config import RouterSpec
from organism.stores.memory import MemoryJournal
from organism.usage.outbox import Outbox
from organism.usage.tracker import UsageTracker


def llm_router(
    models: Mapping[str, str | ModelPlan],
    providers: Mapping[str, Provider],
    budgets: ThreadBudgetRegistry,
    *,
    usage: UsageTracker | None = None,
    prices: PriceBook | None = None,
    provider_kinds: Mapping[str, str] | None = None,
    settings: RouterSettings | None = None,
) -> LLMRouter:
    """Make a router over budgets: ``async with`` it, then ``await router.complete("...", model=..., thread_id=...)``.

    Everything is in memory, so a budget lasts as long as the process; an :class:`~organism.Organism` with a journal
    keeps it through a crash.

    Args:
        models: Models by name: ``{"main": "openai/gpt-5-mini"}``, or a whole :class:`ModelPlan`.
        providers: Providers by the names that routes use. The caller closes them.
        budgets: Who may spend what.
        usage: Receives an event for every attempt.
        prices: What models cost, beside what is shipped.
        provider_kinds: The kind of a provider in the price data, where it differs from its name.
        settings: How calls are made.

    Raises:
        ConfigError: If a model's route names no provider.
    """
    clock: Clock = SteadyClock(SystemClock())
    plans = {name: model_plan(name, model) for name, model in models.items()}
    check_plans(plans, providers)
    journal, usage = MemoryJournal(), usage or UsageTracker()
    rates = ProviderPrices(prices or PriceBook(now=lambda: utc(clock)), provider_kinds or {})
    return LLMRouter(
        RouterSpec(models=plans, providers=providers, prices=rates, settings=settings or RouterSettings()),
        registry=budgets,
        outbox=Outbox(journal, usage.publish, clock, usage.wanted),
        clock=clock,
        ids=RandomIds(),
    )
