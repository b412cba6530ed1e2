"""Exit codes of the ``organism`` command, and how an error becomes one."""

OK = 0
FAILED = 1
"""The work was tried and failed."""

USAGE = 2
"""The command line or the configuration is wrong; nothing was tried."""

EXHAUSTED = 3
"""A limit refused a call, and the work waits for budget."""

UNREACHABLE = 4
"""No daemon answers."""

INTERRUPTED = 130
"""Stopped by Ctrl-C, as shells count it."""
