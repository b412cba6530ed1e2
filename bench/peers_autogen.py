"""autogen-core's side: routed agents on its single-threaded runtime."""

import asyncio
import time
from dataclasses import dataclass

from autogen_core import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    message_handler,
)

from bench.stopwatch import Figures, Stopwatch, percentile


@dataclass
class Note:
    """The message."""

    text: str
    hops: int = 0


class PassingOn(RoutedAgent):
    """Publishes what it gets to the next topic until it has gone far enough."""

    def __init__(self, onward: str | None, hops: int) -> None:
        super().__init__("passes on")
        self._onward = onward
        self._hops = hops

    @message_handler
    async def take(self, message: Note, ctx: MessageContext) -> None:
        """Pass a message on."""
        if self._onward is not None and message.hops < self._hops:
            source = ctx.topic_id.source if ctx.topic_id is not None else "default"
            await self.publish_message(Note(message.text, message.hops + 1), TopicId(self._onward, source))


class Answering(RoutedAgent):
    """Answers what it is asked."""

    @message_handler
    async def take(self, message: Note, ctx: MessageContext) -> Note:  # noqa: ARG002 - the library looks at it
        """Answer."""
        return message


async def _with(routes: dict[str, str | None], hops: int) -> SingleThreadedAgentRuntime:
    runtime = SingleThreadedAgentRuntime()
    for name, onward in routes.items():
        await PassingOn.register(runtime, name, lambda onward=onward: PassingOn(onward, hops))
        await runtime.add_subscription(TypeSubscription(topic_type=name, agent_type=name))
    return runtime


def ping_pong(hops: int) -> Figures:
    """W1."""

    async def main() -> Figures:
        runtime = await _with({"ping": "pong", "pong": "ping"}, hops)
        runtime.start()
        with Stopwatch() as watch:
            await runtime.publish_message(Note("go"), TopicId("ping", "one"))
            await runtime.stop_when_idle()
        return watch.per(hops)

    return asyncio.run(main())


def chains(threads: int) -> Figures:
    """W2: a topic source for each thread."""

    async def main() -> Figures:
        runtime = await _with({f"a{n}": f"a{n + 1}" if n < 9 else None for n in range(10)}, 1_000_000)
        runtime.start()
        with Stopwatch() as watch:
            for thread in range(threads):
                await runtime.publish_message(Note("go"), TopicId("a0", str(thread)))
            await runtime.stop_when_idle()
        return watch.per(threads * 10)

    return asyncio.run(main())


def fan_out(publishes: int) -> Figures:
    """W3."""

    async def main() -> Figures:
        runtime = SingleThreadedAgentRuntime()
        for n in range(100):
            await PassingOn.register(runtime, f"s{n}", lambda: PassingOn(None, 0))
            await runtime.add_subscription(TypeSubscription(topic_type="news", agent_type=f"s{n}"))
        runtime.start()
        with Stopwatch() as watch:
            for _ in range(publishes):
                await runtime.publish_message(Note("go"), TopicId("news", "one"))
            await runtime.stop_when_idle()
        return watch.per(publishes * 100)

    return asyncio.run(main())


def asks(count: int, at_once: int = 1) -> Figures:
    """W4."""
    took: list[float] = []

    async def main() -> Figures:
        runtime = SingleThreadedAgentRuntime()
        await Answering.register(runtime, "answers", lambda: Answering("answers"))
        runtime.start()

        async def ask() -> None:
            for _ in range(count // at_once):
                began = time.perf_counter()
                await runtime.send_message(Note("go"), AgentId("answers", "one"))
                took.append((time.perf_counter() - began) * 1e6)

        with Stopwatch() as watch:
            await asyncio.gather(*(ask() for _ in range(at_once)))
        await runtime.stop()
        return watch.per(count) | {"p50_us": percentile(took, 50), "p99_us": percentile(took, 99)}

    return asyncio.run(main())


def asks_together(count: int) -> Figures:
    """W4, a hundred at a time."""
    return asks(count, 100)
