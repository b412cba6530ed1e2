"""Cancels one run of a handler without touching the next one that its worker runs.

The one module of the runtime that relies on what AnyIO and asyncio do not promise: a cancel scope entered for many
``with`` blocks, the scopes inside of it (a private attribute), and coroutines driven by hand in a context of their own.
:data:`REUSE_SCOPES` set to False is the plain way, a scope for each run. It keeps every promise but one: AnyIO has no
public way to find a scope that a handler has entered and not left, which then cancels what its worker runs next.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextlib import suppress
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

import anyio

from organism.errors import OrganismError

T = TypeVar("T")


REUSE_SCOPES = True
"""Whether a worker keeps its scope from run to run, which spares each message 3 us."""

REFUSALS_MAX = 100
"""So often a handler may wait again after its cancellation, to clean up; one that swallows it would not stop."""


class LeftBehindError(OrganismError):
    """A handler has not ended although it was cancelled, and is left where it is.

    Attributes:
        where: Where it waits, as ``file:line``.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(f"the handler did not end when it was cancelled; it was left behind at {where}")


class ScopeLeftError(OrganismError):
    """A handler has entered a cancel scope or a task group and not left it."""

    def __init__(self) -> None:
        super().__init__(
            "the handler has left a cancel scope or a task group open: leave what it enters, and close generators "
            "that it does not exhaust (contextlib.aclosing)"
        )


class ReusableCancelScope:
    """The cancel scope that holds a worker's runs, one after another, as a ``with`` block each.

    Entering and leaving a scope takes 4 us, as much as accepting a message and routing it. So it is left only when it
    was cancelled, or with its worker; the next run then enters another.

    A handler may leave a scope of its own behind, such as that of a generator it has not exhausted. It would cut short
    whatever its worker runs next, so it is left here, and its run fails.

    Args:
        context: Context variables as every run begins with them.

    Attributes:
        scope: The scope while it can be used again.
        task: The worker's task.
        spent: Whether something was left on the task that may hit what runs on it next; its worker is to end.
    """

    __slots__ = ("_inside", "context", "scope", "spent", "task")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.scope: anyio.CancelScope | None = None
        self._inside: set[anyio.CancelScope] | None = None
        self.spent = False
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a cancel scope belongs to a task")
        self.task = task

    def __enter__(self) -> anyio.CancelScope:
        """Return the scope to cancel to cut the run short."""
        if self.scope is None:
            self.scope = anyio.CancelScope()
            self._inside = _inside(self.scope)  # one set for as long as there is the scope
            self.scope.__enter__()
        return self.scope

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Keep the scope for the next run, or leave it where it cannot be used again.

        Raises:
            ScopeLeftError: If a scope that was entered in the run has not been left.
        """
        scope = self.scope
        if scope is None:
            return False
        inside = self._inside
        if exc is None and inside is not None and not (inside or scope.cancel_called):
            return False  # as nearly always
        if inside:
            self.spent = True
            _leave(inside)
            if exc is None and not scope.cancel_called:
                raise ScopeLeftError
        # A scope that was cancelled stays so: kept for the next run, it would cut that short at its first await.
        if inside is None or scope.cancel_called or not (exc is None or isinstance(exc, Exception)):
            self.scope = None
            try:
                return bool(scope.__exit__(exc_type, exc, traceback))
            except RuntimeError:  # what the handler has left inside of it cannot be left from here
                self.spent = True
                return False
        return False

    async def take_back(self, cancelling: int) -> None:
        """Take back cancellations of the task that came from a handler, down to so many.

        Raises:
            asyncio.CancelledError: If the worker itself is being cancelled.
        """
        self.spent = True
        # Down to the count from before the run, not to zero: what is left is the worker's own cancellation.
        while self.task.cancelling() > cancelling:
            self.task.uncancel()
        # It was cancelled and has not awaited since. What is still to be thrown is met here, not by the next message;
        # Python 3.13 takes it back by itself.
        if getattr(self.task, "_must_cancel", False):
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if cancelled_from_outside():
                    raise

    def let_go(self) -> None:
        """Leave the scope: its worker ends."""
        if self.scope is not None:
            with suppress(RuntimeError):  # a scope that a handler has left inside of it cannot be left from here
                self.scope.__exit__(None, None, None)
            self.scope = None


def cancelled_from_outside() -> bool:
    """Whether a cancellation comes from a scope around us, and not from something a handler has left behind."""
    return anyio.current_effective_deadline() == -math.inf


async def despite_stray_cancels(step: Callable[[], Awaitable[T]]) -> T:
    """Do a step of the pump's own, again if a cancellation hits it that was meant for nobody any more.

    A timer or a task group that a handler has left open cancels the task it was made in, which handles other messages
    by then.
    """
    while True:
        try:
            return await step()
        except asyncio.CancelledError:
            if cancelled_from_outside():
                raise
            # Counted down, or AnyIO's scopes would take it later for a cancellation of their own.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()


def _inside(scope: anyio.CancelScope) -> set[anyio.CancelScope] | None:
    """Return the scopes that were entered in a scope and not left.

    AnyIO has no public way to ask. Should it lose this one, the answer is ``None``, and each run has a scope to itself.
    """
    return getattr(scope, "_child_scopes", None) if REUSE_SCOPES else None


def _leave(scopes: Iterable[anyio.CancelScope]) -> None:
    """Leave scopes, the innermost first, and end what still runs in them."""
    for scope in tuple(scopes):
        scope.cancel()
        _leave(_inside(scope) or ())
        with suppress(RuntimeError):  # another task has entered it, and leaves it now that it is cancelled
            scope.__exit__(None, None, None)


class ContextBoundAwaitable(Generic[T]):
    """Awaits the rest of a coroutine that waits already, each step in the context that its first one ran in.

    Args:
        waits_for: What its first step has come to wait for.

    Attributes:
        cut: Whether it has been cancelled for good.
        refusals: How often it has waited again after its cancellation.
        closed: Whether its awaiter was closed, with the event loop.
    """

    __slots__ = ("_context", "_coroutine", "_left", "_task", "_waits_for", "closed", "cut", "refusals")

    def __init__(self, coroutine: Coroutine[Any, Any, T], context: Context, waits_for: object) -> None:
        self._context = context
        self._coroutine = coroutine
        self._waits_for = waits_for
        self._task: asyncio.Task[Any] | None = None
        self._left = False
        self.closed = False
        self.cut = False
        self.refusals = 0

    def leave_behind(self) -> None:
        """Return to the awaiter without the coroutine, which was cancelled and does not end."""
        if self._task is not None:
            self._left = True
            self._task.cancel()

    def __await__(self) -> Generator[Any, Any, T]:
        """Yield what the coroutine waits for, and send it the result."""
        coroutine, run, waits_for = self._coroutine, self._context.run, self._waits_for
        self._task = asyncio.current_task()
        while True:
            try:
                step = partial(coroutine.send, (yield waits_for))
            except GeneratorExit:
                # The event loop is being closed. The coroutine ends now, in its own context: left to the garbage
                # collector, what it does in its `finally` would run later, in whatever context that has.
                self.closed = True
                run(coroutine.close)
                raise
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to deal with
                if self.cut:
                    self.refusals += 1  # AnyIO cancels it anew each time it waits again
                if self._left or self.refusals > REFUSALS_MAX:
                    raise self._leave() from None
                step = partial(coroutine.throw, error)
            try:
                waits_for = run(step)
            except StopIteration as done:
                return cast("T", done.value)

    def _leave(self) -> LeftBehindError:
        """Close the coroutine if it lets itself be closed."""
        frame = getattr(self._coroutine, "cr_frame", None)
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown place"
        with suppress(BaseException):  # also "coroutine ignored GeneratorExit"
            self._context.run(self._coroutine.close)
        return LeftBehindError(where)
