"""Lives of threads that can be lived again under other limits: what an agent does is written in its first message."""

from contextlib import suppress
from typing import Any

import anyio
import msgspec

from organism import BudgetExhaustedError, BudgetPlan, Context, Limits, Organism, Text, agent
from organism.amounts import Amounts
from organism.clock import utc
from organism.errors import ProviderError, Refusal, RejectedError, UncertainError
from organism.ledger.entries import AnyEntry, stored_entries
from organism.llm.requests import CompletionRequest
from organism.pricing.book import PriceBook, ProviderPrices
from organism.pricing.rates import flat_rates
from organism.router.call import RouterSettings
from organism.router.planning.plan import Degrade, ModelPlan, Route
from organism.stores.memory import MemoryJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, SequentialIds, VirtualClock, run
from organism.usage.events import AnyEvent
from organism.whatif.changes import Baseline

PRICES = {
    "main-1": flat_rates(input=3_000_000_001, cached_input=300_000_007, output=15_000_000_003, source="test 1"),
    "small-1": flat_rates(input=150_000_001, output=600_000_007, source="test 2"),
}
ROUTES = {"main": (Route("scripted", "main-1"),), "small": (Route("scripted", "small-1"),)}


class Ask(msgspec.Struct, frozen=True, tag=True):
    """A call: how long its prompt, its cap and its answer are, what goes wrong, and how long it takes."""

    words: int = 5
    cap: int = 50
    answer: int = 20
    fault: str = "none"
    model: str = "main"
    seconds: int = 0


class Child(msgspec.Struct, frozen=True, tag=True):
    """A child thread with a life of its own."""

    budget: str
    tokens: int
    asks: list[Ask]


class Buy(msgspec.Struct, frozen=True, tag=True):
    """Something else that costs money: held, or told when it has happened; millionths of a dollar."""

    held: int = 0
    spent: int = 0


class Together(msgspec.Struct, frozen=True, tag=True):
    """Calls at the same time."""

    asks: list[Ask]


Steps = list[Ask | Buy | Child | Together]


class Life(msgspec.Struct, frozen=True):
    """How a thread has lived, as far as its first rest."""

    thread_id: str
    entries: list[AnyEntry]
    events: list[AnyEvent]
    refused: Refusal | None
    baseline: Baseline


def answered(request: CompletionRequest) -> ScriptedAnswer:
    """Answer as the prompt says."""
    _, length, fault, seconds, *_ = str(request.messages[-1].content).split(" ")
    error: ProviderError | None = None
    match fault:
        case "rejected":
            error = RejectedError("scripted", "no", status=400)
        case "reset":
            error = UncertainError("scripted", "reset")
    return ScriptedAnswer(
        text=" ".join(["w"] * int(length)),
        reasoning="hm hm hm" if fault == "thinks" else "",
        report_usage=fault != "uncounted",
        usage_error="a half token" if fault == "disputed" else None,
        cost_nanousd=1_234_567 if fault == "reported" else None,
        error=error,
        latency_s=int(seconds),
    )


async def act(steps: Steps, ctx: Context) -> None:
    for number, step in enumerate(steps):
        match step:
            case Ask():
                await call(number, step, ctx)
            case Buy(0, spent):
                ctx.charge(usd=spent / 1e6, what="post")
            case Buy(held, spent):
                async with ctx.hold(usd=held / 1e6, what="scan") as hold:
                    hold.settle(usd=spent / 1e6)
            case Together(asks):
                async with anyio.create_task_group() as tasks:
                    for place, ask in enumerate(asks):
                        tasks.start_soon(call, 100 * number + place, ask, ctx)
            case Child(budget, tokens, asks):
                life = Text(msgspec.json.encode(asks).decode())
                await ctx.spawn("helper", life, limits=Limits(tokens=tokens), budget=budget)  # type: ignore[arg-type]


async def call(number: int, ask: Ask, ctx: Context) -> None:
    prompt = f"{number} {ask.answer} {ask.fault} {ask.seconds} " + "x " * ask.words
    with suppress(ProviderError):
        await ctx.llm.complete(prompt, model=ask.model, max_output_tokens=ask.cap)


@agent(peers=["helper"])
async def worker(message: Text, ctx: Context) -> Text:
    await act(msgspec.json.decode(message.text, type=Steps), ctx)
    return Text("done")


@agent()
async def helper(message: Text, ctx: Context) -> Text:
    await act(msgspec.json.decode(message.text, type=Steps), ctx)
    return Text("done")


def lived(
    steps: Steps,
    plan: BudgetPlan,
    *,
    degrade: Degrade | None = None,
    before: Steps | None = None,
    raised: Limits | None = None,
    adjusted: Amounts | None = None,
    **options: Any,
) -> Life:
    """Live in virtual time, with real parts all through.

    Args:
        steps: What the thread does.
        plan: All limits.
        degrade: What takes the place of the model ``main``.
        before: What another thread has done before.
        raised: The limits that the thread is given when it has waited for budget for 1,000 seconds.
        adjusted: What an operator adds to its spend.
        options: What else the organism is made with.
    """

    async def main() -> Life:
        clock, journal = VirtualClock(), MemoryJournal()
        book = PriceBook(PRICES, now=lambda: utc(clock))
        models = {
            name: ModelPlan(name=name, routes=routes, degrade=degrade if name == "main" else None)
            for name, routes in ROUTES.items()
        }
        events: list[AnyEvent] = []
        organism = Organism(
            [worker, helper],
            models=models,
            providers={"scripted": ScriptedProvider(answered)},
            limits=plan,
            prices=book,
            # What is learnt of one model says nothing of another, so a call that moves would be held at another size.
            router=RouterSettings(estimate="strict"),
            journal=journal,
            clock=clock,
            ids=SequentialIds(),
            **options,
        )
        organism.usage.subscribe(events.append)
        refused = None
        async with organism:
            if before:
                await organism.run(Text(msgspec.json.encode(before).decode()), to="worker")
            thread_id = await organism.open_thread(msgspec.json.encode(steps).decode(), to="worker")
            if adjusted is not None:
                await organism.control.adjust_budget(thread_id, adjusted, "invoice")
            try:
                await organism.wait(thread_id)
            except BudgetExhaustedError as error:
                refused = error.shortfall
                if raised is not None:
                    await anyio.sleep(1000)
                    await organism.set_limits(thread_id, raised)
                    await organism.wait(thread_id)
            entries = [entry async for entry in stored_entries(journal)]
        baseline = Baseline(prices=ProviderPrices(book, {}), plan=plan, models=models)
        return Life(thread_id, entries, events, refused, baseline)

    return run(main)
