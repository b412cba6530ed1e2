"""Names the code that blocks the event loop, while it does: a handler that computes, sleeps or waits without ``await``.

While the loop is blocked nothing else of the process runs on it: no other handler, no deadline, no request. So the
one who looks is a thread beside it. It asks the loop for a sign of life; if none comes, it reads the stack of the
loop's thread, which only CPython offers (``sys._current_frames``).
"""

import asyncio
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import organism
from organism.concurrency.safe_log import safe_logger
from organism.runtime.handlers.handler_run import HandlerRun
from organism.usage.events import EventLoopBlocked

_log = safe_logger("organism.daemon")

_ASKED_EVERY_S = 0.5
_BLOCKED_S = 1.0
_SECOND_LOOK_S = 0.2
"""A machine that has slept, or a process that was stopped, has had no time to answer: it is asked for once more."""

_OURS = str(Path(organism.__file__).parent)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class LoopWatchdog:
    """Watches the running event loop, from a thread of its own, for the length of a ``with`` block.

    A loop that gives no sign of life for a second is blocked: the log names who blocks it, at once; the event comes
    when the loop goes on, since nobody could take it before.

    Args:
        emit: Takes the event, on the loop.
        blocked_s: Seconds without a sign of life after which the loop is blocked.
    """

    def __init__(self, emit: Callable[[EventLoopBlocked], None], *, blocked_s: float = _BLOCKED_S) -> None:
        self._emit = emit
        self._blocked_s = blocked_s
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        """Begin to watch the running loop and the thread it runs in."""
        self._loop = asyncio.get_running_loop()
        watched = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, args=(watched,), name="organism-watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _watch(self, watched: int) -> None:
        while not self._stopped.wait(min(_ASKED_EVERY_S, self._blocked_s)):
            alive = threading.Event()
            asked = time.monotonic()
            if not self._on_loop(alive.set):
                return
            if alive.wait(self._blocked_s) or alive.wait(_SECOND_LOOK_S) or self._stopped.is_set():
                continue
            frame = sys._current_frames().get(watched)  # noqa: SLF001 - there is no other way to see another thread
            if frame is None:
                return
            agent, thread_id, root, where = _who(frame)
            del frame  # it would keep alive all that is on the loop's stack
            if where:
                _log.error("event_loop_blocked", agent=agent, thread_id=thread_id, where=where, doing=_ADVICE)
            while not alive.wait(_ASKED_EVERY_S):
                if self._stopped.is_set():
                    return
            if not where:
                continue  # a machine with too much to do, or a library that is loaded: nobody could change a line
            blocked_ns = round((time.monotonic() - asked) * 1_000_000_000)
            event = EventLoopBlocked(
                agent=agent, where=where, blocked_ns=blocked_ns, thread_id=thread_id, root_thread_id=root
            )
            self._on_loop(partial(self._emit, event))

    def _on_loop(self, function: Callable[[], None]) -> bool:
        """Have the loop call a function; whether it still runs."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # closed
            return False
        return True


_LOOPS = {"run_forever", "run_until_complete"}
"""Further out than these is the code that runs the loop, which blocks nothing."""

_ADVICE = "nothing else runs meanwhile: make it a plain function (those run on worker threads), or await"


def _who(frame: FrameType) -> tuple[str, str, str, str]:
    """Return the agent, the thread, its root, and ``file:line`` of the code that a stack is in.

    The line is that of the innermost code on the loop which is neither organism's nor a library's; of the innermost of
    all where a handler has none, as one that asks a model. Empty where the loop does neither. The agent is empty for
    what no handler does, such as a listener.
    """
    agent, thread_id, root, where = "", "", "", ""
    for each in _outwards(frame):
        path = each.f_code.co_filename
        if each.f_code is HandlerRun.execute.__code__:
            agent, thread_id, root = each.f_locals["self"].work_of
            where = where or f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if agent or each.f_code.co_name in _LOOPS:
            break
        if not where and not path.startswith((_OURS, "<frozen", *_LIBRARIES)):
            where = f"{path}:{each.f_lineno}"
    return agent, thread_id, root, where


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
