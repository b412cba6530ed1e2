"""The OS threads that plain functions run on, and what makes them worker threads in AnyIO's eyes.

They are daemon threads: the interpreter joins all others when it exits, and a function that never returns would keep
the process without end. AnyIO's own are not, which is why they are not used here.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import Context
from itertools import count
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import anyio

_IDLE_S = 10.0
"""A thread without work for so long ends."""


class ThreadJob:
    """A function on its way to a thread, on it, or back.

    Args:
        context: The context it is called in.
        scope: Cancelled when nobody waits for it any more; calls it makes into the event loop end then.
        returned: Called in the event loop once the function has returned, however late.

    Attributes:
        thread: The thread it is on; ``None`` before and after.
    """

    def __init__(
        self,
        function: Callable[[], object],
        context: Context,
        scope: anyio.CancelScope,
        returned: Callable[[], None],
    ) -> None:
        self.function = function
        self.context = context
        self.scope = scope
        self.returned = returned
        self.thread: Thread | None = None

    def __call__(self) -> tuple[object, BaseException | None]:
        """Call the function; what it raises is handed back, for a future cannot hold every exception."""
        try:
            return self.context.run(self.function), None
        except BaseException as error:  # noqa: BLE001 - the caller raises it again
            return None, error


class ThreadExecutor:
    """Gives jobs to threads, as many as there are jobs. What asyncio's ``run_in_executor`` needs of an executor.

    Args:
        loop: The event loop that jobs come from.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.idle: deque[_Worker] = deque()
        self.closed = False
        self._numbers = count(1)

    def submit(self, job: ThreadJob) -> Future[Any]:
        """Have a thread run a job.

        Raises:
            RuntimeError: The operating system gives no more threads.
        """
        future: Future[Any] = Future()
        try:
            worker = self.idle.pop()
        except IndexError:
            worker = _Worker(self, next(self._numbers))
            worker.start()
        worker.jobs.put((job, future))
        return future

    def close(self) -> None:
        """Let idle threads end, and the others when their function returns; nobody waits for that."""
        self.closed = True
        for worker in list(self.idle):
            worker.jobs.put(None)


class _Worker(Thread):
    def __init__(self, executor: ThreadExecutor, number: int) -> None:
        super().__init__(name=f"organism worker {number}", daemon=True)
        self.jobs: SimpleQueue[tuple[ThreadJob, Future[Any]] | None] = SimpleQueue()
        self._executor = executor
        self._process = os.getpid()

    def run(self) -> None:
        with _claimed_for_anyio(self._executor.loop) as enter:
            while (given := self._next()) is not None:
                self._work(*given, enter)
                del given

    def _next(self) -> tuple[ThreadJob, Future[Any]] | None:
        while True:
            try:
                return self.jobs.get(timeout=_IDLE_S)
            except Empty:
                with suppress(ValueError):  # else a job is on its way to this thread
                    self._executor.idle.remove(self)
                    return None

    def _work(self, job: ThreadJob, future: Future[Any], enter: Callable[[anyio.CancelScope | None], None]) -> None:
        came_of_it: tuple[object, BaseException | None] = None, None
        if begun := future.set_running_or_notify_cancel():
            job.thread = self
            enter(job.scope)
            came_of_it = job()
            if os.getpid() != self._process:
                os._exit(1)  # a copy of the process that has no thread but this: nobody waits for what came of it
            enter(None)
            job.thread = None
        if self._executor.closed:
            self.jobs.put(None)
        else:
            self._executor.idle.append(self)
        with suppress(RuntimeError):  # the event loop is closed
            self._executor.loop.call_soon_threadsafe(job.returned)
        if begun:
            future.set_result(came_of_it)


@contextmanager
def _claimed_for_anyio(loop: asyncio.AbstractEventLoop) -> Iterator[Callable[[anyio.CancelScope | None], None]]:
    """Make this thread one from which ``anyio.from_thread`` reaches the event loop.

    AnyIO has no public way to do so for threads that are not its own. Should it lose this one, plain functions give
    ``from_thread.run`` the ``token`` that AnyIO asks for then.

    Yields:
        What takes the scope that calls into the event loop are made in.
    """
    try:
        from anyio._backends._asyncio import AsyncIOBackend
        from anyio._core._eventloop import claim_worker_thread, threadlocals
    except ImportError:
        yield lambda _scope: None
        return

    def enter(scope: anyio.CancelScope | None) -> None:
        if scope is not None:
            threadlocals.current_cancel_scope = scope
        else:
            del threadlocals.current_cancel_scope

    with claim_worker_thread(AsyncIOBackend, loop):
        yield enter
