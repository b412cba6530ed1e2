"""Providers' adapters at work: their calls run beside the router's own tasks, and their end holds up nobody."""

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import structlog

from organism.error_text import describe
from organism.foreign import ForeignTask, ForeignTasks
from organism.llm.provider import Provider

_END_S = 1.0
"""How long adapters whose calls have been given up may take to end, before they are left behind."""

_CLOSE_S = 5.0
"""How long an adapter may take to free what it holds."""

_log = structlog.get_logger("organism.router")


class Adapters:
    """Runs adapters."""

    def __init__(self) -> None:
        self._tasks = ForeignTasks()

    def start(self, provider: str, call: Callable[[], object]) -> ForeignTask:
        """Begin a call of a provider's adapter."""
        return self._tasks.start(call, f"a call of provider {provider!r}")

    async def close(self, name: str, provider: Provider) -> None:
        """Free what an adapter holds; one that fails, or takes too long, is told of in the log."""
        with anyio.CancelScope(shield=True):
            closing = await self._tasks.finish(partial(_close, provider), f"the end of provider {name!r}", _CLOSE_S)
        if not closing.done:
            closing.disown()
        if closing.error is not None or not closing.done:
            failure = "it takes too long" if closing.error is None else describe(closing.error)
            _log.warning("provider_not_closed", provider=name, error=failure)

    async def end(self) -> None:
        """Leave behind what does not end: the process must be able to."""
        for name in await self._tasks.end(_END_S):
            _log.error("adapter_does_not_end", work=name)


def _close(provider: Provider) -> Awaitable[None]:
    """Look the method up inside the guard: a stranger's adapter may not have it."""
    return provider.aclose()
