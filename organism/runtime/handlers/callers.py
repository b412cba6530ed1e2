"""Tasks inside calls of a context."""

import asyncio
from types import TracebackType
from typing import Any, Protocol


class EnteredRun(Protocol):
    """A run of a handler, whose context is called.

    Attributes:
        callers: The tasks that are inside a call; ``None`` before the first.
        closed: Whether it is over.
    """

    callers: "list[asyncio.Task[Any]] | None"
    closed: bool

    def check(self) -> None:
        """Refuse a call once it is over."""
        ...


class CallingTask:
    """A task inside a call of a context. If the run ends first, the task gets an error instead of being cancelled.

    Args:
        is_workers: Whether it is the task of the worker that runs the handler, which ends with the run anyway.
    """

    __slots__ = ("_is_workers", "_run", "_task")

    def __init__(self, run: EnteredRun, task: "asyncio.Task[Any]", *, is_workers: bool) -> None:
        self._run = run
        self._task = task
        self._is_workers = is_workers

    def __enter__(self) -> None:
        callers = self._run.callers
        if callers is None:
            callers = self._run.callers = []
        callers.append(self._task)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the call.

        Raises:
            ContextClosedError: If the task was cancelled because the run is over.
        """
        run = self._run
        if run.callers:
            run.callers.remove(self._task)
        if run.closed and exc_type is asyncio.CancelledError and not self._is_workers:
            self._task.uncancel()
            run.check()
