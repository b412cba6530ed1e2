"""Worker threads for blocking work of the runtime itself: the journal's file, exporters, models that are loaded.

AnyIO's own limit of 40 threads is shared by everybody in the process. Forty functions that block would keep the
journal's writer waiting, and with it every answer; so nothing of the runtime waits in that queue. Nor does it take the
two turns of the event loop that AnyIO takes before a function begins: a call waits for the journal twice.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

import anyio
import msgspec

T = TypeVar("T")

_IDLE_S = 10.0

_BUSY: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Busy]" = WeakKeyDictionary()

_Outcome = tuple[object, BaseException | None]
"""What a function has returned, or raised: a future cannot hold every exception."""


class NoThreadError(RuntimeError):
    """The operating system gives no thread: the function was not called."""


class OwnThreads:
    """Calls functions on threads that nobody else takes.

    Args:
        most: How many at once.
        idle_s: A thread without work for so long ends.

    Attributes:
        most: How many at once.
    """

    def __init__(self, most: int = 1, *, idle_s: float = _IDLE_S) -> None:
        self.most = most
        self._idle_s = idle_s
        self._threads: WeakKeyDictionary[asyncio.AbstractEventLoop, _Threads] = WeakKeyDictionary()

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call a function on a thread, in turn, and return what it returns; it is waited for even when cancelled.

        Raises:
            NoThreadError: The operating system gives no thread, and none is at work.
        """
        with anyio.CancelScope(shield=True):
            returned = await self.run_shielded(function, *args)
        return returned  # noqa: RET504 - out of the scope, which to mypy might end without it

    async def run_shielded(self, function: Callable[..., T], *args: object) -> T:
        """Do what :meth:`run` does, for a task that nothing cancels: a scope takes more than all the rest of it.

        Raises:
            NoThreadError: The operating system gives no thread, and none is at work.
        """
        loop = asyncio.get_running_loop()
        if (threads := self._threads.get(loop)) is None:
            busy = _BUSY.setdefault(loop, _Busy())
            threads = self._threads[loop] = _Threads(self.most, self._idle_s, busy)
        # The job has no name here, nor the error in the end: it knows this frame by its traceback, and would be kept.
        returned, error = await threads.give(_Job(function, args, copy_context(), loop, loop.create_future()))
        if error is not None:
            try:
                raise error
            finally:
                del error
        return cast("T", returned)


class _Busy(msgspec.Struct, eq=False):
    """How many functions are called or wait to be called for an event loop."""

    count: int = 0


class _Job(msgspec.Struct, eq=False):
    """A function on its way to a thread, on it, or back."""

    function: Callable[..., object]
    args: tuple[object, ...]
    context: Context
    loop: asyncio.AbstractEventLoop
    outcome: "asyncio.Future[_Outcome]"


class _Threads:
    """Threads of one event loop, which take their jobs from one queue.

    They are daemon threads, which the interpreter does not join when it exits: the caller of a job waits in the
    event loop, and idle threads know nothing of the loop, so that they keep neither it nor the process.
    """

    def __init__(self, most: int, idle_s: float, busy: _Busy) -> None:
        self._most = most
        self._idle_s = idle_s
        self._busy = busy
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._lock = Lock()
        self._running = 0
        self._given = 0

    def give(self, job: _Job) -> "asyncio.Future[_Outcome]":
        """Have a thread do a job, a new one if all are at work and there may be more; returns what to wait for."""
        with self._lock:  # a thread that is about to end for want of work must not be counted on
            if self._running <= self._given and self._running < self._most:
                self._start()
            self._given += 1
            self._busy.count += 1
            self._jobs.put(job)
        return job.outcome

    def _start(self) -> None:
        try:
            Thread(target=self._work, name="organism's own", daemon=True).start()
        except RuntimeError as error:  # no more threads, or no memory for one: those that are there take the job
            if not self._running:
                raise NoThreadError(f"no thread could be started: {error}") from error
        else:
            self._running += 1

    def _work(self) -> None:
        while (job := self._next()) is not None:
            outcome = _call(job.context, job.function, job.args)
            with suppress(RuntimeError):  # the event loop is closed, and nobody waits
                job.loop.call_soon_threadsafe(self._returned, job.outcome, outcome)
            del job, outcome

    def _next(self) -> _Job | None:
        while True:
            try:
                return self._jobs.get(timeout=self._idle_s)
            except Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._running -= 1
                        return None

    def _returned(self, waiting: "asyncio.Future[_Outcome]", outcome: _Outcome) -> None:
        """Tell who waits, in the event loop; unless it was cancelled by asyncio's own means, which nothing shields."""
        self._given -= 1
        self._busy.count -= 1
        if not waiting.cancelled():
            waiting.set_result(outcome)


def _call(context: Context, function: Callable[..., object], args: tuple[object, ...]) -> _Outcome:
    """Call a function on the thread; the job is not passed, for an error knows this frame and the job its outcome."""
    try:
        return context.run(function, *args), None
    except BaseException as error:  # noqa: BLE001 - the caller raises it again
        return None, error


def busy_threads(loop: asyncio.AbstractEventLoop) -> int:
    """Return how many functions are called or wait to be called for this event loop."""
    busy = _BUSY.get(loop)
    return 0 if busy is None else busy.count
