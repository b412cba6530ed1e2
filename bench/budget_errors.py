"""The two errors of a budget: what is spent above it, and what is refused although it would have fitted.

    python -m bench.budget_errors [--threads N] [--only growing]

Threads with a limit in tokens make calls until one is refused, through the real router and the real budgets, in
virtual time. The input is counted by a real tokenizer (SmolLM2 in llama.cpp, chat template included); how long each
answer wants to be is drawn beforehand, so that it is known afterwards what a refused or shortened call would have
taken. The same seed draws the same calls for every estimate.

Calls are of two kinds: each its own text, or rounds of a growing conversation, as chats and loops of tools have it:
all that was said before, the answer to it, and a result or the next question.

* **overspend**: tokens spent above the limit, per thousand of all limits.
* **over-block**: refusals of calls that would have fitted into what was left, per cent of all refusals.
* **cut**: answers shortened although the whole would have fitted, per cent of all calls.
* **held**: tokens held for the input of a call, per real token; the median.
* **warned**: threads that had been warned before the call that was refused, per cent.
"""

import argparse
import itertools
import math
import random
import statistics
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from bench.corpus import SOURCES
from bench.tokenizer import Tokenizer
from organism.amounts import Limits, TokenUsage
from organism.budget.calibration import Calibration
from organism.budget.counted_prefixes import PREFIXES_MAX
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan
from organism.errors import BudgetExhaustedError, Refusal
from organism.ledger.entries import CallRecord
from organism.ledger.ledger import Ledger
from organism.llm.requests import ChatMessage, CompletionRequest, Role
from organism.pricing.rates import FREE, Rates
from organism.router.call import Call, Estimate, RouterSettings
from organism.router.planning.plan import ModelPlan, Route
from organism.router.router import LLMRouter
from organism.router.router_config import RouterSpec
from organism.stores.memory import MemoryJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, SequentialIds, VirtualClock, run
from organism.usage.outbox import Outbox

CountTurns = Callable[[tuple[str, ...]], int]
"""Counts the tokens of a conversation."""

NEVER = 10**9
_ROLES: tuple[Role, ...] = ("user", "assistant") * 500
LIMITS = (2_000, 8_000, 32_000)
"""Limits of threads, in tokens, in turn."""

GROWING_LIMITS = (8_000, 32_000, 128_000)
"""Those of threads whose calls grow, to some thirty rounds."""

GROWING_AT_ONCE = 20
"""So many conversations take turns."""

_LETTERS_PER_TOKEN = 4


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
    warned: int = 0
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
        grows: Whether a thread's calls are the rounds of one conversation.
    """

    kinds: tuple[str, ...]
    threads: int
    seed: int
    count: CountTurns
    grows: bool = False

    @property
    def limits(self) -> tuple[int, ...]:
        """Limits of threads, in tokens, in turn."""
        return GROWING_LIMITS if self.grows else LIMITS

    def calls(self, thread: int) -> Iterator[Wanted]:
        """Yield the calls of a thread without end: a conversation in one kind of text, as agents have it."""
        chance = random.Random(f"{self.seed} {thread}")  # noqa: S311 - a workload that can be drawn again
        source = SOURCES[chance.choice(self.kinds)]
        turns: tuple[str, ...] = ()
        while True:
            if self.grows:
                turns += (source(chance, chance.randrange(40, 2400)),)
            else:
                turns = tuple(source(chance, chance.randrange(40, 2400)) for _ in range(chance.choice([1, 1, 3])))
            cap = chance.choice([100, 200, 400])
            wanted = Wanted(turns, self.count(turns), chance.randrange(5, cap + 1), cap)
            yield wanted
            turns += (source(chance, wanted.output_tokens * _LETTERS_PER_TOKEN),)


async def measure(estimate: Estimate, samples_min: int, workload: Workload) -> Errors:
    """Let threads make their calls until one is refused: one thread after the other, those that grow some at a time."""
    found, journal, clock, ids = Errors(), MemoryJournal(), VirtualClock(), SequentialIds()
    under_way: list[Wanted] = []

    def answer(request: CompletionRequest) -> ScriptedAnswer:
        wanted = under_way.pop()
        output = min(wanted.output_tokens, request.max_output_tokens)
        return ScriptedAnswer(text="w", usage=TokenUsage(input=wanted.input_tokens, output=output))

    registry = WatchedRegistry(BudgetPlan(final_reserve_percent=0), Ledger(journal.append), clock)
    registry.last = {}
    router = LLMRouter(
        RouterSpec(
            models={"main": ModelPlan(name="main", routes=(Route("p", "m"),))},
            providers={"p": ScriptedProvider(answer, name="p")},
            prices=Free(),
            settings=RouterSettings(estimate=estimate),
        ),
        registry=registry,
        outbox=Outbox(journal, lambda _event: None, clock),
        clock=clock,
        ids=ids,
        calibration=Calibration(samples_min=samples_min, prefixes_max=0 if samples_min == NEVER else PREFIXES_MAX),
    )
    waiting = ((f"t{thread}", workload.calls(thread)) for thread in range(workload.threads))
    limits = itertools.cycle(workload.limits)
    async with router:
        speaking: deque[tuple[str, Iterator[Wanted]]] = deque()
        while True:
            for thread, calls in itertools.islice(waiting, (GROWING_AT_ONCE if workload.grows else 1) - len(speaking)):
                registry.open_thread(thread, limits=Limits(tokens=next(limits)))
                speaking.append((thread, calls))
            if not speaking:
                return found
            thread, calls = speaking.popleft()
            under_way[:] = [wanted := next(calls)]
            if await _call(router, registry, thread, wanted, found):
                speaking.append((thread, calls))
                continue
            final = registry.cleanup_thread(thread).state
            found.limits += final.limits.tokens or 0
            found.overspent += max(0, final.spent.tokens - (final.limits.tokens or 0))


async def _call(router: LLMRouter, registry: WatchedRegistry, thread: str, wanted: Wanted, found: Errors) -> bool:
    """Make a call and count what came of it; ``False`` if it was refused."""
    request = CompletionRequest(
        model="", messages=tuple(map(ChatMessage, _ROLES, wanted.turns)), max_output_tokens=wanted.cap
    )
    call = Call(spender=Spender(thread, "writer", "main"), root_thread_id=thread, request=request)
    whole = wanted.input_tokens + wanted.output_tokens
    found.calls += 1
    warned = registry.standing_warning(thread) is not None
    try:
        await router.complete(call)
    except BudgetExhaustedError as error:
        found.refusals += 1
        found.over_blocks += whole <= error.shortfall.available
        found.warned += warned
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
        "| texts | estimate | calls | refused | overspend | overruns | over-block | cut | held | warned |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, errors in rows:
        lines.append(
            f"| {name} | {errors.calls:,} | {errors.refusals:,} "
            f"| {errors.overspent * 1000 / max(1, errors.limits):.3f} ‰ | {errors.overruns:,} "
            f"| {errors.over_blocks * 100 / max(1, errors.refusals):.1f} % "
            f"| {errors.cuts * 100 / max(1, errors.calls):.2f} % "
            f"| {statistics.median(errors.held_permille or [0]) / 1000:.2f} "
            f"| {errors.warned * 100 / max(1, errors.refusals):.1f} % |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=600)
    parser.add_argument("--only", default="", help="workloads with this in their name")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tokenizer = Tokenizer()
    rows: list[tuple[str, Errors]] = []
    for workload, (kinds, grows) in WORKLOADS.items():
        if arguments.only not in workload:
            continue
        drawn = Workload(kinds, arguments.threads, arguments.seed, tokenizer.count_turns, grows)
        for name, estimate, samples_min in VARIANTS:
            rows.append((f"{workload} | {name}", run(measure, estimate, samples_min, drawn)))
    print(table(rows))


WORKLOADS: dict[str, tuple[tuple[str, ...], bool]] = {
    "English": (("English",), False),
    "Python": (("Python",), False),
    "all kinds in turn": (tuple(SOURCES), False),
    "English, growing": (("English",), True),
    "Python, growing": (("Python",), True),
    "all kinds in turn, growing": (tuple(SOURCES), True),
}
"""Kinds of text that the threads of one organism have, and whether their conversations grow."""

VARIANTS: tuple[tuple[str, Estimate, int], ...] = (
    ("`strict`", "strict", NEVER),
    ("`tight`, nothing learnt", "tight", NEVER),
    ("`tight`, as it learns", "tight", 8),
)
"""The rows of the table: a name, an estimate, and how many counts must be known before they are relied on."""


if __name__ == "__main__":
    main()
