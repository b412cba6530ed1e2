"""An organism runs on whichever event loop its program has."""

import anyio

from organism import Bounds, Context, Organism, Text, agent
from organism.errors import AskTimeoutError
from organism.messages import ThreadResult


def test_everything_that_rests_on_the_event_loop_works_on_uvloop() -> None:
    """On uvloop, plain functions answer questions from threads, and the time of questions and of handlers ends."""

    @agent()
    def plain(message: Text, ctx: Context) -> Text:
        return Text(message.text.upper())

    @agent(timeout_s=0.1)
    async def never(message: Text, ctx: Context) -> None:
        await anyio.sleep_forever()

    @agent(peers=["plain", "never"])
    async def asks(message: Text, ctx: Context) -> Text:
        answer = await ctx.ask("plain", message)
        try:
            await ctx.ask("never", message, timeout_s=0.01)
        except AskTimeoutError:
            return Text(f"{ctx.sender}: {answer}")
        raise AssertionError("nobody answers that")

    async def main() -> ThreadResult:
        async with Organism([asks, plain, never], bounds=Bounds(attempts=1)) as organism:
            result = await organism.run("yes")
            assert [letter.reason for letter in organism.dead_letters()] == ["handler_failed"]
            return result

    assert anyio.run(main, backend_options={"use_uvloop": True}).outputs == (Text("user: Text(text='YES')"),)
