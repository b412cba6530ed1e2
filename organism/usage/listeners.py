"""Callbacks for events, run behind one guard, so that a failure of one harms no other."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, get_args

import structlog

from organism.concurrency.foreign_code import failure_of, name_of
from organism.text.error_text import shown, with_type
from organism.usage.events import AnyEvent, Event

EventCallback = Callable[[AnyEvent], None]

_log = structlog.get_logger("organism.usage")


class Failures:
    """Counts what one function has failed with, and logs the first, second, fourth, eighth of it: no log storms.

    Args:
        event: What the line in the log is called.
    """

    def __init__(self, function: object, event: str) -> None:
        self.count = 0
        self._name = name_of(function)
        self._event = event

    def add(self, error: BaseException) -> None:
        """Count a failure; never raises."""
        self.count += 1
        if self.count & (self.count - 1):
            return
        said = with_type(error)
        # A logger is a stranger too: its processors may be the user's own.
        failure_of(lambda: _log.error(self._event, callback=self._name, error=said, errors=self.count))


class Listener:
    """One callback for events. Calling it ends it.

    Args:
        callback: The function; it must not block.
        types: The kinds of events wanted; all when there are none.
        thread_id: Only events of this thread and its descendants.

    Attributes:
        types: The kinds of events wanted.
        ended: Whether it receives no more events.

    Raises:
        TypeError: If it is no plain function.
    """

    def __init__(
        self,
        callback: EventCallback,
        types: tuple[type, ...],
        thread_id: str | None,
        end: Callable[["Listener"], None],
    ) -> None:
        check_callback(callback)
        self.types = types
        self.ended = False
        self._callback = callback
        self._thread_id = thread_id
        self._end = end
        self._running = False
        self._failures = Failures(callback, "callback_failed")

    def __call__(self) -> None:
        """End it; it may have been ended before."""
        self._end(self)

    def tell(self, event: AnyEvent) -> bool:
        """Tell of an event if it is wanted; ``False`` if the function has failed. Never raises.

        What the function does may itself be an event. It does not receive that one while it runs, or it would not end.
        """
        if self.ended or (self.types and not isinstance(event, self.types)) or not is_about(event, self._thread_id):
            return True
        if self._running:
            self._failures.add(RecursionError("it was not told of an event that it has caused itself"))
            return False
        self._running = True
        failure = failure_of(self._callback, event)
        self._running = False
        if failure is not None:
            self._failures.add(failure)
        return failure is None


def check_callback(callback: object) -> None:
    """Refuse what is no plain function.

    Raises:
        TypeError: If it is none.
    """
    if not callable(callback) or isinstance(callback, type):
        raise TypeError(f"a listener is a function of an event, not {shown(callback)}")
    if _is_asynchronous(callback):
        raise TypeError(
            f"{shown(callback)} is async or a generator, and nobody would run it; give a plain function, or iterate: "
            "async for event in usage.subscribe(...)"
        )


def wanted_types(wanted: Iterable[Any]) -> tuple[type, ...]:
    """Return the classes of the events wanted; a union of them counts as each.

    Raises:
        TypeError: If one is no kind of event.
    """
    types: list[type] = []
    for kind in wanted:
        for each in get_args(kind) or (kind,):
            if not (isinstance(each, type) and issubclass(each, Event)):
                raise TypeError(
                    f"{shown(each)} is no kind of event; name classes such as UsageEvent, "
                    "and a function that is to be called before them"
                )
            types.append(each)
    return tuple(types)


def is_about(event: AnyEvent, thread_id: str | None) -> bool:
    """Whether an event is of a thread or a descendant of it; of every one for ``None``."""
    return thread_id is None or thread_id in (event.thread_id, event.root_thread_id)


def _is_asynchronous(callback: object) -> bool:
    """Whether calling it would only make something that somebody else must run."""
    called = inspect.getattr_static(type(callback), "__call__", None)  # of an object that is called like a function
    try:
        return any(
            is_kind(function)
            for is_kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
            for function in (callback, called)
        )
    except BaseException:  # noqa: BLE001 - a stranger's `__getattr__` may raise anything; then it is tried as it is
        return False
