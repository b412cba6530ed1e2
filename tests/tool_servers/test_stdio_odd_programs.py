"""Programs that are odd MCP servers, as real processes: a fault costs its call, a server only its death."""

import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from organism import Organism, llm_agent
from organism.agents.tools.tool import ServedTools, ToolOutput, ToolRules, ToolServerError
from organism.llm.requests import ToolCall, ToolResult
from organism.testing import ScriptedAnswer, ScriptedProvider
from organism.tool_servers.mcp import MCPServer
from organism.tool_servers.targets import Command
from tests.waiting import until

pytestmark = pytest.mark.anyio

PROGRAM = Path(__file__).with_name("odd_server.py")


@asynccontextmanager
async def running(mode: str, log: Path, start_timeout_s: float = 60.0) -> AsyncIterator[MCPServer]:
    command = Command((sys.executable, "-I", str(PROGRAM), mode, str(log)))
    server = MCPServer("odd", command, start_timeout_s=start_timeout_s)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        try:
            yield server
        finally:
            tasks.cancel_scope.cancel()


def starts(log: Path) -> int:
    return log.read_text().count("start ")


@pytest.mark.parametrize(
    ("mode", "told", "is_error"),
    [
        ("sound", "call 2", False),
        ("banner", "call 2", False),
        ("stderr flood", "call 2", False),
        ("slow start", "call 2", False),
        ("unknown version", "call 2", False),
        ("old version", "call 2", False),
        ("bad bytes", "call \ufffd\ufffd", False),
        ("in a list", "call 2", False),
        ("no version", "call 2", False),
        ("indented", "call 2", False),
        ("indented, begun on its first line", "call 2", False),
        ("indented after a bracket", "call 2", False),
        ("number as text", "call 2", False),
        ("carriage returns", "call 2", False),
        ("text as result", "call 2", False),
        ("null result", "[the tool has returned nothing]", False),
        ("text as error", "the server failed: MCPError: no luck in call 2", True),
        ("neither", "the server failed: MCPError: the answer has neither a result nor an error", True),
        ("refuses", "the server failed: MCPError: Connection closed", True),
    ],
)
async def test_odd_answer_is_understood_by_the_same_process(
    tmp_path: Path, mode: str, told: str, *, is_error: bool
) -> None:
    """What a server means reaches the model, whatever its form, and the server keeps its state."""
    async with running(mode, tmp_path / "log") as server:
        first = await server.call("count", "{}")
        second = await server.call("count", "")

    assert first.content
    assert (second.content, second.is_error) == (told, is_error)
    assert starts(tmp_path / "log") == 1


@pytest.mark.parametrize(
    ("mode", "words", "processes"),
    [
        ("dies in a call", "ended with status 7; it said: out of memory", 2),
        ("huge answer", "its answer is larger than 16,777,216 bytes", 1),
    ],
)
async def test_fault_in_a_call_is_told_and_the_next_call_served(
    tmp_path: Path, mode: str, words: str, processes: int
) -> None:
    """A call that ends its server, or says too much, is an error in words; it is not made again."""
    async with running(mode, tmp_path / "log") as server:
        failed = await server.call("die", "{}")
        after = await server.call("count", "{}")

    assert failed.is_error
    assert words in str(failed.content)
    assert "call" in str(after.content)
    assert starts(tmp_path / "log") == processes
    assert (tmp_path / "log").read_text().count("tools/call") == 2


async def test_endless_line_ends_the_server_and_not_our_memory(tmp_path: Path) -> None:
    """A program that never ends its line is ended; what is kept of the line is bounded."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with running("endless line", tmp_path / "log") as server:
        failed = await server.call("die", "{}")
        after = await server.call("count", "{}")

    assert failed.is_error
    assert "no MCP message" in str(failed.content)
    assert after == ToolOutput("call 1")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes; it wrote 64 MiB


@pytest.mark.parametrize(
    ("mode", "words"),
    [("ends at once", "there is no database"), ("never ready", "not ready within"), ("only noise", "no MCP message")],
)
async def test_server_that_cannot_be_opened_says_why(tmp_path: Path, mode: str, words: str) -> None:
    """It is an error with its name and last words, of the list as of a call; the next try starts it anew."""
    limit = 1.5 if mode == "never ready" else 60.0
    async with running(mode, tmp_path / "log", start_timeout_s=limit) as server:
        with pytest.raises(ToolServerError, match="'odd'") as caught:
            await server.tools()
        told = await server.call("count", "{}")

    assert words in str(caught.value)
    assert told.is_error
    assert words in str(told.content)
    assert starts(tmp_path / "log") == 2


async def test_server_that_died_between_calls_is_begun_anew_unseen(tmp_path: Path) -> None:
    """A call to a server that is known to be gone has not run: it is made in a new one."""
    import os
    import signal

    async with running("sound", tmp_path / "log") as server:
        await server.call("count", "{}")
        os.kill(int((tmp_path / "log").read_text().split()[1]), signal.SIGKILL)
        with anyio.fail_after(60):
            assert server._connection is not None
            await server._connection.lost.wait()

        assert await server.call("count", "{}") == ToolOutput("call 1")


async def test_changed_tools_are_asked_for_again(tmp_path: Path) -> None:
    """The list is asked for once, and again when the server says that it has changed."""
    async with running("changes", tmp_path / "log") as server:
        assert [tool.name for tool in await server.tools()] == ["count", "die"]
        await server.tools()
        await server.call("count", "{}")
        with anyio.fail_after(60):
            while len(await server.tools()) < 3:  # noqa: ASYNC110 - the change is told some time after the answer
                await anyio.sleep(0.01)

    assert (tmp_path / "log").read_text().count("tools/list") == 2


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("pages", ["tool0", "tool1", "tool2", "tool3"]),
        ("same page", ["count"]),
        ("odd tools", ["bare", "null", "typeless"]),
    ],
)
async def test_list_is_read_to_its_end_and_for_what_is_right_in_it(tmp_path: Path, mode: str, names: list[str]) -> None:
    """Pages are followed while they lead on, and one tool that is wrong does not cost the others."""
    async with running(mode, tmp_path / "log") as server:
        tools = await server.tools()

    assert [tool.name for tool in tools] == names
    assert all(tool.parameters["type"] == "object" for tool in tools)


async def _run(mode: str, log: Path, tool: str, rules: ToolRules) -> ToolResult:
    """Have a model call a tool once; return what it was told."""
    provider = ScriptedProvider([ScriptedAnswer(tool_calls=(ToolCall("c", f"odd_{tool}", "{}"),)), "done"])
    server = MCPServer("odd", Command((sys.executable, "-I", str(PROGRAM), mode, str(log))), start_timeout_s=60)
    agent = llm_agent("a", tools=[ServedTools(server=server, rules=rules)])
    async with Organism([agent], models={"m": "p/m"}, providers={"p": provider}, tool_servers=[server]) as organism:
        await organism.run("go")
    (told,) = provider.requests[1].messages[-1].parts
    assert isinstance(told, ToolResult)
    return told


async def test_progress_gives_a_tool_more_time_but_not_for_ever(tmp_path: Path) -> None:
    """A tool that tells of its progress outlasts its timeout; ten times that is the end."""
    told = await _run("progress", tmp_path / "log", "count", ToolRules(timeout_s=2))
    assert told.content == "call 1"

    told = await _run("progress", tmp_path / "log", "count", ToolRules(timeout_s=0.03))
    assert told.is_error


async def test_call_that_is_given_up_is_cancelled_at_the_server(tmp_path: Path) -> None:
    """The server is told to stop what nobody waits for any more, and is not ended for it."""
    async with running("never answers", tmp_path / "log") as server:
        await server.tools()  # it is there: only the call itself is given up
        async with anyio.create_task_group() as calls:
            calls.start_soon(server.call, "die", "{}")
            await until(lambda: "tools/call" in (tmp_path / "log").read_text())
            calls.cancel_scope.cancel()
        assert await server.call("count", "{}") == ToolOutput("call 2")

    assert "notifications/cancelled" in (tmp_path / "log").read_text()
    assert starts(tmp_path / "log") == 1


async def test_program_that_hangs_in_a_call_is_started_again(tmp_path: Path) -> None:
    """Who answers neither a call nor a ping is ended; the call that comes next has a new one, and all of its time."""
    async with running("hangs", tmp_path / "log") as server:
        await server.tools()
        with anyio.move_on_after(0.3) as given_up:
            await server.call("die", "{}")
        more: list[float] = []
        after = await server.call("count", "{}", lambda: more.append(anyio.current_time()))

    assert given_up.cancelled_caught
    assert after == ToolOutput("call 1")
    assert starts(tmp_path / "log") == 2
    assert len(more) > 2, "while it is looked for, the next call's time does not run"


async def test_program_that_hangs_on_its_list_is_started_again(tmp_path: Path) -> None:
    """A list that does not come is an error in words, and the next one is asked of a new program."""
    async with running("hangs on its list", tmp_path / "log", start_timeout_s=2) as server:
        with pytest.raises(ToolServerError, match="not listed its tools within 2 s"):
            await server.tools()
        assert [tool.name for tool in await server.tools()] == ["count", "die"]

    assert starts(tmp_path / "log") == 2


async def test_program_that_hangs_at_its_start_does_not_hold_up_each_try(tmp_path: Path) -> None:
    """A message is tried five times: not each time with all the patience that the first two have had."""
    async with running("never ready", tmp_path / "log", start_timeout_s=1.5) as server:
        begun_s = anyio.current_time()
        for _ in range(5):
            with pytest.raises(ToolServerError, match="not ready within"):
                await server.tools()
        assert anyio.current_time() - begun_s < 4 * 1.5 + 2

    assert starts(tmp_path / "log") == 2
