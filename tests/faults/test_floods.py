"""Messages by the thousand to an agent that does not get to them."""

from collections.abc import Callable

import anyio

from organism import Bounds, Context, Organism, Text, agent
from organism.errors import MailboxFullError
from organism.testing import SequentialIds, VirtualClock, run
from tests.faults.memory import peak_memory

Record = Callable[[str, object], None]


@agent()
async def busy(message: Text, ctx: Context) -> None:
    """Never get to the second message."""
    await anyio.sleep(10**6)


@agent()
async def idle(message: Text, ctx: Context) -> Text:
    return Text("served")


def test_flood_is_refused_at_the_bound_and_others_are_served(record_property: Record, fault_scale: int) -> None:
    """What goes beyond the mailbox is refused to its sender and kept nowhere, and other agents do not notice."""
    kept = refused = 0
    sent = 5_000 * fault_scale

    async def main() -> None:
        nonlocal kept, refused
        organism = Organism(
            [busy, idle], clock=VirtualClock(), ids=SequentialIds(), bounds=Bounds(mailbox_messages=1_000)
        )
        async with organism:
            thread = await organism.open_thread("go", to="busy")
            await anyio.sleep(1)
            with peak_memory() as peak:
                for _ in range(sent):
                    try:
                        await organism.send(thread, "more")
                        kept += 1
                    except MailboxFullError:
                        refused += 1
            record_property("memory in MiB", peak.mib)
            assert peak.mib < 16
            assert (await organism.run("go", to="idle")).outputs == (Text("served"),)
            assert organism.statistics().mailboxes["busy"].messages == kept

    run(main)
    record_property("messages kept", kept)
    assert (kept, refused) == (1_000, sent - 1_000)
