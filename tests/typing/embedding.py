"""What users write, as type checkers see it: read by mypy --strict and by pyright, and never run."""

from decimal import Decimal

from organism import (
    BudgetPlan,
    BudgetWarning,
    Context,
    Limits,
    Organism,
    Provider,
    ScopedLimits,
    Text,
    ThreadBudgetRegistry,
    ThreadResult,
    TokenUsage,
    UsageEvent,
    UsageTracker,
    agent,
)
from organism.budgets import LabelLimits, PoolLimits, ScopeRule, llm_router


@agent(next="writer")
async def planner(message: Text, ctx: Context) -> Text:
    answer = await ctx.llm.complete(message.text, max_output_tokens=20)
    return Text(answer.text)


@agent
def writer(message: Text, ctx: Context) -> Text:
    return message


@writer.on(BudgetWarning)
def be_short(message: BudgetWarning, ctx: Context) -> None:
    ctx.state["short"] = message.threshold


@agent
async def reader(message: Text, ctx: Context) -> Text:
    pieces: list[str] = [piece async for piece in ctx.llm.stream(message.text)]
    return Text("".join(pieces))


async def run() -> str:
    async with Organism([planner, writer], limits=Limits(tokens=500)) as organism:
        result: ThreadResult = await organism.run("Write about tides")
        return result.text


def run_in_a_script() -> str:
    return Organism([writer], limits=Limits(tokens=500, usd="0.10", seconds=60, calls=3)).run_sync("go").text


def of_tenants() -> Organism:
    tenant = LabelLimits(
        each=ScopedLimits(Limits(usd=10), per="day"),
        values={"acme": ScopedLimits(Limits(usd=100), per="day")},
        pools={"trial": PoolLimits(frozenset({"bob", "eve"}), ScopedLimits(Limits(usd=12), per="day"))},
        required=True,
    )
    rule = ScopeRule(mode="audit", thresholds=(50, 90), actions=((90, "approve"),))
    plan = BudgetPlan(labels={"tenant": tenant}, windows={"day": Limits(usd=20)}, rules={"day": rule})
    return Organism([writer], limits=plan)


async def hold() -> Decimal:
    budgets = ThreadBudgetRegistry(Limits(usd=5))
    budgets.open_thread("job")
    async with budgets.hold("job", tokens=800, usd="0.02") as held:
        held.settle(TokenUsage(input=500, output=150), usd="0.015")
    return budgets.budget("job").spent.usd


async def follow(organism: Organism) -> None:
    organism.usage.subscribe(lambda event: print(event.id), UsageEvent)
    async for event in organism.usage.subscribe(UsageEvent):
        if isinstance(event, UsageEvent):
            print(event.total_tokens, event.cost_usd, event.latency_ms)


async def call(provider: Provider) -> str:
    budgets, usage = ThreadBudgetRegistry(Limits(usd=5)), UsageTracker()
    budgets.open_thread("job")
    async with llm_router({"main": "p/gpt-5-mini"}, {"p": provider}, budgets, usage=usage) as router:
        answer = await router.complete("Write", model="main", thread_id="job", metadata={"team": "blue"})
    return answer.text
