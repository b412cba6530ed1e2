"""Run async code in virtual time: sleeps take no time at all, and one seed gives one order of events.

The event loop never waits for a timer: when nothing can run, its clock jumps to the next one. Tasks that could run in
any order are shuffled by the seed, so running a test under many seeds explores many orders, and a seed that fails
fails again. Only ``asyncio``'s own loop can be steered like that; AnyIO code runs on it unchanged.
"""

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from organism.concurrency.own_threads import busy_threads

T = TypeVar("T")

EPOCH_NS = 1_767_225_600_000_000_000
"""Where virtual time begins: 2026-01-01T00:00:00Z."""

_IO_PATIENCE_S = 10.0
"""How long to wait for a socket or a worker thread, in real seconds, before calling it a deadlock."""


_IO_GRACE_S = 0.02
"""How long to look at open sockets, in real seconds, before time jumps."""


class _JumpingSelector(selectors.BaseSelector):
    """Serves real sockets and worker threads, but jumps over the wait for timers."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.jump: Callable[[float], None] = lambda _seconds: None
        self.threads_busy: Callable[[], bool] = lambda: False

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self.threads_busy():
            ready = self._real.select(_IO_PATIENCE_S)
            if not ready and timeout is None:
                raise RuntimeError("deadlock: every task waits, and nothing is due that could wake one")
            if not ready:
                self.jump(timeout or 0.0)  # a worker thread that is busy for so long waits for the event loop itself
            return ready
        if len(self.get_map()) > 1:
            # Besides the loop's own, a socket is open: what was sent on it may be a moment late on a busy machine.
            ready = self._real.select(_IO_GRACE_S)
        if not ready:
            self.jump(timeout)
        return ready


class _NumberedTask(asyncio.Task[Any]):
    """A task that knows how many were made before it."""

    number = 0


def _task_number(handle: asyncio.Handle) -> int:
    """Return the number of the task that goes on with a handle; 0 for a callback of anything else."""
    task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]  # noqa: SLF001
    return task.number if isinstance(task, _NumberedTask) else 0


class _ShufflingLoop(asyncio.SelectorEventLoop):
    """An event loop with its own clock and a seeded order of tasks."""

    def __init__(self, seed: int, turns: int | None = None) -> None:
        self._now = 0.0
        self._turns_max = turns
        self._turns = 0
        self._tasks_made = 0
        self.worker_threads_busy = 0
        self._random = random.Random(seed)  # noqa: S311 - an order to test with, not a secret
        self.selector = _JumpingSelector()
        self.selector.jump = self._jump
        super().__init__(self.selector)
        self.set_task_factory(self._numbered)

    def _numbered(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> _NumberedTask:
        task = _NumberedTask(coro, loop=loop, **options)
        self._tasks_made += 1
        task.number = self._tasks_made
        return task

    def time(self) -> float:
        return self._now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        future = super().run_in_executor(executor, func, *args)
        self.worker_threads_busy += 1
        future.add_done_callback(self._worker_thread_done)
        return future

    def _worker_thread_done(self, _future: "asyncio.Future[Any]") -> None:
        self.worker_threads_busy -= 1

    def _jump(self, seconds: float) -> None:
        self._now += max(0.0, seconds)
        self._turns = 0

    def _run_once(self) -> None:
        self._turns += 1
        if self._turns_max is not None and self._turns > self._turns_max:
            self._turns_max = None  # what ends the tasks takes turns as well
            raise RuntimeError("livelock: tasks wake each other on and on, and no time passes")
        # asyncio keeps what can run now in a private deque; there is no public way to influence its order.
        ready = self._ready  # type: ignore[attr-defined]
        if len(ready) > 1:
            # Taken out one by one: a worker thread may add one at any moment, and clearing the deque would lose it.
            handles = [ready.popleft() for _ in range(len(ready))]
            # A scope that is cancelled wakes its tasks in the order of a set, which no other process has.
            handles.sort(key=_task_number)
            self._random.shuffle(handles)
            ready.extendleft(reversed(handles))
        super()._run_once()  # type: ignore[misc]


class VirtualClock:
    """A :class:`~organism.clock.Clock` that reads the time of the running event loop."""

    def now_ns(self) -> int:
        """Return the virtual instant, from :data:`EPOCH_NS` on."""
        return EPOCH_NS + self.monotonic_ns()

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the loop began."""
        return round(anyio.current_time() * 1_000_000_000)


def run(main: Callable[..., Awaitable[T]], *args: object, seed: int = 0, turns: int | None = None) -> T:
    """Run an async function in virtual time and return what it returns.

    Args:
        main: The function.
        args: Its arguments.
        seed: Decides the order of tasks that could run in any order.
        turns: After so many turns of the event loop at one instant it is taken for a livelock; never unless given.

    Raises:
        RuntimeError: If every task waits for another, or they wake each other without end.
    """
    loops: list[_ShufflingLoop] = []

    def make_loop() -> _ShufflingLoop:
        loops.append(_ShufflingLoop(seed, turns))
        return loops[-1]

    async def start() -> T:
        limiter = anyio.to_thread.current_default_thread_limiter()
        loop = loops[-1]
        loop.selector.threads_busy = lambda: (
            limiter.borrowed_tokens > 0 or loop.worker_threads_busy > 0 or busy_threads(loop) > 0
        )
        return await main(*args)

    return anyio.run(start, backend_options={"loop_factory": make_loop})


class ManualClock:
    """A :class:`~organism.clock.Clock` that stands still until it is moved, for code without an event loop."""

    def __init__(self, start_ns: int = EPOCH_NS) -> None:
        self._start_ns = start_ns
        self._passed_ns = 0

    def now_ns(self) -> int:
        """Return the instant."""
        return self._start_ns + self._passed_ns

    def monotonic_ns(self) -> int:
        """Return nanoseconds passed since the start."""
        return self._passed_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._passed_ns += round(seconds * 1_000_000_000)
