"""Test agents without a model: scripted answers, virtual time, and a bill to compare with."""

import anyio

from organism import BudgetExhaustedError, Context, Limits, Organism, Text, agent
from organism.testing import ScriptedProvider, VirtualClock, run


@agent(timeout_s=7200)
async def patient(message: Text, ctx: Context) -> Text:
    """Wait an hour, then ask."""
    await anyio.sleep(3600)
    answer = await ctx.llm.complete(message.text, max_output_tokens=20)
    return Text(answer.text)


async def scenario() -> None:
    """An hour passes in no time; the second question does not fit the budget any more."""
    provider = ScriptedProvider(["blue as the sea"])
    organism = Organism(
        [patient],
        models={"main": "scripted/any"},
        providers={"scripted": provider},
        provider_kinds={"scripted": "local"},
        limits=Limits(calls=1),
        clock=VirtualClock(),
    )
    async with organism:
        thread = await organism.open_thread("what colour is it?")
        result = await organism.wait(thread)
        assert result.outputs == (Text("blue as the sea"),)
        assert result.budget.spent.tokens == provider.billed.total
        try:
            await organism.run("and now?", limits=Limits(calls=0))
        except BudgetExhaustedError as error:
            print(error.refusal)


if __name__ == "__main__":
    run(scenario)
