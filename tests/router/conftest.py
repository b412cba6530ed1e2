"""A router with everything real around it, in virtual time."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import pytest

from organism.amounts import Limits
from organism.budget.holds import Mode, Spender
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.ledger.entries import AnyEntry
from organism.ledger.ledger import Ledger
from organism.llm.answers import Completion
from organism.llm.provider import Provider, TextSink
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.pricing.rates import Rates, flat_rates
from organism.router.call import Call, RouterSettings
from organism.router.planning.plan import ModelPlan, Route
from organism.router.router import LLMRouter
from organism.router.router_config import RouterSpec
from organism.stores.memory import MemoryJournal
from organism.testing import SequentialIds, VirtualClock
from organism.usage.events import AnyEvent
from organism.usage.outbox import Outbox

RATES = flat_rates(input=1_000_000, output=1_000_000, source="test")
"""One nano-USD a token."""


class TablePrices:
    """Prices by provider; the usual ones for those that are not in the table."""

    def __init__(self, table: Mapping[str, Rates | None]) -> None:
        self._table = table
        self.by_model: dict[str, Rates] = {}

    def rates(self, provider: str, model: str) -> Rates | None:
        return self.by_model.get(model) or self._table.get(provider, RATES)


class Fixture(msgspec.Struct):
    """A router under test, its budgets, and what it has told."""

    router: LLMRouter
    registry: ThreadBudgetRegistry
    events: list[AnyEvent]
    prices: TablePrices
    entries: list[AnyEntry]

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def ask(
        self,
        model: str = "main",
        *,
        words: int = 1,
        cap: int = 10,
        thread: str = "t",
        message: str = "",
        on_text: TextSink | None = None,
    ) -> Completion:
        """Make a call of a number of words."""
        request = CompletionRequest(
            model="", messages=(ChatMessage("user", " ".join(["w"] * words)),), max_output_tokens=cap
        )
        spender = Spender(thread, "writer", model)
        call = Call(spender=spender, root_thread_id=thread, request=request, message_id=message)
        return await self.router.complete(call, on_text)


MakeRouter = Callable[..., AbstractAsyncContextManager[Fixture]]


@pytest.fixture
def make_router() -> MakeRouter:
    """Return a function that opens a router over some providers, all of which serve the model ``main``."""

    @asynccontextmanager
    async def make(
        *providers: Provider,
        limits: Limits | BudgetPlan | None = None,
        settings: RouterSettings | None = None,
        models: tuple[ModelPlan, ...] = (),
        prices: Mapping[str, Rates | None] | None = None,
        mode: Mode = "enforce",
        on_entry: Callable[[ThreadBudgetRegistry], None] = lambda _registry: None,
        **plan: Any,
    ) -> AsyncIterator[Fixture]:
        routes = tuple(Route(provider.name, "m") for provider in providers)
        plans = models or (ModelPlan(name="main", routes=routes, **plan),)
        events: list[Any] = []
        journal, clock, ids = MemoryJournal(), VirtualClock(), SequentialIds()
        budget = limits if isinstance(limits, BudgetPlan) else BudgetPlan(thread=limits or Limits(tokens=1_000_000))

        entries: list[AnyEntry] = []

        def keep(entry: AnyEntry) -> None:
            entries.append(entry)
            journal.append(entry)
            if registry.has_budget("t"):
                on_entry(registry)

        registry = ThreadBudgetRegistry(budget, Ledger(keep), clock, mode=mode)
        registry.open_thread("t")
        table = TablePrices(prices or {})
        router = LLMRouter(
            RouterSpec(
                models={plan.name: plan for plan in plans},
                providers={provider.name: provider for provider in providers},
                prices=table,
                settings=settings or RouterSettings(),
            ),
            registry=registry,
            outbox=Outbox(journal, events.append, clock),
            clock=clock,
            ids=ids,
            chance=random.Random(7).random,
        )
        async with router:
            yield Fixture(router, registry, events, table, entries)

    return make
