"""Exit codes of the ``organism`` command, and how an error becomes one."""

from collections.abc import Callable

OK = 0
FAILED = 1
"""The work was tried and failed."""

USAGE = 2
"""The command line or the configuration is wrong; nothing was tried."""

EXHAUSTED = 3
"""A limit refused a call, and the work waits for budget."""

UNREACHABLE = 4
"""No daemon answers."""

WAITS = 4
"""The work waits for a person: of ``run`` and ``resume``, which need no daemon."""

NOT_EXECUTABLE = 126
"""What is to be run under a budget cannot be run, as shells count it."""

NOT_FOUND = 127
"""It is not there, as shells count it."""

BY_SIGNAL = 128
"""Shells add to it the number of the signal that has ended a program."""

INTERRUPTED = 130
"""Stopped by Ctrl-C, as shells count it."""


def explain(error: Exception, completed: Callable[[str], str] = str) -> int:
    """Print an error that somebody can correct, each mistake in a line, and return its exit code.

    That is one of organism's own, or that a file may not be used by this user. Any other error is raised again.

    Args:
        error: What went wrong.
        completed: Completes the commands that a sentence names.

    Raises:
        Exception: The error, if it is none of organism's own: that is a bug, and its traceback is wanted.
    """
    from organism.cli.output import complain
    from organism.errors import OrganismError

    if isinstance(error, PermissionError) and error.filename is not None:
        complain(f"{error.filename}: may not be used by this user: {error.strerror}")
        return USAGE
    if not isinstance(error, OrganismError):
        raise error
    for sentence in error.sentences:
        complain(completed(sentence))
    code: int = getattr(error, "exit_code", USAGE)
    return code
