"""What the parts of a hop cost, each on its own and with nothing decided: ``python -m bench.parts``.

Their sum is the floor of a hop that keeps what organism promises. The last rows are parts that a hop was spared.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context

import anyio

from organism.clock import SteadyClock, SystemClock
from organism.control.observed.history import History
from organism.ids import MessageId, RandomIds, ThreadId
from organism.journal import Drop, Keep
from organism.messages import Envelope, Text, encode
from organism.stores.memory import MemoryJournal
from organism.threads.lanes import Lane
from organism.threads.mailbox import MailboxBound
from organism.tracing import Work, work_on

TIMES = 20_000
ROUNDS = 5


async def handler() -> None:
    """Do nothing."""


async def run() -> None:
    """Call the handler."""
    await handler()


async def supervised() -> None:
    """Call its run."""
    await run()


class Hop:
    """The parts, as coroutine functions."""

    def __init__(self) -> None:
        self._ids, self._clock = RandomIds(), SteadyClock(SystemClock())
        self._lane, self._mailbox = Lane("pong"), MailboxBound(1000, 1 << 20)
        self._journal, self._history = MemoryJournal(), History()
        self._context = copy_context()
        self._text = Text("go")
        self._sent = self._envelope()

    def _envelope(self) -> Envelope:
        return Envelope(
            id=MessageId(self._ids.next("msg")),
            thread_id=ThreadId("th_1"),
            sender="ping",
            recipient="pong",
            payload=self._text,
            created_ns=self._clock.now_ns(),
            causation_id=MessageId("msg_1"),
            hops=1,
            size=30,
        )

    async def called(self) -> None:
        """Call a handler by its run, that by its supervisor, that by its worker."""
        await supervised()

    async def in_context(self) -> None:
        """Run it in a context of its own that says what is worked on."""
        own = self._context.copy()
        own.run(work_on, Work(thread_id="th_1", agent="pong", message_id="msg_1"))
        with suppress(StopIteration):
            own.run(handler().send, None)

    async def wrapped(self) -> None:
        """Make an envelope with its id and its instant."""
        self._envelope()

    async def weighed(self) -> None:
        """Weigh the payload, which also shows that it can be kept."""
        len(encode(self._text))

    async def journalled(self) -> None:
        """Accept it and mark it done, in the journal in memory."""
        self._journal.append(Keep(f"msg:{self._sent.id}", self._sent.thread_id, self._sent))
        self._journal.append(Drop(f"msg:{self._sent.id}", self._sent.thread_id))

    async def queued(self) -> None:
        """Put it into its lane and its mailbox and take it out again."""
        self._mailbox.acquire(30)
        self._lane.put(self._sent)
        self._mailbox.release(30)
        self._lane.pop()

    async def told(self) -> None:
        """Keep it for those who look."""
        self._history.on_carried("th_1", self._sent, 1)

    async def scoped(self) -> None:
        """Enter a cancel scope and leave it."""
        with anyio.CancelScope():
            await handler()

    async def woken(self) -> None:
        """Wait to be woken in the next turn of the event loop."""
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn


NEEDED = ("called", "in_context", "wrapped", "weighed", "journalled", "queued", "told")
SPARED = ("scoped", "woken")


async def _least(part: Callable[[], Awaitable[None]]) -> float:
    """Return the least time of the processor that a part takes, in microseconds."""
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(TIMES):
            await part()
        took.append((time.process_time() - began) / TIMES * 1e6)
    return min(took)


async def main() -> None:
    """Measure and print a table."""
    hop, around = Hop(), await _least(handler)
    found = {name: await _least(getattr(hop, name)) - around for name in (*NEEDED, *SPARED)}
    print("| part | µs |\n| --- | ---: |")
    for name in NEEDED:
        print(f"| {getattr(hop, name).__doc__.rstrip('.')} | {found[name]:.2f} |")
    print(f"| together | {sum(found[name] for name in NEEDED):.2f} |")
    for name in SPARED:
        print(f"| spared: {getattr(hop, name).__doc__.rstrip('.')} | {found[name]:.2f} |")


if __name__ == "__main__":
    anyio.run(main)
