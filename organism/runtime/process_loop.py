"""The event loop of a process that is ours: no handler stops it, takes it apart, or throws the process out of it.

asyncio lets `SystemExit` and `KeyboardInterrupt` of any callback through, out of the loop: a `loop.call_soon(sys.exit)`
of a handler, a `sys.exit()` in the `finally` of a generator that it has left, or a function that a worker thread sends
to the loop would end the process, with everybody's work. Here it costs that callback, and the loop goes on. What takes
the loop apart is refused to handlers, as an error in the line that calls it.

A handler that forks and goes on in the copy, on purpose or because what it meant to run there has failed, would leave a
second process on the same sockets and the same state. That copy ends when it comes back to the loop.

A program that embeds an organism has a loop of its own, and what may stop it is that program's to say. A copy that a
handler has forked ends there as well.
"""

import asyncio
import importlib.util
import os
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio

from organism.concurrency.safe_log import safe_logger
from organism.text.error_text import describe
from organism.tracing import current_work

T = TypeVar("T")

_log = safe_logger("organism.pump")

_NOT_FOR_HANDLERS = (
    "close",
    "run_forever",
    "set_default_executor",
    "set_exception_handler",
    "set_task_factory",
    "shutdown_asyncgens",
    "shutdown_default_executor",
    "stop",
)
"""What changes or ends the loop for all who run on it."""


COPY_EXIT_CODE = 70
"""With which a copy of the process ends (EX_SOFTWARE)."""

_ours: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()
_others: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()


def end_copies_of_handlers(loop: asyncio.AbstractEventLoop) -> None:
    """Have copies of the process that handlers fork end where they would go on in a loop that is a program's own."""
    _others.add(loop)


def _end_copy() -> None:
    """Have a forked copy of the process end where it would go on: one that runs a program never gets there."""
    for loop in (*_ours, *(_others if current_work() is not None else ())):
        if loop.is_running():
            loop.call_soon(_leave)


def _leave() -> None:
    _log.error("copy_ended", reason="a handler has forked the process and gone on in the copy")
    os._exit(COPY_EXIT_CODE)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_copy)


def process_options() -> dict[str, Any]:
    """Return the options with which ``anyio.run`` runs a process of ours."""
    return {"loop_factory": _kind()}


def run_to_end(main: Callable[[], Awaitable[T]], *, instead: str) -> T:
    """Run a coroutine function in an event loop of ours, and return what it returns.

    Args:
        instead: What to write where a loop is running already.

    Raises:
        RuntimeError: If one is running in this thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return anyio.run(main, backend_options=process_options())
    raise RuntimeError(f"an event loop is running here already, as in a coroutine or a notebook: {instead}")


def _kind() -> Callable[[], asyncio.AbstractEventLoop]:
    if importlib.util.find_spec("uvloop") is None:
        return loop_class(asyncio.SelectorEventLoop)
    import uvloop

    return loop_class(uvloop.Loop)


def loop_class(kind: type[asyncio.AbstractEventLoop]) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return a kind of event loop that survives whatever handlers do to it."""
    guarded = {name: _refused_to_handlers(name, getattr(kind, name)) for name in _NOT_FOR_HANDLERS}
    guarded |= {name: _contained(getattr(kind, name)) for name in ("add_reader", "add_writer")}

    def run_until_complete(self: Any, future: Awaitable[Any]) -> Any:
        _ours.add(self)
        main = asyncio.ensure_future(future, loop=self)
        while True:
            try:
                return kind.run_until_complete(self, main)
            except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
                if not _goes_on(main, error):
                    raise
                _log.error("exit_refused", error=describe(error))

    return type("ProcessLoop", (kind,), {**guarded, "run_until_complete": run_until_complete})


def _goes_on(main: "asyncio.Future[Any]", error: BaseException) -> bool:
    """Whether what came out of the loop is none of the main task's, so that the loop goes on where it was.

    A second Ctrl-C interrupts a main task that has been cancelled by the first, and is obeyed.
    """
    ending = isinstance(main, asyncio.Task) and main.cancelling() > 0
    return not main.done() and not (ending and isinstance(error, KeyboardInterrupt)) and not main.get_loop().is_closed()


def _refused_to_handlers(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: Any, *args: Any, **options: Any) -> Any:
        if current_work() is not None:
            raise RuntimeError(f"loop.{name}() is not for handlers: the event loop is everybody's")
        return method(self, *args, **options)

    return guarded


def _contained(method: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the exits of what a handler has called whenever a file is ready into errors: it is called without end."""

    def guarded(self: Any, fd: Any, callback: Callable[..., Any], *args: Any) -> Any:
        if current_work() is None:
            return method(self, fd, callback, *args)
        return method(self, fd, partial(_without_exit, callback), *args)

    return guarded


def _without_exit(callback: Callable[..., Any], *args: Any) -> None:
    try:
        callback(*args)
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"a callback of a handler raised {describe(error)}") from error
