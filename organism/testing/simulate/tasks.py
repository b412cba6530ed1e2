"""Tasks that simulated agents carry out: trees of steps, drawn by a seed, that use everything a handler can do."""

import random
from collections.abc import Awaitable, Callable

import anyio

from organism.agents.context import Context
from organism.amounts import Limits
from organism.errors import OrganismError
from organism.messages import Message, Text

CAP = 16
"""Tokens of an answer at most."""

MODEL = "main"
"""What they ask; a cheaper one may take its place."""

_DEPTH = 3


class Step(Message, frozen=True):
    """One thing that a handler does.

    Attributes:
        do: One of :data:`STEPS`.
        to: The agent it concerns.
        amount: How much, in whatever it is counted.
        inner: What that agent does.
    """

    do: str
    to: str = ""
    amount: int = 0
    inner: tuple["Step", ...] = ()


class Task(Message, frozen=True):
    """Steps to take, one after another.

    Attributes:
        steps: The steps.
        ordered: Whether it was sent in the ordinary way, so that it must be begun in the order of sending.
    """

    steps: tuple[Step, ...]
    ordered: bool = False


def draw_task(number: int, agents: tuple[str, ...], buyer: str) -> Task:
    """Draw a task for agents of these names.

    Args:
        number: Decides everything.
        agents: Agents that take tasks.
        buyer: The agent with a model and tools.
    """
    return Task(_draw_steps(random.Random(f"task {number}"), agents, buyer, _DEPTH))  # noqa: S311 - repeatable


def _draw_steps(chance: random.Random, agents: tuple[str, ...], buyer: str, depth: int) -> tuple[Step, ...]:
    kinds = [kind for kind in STEPS if depth or kind not in _NESTED]
    steps = []
    for kind in chance.choices(kinds, [WEIGHTS.get(kind, 1) for kind in kinds], k=chance.randint(1, 3)):
        inner = _draw_steps(chance, agents, buyer, depth - 1) if kind in _NESTED and kind != "buy" else ()
        to = buyer if kind == "buy" else chance.choice(agents)
        steps.append(Step(do=kind, to=to, amount=chance.randrange(100), inner=inner))
    return tuple(steps)


async def _call(step: Step, ctx: Context) -> None:
    await ctx.llm.complete(f"{ctx.thread_id} {'word ' * (step.amount % 7)}", model=MODEL, max_output_tokens=CAP)


async def _again(step: Step, ctx: Context) -> None:
    for _ in range(2 + step.amount % 9):
        await _call(step, ctx)


async def _stream(_step: Step, ctx: Context) -> None:
    await ctx.llm.complete(f"{ctx.thread_id} say", model=MODEL, max_output_tokens=CAP, on_text=lambda _piece: None)


async def _ask(step: Step, ctx: Context) -> None:
    await ctx.ask(step.to, Task(step.inner), timeout_s=1 + step.amount)


async def _gather(step: Step, ctx: Context) -> None:
    await ctx.gather([(step.to, Task(step.inner)), (step.to, Task((Step("call"),)))], limit=1 + step.amount % 3)


async def _shared(step: Step, ctx: Context) -> None:
    await ctx.spawn(step.to, Task(step.inner), limits=Limits(tokens=50 + 5 * step.amount))


async def _carved(step: Step, ctx: Context) -> None:
    await ctx.spawn(step.to, Task(step.inner), limits=Limits(tokens=100 + step.amount, usd="0.05"), budget="carved")


async def _send(step: Step, ctx: Context) -> None:
    ctx.send(step.to, Task(step.inner, ordered=True))


async def _later(step: Step, ctx: Context) -> None:
    ctx.send(step.to, Task(step.inner), delay_s=step.amount / 5)


async def _buy(step: Step, ctx: Context) -> None:
    await ctx.ask(step.to, Text(f"{ctx.thread_id} buy"), timeout_s=30)


async def _charge(step: Step, ctx: Context) -> None:
    ctx.charge(usd=f"0.0{step.amount:02}", what="stamps")


async def _hold(step: Step, ctx: Context) -> None:
    async with ctx.hold(usd=f"0.{step.amount + 1:03}", what="scan") as hold:
        await anyio.sleep(step.amount / 100)
        if step.amount % 3:
            hold.settle(usd=f"0.{step.amount // 2:03}", estimated=step.amount % 4 == 0)


async def _approval(step: Step, ctx: Context) -> None:
    await ctx.approval(f"step {step.amount}")


async def _request(step: Step, ctx: Context) -> None:
    await ctx.request_budget(tokens=50 + step.amount, reason="more", seconds=step.amount if step.amount % 2 else None)


async def _sleep(step: Step, _ctx: Context) -> None:
    await anyio.sleep(step.amount / 10)


async def _fail(_step: Step, _ctx: Context) -> None:
    raise RuntimeError("a handler's own mistake")


async def _report(step: Step, ctx: Context) -> None:
    ctx.report("review", "passed" if step.amount % 2 else "refused")


async def _once(step: Step, ctx: Context) -> None:
    async def work() -> int:
        await anyio.sleep(step.amount / 100)
        return step.amount

    await ctx.once(f"work {step.amount}", work, int)


STEPS: dict[str, Callable[[Step, Context], Awaitable[None]]] = {
    "call": _call,
    "again": _again,
    "stream": _stream,
    "ask": _ask,
    "gather": _gather,
    "shared": _shared,
    "carved": _carved,
    "send": _send,
    "later": _later,
    "buy": _buy,
    "charge": _charge,
    "hold": _hold,
    "approval": _approval,
    "request": _request,
    "sleep": _sleep,
    "fail": _fail,
    "once": _once,
    "report": _report,
}
"""What a handler can do."""

WEIGHTS = {"call": 6, "send": 3, "shared": 2, "carved": 2, "buy": 2, "hold": 2}
"""How often, where it is not once."""

_NESTED = {"ask", "gather", "shared", "carved", "send", "later", "buy"}


async def carry_out(task: Task, ctx: Context, done: Callable[[str], None]) -> Text:
    """Take the steps of a task; what the organism refuses is the handler's to live with, every other time.

    Args:
        task: The steps.
        ctx: The handler's context.
        done: Called with each step that was taken to its end.
    """
    for step in task.steps:
        try:
            await STEPS[step.do](step, ctx)
        except OrganismError:
            done(f"{step.do} refused")
            if step.amount % 2:
                raise
        else:
            done(step.do)
    return Text("done")
