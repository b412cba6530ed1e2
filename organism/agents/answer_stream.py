"""A model's answer while it is written: ``async for piece in ctx.llm.stream("...")``."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from organism.errors import ConfigError
from organism.llm.answers import Completion
from organism.llm.provider import TextSink


class AnswerStream:
    """Pieces of text as they come; the whole answer after the last.

    The call begins with the first piece that is asked for, and is held before it leaves and settled after like every
    other. A reader that stops before the end leaves it running; ``async with`` gives it up instead.

    Args:
        make_call: Makes the call, and tells each piece.
    """

    def __init__(self, make_call: Callable[[TextSink], Awaitable[Completion]]) -> None:
        self._make_call = make_call
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._call: asyncio.Task[Completion] | None = None

    @property
    def completion(self) -> Completion:
        """The whole answer with its usage, once all pieces have been read.

        Raises:
            ConfigError: If there are more to come.
        """
        if self._call is None or not self._call.done():
            raise ConfigError("the answer is not complete: read all of its pieces first")
        return self._call.result()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """Return the next piece; raises what :meth:`LLM.complete` raises."""
        if self._call is None:
            self._call = asyncio.get_running_loop().create_task(self._run())
        try:
            piece = await self._pieces.get()
        except asyncio.CancelledError:
            # The handler is over: parked, out of time or given up. Its call must not outlive it, or nobody cancels it.
            self._call.cancel()
            raise
        if piece is None:
            self._pieces.put_nowait(None)  # asked again after the end, it is still the end
            await self._call
            raise StopAsyncIteration
        return piece

    async def _run(self) -> Completion:
        try:
            return await self._make_call(self._pieces.put_nowait)
        finally:
            self._pieces.put_nowait(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give up a call that is not over."""
        if self._call is not None and not self._call.done():
            self._call.cancel()
            await asyncio.wait([self._call])
