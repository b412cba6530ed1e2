"""Embed organism in a program of one's own, without YAML: two agents, one budget, no overspend."""

import anyio

from organism import Context, Limits, Organism, Text, agent, llm_agent
from organism.providers.local import LocalProvider


@agent(next="poet")
async def brief(message: Text, ctx: Context) -> Text:
    """Tell the poet what to do."""
    return Text(f"Write two lines about {message.text}.")


async def main() -> None:
    """Run one conversation and show what it cost."""
    organism = Organism(
        [brief, llm_agent("poet", system="You are a poet.")],
        models={"small": "local/smollm2-135m"},
        providers={"local": LocalProvider()},
        limits=Limits(tokens=2000),
    )
    async with organism:
        result = await organism.run("the sea")
    print(result.text)
    print(f"{result.budget.spent.tokens} of {result.budget.limits.tokens} tokens, {result.outcome}")


if __name__ == "__main__":
    anyio.run(main)
