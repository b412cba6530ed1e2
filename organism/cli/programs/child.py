"""A program as a child of this process: with our own standard streams, and every signal that we get."""

import asyncio
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from errno import ENOENT
from pathlib import Path

import anyio

from organism.cli import exit_codes
from organism.errors import OrganismError

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_BY_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""What a terminal sends to all processes in its foreground, the program among them."""


class NotStartedError(OrganismError):
    """The program cannot be run.

    Attributes:
        exit_code: What a shell would exit with.
    """

    def __init__(self, program: str, error: OSError) -> None:
        missing = isinstance(error, FileNotFoundError)
        self.exit_code = exit_codes.NOT_FOUND if missing else exit_codes.NOT_EXECUTABLE
        super().__init__(f"{program}: {error.strerror or error}")


def check_startable(program: str, environment: Mapping[str, str]) -> None:
    """Refuse a program that is not there, before anything is set up for it.

    Raises:
        NotStartedError: If it is not.
    """
    if shutil.which(program, path=environment.get("PATH")) is None and not Path(program).exists():
        raise NotStartedError(program, FileNotFoundError(ENOENT, "command not found"))


async def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end and return its exit code, as a shell counts it: 128 and the number of what killed it.

    In the foreground of a terminal it stays in our process group, so that the terminal's own signals reach it, and
    these are not passed on a second time. Elsewhere it gets a group of its own: what is sent to our whole group would
    come twice otherwise.

    Raises:
        NotStartedError: If it cannot be run.
    """
    in_foreground = _in_foreground()
    passed = [number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]  # nohup stays nohup
    with anyio.open_signal_receiver(*passed) as signals:
        try:
            # What a shell has opened for it stays open; our own files are closed to it by the system.
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own streams, as no async start leaves them
                command, env=dict(environment), close_fds=False, process_group=None if in_foreground else 0
            )
        except OSError as error:
            raise NotStartedError(command[0], error) from error
        async with anyio.create_task_group() as tasks:

            async def pass_on() -> None:
                async for number in signals:
                    if not (in_foreground and number in _BY_TERMINAL):
                        _send(process, number, whole_group=not in_foreground)

            tasks.start_soon(pass_on)
            code = await _end_of(process)
            tasks.cancel_scope.cancel()
    return code if code >= 0 else exit_codes.BY_SIGNAL - code


def _send(process: "subprocess.Popen[bytes]", number: int, *, whole_group: bool) -> None:
    with suppress(ProcessLookupError):
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


async def _end_of(process: "subprocess.Popen[bytes]") -> int:
    """Wait on a thread of its own: it may take hours, and nothing else is to wait for a place meanwhile."""
    ended, loop = anyio.Event(), asyncio.get_running_loop()

    def wait() -> None:
        process.wait()
        with suppress(RuntimeError):  # the loop may be gone, after an order to leave at once
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, name="organism child", daemon=True).start()
    await ended.wait()
    return process.wait()


def _in_foreground() -> bool:
    """Whether a terminal is one of our standard streams, and we are in its foreground."""
    for descriptor in range(3):
        with suppress(OSError):
            if os.tcgetpgrp(descriptor) == os.getpgrp():
                return True
    return False
