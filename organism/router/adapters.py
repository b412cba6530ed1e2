"""Runs providers' adapters in tasks of their own, so that a hanging adapter holds up nobody."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import anyio

from organism.concurrency.foreign_code import ForeignTask, ForeignTasks
from organism.concurrency.loop_time import loop_time
from organism.concurrency.safe_log import safe_logger
from organism.errors import RejectedError
from organism.llm.provider import Provider
from organism.router.call_state import CallState
from organism.text.error_text import describe

WARM_UP_MAX_S = 30.0
"""Seconds of an adapter's warm-up that do not count as the call's time."""

_END_S = 1.0
"""Seconds that adapters of abandoned calls may take to end before they are left behind."""

_CLOSE_S = 5.0
"""Seconds that an adapter may take to close."""

_log = safe_logger("organism.router")


class Adapters:
    """Runs adapters."""

    def __init__(self) -> None:
        self._tasks = ForeignTasks()
        self._warm: dict[str, tuple[Provider, ForeignTask | None]] = {}

    def start(self, provider: str, call: Callable[[], object]) -> ForeignTask:
        """Begin a call of a provider's adapter."""
        return self._tasks.start(call, f"a call of provider {provider!r}")

    async def make_ready(self, state: CallState, providers: Mapping[str, Provider]) -> None:
        """Warm up the adapter that a call goes to next, before anything is held for the call.

        An adapter is warmed up once. What it loads (a client, certificates, a local model) is not part of the call: it
        takes nothing of the call's time, and costs nothing when it fails.

        Args:
            state: The call; its deadline is extended by the time that this takes.

        Raises:
            RejectedError: The warm-up has failed, and no other provider serves the call.
        """
        while (route := state.queue.next()) is not None:
            name = route.provider
            if (task := self._warming(name, providers[name])) is None:
                return
            begun_s = loop_time()
            with anyio.CancelScope(deadline=begun_s + WARM_UP_MAX_S):
                await task.wait()
            state.deadline_s += min(loop_time() - begun_s, WARM_UP_MAX_S)
            if not task.done and state.queue.providers == {name}:
                with anyio.CancelScope(deadline=state.deadline_s):  # there is no other: it takes the call's own
                    await task.wait()
            if task.done and task.error is None:
                return
            failure = "it takes too long to get ready" if task.error is None else describe(task.error)
            if not state.avoids(state.queue.through(name), failure):
                raise task.error if isinstance(task.error, RejectedError) else RejectedError(name, failure)

    def _warming(self, name: str, provider: Provider) -> ForeignTask | None:
        """Return the warm-up that is under way, started again if it has failed; ``None`` if the adapter is ready."""
        known, task = self._warm.get(name, (None, None))
        if known is not provider or (task is not None and task.done and task.error is not None):
            warm_up = _warm_up_of(provider)
            task = None if warm_up is None else self._tasks.start(warm_up, f"the start of provider {name!r}")
            self._warm[name] = (provider, task)
        return None if task is None or (task.done and task.error is None) else task

    async def close(self, name: str, provider: Provider) -> None:
        """Close an adapter; a failure, or one that takes too long, is logged."""
        with anyio.CancelScope(shield=True):
            closing = await self._tasks.finish(partial(_close, provider), f"the end of provider {name!r}", _CLOSE_S)
        if not closing.done:
            closing.disown()
        if closing.error is not None or not closing.done:
            failure = "it takes too long" if closing.error is None else describe(closing.error)
            _log.warning("provider_not_closed", provider=name, error=failure)

        if self._warm.get(name, (None, None))[0] is provider:
            del self._warm[name]

    async def end(self) -> None:
        """Leave adapters behind that do not end, so that the process can."""
        for name in await self._tasks.end(_END_S):
            _log.error("adapter_does_not_end", work=name)


def _close(provider: Provider) -> Awaitable[None]:
    """Call ``aclose`` within the guard: a foreign adapter may lack it."""
    return provider.aclose()


def _warm_up_of(provider: Provider) -> Callable[[], object] | None:
    """Return an adapter's ``warm_up``; ``None`` if it has none."""
    try:
        found: Any = getattr(provider, "warm_up", None)
    except BaseException:  # noqa: BLE001 - a stranger's `__getattr__` may raise anything
        return None
    return found if callable(found) else None


def stops_when_closed(provider: object) -> bool:
    """Whether an adapter's provider stops working, and billing, when a stream is closed."""
    try:
        return getattr(provider, "stops_when_closed", False) is True
    except BaseException:  # noqa: BLE001 - a stranger's attribute may raise anything
        return False
