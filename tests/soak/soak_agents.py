"""The agents of the daemon that is loaded for minutes: two that behave, and two that do everything wrong."""

from organism import Context, Text
from tests.scenarios.misbehaving import Job, plain, prompt, wild

__all__ = ["Job", "first", "plain", "second", "wild"]


async def first(message: Text, ctx: Context) -> Text:
    """Pass it on."""
    return message


async def second(message: Text, ctx: Context) -> Text:
    """Ask the model, and answer."""
    return Text((await ctx.llm.complete(prompt(ctx), model="steady", max_output_tokens=8)).text)
