"""The patience of one connection, in virtual time."""

import asyncio
from typing import Any

import anyio
from uvicorn.protocols.http.flow_control import FlowControl

from organism.api.protocol import UNREAD_S, PatientProtocol
from organism.testing import run


class Transport:
    """A connection whose other side may not read."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        """Nothing comes here."""

    def resume_reading(self) -> None:
        """Likewise."""


def connected() -> tuple[Any, Transport]:
    protocol, transport = PatientProtocol.__new__(PatientProtocol), Transport()
    protocol.loop, protocol.flow = asyncio.get_running_loop(), FlowControl(transport)  # type: ignore[arg-type]
    protocol.transport = transport  # type: ignore[assignment]
    return protocol, transport


def test_client_that_reads_nothing_is_left_in_its_time() -> None:
    """An answer that nobody takes keeps its connection and its memory for a minute, and no longer."""

    async def main() -> None:
        protocol, transport = connected()
        protocol.pause_writing()
        await anyio.sleep(UNREAD_S - 1)
        assert not transport.aborted
        await anyio.sleep(2)
        assert transport.aborted

    run(main)


def test_client_that_reads_slowly_is_kept() -> None:
    """Whoever takes some of the answer in time has all the time that it needs."""

    async def main() -> None:
        protocol, transport = connected()
        for _ in range(10):
            protocol.pause_writing()
            await anyio.sleep(UNREAD_S - 1)
            protocol.resume_writing()
        await anyio.sleep(10 * UNREAD_S)
        assert not transport.aborted

    run(main)
