"""What is kept for a message while it is handled, and let go with it."""

import anyio

from organism import Context, Organism, Text, agent
from organism.testing import ScriptedProvider, SequentialIds, VirtualClock, run


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


@agent(next="writer")
async def waits(message: Text, ctx: Context) -> None:
    await ctx.llm.complete("first", max_output_tokens=16)
    await anyio.sleep(1000)


def test_what_a_message_has_paid_is_forgotten_with_it() -> None:
    """In a thread that is open for months no answer of a message that is done is kept, in memory or on the disk."""

    async def main() -> None:
        provider = ScriptedProvider(["one two three"])
        organism = Organism(
            [writer, waits],
            models={"main": f"{provider.name}/m"},
            providers={provider.name: provider},
            clock=VirtualClock(),
            ids=SequentialIds(),
        )
        async with organism:
            thread = await organism.open_thread("go", to="waits")
            await anyio.sleep(1)
            assert len(organism.router.memo) == 1, "its message is under way"
            for _ in range(5):
                await organism.send(thread, "more", to="writer")
            await anyio.sleep(1)
            assert len(organism.router.memo) == 1
            paid = [piece.key for piece in organism.journal.load().pieces if piece.key.startswith("paid:")]
            assert len(paid) == 1

    run(main)
