"""A replay under other limits of tenants, days and agents: whatever the thread's calls were held on."""

from typing import Any

import pytest

from organism import BudgetExhaustedError, BudgetPlan, Context, Limits, Organism, ScopedLimits, Text, agent
from organism.amounts import TokenUsage
from organism.budget.scopes import LabelLimits, PoolLimits
from organism.clock import utc
from organism.errors import ConfigError, Refusal
from organism.ledger.entries import AnyEntry, stored_entries
from organism.pricing.book import PriceBook, ProviderPrices
from organism.stores.memory import MemoryJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, SequentialIds, VirtualClock, run
from organism.whatif.changes import Baseline, Changes
from organism.whatif.replay import replay

BASELINE = Baseline(prices=ProviderPrices(PriceBook(now=lambda: utc(VirtualClock())), {}))


def plan(tokens: int, kind: str) -> BudgetPlan:
    """Make a plan in which one kind of scope has a limit, and all others one that is never reached."""
    ample = 1_000_000

    def of(name: str) -> ScopedLimits:
        return ScopedLimits(Limits(tokens=tokens if name == kind else ample), "day")

    return BudgetPlan(
        thread=Limits(tokens=ample),
        windows={"day": of("organism").limits},
        agents={"worker": of("agent")},
        labels={"tenant": LabelLimits(each=of("label"), pools={"big": PoolLimits(frozenset({"acme"}), of("pool"))})},
        final_reserve_percent=0,
    )


def lived(plan: BudgetPlan) -> tuple[list[AnyEntry], str, Refusal | None]:
    @agent(name="worker")
    async def work(_message: Text, ctx: Context) -> None:
        for _ in range(10):
            await ctx.llm.complete("word", max_output_tokens=100)

    async def main() -> tuple[list[AnyEntry], str, Refusal | None]:
        journal, usage = MemoryJournal(), TokenUsage(input=1, output=99)
        organism: Any = Organism(
            [work],
            models={"main": "scripted/m"},
            providers={"scripted": ScriptedProvider(lambda _request: ScriptedAnswer(text="w", usage=usage))},
            provider_kinds={"scripted": "local"},
            limits=plan,
            clock=VirtualClock(),
            ids=SequentialIds(),
            journal=journal,
        )
        refused = None
        async with organism:
            thread = await organism.open_thread("go", labels={"tenant": "acme"})
            try:
                await organism.wait(thread)
            except BudgetExhaustedError as error:
                refused = error.refusal
            return [entry async for entry in stored_entries(journal)], thread, refused

    return run(main)


NAMES = [
    ("label", "label:tenant=acme"),
    ("label", "label:tenant=acme@day"),
    ("label", "label:tenant=acme@day:2026-01-01"),
    ("pool", "pool:tenant=big"),
    ("agent", "agent:worker@day"),
    ("organism", "organism@day"),
    ("organism", "organism"),
]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_limits_of_another_scope_refuse_what_they_really_refuse(kind: str, name: str) -> None:
    """A tenant's limit, or a day's, can be tried on a recorded thread, by the account's name or the scope's."""
    recorded, thread, _ = lived(plan(1_000_000, kind))
    _, _, refused = lived(plan(410, kind))

    again = replay(recorded, thread, Changes(mode="enforce", accounts={name: {"tokens": 410}}), BASELINE)

    assert refused is not None
    assert again.stop is not None
    assert again.stop.shortfall == refused
    assert again.total.replayed.calls < again.total.recorded.calls == 10
    lifted = replay(recorded, thread, Changes(mode="enforce", accounts={name: {"tokens": None}}), BASELINE)
    assert lifted.total.replayed == lifted.total.recorded


@pytest.mark.parametrize(
    "name", ["label:tenant=other", "label:team=acme", "organism@month", "tenant=acme", "model:main"]
)
def test_scope_that_no_call_was_held_on_is_refused_by_name(name: str) -> None:
    """What others have spent on such a scope is not recorded, so nothing is made up; the error says what there is."""
    recorded, thread, _ = lived(plan(1_000_000, "label"))

    with pytest.raises(ConfigError, match=r"there are: agent:worker@day:2026-01-01, label:tenant=acme"):
        replay(recorded, thread, Changes(mode="enforce", accounts={name: {"tokens": 410}}), BASELINE)
