"""What holds a run of a handler: a scope that can cut it short, and a context of its own."""

from collections.abc import Coroutine, Generator, Iterable
from contextlib import suppress
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

import anyio

from organism.errors import OrganismError

T = TypeVar("T")


class ScopeLeftError(OrganismError):
    """A handler has entered a cancel scope or a task group and not left it."""

    def __init__(self) -> None:
        super().__init__(
            "the handler has left a cancel scope or a task group open: leave what it enters, and close generators "
            "that it does not exhaust (contextlib.aclosing)"
        )


class Leash:
    """The cancel scope that holds a worker's runs, one after another, as a ``with`` block each.

    Entering and leaving a scope takes 4 us, as much as accepting a message and routing it. So it is left only when it
    was cancelled, or with its worker; the next run then enters another.

    A handler may leave a scope of its own behind, such as that of a generator it has not exhausted. It would cut short
    whatever its worker runs next, so it is left here, and its run fails.

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
        """Keep the scope for the next run, or leave it where it cannot be used again.

        Raises:
            ScopeLeftError: If a scope that was entered in the run has not been left.
        """
        scope = self.scope
        if scope is None:
            return False
        inside = _inside(scope)
        if inside:
            _leave(inside)
            if exc is None and not scope.cancel_called:
                raise ScopeLeftError
        if inside is None or scope.cancel_called or not (exc is None or isinstance(exc, Exception)):
            self.scope = None
            return bool(scope.__exit__(exc_type, exc, traceback))
        return False

    def let_go(self) -> None:
        """Leave the scope: its worker ends."""
        if self.scope is not None:
            self.scope.__exit__(None, None, None)
            self.scope = None


def _inside(scope: anyio.CancelScope) -> set[anyio.CancelScope] | None:
    """Return the scopes that were entered in a scope and not left.

    AnyIO has no public way to ask. Should it lose this one, the answer is ``None``, and each run has a scope to itself.
    """
    return getattr(scope, "_child_scopes", None)


def _leave(scopes: Iterable[anyio.CancelScope]) -> None:
    """Leave scopes, the innermost first, and end what still runs in them."""
    for scope in tuple(scopes):
        scope.cancel()
        _leave(_inside(scope) or ())
        with suppress(RuntimeError):  # another task has entered it, and leaves it now that it is cancelled
            scope.__exit__(None, None, None)


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
