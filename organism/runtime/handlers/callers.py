"""Tasks inside calls of a context."""

import asyncio
from types import TracebackType
from typing import Any, Protocol


class EnteredRun(Protocol):
    """A run of a handler, whose context is called."""

    def enter_call(self, task: "asyncio.Task[Any]") -> None:
        """A task has gone into a call."""
        ...

    def leave_call(self, task: "asyncio.Task[Any]", *, cancelled: bool) -> None:
        """A task comes out of a call."""
        ...


class CallingTask:
    """A task inside a call of a context. If the run ends first, the task gets an error instead of being cancelled."""

    __slots__ = ("_runtime", "_task")

    def __init__(self, runtime: EnteredRun, task: "asyncio.Task[Any]") -> None:
        self._runtime = runtime
        self._task = task

    def __enter__(self) -> None:
        self._runtime.enter_call(self._task)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runtime.leave_call(self._task, cancelled=exc_type is asyncio.CancelledError)
