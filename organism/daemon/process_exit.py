"""The end of the process once all its work is done, whatever an agent's code has left running.

The organism's own worker threads are daemon threads and keep nothing from ending. But a handler may have begun threads
or tasks of its own: the event loop waits for those of `asyncio.to_thread`, the interpreter for every other, both
without end. When this begins the journal is closed and all is written, so nothing is lost by leaving.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

GRACE_S = 5.0
"""So long what is left behind may take to end by itself."""


class _Leaving:
    """Whether this process may be left: only one that the command line has been started as, not one it is called in."""

    allowed = False


def allow() -> None:
    """Let this process be left: it is the command line's own."""
    _Leaving.allowed = True


def leave_soon(code: int, last: Callable[[], object] = lambda: None) -> None:
    """Leave with an exit code in a little while, if the process is still there then.

    Args:
        last: Called before.
    """
    if _Leaving.allowed:
        threading.Thread(target=_leave, args=(code, last), name="organism leaving", daemon=True).start()


def _leave(code: int, last: Callable[[], object]) -> None:
    import structlog  # heavy, and most processes end before

    time.sleep(GRACE_S)
    with suppress(Exception):
        last()
        structlog.get_logger("organism.daemon").warning(
            "left", reason="code of an agent is still running in the process"
        )
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    os._exit(code)
