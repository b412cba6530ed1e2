"""The agents of the daemon that is killed. Each run of a handler leaves a line in a file that outlives everything."""

import os
import signal
from contextlib import suppress

from organism import BudgetExhaustedError, Context, Limits, Text
from organism.errors import ProviderError

WORDS = 24
"""The most words an answer has."""

BOUGHT_NANOUSD = 1_500_000
"""What the shop takes each time."""


def note(ctx: Context, what: str, file: str = "handled.log") -> None:
    """Write down, in one write of its own, that a handler has begun on a message, or bought something for it."""
    line = f"{ctx.thread_id} {ctx.agent} {ctx.envelope.id} {what}\n".encode()
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


async def paid(ctx: Context, what: str = "say something", *, streamed: bool = False) -> None:
    """Make a call that the bill can be matched with: its prompt names thread and message.

    One that gave no usable answer is charged and not tried again; the message goes on without it.
    """
    with suppress(ProviderError):
        prompt = f"{ctx.thread_id} {ctx.envelope.id} {what}"
        await ctx.llm.complete(prompt, max_output_tokens=WORDS, on_text=_heard if streamed else None)


def _heard(_piece: str) -> None:
    """Listen, so that the answer is streamed."""


async def buy(ctx: Context) -> None:
    """Buy something that is no answer of a model; the shop's own book outlives everything."""
    async with ctx.hold(usd="0.002", what="shop") as hold:
        if not hold.paid:
            note(ctx, str(BOUGHT_NANOUSD), "bought.log")
            hold.settle(usd=BOUGHT_NANOUSD / 1e9)


async def front(message: Text, ctx: Context) -> list[Text]:
    """Pay, do what the message says, and send three numbered parts on."""
    note(ctx, message.text)
    number, kind = message.text.split()
    await paid(ctx)
    if kind == "buy":
        await buy(ctx)
    elif kind == "grant":
        await ctx.request_budget(tokens=50, reason="more to say")
    elif kind == "window":
        await ctx.request_budget(tokens=50, reason="more to say", seconds=1)
    elif kind == "stream":
        await paid(ctx, "say more", streamed=True)
    elif kind == "loop":
        for _ in range(6):
            await paid(ctx, "say it again")
    elif kind == "miser":
        await ctx.ask("miser", Text(number))
    elif kind == "ask":
        await ctx.ask("sage", Text(number))
    elif kind == "spawn":
        await ctx.spawn("sage", Text(number), limits=Limits(tokens=400, cost_nanousd=5_000_000), budget="carved")
    return [Text(f"{number} {part}") for part in range(3)]


async def counter(message: Text, ctx: Context) -> Text:
    """Number what comes: twice or not at all would show in the numbers."""
    note(ctx, message.text)
    ctx.state["count"] = ctx.state.get("count", 0) + 1
    return Text(f"{message.text} {ctx.state['count']}")


async def sage(message: Text, ctx: Context) -> Text:
    """Answer for money."""
    note(ctx, message.text)
    await paid(ctx)
    return Text(f"sage {message.text}")


async def miser(message: Text, ctx: Context) -> Text:
    """Spend until it is refused."""
    note(ctx, message.text)
    with suppress(BudgetExhaustedError):
        for place in range(4):
            await paid(ctx, f"say {place}")
    return Text(f"miser {message.text}")


async def deadly(message: Text, ctx: Context) -> None:
    """Pay, which nobody can before the message is on disk, and take the whole process along."""
    note(ctx, message.text)
    await paid(ctx)
    os.kill(os.getpid(), signal.SIGKILL)
