"""Processes of organism that are there to be killed: started as a user would, or forked from a warm one."""

import json
import os
import signal
import sys
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

KILLED = -signal.SIGKILL

NURSERY = Path(__file__).with_name("nursery.py")
"""Imports everything once, and forks."""


class Life:
    """A process, from its birth to its end.

    Attributes:
        pid: Its id.
        code: Its exit code, negative for a signal; ``None`` while it lives.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        self._ended = anyio.Event()

    def end(self, code: int) -> None:
        """Note that it has ended."""
        self.code = code
        self._ended.set()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, if it still lives; its id is not given to another before it was reaped."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self) -> int:
        """Return its exit code."""
        await self._ended.wait()
        assert self.code is not None
        return self.code


class NurseryDiedError(Exception):
    """The process that others are forked from has ended."""

    def __init__(self, code: int | None, output: str) -> None:
        super().__init__(f"the warm process has ended with {code}, and has said:\n{output}")


class Midwife:
    """Starts processes. Use it as an async context manager; whatever still lives at its end is killed.

    Args:
        warm: Whether they are forked from a process that has imported everything.
        program: That process.
    """

    def __init__(self, *, warm: bool, program: Path = NURSERY) -> None:
        self._warm = warm
        self._program = program
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        self._gone = False
        self._lives: dict[int, Life] = {}
        self._ends: dict[int, int] = {}
        self._wanted: deque[tuple[anyio.Event, list[Life]]] = deque()
        self._ready = anyio.Event()
        self._tasks = anyio.create_task_group()
        self._nursery: anyio.abc.Process | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        if self._warm:
            command = [sys.executable, str(self._program)]
            self._nursery = await anyio.open_process(command, stderr=self._output)
            self._tasks.start_soon(self._listen, self._nursery)
            await self._ready.wait()
            if self._gone:
                died = await self._died(self._nursery)
                await self.__aexit__(None, None, None)
                raise died
        return self

    async def _died(self, nursery: anyio.abc.Process) -> NurseryDiedError:
        code = await nursery.wait()
        self._output.seek(0)
        return NurseryDiedError(code, self._output.read().decode(errors="replace"))

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            for life in self._lives.values():
                life.kill()
            for life in list(self._lives.values()):
                await life.wait()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        if self._nursery is not None:
            with anyio.CancelScope(shield=True):
                with suppress(ProcessLookupError):
                    self._nursery.terminate()
                await self._nursery.aclose()
        self._output.close()

    async def start(self, folder: Path, *arguments: str, **environment: str) -> Life:
        """Start a command line of organism in a folder; what it writes goes to ``stderr.log`` there."""
        if self._nursery is None:
            return await self._start_cold(folder, *arguments, **environment)
        order = {"arguments": arguments, "folder": str(folder), "environment": environment}
        born, answer = anyio.Event(), list[Life]()
        self._wanted.append((born, answer))
        assert self._nursery.stdin is not None
        with suppress(anyio.BrokenResourceError):  # it is gone, and what it wrote says why
            await self._nursery.stdin.send(json.dumps(order).encode() + b"\n")
            if not self._gone:
                await born.wait()
        if not answer:
            raise await self._died(self._nursery)
        return answer[0]

    async def _start_cold(self, folder: Path, *arguments: str, **environment: str) -> Life:
        with (folder / "stderr.log").open("ab") as log:
            process = await anyio.open_process(
                [sys.executable, str(Path(__file__).with_name("killable.py")), *arguments],
                cwd=folder,
                env={**os.environ, **environment},
                stdin=None,
                stdout=log,
                stderr=log,
            )
        life = self._lives[process.pid] = Life(process.pid)

        async def see_to_its_end() -> None:
            life.end(await process.wait())
            del self._lives[process.pid]

        self._tasks.start_soon(see_to_its_end)
        return life

    async def _listen(self, nursery: anyio.abc.Process) -> None:
        assert nursery.stdout is not None
        rest = b""
        async for chunk in nursery.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
        self._gone = True
        self._ready.set()
        for born, _ in self._wanted:
            born.set()

    def _hear(self, said: dict[str, int]) -> None:
        match said:
            case {"born": pid}:
                life = self._lives[pid] = Life(pid)
                if pid in self._ends:
                    self._lives.pop(pid).end(self._ends.pop(pid))
                born, answer = self._wanted.popleft()
                answer.append(life)
                born.set()
            case {"dead": pid, "code": code}:
                if pid in self._lives:
                    self._lives.pop(pid).end(code)
                else:
                    self._ends[pid] = code  # it was faster than the news of its birth
            case _:
                self._ready.set()
