"""What holds a run of a handler: a scope that can cut it short, and a context of its own."""

from collections.abc import Coroutine, Generator
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

import anyio

T = TypeVar("T")


class Leash:
    """The cancel scope that holds a worker's runs, one after another, as a ``with`` block each.

    Entering and leaving a scope takes 4 us, as much as accepting a message and routing it. So it is left only when it
    was cancelled, or with its worker; the next run then enters another.

    Args:
        context: Context variables as every run begins with them.

    Attributes:
        scope: The scope while it can be used again.
    """

    __slots__ = ("context", "scope")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.scope: anyio.CancelScope | None = None

    def __enter__(self) -> anyio.CancelScope:
        """Return the scope to cancel to cut the run short."""
        if self.scope is None:
            self.scope = anyio.CancelScope()
            self.scope.__enter__()
        return self.scope

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Keep the scope for the next run, or leave it where it cannot be used again."""
        scope = self.scope
        if scope is None:
            return False
        if scope.cancel_called or not (exc is None or isinstance(exc, Exception)):
            self.scope = None
            return bool(scope.__exit__(exc_type, exc, traceback))
        return False

    def let_go(self) -> None:
        """Leave the scope: its worker ends."""
        if self.scope is not None:
            self.scope.__exit__(None, None, None)
            self.scope = None


class Waiting(Generic[T]):
    """Awaits the rest of a coroutine that waits already, each step in the context that its first one ran in.

    Args:
        coroutine: What to await.
        context: Its context.
        waits_for: What its first step has come to wait for.
    """

    __slots__ = ("_context", "_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, T], context: Context, waits_for: object) -> None:
        self._coroutine = coroutine
        self._context = context
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        """Hand on what the coroutine waits for, and to it what comes of that."""
        coroutine, run, waits_for = self._coroutine, self._context.run, self._waits_for
        while True:
            try:
                step = partial(coroutine.send, (yield waits_for))
            except GeneratorExit:
                run(coroutine.close)
                raise
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to deal with
                step = partial(coroutine.throw, error)
            try:
                waits_for = run(step)
            except StopIteration as done:
                return cast("T", done.value)
