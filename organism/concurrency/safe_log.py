"""Log lines of the runtime's own tasks, which never raise: structlog is everybody's, with anybody's processors.

A line that could not be written must not end the task that all threads share. It is said in a few words by the standard
library, which writes to standard error unless somebody has set it up, too; where that fails as well, on standard error.
"""

import logging
import sys
from typing import Any

import structlog

from organism.concurrency.foreign_code import failure_of


class SafeLogger:
    """A structlog logger whose failures stay with it.

    Args:
        name: What it is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._log = structlog.get_logger(name)

    def debug(self, event: str, **values: Any) -> None:
        """Log at this level, as the next ones do at theirs."""
        self._say("debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        """Log what is worth knowing."""
        self._say("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        """Log what may be wrong."""
        self._say("warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        """Log what is wrong."""
        self._say("error", event, values)

    def critical(self, event: str, **values: Any) -> None:
        """Log what should never be."""
        self._say("critical", event, values)

    def exception(self, event: str, **values: Any) -> None:
        """Log what is wrong, with the error that is being handled."""
        self._say("exception", event, values)

    def _say(self, level: str, event: str, values: dict[str, Any]) -> None:
        failure = failure_of(lambda: getattr(self._log, level)(event, **values))
        if failure is None:
            return
        line = f"{event} (the log's own set-up failed on this line: {type(failure).__name__})"
        # The standard library may have been led to the same log, as a daemon's is.
        if failure_of(lambda: logging.getLogger(self._name).error("%s", line)) is not None:
            plain = line.encode("unicode_escape").decode("ascii")  # a class may be called anything
            failure_of(lambda: sys.stderr.write(f"{plain}\n"))


def safe_logger(name: str) -> SafeLogger:
    """Return the logger of that name, for a task that others depend on."""
    return SafeLogger(name)
