"""Guards around the runtime's own tasks: an uncaught exception is logged as critical, and the task continues.

All of them share one task group. Without a guard, a defect that shows on one message would cancel every thread.
"""

import asyncio
from collections.abc import Awaitable, Callable

from organism.concurrency.safe_log import safe_logger
from organism.journal import JournalBrokenError
from organism.runtime.workers.cancel_scope import cancelled_from_outside
from organism.text.error_text import describe

_log = safe_logger("organism.pump")


def stops_task(error: BaseException) -> bool:
    """Whether an exception is meant to end the task: its cancellation, the event loop's end, or the journal's."""
    if isinstance(error, asyncio.CancelledError):
        return cancelled_from_outside()
    return isinstance(error, GeneratorExit | JournalBrokenError)


def log_defect(error: BaseException, what: str, **about: str) -> None:
    """Log an exception that only a mistake of organism's own can have raised."""
    _log.critical("pump_failed", while_doing=what, error=describe(error), exc_info=error, **about)


async def guarded(step: Callable[[], Awaitable[None]], what: str, **about: str) -> bool:
    """Do a step that must not end the tasks beside it, and return whether it was done.

    Args:
        what: What it does, for the log.
    """
    try:
        await step()
    except BaseException as error:
        if stops_task(error):
            raise
        log_defect(error, what, **about)
        if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()) is not None:
            task.uncancel()
        return False
    return True


def guarded_call(call: Callable[[], object], what: str, **about: str) -> bool:
    """Call something that must not end the task it is called in, and return whether it went well."""
    try:
        call()
    except Exception as error:
        if stops_task(error):
            raise
        log_defect(error, what, **about)
        return False
    return True
