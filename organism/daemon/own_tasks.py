"""Keeps the tasks of a process of ours out of `asyncio.all_tasks()`, where handlers look.

`for task in asyncio.all_tasks(): task.cancel()` is how programs end on a signal, and libraries tidy up. In a handler it
would end the daemon: its server, its writer, its main task. So in a process that is the command line's own, they find
only the tasks that handlers have begun; the calls of models that others wait for are not among them. A program that
embeds an organism keeps its tasks as they are: it may need them.
"""

import asyncio
from typing import Any

from organism.runtime.handlers.contained_tasks import is_ours
from organism.tracing import current_work


def hide_own_tasks() -> None:
    """Hide the present task, and every one that is begun from now on by anything but the handling of a message."""
    asyncio.get_running_loop().set_task_factory(_make)
    if (task := asyncio.current_task()) is not None:
        _hide(task)


def _make(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
    task = asyncio.Task(coro, loop=loop, **options)
    if current_work() is None or is_ours(coro):
        _hide(task)
    return task


def _hide(task: "asyncio.Task[Any]") -> None:
    asyncio._unregister_task(task)  # noqa: SLF001 - documented, for those who extend asyncio
