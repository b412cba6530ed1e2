"""Follow every token and dollar: one event for each attempt, with the budget as it was after it."""

import anyio

from organism import Limits, Organism, UsageEvent, llm_agent
from organism.testing import ScriptedProvider


async def main() -> None:
    """Run a conversation while another task follows its usage."""
    organism = Organism(
        [llm_agent("writer", next="critic"), llm_agent("critic")],
        models={"main": "scripted/any"},
        providers={"scripted": ScriptedProvider(["a short text"])},
        provider_kinds={"scripted": "local"},
        limits=Limits(tokens=1000),
    )

    async def follow() -> None:
        async with organism.usage.subscribe(UsageEvent) as events:
            async for event in events:
                if isinstance(event, UsageEvent):
                    spent = event.budgets[0].spent.tokens
                    print(f"{event.agent}: {event.usage.total} tokens, {spent} in all, {event.outcome}")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        async with organism:
            await organism.run("write")
    print(organism.usage.total.usage.total, "tokens in all")


if __name__ == "__main__":
    anyio.run(main)
