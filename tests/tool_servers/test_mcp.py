"""MCP servers as real processes: over standard input and output, and over HTTP."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from organism import Organism, Text, llm_agent
from organism.agents.tools.tool import ServedTools, ToolOutput, ToolRules, ToolServerError, open_tools
from organism.errors import ConfigError, MissingExtraError
from organism.llm.requests import ImagePart, ToolCall, ToolResult
from organism.testing import ScriptedAnswer, ScriptedProvider
from organism.tool_servers.mcp import MCPServer
from organism.tool_servers.targets import Command, WebAddress

pytestmark = pytest.mark.anyio

PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03"
PROGRAM = Path(__file__).with_name("server.py")
SMALL = Command((sys.executable, str(PROGRAM)), {"TEST_GIVEN": "1"})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Run the server over HTTP."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(PROGRAM), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "running on" in line:
                break
        yield f"http://127.0.0.1:{port}/mcp"
        process.kill()
        process.stderr.read()


@asynccontextmanager
async def running(target: Command | WebAddress, start_timeout_s: float = 60.0) -> AsyncIterator[MCPServer]:
    server = MCPServer("small", target, start_timeout_s=start_timeout_s)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        try:
            yield server
        finally:
            tasks.cancel_scope.cancel()


@pytest.fixture(params=["stdio", "http"])
async def small(request: pytest.FixtureRequest) -> AsyncIterator[MCPServer]:
    """Speak to the server both ways."""
    target = SMALL if request.param == "stdio" else WebAddress(request.getfixturevalue("address"), "token")
    server = MCPServer("small", target, start_timeout_s=60)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        yield server
        tasks.cancel_scope.cancel()


async def test_tools_are_listed_with_their_schemas(small: MCPServer) -> None:
    """What a server offers is known by name, description and schema."""
    tools = {tool.name: tool for tool in await small.tools()}

    assert {"add", "fail", "picture"} <= set(tools)
    assert tools["add"].description == "Add two numbers."
    assert tools["add"].parameters["required"] == ["a", "b"]


async def test_calls_give_text_images_and_errors(small: MCPServer) -> None:
    """Results come as text or pictures; a failing tool, wrong arguments and an unknown name are errors to be told."""
    assert await small.call("add", '{"a": 1, "b": 2}') == ToolOutput("3")
    assert await small.call("picture", "{}") == ToolOutput((ImagePart("image/png", PICTURE),))
    for tool, arguments in (("fail", "{}"), ("add", '{"a": "x"}'), ("add", "[]"), ("nothing", "{}")):
        assert (await small.call(tool, arguments)).is_error


async def test_program_is_given_only_what_the_configuration_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server does not see our environment, where the keys are."""
    monkeypatch.setenv("TEST_HIDDEN", "key")
    async with running(SMALL) as server:
        assert await server.call("secret", "{}") == ToolOutput("TEST_GIVEN")


async def test_server_that_dies_is_started_again() -> None:
    """A call in which the server dies is told as an error; the next one finds a new server."""
    async with running(SMALL) as server:
        died = await server.call("die", "{}")

        assert died.is_error
        assert await server.call("add", '{"a": 1, "b": 2}') == ToolOutput("3")


async def test_cancelled_call_leaves_the_server_usable() -> None:
    """A call given up by its deadline does not take the connection with it."""
    async with running(SMALL) as server:
        await server.tools()
        with anyio.move_on_after(0.2) as given_up:
            await server.call("sleep", "{}")

        assert given_up.cancelled_caught
        assert await server.call("add", '{"a": 1, "b": 2}') == ToolOutput("3")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Command((sys.executable, str(PROGRAM), "--broken")), "there is no database"),
        (Command(("/no/such/program",)), "No such file"),
        (WebAddress("http://127.0.0.1:9/mcp"), "ConnectError"),
    ],
    ids=["ends at once", "not there", "nobody listens"],
)
async def test_server_that_cannot_be_reached_says_why(target: Command | WebAddress, said: str) -> None:
    """The error names the server and what it, or the system, said."""
    async with running(target) as server:
        for _ in range(2):
            with pytest.raises(ToolServerError, match="'small'") as caught:
                await server.tools()
            assert said in str(caught.value)


async def test_server_that_never_gets_ready_is_given_up() -> None:
    """Waiting for a server has an end."""
    async with running(Command(("sleep", "600")), start_timeout_s=0.3) as server:
        with pytest.raises(ToolServerError, match="not ready within"):
            await server.tools()


async def test_programs_end_with_the_organism() -> None:
    """No server outlives the organism that started it."""
    provider = ScriptedProvider([_call("small_add", '{"a": 20, "b": 22}'), "forty-two"])
    server = MCPServer("small", SMALL, start_timeout_s=60)
    agent = llm_agent("a", tools=[ServedTools(server=server, only=("add",))])
    async with Organism([agent], models={"m": "p/m"}, providers={"p": provider}, tool_servers=[server]) as organism:
        result = await organism.run("add")
        children = _children()

    assert [tool.name for tool in provider.requests[0].tools] == ["small_add"]
    assert provider.requests[1].messages[-1].parts == (ToolResult("c", "42"),)
    assert result.outputs == (Text("forty-two"),)
    assert children
    assert not _children()


async def test_slow_served_tool_is_given_up_by_its_rules() -> None:
    """The bounds on a tool hold for a server's tools too."""
    provider = ScriptedProvider([_call("small_sleep", "{}"), "never mind"])
    server = MCPServer("small", SMALL, start_timeout_s=60)
    agent = llm_agent("a", tools=[ServedTools(server=server, rules=ToolRules(timeout_s=0.3))])
    async with Organism([agent], models={"m": "p/m"}, providers={"p": provider}, tool_servers=[server]) as organism:
        await organism.run("sleep")

    (told,) = provider.requests[1].messages[-1].parts
    assert told == ToolResult("c", "it took longer than 0.3 s", is_error=True)


async def test_tool_that_is_not_offered_is_named() -> None:
    """Naming a tool the server does not have says which it has."""
    async with running(SMALL) as server:
        with pytest.raises(ToolServerError, match=r"no tool 'subtract'; there are: add, die, "):
            await open_tools((ServedTools(server=server, only=("subtract",)),))


async def test_two_servers_tools_do_not_collide() -> None:
    """A tool is called by its server's name and its own; the same one twice is refused."""
    async with running(SMALL) as server:
        once = ServedTools(server=server, only=("add",))
        with pytest.raises(ConfigError, match="small_add"):
            await open_tools((once, once))


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the SDK the error says what to install."""
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"organism-runtime\[mcp\]"):
        MCPServer("small", SMALL)


def _call(name: str, arguments: str) -> ScriptedAnswer:
    return ScriptedAnswer(tool_calls=(ToolCall("c", name, arguments),))


def _children() -> list[int]:
    """Return the process ids of our children that run the small server."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            line = entry.joinpath("cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent == os.getpid() and str(PROGRAM).encode() in line and b"--port" not in line:
            found.append(int(entry.name))
    return found
