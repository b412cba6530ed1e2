"""Keeps a `sys.exit()` in a task that a handler has begun from ending the process.

asyncio lets `SystemExit` and `KeyboardInterrupt` through every task and out of the event loop. In a handler itself they
are caught like all else; a task group or a library may begin tasks for it that raise them. So tasks begun while a
message is handled are contained: there, and only there, both become an ordinary error of the task.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from types import CoroutineType, TracebackType
from typing import Any

from organism.errors import OrganismError
from organism.runtime.process_loop import end_copies_of_handlers
from organism.text.error_text import describe
from organism.tracing import current_work

_OURS = tuple(f"{Path(__file__).parents[2] / room}{os.sep}" for room in ("runtime", "router", "concurrency"))

Factory = Callable[..., "asyncio.Future[Any]"]


class ExitInTaskError(OrganismError):
    """A task that a handler has begun wanted to end the process."""

    retryable = True

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"a task of the handler raised {describe(error)}; only the operator ends the process")


class ContainedTasks:
    """Contains the tasks of handlers on one event loop, for the length of a ``with`` block.

    Tasks begun elsewhere are made as before, by a factory of the program's own if there is one.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: Factory | None = None

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._before = self._loop.get_task_factory()
        self._loop.set_task_factory(self._make)
        end_copies_of_handlers(self._loop)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._loop is not None and self._loop.get_task_factory() == self._make:
            self._loop.set_task_factory(self._before)

    def _make(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Future[Any]":
        if current_work() is not None and isinstance(coro, CoroutineType) and not is_ours(coro):
            coro = _Contained(coro)
        if self._before is not None:
            return self._before(loop, coro, **options)
        return asyncio.Task(coro, loop=loop, **options)


def is_ours(coro: object) -> bool:
    """Whether a task is one of the router's and the like, which guard what they call themselves.

    An attempt at a call is begun while a message is handled, and is none of its handler's all the same.
    """
    return isinstance(coro, CoroutineType) and coro.cr_code.co_filename.startswith(_OURS)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that raises no `SystemExit`. Not one around it: that would leave it unawaited if never begun."""

    __slots__ = ("_coro",)

    def __init__(self, coro: Coroutine[Any, Any, Any]) -> None:
        self._coro = coro

    def send(self, value: Any) -> Any:
        try:
            return self._coro.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise ExitInTaskError(error) from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._coro.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise ExitInTaskError(raised) from raised

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coro.__await__()

    def __getattr__(self, name: str) -> Any:
        """What libraries ask of a coroutine, such as whether it has begun, is answered by the one inside."""
        return getattr(self._coro, name)
