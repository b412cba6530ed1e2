"""Runs the command line as a user does: in a process of its own, in a folder."""

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

_PATIENCE_S = 60


class Running:
    """A command that runs, used as a `subprocess.Popen` is.

    Attributes:
        pid: Its process.
        stdout: What it prints, where a pipe was asked for.
        stderr: What it writes on standard error, where a pipe was asked for.
    """

    def __init__(self, status: int, stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self._status = os.fdopen(status, "r")
        self.pid = int(self._status.readline())
        self.stdout = stdout
        self.stderr = stderr
        self._code: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._attend, daemon=True).start()

    def _attend(self) -> None:
        with self._status:
            self._code = int(self._status.readline() or -signal.SIGKILL)
        self._ended.set()

    def poll(self) -> int | None:
        """Return its exit code if it has ended."""
        return self._code if self._ended.is_set() else None

    def wait(self, timeout: float = _PATIENCE_S) -> int:
        """Wait for its end and return its exit code."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("organism", timeout)
        assert self._code is not None
        return self._code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @property
    def returncode(self) -> int | None:
        """Its exit code, if it has ended."""
        return self.poll()

    def communicate(self, timeout: float = _PATIENCE_S) -> tuple[str, str]:
        """Wait for its end and return what its pipes still hold, which must be little."""
        self.wait(timeout)
        out, errors = ("" if stream is None else stream.read() for stream in (self.stdout, self.stderr))
        self.close()
        return out, errors

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End it, and close what it wrote to."""
        self.kill()
        self.wait()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()


@functools.cache
def _server() -> socket.socket:
    """Start the process that forks for each command; it ends with ours."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(theirs.fileno())]
    process = subprocess.Popen(program, pass_fds=[theirs.fileno()])
    theirs.close()

    def end() -> None:
        ours.close()
        process.kill()
        process.wait()

    atexit.register(end)
    return ours


def start(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    stdout: IO[str] | IO[bytes] | None = None,
    stderr: IO[str] | IO[bytes] | None = None,
) -> Running:
    """Start ``organism`` with these arguments.

    Args:
        folder: Where it is run.
        arguments: Its arguments.
        environment: Its whole environment; ours unless given.
        stdout: The file it prints to; a pipe unless given.
        stderr: The file of its standard error; a pipe unless given.
    """
    order = {
        "arguments": arguments,
        "folder": str(folder),
        "environment": dict(os.environ if environment is None else environment),
    }
    ours: list[IO[str] | None] = []
    theirs = [os.open(os.devnull, os.O_RDONLY)]
    for given in (stdout, stderr):
        if given is not None:
            theirs.append(os.dup(given.fileno()))
            ours.append(None)
        else:
            reading, writing = os.pipe()
            theirs.append(writing)
            ours.append(os.fdopen(reading, "r"))
    status, told = os.pipe()
    theirs.append(told)
    socket.send_fds(_server(), [json.dumps(order).encode()], theirs)
    for descriptor in theirs:
        os.close(descriptor)
    return Running(status, *ours)


def organism(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``organism`` with these arguments to its end; a traceback is no answer to any of them.

    Args:
        folder: Where it is run.
        arguments: Its arguments.
        environment: What is set beside the environment of the tests.
    """
    result = finished(folder, *arguments, environment={**os.environ, "COLUMNS": "200", **environment})
    assert "Traceback" not in result.stderr + result.stdout, result.stderr
    return result


def finished(folder: Path, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``organism`` to its end in this environment and nothing beside it."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        running = start(folder, *arguments, environment=environment, stdout=out, stderr=errors)
        try:
            code = running.wait()
        finally:
            running.close()
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(["organism", *arguments], code, out.read(), errors.read())


@contextlib.contextmanager
def daemon(folder: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    """Run a daemon that logs JSON, from when it is ready on; its standard error is a pipe behind the line that says so.

    Args:
        folder: Where it is run.
        arguments: Further arguments.
        environment: What is set beside the environment of the tests.
    """
    with tempfile.TemporaryFile("w+") as out:
        options = ("--port", "0", "--log-format", "json", *arguments)
        running = start(folder, "daemon", *options, environment={**os.environ, **environment}, stdout=out)
        try:
            assert running.stderr is not None
            while '"ready"' not in (line := running.stderr.readline()):
                assert line.startswith("{"), line + running.stderr.read()
            yield running
        finally:
            running.close()


def until_said(phrase: str, run: Callable[[], str]) -> str:
    """Run a command until it says something, and return all that it says: what it tells of happens elsewhere."""
    deadline = time.monotonic() + _PATIENCE_S
    while phrase not in (said := run()):
        assert time.monotonic() < deadline, said
    return said
