"""MCP servers run as child processes: one message a line, or indented over several, of bounded length.

The SDK's own transport keeps a line until it ends, and all of standard error, however long. Here a line that is too
long fails only the call that it answers, a program that writes no MCP is ended, and only the end of standard error is
kept.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc

from organism.concurrency.safe_log import safe_logger
from organism.text.error_text import in_one_line
from organism.text.plain_text import lines_of
from organism.tool_servers.messages import (
    MESSAGE_BYTES_MAX,
    UNREADABLE,
    LineReader,
    failure,
    id_of_head,
    is_answer,
    read_messages,
    too_large,
)
from organism.tool_servers.split_messages import SplitMessages
from organism.tool_servers.targets import Command

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

_log = safe_logger("organism.tools")

_JUNK_BYTES_MAX = 4 * MESSAGE_BYTES_MAX
_JUNK_LINES_MAX = 100_000
"""Output without a message after which a program is taken for no MCP server."""

_READ_BYTES = 65_536
_LAST_WORDS_BYTES = 2000
_GRACE_S = 2.0
_LAST_WORDS_S = 0.5
_POLL_S = 0.01
_GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


class Program:
    """A server's process.

    Attributes:
        ended: How it ended, in words; ``None`` while it runs.
    """

    def __init__(self, target: Command) -> None:
        self._target = target
        self._process: anyio.abc.Process | None = None
        self._said = b""
        self._silent = anyio.Event()
        self._told = anyio.Event()
        self.ended: str | None = None

    @property
    def last_words(self) -> str:
        """Its last line on standard error; empty if there is none."""
        return lines_of(self._said.decode("utf-8", "replace").strip())[-1][:200]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[Any, Any]]:
        """Run the process within the block, and yield the SDK's two streams.

        Raises:
            OSError: If it cannot be started.
        """
        from mcp.client.stdio import get_default_environment

        process = await anyio.open_process(
            list(self._target.command),
            env=get_default_environment() | self._target.environment,
            cwd=self._target.folder,
            start_new_session=True,
        )
        self._process = process
        # No await between here and the task group: a cancellation there would leave the process behind.
        to_session, from_program = anyio.create_memory_object_stream[Any](0)
        to_program, from_session = anyio.create_memory_object_stream[Any](0)
        streams = (to_session, from_program, to_program, from_session)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen, process, to_session)
                tasks.start_soon(self._keep_last_words, process)
                tasks.start_soon(self._tell, process, from_session, to_session)
                try:
                    yield from_program, to_program
                finally:
                    with anyio.CancelScope(shield=True):
                        from_program.close()
                        to_program.close()
                        await _stop(process)
                    tasks.cancel_scope.cancel()
        finally:
            for stream in streams:
                stream.close()
            with anyio.CancelScope(shield=True):
                await process.aclose()

    async def _listen(self, process: anyio.abc.Process, to_session: "MemoryObjectSendStream[Any]") -> None:
        """Pass its messages to the session; without a session go on reading, so that the program can end."""
        lines, split = LineReader(MESSAGE_BYTES_MAX), SplitMessages(MESSAGE_BYTES_MAX)
        junk, junk_lines, heard = 0, 0, True
        assert process.stdout is not None  # noqa: S101 - opened with pipes
        try:
            while True:
                data = await process.stdout.receive(_READ_BYTES)
                if not heard:
                    continue
                junk += len(data)
                junk_lines += data.count(b"\n")
                for message in _messages(lines, split, data):
                    junk = junk_lines = 0
                    try:
                        await to_session.send(message)
                    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                        heard = False
                if heard and (junk > _JUNK_BYTES_MAX or junk_lines > _JUNK_LINES_MAX):
                    heard = False
                    self.ended = f"it wrote {junk:,} bytes that are no MCP message"
                    to_session.close()
        except _GONE:
            pass
        self.ended = self.ended or await self._epitaph(process)
        self._told.set()
        to_session.close()

    async def _tell(self, process: anyio.abc.Process, from_session: Any, to_session: Any) -> None:
        """Pass the session's messages to the program; end the session if the program no longer reads them."""
        assert process.stdin is not None  # noqa: S101 - opened with pipes
        try:
            async for message in from_session:
                line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(line.encode() + b"\n")
        except _GONE:
            # Usually the reader ends the session, and knows why; this is for a program that has closed only its input.
            with anyio.move_on_after(_LAST_WORDS_S):
                await self._told.wait()
            self.ended = self.ended or "it has closed its input"
            to_session.close()

    async def _keep_last_words(self, process: anyio.abc.Process) -> None:
        assert process.stderr is not None  # noqa: S101 - opened with pipes
        with suppress(*_GONE):
            while True:
                self._said = (self._said + await process.stderr.receive(_READ_BYTES))[-_LAST_WORDS_BYTES:]
        self._silent.set()

    async def _epitaph(self, process: anyio.abc.Process) -> str:
        """Return how the process ended, in words, waiting briefly for its status."""
        with anyio.move_on_after(_LAST_WORDS_S):
            await _exited(process)
            await self._silent.wait()
        code = process.returncode
        return "it has closed its output" if code is None else f"it ended with status {code}"


def _messages(lines: LineReader, split: SplitMessages, data: bytes) -> "list[SessionMessage]":
    found = []
    for line, overlong in lines.feed(data):
        if overlong:
            number = id_of_head(line)
            _log.warning("tool_server_line_too_long", bytes_max=MESSAGE_BYTES_MAX)
            said = [] if number is None else [too_large(number)]
        else:
            said = [message for whole in split.feed(line) for message in read_messages(whole)]
        found += [message for plain in said if (message := session_message(plain)) is not None]
    return found


def session_message(plain: dict[str, Any]) -> "SessionMessage | None":
    """Convert a message to the SDK's type; an answer that cannot be converted becomes a failure."""
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    try:
        return SessionMessage(jsonrpc_message_adapter.validate_python(plain, by_name=False))
    except ValueError as error:
        if not is_answer(plain):
            return None
        unreadable = failure(plain["id"], UNREADABLE, f"the answer cannot be read: {in_one_line(str(error))}")
        return SessionMessage(jsonrpc_message_adapter.validate_python(unreadable, by_name=False))


async def _exited(process: anyio.abc.Process) -> None:
    """Wait until a process has ended, but not for its pipes, which a child of it may hold open."""
    while process.returncode is None:  # noqa: ASYNC110 - the event of asyncio waits for the pipes too
        await anyio.sleep(_POLL_S)


async def _stop(process: anyio.abc.Process) -> None:
    """Close a process's input, give it time to end, then kill it with its children."""
    from mcp.os.posix.utilities import terminate_posix_process_tree

    assert process.stdin is not None  # noqa: S101 - opened with pipes
    with suppress(*_GONE):
        await process.stdin.aclose()
    with anyio.move_on_after(_GRACE_S):
        await _exited(process)
    # Even if it has ended: its children may live on, in its process group.
    await terminate_posix_process_tree(process, _GRACE_S)
    with anyio.move_on_after(_GRACE_S):
        await _exited(process)
