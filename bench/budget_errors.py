"""The two errors of a budget: what is spent above it, and what is refused although it would have fitted.

    python -m bench.budget_errors [--threads N]

Threads with a limit in tokens make calls until one is refused, through the real router and the real budgets, in
virtual time. The input is counted by a real tokenizer (SmolLM2 in llama.cpp, chat template included); how long each
answer wants to be is drawn beforehand, so that it is known afterwards what a refused or shortened call would have
taken. The same seed draws the same calls for every estimate.

* **overspend**: tokens spent above the limit, per thousand of all limits.
* **over-block**: refusals of calls that would have fitted into what was left, per cent of all refusals.
* **cut**: answers shortened although the whole would have fitted, per cent of all calls.
* **held**: tokens held for the input of a call, per real token; the median.
"""

import argparse
import math
import random
import statistics
from collections.abc import Callable, Iterator

import msgspec

from bench.corpus import SOURCES
from bench.tokenizer import Tokenizer
from organism.amounts import Limits, TokenUsage
from organism.budget.calibration import Calibration
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.errors import BudgetExhaustedError, Refusal
from organism.ledger.entries import CallRecord
from organism.ledger.ledger import Ledger
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.pricing.rates import FREE, Rates
from organism.router.call import Call, Estimate, RouterSettings
from organism.router.planning.plan import ModelPlan, Route
from organism.router.router import LLMRouter
from organism.stores.memory import MemoryJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, SequentialIds, VirtualClock, run
from organism.usage.outbox import Outbox

CountTurns = Callable[[tuple[str, ...]], int]
"""Counts the tokens of a conversation."""

NEVER = 10**9
LIMITS = (2_000, 8_000, 32_000)
"""Limits of threads, in tokens, in turn."""


class Wanted(msgspec.Struct, frozen=True):
    """A call before it is made: its turns, their real tokens, and how long its answer wants to be."""

    turns: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    cap: int


class Errors(msgspec.Struct):
    """What was counted under one estimate."""

    calls: int = 0
    refusals: int = 0
    over_blocks: int = 0
    cuts: int = 0
    overruns: int = 0
    limits: int = 0
    overspent: int = 0
    held_permille: list[int] = msgspec.field(default_factory=list)


class Free:
    """Prices of a model that costs nothing: only tokens are limited here."""

    def rates(self, _provider: str, _model: str) -> Rates | None:
        """Return no cost."""
        return FREE


class WatchedRegistry(ThreadBudgetRegistry):
    """Budgets that remember how the last call of each thread was held."""

    last: dict[str, tuple[Ask, GrantedHold | Refusal | None]]

    async def reserve(
        self, spender: Spender, ask: Ask, call: CallRecord | None = None, until_s: float = math.inf
    ) -> GrantedHold | Refusal | None:
        """Reserve, and remember what was asked and what was held."""
        held = await super().reserve(spender, ask, call, until_s)
        self.last[spender.thread_id] = (ask, held)
        return held


class Workload(msgspec.Struct, frozen=True):
    """Threads and their calls, drawn by a seed: the same every time.

    Attributes:
        kinds: What kinds of text they have.
        threads: How many there are.
        seed: Draws them.
        count: Counts tokens.
    """

    kinds: tuple[str, ...]
    threads: int
    seed: int
    count: CountTurns

    def calls(self, thread: int) -> Iterator[Wanted]:
        """Yield the calls of a thread without end: a conversation in one kind of text, as agents have it."""
        chance = random.Random(f"{self.seed} {thread}")  # noqa: S311 - a workload that can be drawn again
        source = SOURCES[chance.choice(self.kinds)]
        while True:
            turns = tuple(source(chance, chance.randrange(40, 2400)) for _ in range(chance.choice([1, 1, 3])))
            cap = chance.choice([100, 200, 400])
            yield Wanted(turns, self.count(turns), chance.randrange(5, cap + 1), cap)


async def measure(estimate: Estimate, samples_min: int, workload: Workload) -> Errors:
    """Let threads make their calls, one after the other, until one is refused."""
    found, journal, clock, ids = Errors(), MemoryJournal(), VirtualClock(), SequentialIds()
    under_way: list[Wanted] = []

    def answer(request: CompletionRequest) -> ScriptedAnswer:
        wanted = under_way.pop()
        output = min(wanted.output_tokens, request.max_output_tokens)
        return ScriptedAnswer(text="w", usage=TokenUsage(input=wanted.input_tokens, output=output))

    registry = WatchedRegistry(BudgetPlan(final_reserve_percent=0), Ledger(journal.append), clock)
    registry.last = {}
    router = LLMRouter(
        models={"main": ModelPlan(name="main", routes=(Route("p", "m"),))},
        providers={"p": ScriptedProvider(answer, name="p")},
        registry=registry,
        prices=Free(),
        journal=journal,
        outbox=Outbox(journal, lambda _event: None, clock),
        clock=clock,
        ids=ids,
        settings=RouterSettings(estimate=estimate),
        calibration=Calibration(samples_min=samples_min),
    )
    async with router:
        for thread in range(workload.threads):
            registry.open_thread(f"t{thread}", limits=Limits(tokens=LIMITS[thread % len(LIMITS)]))
            for wanted in workload.calls(thread):
                under_way[:] = [wanted]
                if not await _call(router, registry, f"t{thread}", wanted, found):
                    break
            final = registry.cleanup_thread(f"t{thread}").state
            found.limits += final.limits.tokens or 0
            found.overspent += max(0, final.spent.tokens - (final.limits.tokens or 0))
    return found


async def _call(router: LLMRouter, registry: WatchedRegistry, thread: str, wanted: Wanted, found: Errors) -> bool:
    """Make a call and count what came of it; ``False`` if it was refused."""
    request = CompletionRequest(
        model="", messages=tuple(ChatMessage("user", turn) for turn in wanted.turns), max_output_tokens=wanted.cap
    )
    call = Call(spender=Spender(thread, "writer", "main"), root_thread_id=thread, request=request)
    whole = wanted.input_tokens + wanted.output_tokens
    found.calls += 1
    try:
        await router.complete(call)
    except BudgetExhaustedError as error:
        found.refusals += 1
        found.over_blocks += whole <= error.shortfall.available
        return False
    ask, held = registry.last[thread]
    if isinstance(held, GrantedHold):
        found.cuts += held.output_cap < wanted.output_tokens and whole <= ask.input_tokens + held.output_cap
        found.overruns += wanted.input_tokens > ask.input_tokens
        found.held_permille.append(ask.input_tokens * 1000 // wanted.input_tokens)
    return True


def table(rows: list[tuple[str, Errors]]) -> str:
    """Write the figures as a Markdown table."""
    lines = [
        "| texts | estimate | calls | refused | overspend | overruns | over-block | cut | held |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, errors in rows:
        lines.append(
            f"| {name} | {errors.calls:,} | {errors.refusals:,} "
            f"| {errors.overspent * 1000 / max(1, errors.limits):.3f} ‰ | {errors.overruns:,} "
            f"| {errors.over_blocks * 100 / max(1, errors.refusals):.1f} % "
            f"| {errors.cuts * 100 / max(1, errors.calls):.2f} % "
            f"| {statistics.median(errors.held_permille or [0]) / 1000:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tokenizer = Tokenizer()
    rows: list[tuple[str, Errors]] = []
    for workload, kinds in WORKLOADS.items():
        drawn = Workload(kinds, arguments.threads, arguments.seed, tokenizer.count_turns)
        for name, estimate, samples_min in VARIANTS:
            rows.append((f"{workload} | {name}", run(measure, estimate, samples_min, drawn)))
    print(table(rows))


WORKLOADS: dict[str, tuple[str, ...]] = {
    "English": ("English",),
    "Python": ("Python",),
    "all kinds in turn": tuple(SOURCES),
}
"""Kinds of text that the threads of one organism have."""

VARIANTS: tuple[tuple[str, Estimate, int], ...] = (
    ("`strict`", "strict", NEVER),
    ("`tight`, nothing learnt", "tight", NEVER),
    ("`tight`, as it learns", "tight", 8),
)
"""The rows of the table: a name, an estimate, and how many counts must be known before they are relied on."""


if __name__ == "__main__":
    main()
