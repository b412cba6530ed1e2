"""A process that dies between any two groups of its journal, and one more time while it takes up again."""

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import anyio
import msgspec
import pytest

from organism import (
    AgentFailed,
    Bounds,
    BudgetExhaustedError,
    BudgetPlan,
    Context,
    Limits,
    Message,
    Organism,
    Text,
    To,
    agent,
    llm_agent,
)
from organism.agents.agent import Agent
from organism.agents.llm_agent import LLMSettings
from organism.amounts import ZERO, Amounts
from organism.journal import JournalBrokenError
from organism.ledger.entries import AccountClosed, AccountOpened, Overran, Released, Reserved, Settled, decode_entry
from organism.llm.requests import CompletionRequest, ToolCall, ToolResult
from organism.messages import Gathered
from organism.router.call import RouterSettings
from organism.stores.memory import MemoryJournal
from organism.testing import CrashingJournal, ScriptedAnswer, ScriptedProvider, SequentialIds, VirtualClock, run
from organism.threads.records import STOPPED
from organism.tools import tool
from organism.usage.events import AnyEvent, ThreadClosed, ThresholdCrossed, UsageEvent

CAP = 20
"""Tokens each answer may have, and must be able to have: a clamped answer would be another one."""

LIMIT = 260
"""Tokens of the thread: enough for about half of the work, so that it parks."""


class Number(Message, frozen=True):
    """One of a row, to be handled in order."""

    value: int


async def paid(ctx: Context, what: str) -> str:
    return (await ctx.llm.complete(what, max_output_tokens=CAP)).text


@agent(next=["left", "right", "row", "late"])
async def start(message: Text, ctx: Context) -> list[To] | None:
    """Fan out: two for a join, three in a row, one that is delayed. What comes of them goes to the user."""
    if ctx.sender != "user":
        ctx.reply(message)
        return None
    ctx.send("late", Text("later"), delay_s=7)
    return [To("left", Text("l")), To("right", Text("r")), *(To("row", Number(value)) for value in (1, 2, 3))]


@agent(next="join")
async def left(message: Text, ctx: Context) -> Text:
    """Two paid calls: the first must not be paid again when the second is refused."""
    return Text(f"{await paid(ctx, 'left one')} {await paid(ctx, 'left two')}")


@agent(next="join")
async def right(message: Text, ctx: Context) -> Text:
    return Text(await paid(ctx, "right"))


@agent(gather=["left", "right"], peers=["oracle", "child"])
async def join(message: Gathered, ctx: Context) -> None:
    """Ask, then open a child of each kind, then answer the user."""
    answers = await ctx.gather([("oracle", Text("one")), ("oracle", Text("two"))])
    shared = await ctx.spawn("child", Text("shared"))
    carved = await ctx.spawn("child", Text("carved"), limits=Limits(tokens=60), budget="carved")
    parts = [part.text for part in message.parts]
    said = [answer.text if isinstance(answer, Text) else f"failed: {answer}" for answer in answers]
    children = [output.text for child in (shared, carved) for output in child.outputs if isinstance(output, Text)]
    ctx.reply(Text(" | ".join((*parts, *said, *children))))


@agent()
async def oracle(message: Text, ctx: Context) -> Text:
    return Text(f"oracle: {await paid(ctx, message.text)}")


@agent()
async def child(message: Text, ctx: Context) -> Text:
    return Text(f"child: {await paid(ctx, message.text)}")


@agent()
async def row(message: Number, ctx: Context) -> Text | None:
    """Remember every number; what is remembered shows a message that was lost, doubled or overtaken."""
    seen = ctx.state.setdefault("seen", [])
    seen.append(message.value)
    await anyio.sleep(0.5)
    return Text(f"row {seen}") if message.value == 3 else None


@agent()
async def late(message: Text, ctx: Context) -> Text:
    return Text(f"late: {await paid(ctx, 'late')}")


# -- a second one, in which things go wrong ----------------------------------------------------------------------------


@agent(peers=["slow", "bad", "nest"])
async def boss(message: Text | AgentFailed, ctx: Context) -> list[To] | None:
    """More messages than a mailbox holds, one that nobody can handle, and children of children."""
    if isinstance(message, AgentFailed):
        ctx.reply(Text(f"{message.agent} has failed"))
    elif ctx.sender != "user":
        ctx.reply(message)
    else:
        return [*(To("slow", Number(value)) for value in range(1, 7)), To("bad", Text("b")), To("nest", Text("n"))]
    return None


@agent()
async def slow(message: Number, ctx: Context) -> Text | None:
    """As :func:`row`, with so small a mailbox that most messages stand before it."""
    seen = ctx.state.setdefault("seen", [])
    seen.append(message.value)
    await anyio.sleep(0.3)
    return Text(f"slow {seen}") if message.value == 6 else None


@agent()
async def bad(message: Text, ctx: Context) -> None:
    await paid(ctx, "in vain")
    raise RuntimeError("no")


@agent(peers=["deep"])
async def nest(message: Text, ctx: Context) -> None:
    result = await ctx.spawn("deep", Text("carved"), limits=Limits(tokens=150), budget="carved")
    ctx.reply(result.outputs[0])


@agent(peers=["child"])
async def deep(message: Text, ctx: Context) -> Text:
    result = await ctx.spawn("child", Text("shared"))
    leaf = result.outputs[0]
    return Text(f"deep: {await paid(ctx, 'deep')}, {leaf.text if isinstance(leaf, Text) else leaf}")


# -- a third one, which pays for more than answers ---------------------------------------------------------------------

BOUGHT: Counter[str] = Counter()
"""What the shops of one row of lives bill, in nano-USD, by what it is for: it is not undone when a process dies.

What is charged only after it has happened is not here: it dies with a process that dies before its commit.
"""

CENT = 10_000_000


@agent(peers=["clerk", "buyer"])
async def desk(message: Text, ctx: Context) -> list[To] | None:
    """Have two agents spend money on tools, one of them by itself."""
    if ctx.sender != "user":
        ctx.reply(message)
        return None
    return [To("clerk", Text("c")), To("buyer", Text("b"))]


@agent()
async def clerk(message: Text, ctx: Context) -> Text:
    """Charge what has been spent, hold what is about to be, and pay for an answer between them and after."""

    async def stamp() -> int:
        ctx.charge(usd="0.02", what="stamps")
        return 1

    await ctx.once("stamps", stamp, int)
    one = await paid(ctx, "clerk one")

    async def scan() -> str:
        async with ctx.hold(usd="0.30", what="scan") as hold:
            await anyio.sleep(0.2)
            BOUGHT["scan"] += 11 * CENT
            hold.settle(usd="0.11")
        return "scanned"

    scanned = await ctx.once("scan", scan, str)
    async with ctx.hold(usd="0.05", what="post") as hold:
        hold.charge(usd="0.03")
    return Text(f"{one} {scanned} {await paid(ctx, 'clerk two')}")


@tool(price={"call": "0.07"})
async def lookup() -> str:
    """Look something up."""
    await anyio.sleep(0.3)
    BOUGHT["lookup"] += 7 * CENT
    return "found"


@tool(price={"second": "0.01"}, timeout_s=2)
async def render() -> str:
    """Render something for a second."""
    await anyio.sleep(1)
    BOUGHT["render"] += CENT
    return "rendered"


class Scenario(msgspec.Struct):
    """What is run, and what must have come of it: threads, dead letters, and answers and purchases paid for."""

    agents: list[Agent]
    closed: int
    dead: int
    paid: dict[str, int]
    bounds: Bounds = Bounds()
    bought: dict[str, int] = {}
    usd: str | None = None


SCENARIOS = {
    "work": Scenario(
        [start, left, right, join, oracle, child, row, late],
        closed=3,
        dead=0,
        paid={"left": 2, "right": 1, "oracle": 2, "child": 2, "late": 1},
    ),
    "trouble": Scenario(
        [boss, slow, bad, nest, deep, child],
        closed=3,
        dead=1,
        paid={"bad": 1, "deep": 1, "child": 1},
        bounds=Bounds(mailbox_messages=2),
    ),
    "purchases": Scenario(
        [desk, clerk, llm_agent("buyer", tools=[lookup, render], settings=LLMSettings(max_output_tokens=CAP))],
        closed=1,
        dead=0,
        paid={"clerk": 2, "buyer": 2},
        usd="0.40",
        bought={"stamps": 1, "scan": 1, "post": 1, "lookup": 1, "render": 1},
    ),
}


def organism_on(
    scenario: Scenario, journal: CrashingJournal, provider: ScriptedProvider, ids: SequentialIds
) -> Organism:
    return Organism(
        scenario.agents,
        bounds=scenario.bounds,
        models={"main": "scripted/m"},
        providers={"scripted": provider},
        provider_kinds={"scripted": "local"},
        limits=BudgetPlan(
            thread=Limits(tokens=LIMIT, usd=scenario.usd),
            final_reserve_percent=0 if scenario.usd else 5,
        ),
        router=RouterSettings(output_min=CAP),
        clock=VirtualClock(),
        ids=ids,
        journal=journal,
        wait_s=5.0,
    )


def answering(chance: random.Random) -> ScriptedProvider:
    """Make a provider whose answer follows from the prompt, after a time that does not."""

    def answer(request: CompletionRequest) -> str | ScriptedAnswer:
        if request.tools and not any(isinstance(part, ToolResult) for part in request.messages[-1].parts):
            return ScriptedAnswer(tool_calls=(ToolCall("c1", "lookup", "{}"), ToolCall("c2", "render", "{}")))
        return f"re {next(iter(request.texts())).partition(chr(10))[0]}"

    return ScriptedProvider(answer, latency_s=chance.choice((0.0, 0.3)))


async def life(
    scenario: Scenario,
    journal: CrashingJournal,
    provider: ScriptedProvider,
    ids: SequentialIds,
    scope: anyio.CancelScope,
) -> None:
    """Run the thread as far as it goes, raising its limit each time it waits for budget."""
    with scope, suppress(JournalBrokenError):
        async with organism_on(scenario, journal, provider, ids) as organism:
            if not journal.kept.load().entries:
                await organism.open_thread("go", thread_id="th")
            for _ in range(20):
                try:
                    await organism.wait("th")
                    break
                except BudgetExhaustedError as error:
                    account = error.shortfall.account
                    before = organism.budgets.state(account).limits
                    usd = None if before.cost_nanousd is None else before.cost_nanousd + 30 * CENT
                    limits = Limits(tokens=(before.tokens or 0) + 100, cost_nanousd=usd)
                    await organism.set_limits(account.removeprefix("thread:"), limits)
            else:
                raise AssertionError("the thread does not come to an end")
            boxes = organism.statistics().mailboxes.values()
            assert all((box.messages, box.size) == (0, 0) for box in boxes)
            assert (organism.threads(), organism.ledger.accounts, len(organism.router.memo)) == ((), (), 0)


async def lives(scenario: Scenario, crashes: Sequence[int], seed: int) -> tuple[MemoryJournal, ScriptedProvider, bool]:
    """Let processes follow each other, each killed after so many groups, and a last one that is not.

    Returns:
        What is kept, the bill, and whether every process of the row was killed in time.
    """
    chance = random.Random(seed)
    provider, ids, kept = answering(chance), SequentialIds(), MemoryJournal(capacity=1_000_000)
    slow = chance.random() < 0.5
    BOUGHT.clear()
    for groups in (*crashes, None):
        scope = anyio.CancelScope()
        journal = CrashingJournal(
            kept,
            groups=groups,
            on_crash=scope.cancel,
            latency_s=lambda: chance.random() * 0.05 if slow else 0.0,
        )
        with anyio.fail_after(3600):
            await life(scenario, journal, provider, ids, scope)
        if groups is not None and not journal.crashed:
            return kept, provider, False
    return kept, provider, True


def outputs_of(events: Sequence[AnyEvent], kept: MemoryJournal) -> list[str]:
    closed = [piece for piece in kept.load().pieces if piece.key == "closed:th"]
    assert len(closed) == 1
    return sorted(output["text"] for output in msgspec.json.decode(closed[0].body)["outputs"])


def audit(kept: MemoryJournal) -> None:
    """Add the entries up by hand: each hold resolved once, each account closed with the sum of its settlements."""
    accounts: dict[str, Amounts] = {}
    holds: dict[str, tuple[str, ...]] = {}
    for entry in map(decode_entry, kept.load().entries):
        match entry:
            case AccountOpened(account=account):
                assert account not in accounts
                accounts[account] = ZERO
            case Reserved(hold_id=hold_id, accounts=of):
                assert hold_id not in holds
                holds[hold_id] = of
            case Overran(hold_id=hold_id, amounts=amounts):
                accounts.update({account: accounts[account] + amounts for account in holds[hold_id]})
            case Settled(hold_id=hold_id, amounts=amounts):
                accounts.update({account: accounts[account] + amounts for account in holds.pop(hold_id)})
            case Released(hold_id=hold_id):
                del holds[hold_id]
            case AccountClosed(account=account, spent=spent):
                assert accounts.pop(account) == spent
    assert not holds
    assert not accounts


KEPT_AFTER_ALL = {"closed", STOPPED, "dead", "instance", "series", "sum", "sums"}
"""Kinds of pieces that outlive all threads."""


def check(scenario: Scenario, kept: MemoryJournal, provider: ScriptedProvider, expected: list[str]) -> None:
    events = list(kept._events)
    assert [int(event.id) for event in events] == list(range(1, len(events) + 1))
    assert outputs_of(events, kept) == expected
    assert {piece.key.partition(":")[0] for piece in kept.load().pieces} <= KEPT_AFTER_ALL
    assert sum(piece.key.startswith("dead") for piece in kept.load().pieces) == scenario.dead
    audit(kept)
    closed = [event for event in events if isinstance(event, ThreadClosed)]
    assert max(Counter(event.thread_id for event in closed).values()) == 1
    assert len(closed) == scenario.closed
    assert all(event.outcome == "completed" for event in closed)
    used = [event for event in events if isinstance(event, UsageEvent) and event.outcome != "released"]
    recorded = sum(event.usage.total for event in used)
    assert recorded >= provider.billed.total
    root = next(event for event in closed if event.thread_id == "th")
    assert root.budget.spent.tokens == recorded
    assert root.budget.spent.cost_nanousd == sum(event.cost_nanousd or 0 for event in used)
    settled = [event for event in used if event.outcome == "settled"]
    paid_for = Counter(event.agent for event in settled if not event.tool)
    assert paid_for == scenario.paid, "an answer was paid for twice"
    assert Counter(event.tool for event in settled if event.tool) == scenario.bought, "a purchase was paid for twice"
    for what, billed in BOUGHT.items():
        assert sum(event.cost_nanousd or 0 for event in used if event.tool == what) >= billed
    crossed = Counter(
        (event.account, event.limit, event.threshold) for event in events if isinstance(event, ThresholdCrossed)
    )
    assert not crossed or max(crossed.values()) == 1


@pytest.fixture(scope="module", params=list(SCENARIOS))
def undisturbed(request: pytest.FixtureRequest) -> tuple[Scenario, list[str]]:
    """What the thread says when nothing goes wrong, which no crash may change."""
    scenario, outputs = SCENARIOS[request.param], []
    for seed in range(4):
        kept, provider, _ = run(lives, scenario, (), seed, seed=seed)
        events = list(kept._events)
        outputs.append(outputs_of(events, kept))
        check(scenario, kept, provider, outputs[0])
        audited = sum(event.usage.total for event in events if isinstance(event, UsageEvent))
        assert audited == provider.billed.total
    return scenario, outputs[0]


def killed_and_checked(undisturbed: tuple[Scenario, list[str]], crashes: Sequence[int], seed: int) -> bool:
    """Let processes be killed, look at what has come of it, and return whether they all were."""
    scenario, expected = undisturbed
    kept, provider, killed = run(lives, scenario, crashes, seed, seed=seed)
    try:
        check(scenario, kept, provider, expected)
    except AssertionError as error:
        raise AssertionError(f"killed after {crashes} groups, seed {seed}") from error
    return killed


@pytest.mark.parametrize("seed", range(4))
def test_a_process_that_dies_after_any_group_loses_and_doubles_nothing(
    undisturbed: tuple[Scenario, list[str]], seed: int
) -> None:
    """Whenever a process is killed, the next ends every thread as it would have ended, and every call is paid for."""
    groups = 0
    while killed_and_checked(undisturbed, (groups,), seed):
        groups += 1
    assert groups > 10


@pytest.mark.parametrize("seed", range(4, 6))
def test_dying_again_while_taking_up_changes_nothing(undisturbed: tuple[Scenario, list[str]], seed: int) -> None:
    """Taking up is as safe as working: processes that die one after another come to the same end as one that lives."""
    for groups in range(0, 60, 3):
        killed_and_checked(undisturbed, (groups, groups % 4, groups % 7), seed)
