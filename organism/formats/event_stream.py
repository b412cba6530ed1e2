"""Server-sent events, as providers stream their answers. Pure."""

from collections.abc import AsyncIterator


async def server_sent_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield the data of each server-sent event, as far as providers use the format: one ``data:`` line an event."""
    async for line in lines:
        if line.startswith("data:"):
            yield line[5:].strip()
