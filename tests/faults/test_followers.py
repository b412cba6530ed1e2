"""Followers of events that stop reading, on real sockets: let go, with little memory, and nothing missed by others."""

from collections.abc import Callable

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from organism.api.streams import FOLLOWERS_MAX
from organism.usage.events import Reported
from tests.api.conftest import TOKEN, serve
from tests.faults.memory import peak_memory

pytestmark = pytest.mark.anyio

Record = Callable[[str, object], None]


async def test_followers_that_do_not_read_cost_little_and_nobody_else_anything(
    record_property: Record, fault_scale: int
) -> None:
    """With as many as may follow standing still, events go on, memory stays small, and one that reads has them all."""
    events = 500 * fault_scale
    async with serve() as (organism, client), anyio.create_task_group() as tasks:
        stalled = []
        for _ in range(FOLLOWERS_MAX - 1):
            stream = await anyio.connect_tcp("127.0.0.1", int(client.base_url.port or 0))
            head = f"GET /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
            await stream.send(head.encode())
            stalled.append(stream)
        seen: set[str] = set()
        done = anyio.Event()

        async def read() -> None:
            after = "0"
            while len(seen) < events:
                wanted = {"after": after, "limit": 1000, "wait_seconds": 5}
                page = (await client.get("/v1/events/page", params=wanted)).json()
                seen.update(event["id"] for event in page["events"])
                after = page["next"]
            done.set()

        tasks.start_soon(read)
        with peak_memory() as peak:
            for number in range(events):
                organism.outbox.emit(
                    Reported(thread_id="t", root_thread_id="t", agent="a", name="n", result=str(number))
                )
                if number % 100 == 99:
                    await anyio.lowlevel.checkpoint()
            with anyio.fail_after(60):
                await done.wait()
        for stream in stalled:
            await stream.aclose()
        record_property("memory in MiB", peak.mib)
        record_property("events missed", events - len(seen))
        assert len(seen) == events
