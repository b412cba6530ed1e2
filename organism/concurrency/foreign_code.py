"""Code that is not ours: providers' adapters, listeners, exporters. What it raises, returns or keeps stays with it.

Its errors become text that can be written down, its coroutines run in tasks that nobody has to wait for, its callbacks
are called behind one guard. Every guard catches ``BaseException``: ``SystemExit`` in a listener, or the
``CancelledError`` of a task that an adapter had of its own, is that code's failure and no order to us. A cancellation
that is meant for us ends our own waiting, in our own task; it never comes out of foreign code.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel

from organism.concurrency.deadlines import Deadline
from organism.concurrency.wakeups import Wakeup

_TURNS_TO_END = 16
"""Turns of the event loop that a cancelled task is given to end, before it is left to itself."""


def encodable(text: str) -> str:
    """Return a text that every encoding takes: what is no character (a lone surrogate) becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def name_of(function: object) -> str:
    """Return what a function is called, for people; also of an object that is called like one."""
    try:
        for attribute in ("__qualname__", "__name__"):
            if isinstance(name := getattr(function, attribute, None), str):
                return encodable(name)
    except BaseException:  # noqa: BLE001, S110 - a foreign `__getattr__` may raise anything; its class has a name
        pass
    return type(function).__qualname__


def discarded(value: object) -> bool:
    """Whether a value waits to be awaited; one that nobody will await is closed, so that it does not complain later."""
    if inspect.iscoroutine(value):
        value.close()
    return inspect.isawaitable(value)


class ForeignError(RuntimeError):
    """Stands for an error that cannot be looked at: its class, or an attribute that every error has, raises."""


def tame(error: BaseException) -> BaseException:
    """Return an error that can be asked what it is, and where it comes from: itself as a rule, or one in its place.

    ``isinstance`` runs a stranger's code where a class has its own ``__class__``, and raises what that raises.
    """
    try:
        made = error.__class__ is type(error) and isinstance(type(error).__name__, str)
        of_error = error.__traceback__, error.__cause__, error.__context__, error.__suppress_context__
        if made and of_error and not isinstance(error, _NoError):
            return error
    except BaseException:  # noqa: BLE001, S110 - that is what is looked for
        pass
    return ForeignError("a handler or another stranger's code has raised an error that cannot be looked at")


class _NoError:
    """What no error is: asked for, so that all is asked that :func:`isinstance` asks."""


def failure_of(callback: Callable[..., object], *args: object) -> BaseException | None:
    """Call a callback and return what it failed with, ``None`` as a rule; nothing is ever raised.

    One that returns an awaitable has failed: nobody would await it, and what it was to do would silently not be done.
    """
    try:
        returned = callback(*args)
        if returned is not None and discarded(returned):
            return TypeError("it returned something to await, and nobody awaits it; make it a plain function")
    except BaseException as error:  # noqa: BLE001 - whatever a listener raises is its own
        return tame(error)
    return None


_kept: list[object] = []


def _keep_for_ever(task: object) -> None:
    """Keep a task from ever being collected, at the interpreter's end too.

    Collecting it closes its coroutine, and one that swallows even that, in a loop, would never end. What a
    daemon thread holds is left alone: such a thread is never unwound.
    """
    if not _kept:
        threading.Thread(target=_hold, args=(_kept,), name="organism-disowned", daemon=True).start()
    _kept.append(task)


def _hold(_tasks: list[object]) -> None:
    threading.Event().wait()


class ForeignTask:
    """A call of foreign code in a task of its own.

    Args:
        call: Makes the call; what it returns is awaited if it can be.
        name: What it is called in logs.
        on_end: Called when it has ended.

    Attributes:
        name: What it is called in logs.
        done: Whether it has ended.
        value: What it returned.
        error: What it raised instead; a cancellation too.
    """

    def __init__(
        self,
        call: Callable[[], object],
        name: str,
        on_end: Callable[["ForeignTask"], None] = lambda _task: None,
    ) -> None:
        self.name = name
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._on_end = on_end
        self._woken = Wakeup()
        self._task = asyncio.get_running_loop().create_task(self._run(call), name=name)
        self._task.add_done_callback(self._look)

    async def _run(self, call: Callable[[], object]) -> None:
        try:
            made: Any = call()
            self.value = await made if inspect.isawaitable(made) else made
        except BaseException as error:  # noqa: BLE001 - it is the task's result
            self.error = tame(error)
        self._end()

    def _look(self, _task: object) -> None:
        if not self.done:  # cancelled before its first step, so that nothing above was done
            self.error = asyncio.CancelledError()
            self._end()

    def _end(self) -> None:
        self.done = True
        self._on_end(self)
        self._woken.notify()

    async def wait(self) -> None:
        """Return when it has ended; a cancellation ends only the waiting."""
        while not self.done:
            await self._woken.wait()

    async def wait_until(self, deadline: Deadline) -> bool:
        """Return when it has ended, or when a deadline has come that may be moved meanwhile; whether it has ended."""
        deadline.begin(self._woken.notify)
        try:
            while not (self.done or deadline.passed):
                await self._woken.wait()
        finally:
            deadline.end()
        return self.done

    async def stop(self) -> bool:
        """Cancel it and give it a moment to end; whether it has.

        The moment is counted in turns and not in seconds: it is stopped because no time is left.
        """
        self._task.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(_TURNS_TO_END):
                if self.done:
                    break
                await anyio.lowlevel.checkpoint()
        return self.done

    def disown(self) -> None:
        """Let the event loop end without it: one that swallows cancellations would keep the process from ending.

        ``asyncio.run`` waits at its end for every task that it knows of, however long.
        """
        self._task.cancel()
        _keep_for_ever(self._task)
        asyncio._unregister_task(self._task)  # noqa: SLF001 - documented, for those who extend asyncio
        self._task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - as asyncio.gather does


class ForeignTasks:
    """The calls of foreign code that are under way, the ones that nobody waits for any more too."""

    def __init__(self) -> None:
        self._running: set[ForeignTask] = set()

    def start(self, call: Callable[[], object], name: str) -> ForeignTask:
        """Begin a call; it is kept until it has ended, for asyncio alone keeps no task alive."""
        task = ForeignTask(call, name, self._running.discard)
        self._running.add(task)
        return task

    async def finish(self, call: Callable[[], object], name: str, within_s: float) -> ForeignTask:
        """Make a call and wait for its end, but no longer than that; what has not ended by then is stopped."""
        task = self.start(call, name)
        with anyio.move_on_after(within_s):
            await task.wait()
        if not task.done:
            await task.stop()
        return task

    async def end(self, within_s: float) -> tuple[str, ...]:
        """Wait for what is still under way, and disown what does not end; returns the names of these."""
        with anyio.move_on_after(within_s, shield=True):
            for task in tuple(self._running):
                await task.wait()
        left = [task for task in self._running if not task.done]
        for task in left:
            if not await task.stop():
                task.disown()
        self._running.clear()
        return tuple(sorted(task.name for task in left if not task.done))
