"""A handler that cancels every task it finds does not end the daemon."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from organism import Context, Limits, Organism, Text, agent
from organism.daemon.own_tasks import hide_own_tasks
from organism.testing import ScriptedProvider, VirtualClock, run

AGENT = """
import asyncio
import anyio.from_thread
from organism import Text

def cancel(tasks):
    for task in tasks:
        task.cancel()

def others():
    return asyncio.all_tasks() - {asyncio.current_task()}

async def everything(message, ctx):
    cancel(asyncio.all_tasks())
    await asyncio.sleep(0)

async def all_others(message, ctx):
    cancel(others())
    await asyncio.gather(*others(), return_exceptions=True)

async def from_a_task_left_behind(message, ctx):
    async def later():
        await asyncio.sleep(0.05)
        cancel(others())
    asyncio.get_running_loop().create_task(later())
    await asyncio.sleep(0.1)

async def from_the_loop(message, ctx):
    asyncio.get_running_loop().call_soon(lambda: cancel(asyncio.all_tasks()))
    await asyncio.sleep(0.05)

async def while_it_waits(message, ctx):
    asyncio.get_running_loop().call_later(0.05, lambda: cancel(asyncio.all_tasks()))
    await ctx.ask("plain", Text("x"))

def plain(message: Text, ctx):
    anyio.from_thread.run_sync(lambda: cancel(others()))
    return Text("fine")

async def h(message: Text, ctx):
    if message.text != "good":
        await globals()[message.text](message, ctx)
    return Text("fine")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the folder of a daemon that runs, and see that it still does so in the end."""
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "h.py").write_text(AGENT)
    agents = {"a": {"handler": "h:h", "peers": ["plain"], "timeout_seconds": 20}, "plain": {"handler": "h:plain"}}
    config = {"name": "c", "entry": "a", "python_path": ["."], "bounds": {"attempts": 1, "restarts": 100}}
    (folder / "organism.yaml").write_text(json.dumps({**config, "daemon": {"port": 0}, "agents": agents}))
    with subprocess.Popen(
        [sys.executable, "-m", "organism", "daemon"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stderr is not None
            assert b"ready" in process.stderr.readline()
            yield folder
            assert process.poll() is None
        finally:
            process.terminate()
            assert process.wait(60) == 0


@pytest.mark.parametrize(
    "handler",
    ["everything", "all_others", "from_a_task_left_behind", "from_the_loop", "while_it_waits", "plain"],
)
def test_a_handler_that_cancels_all_tasks_costs_its_own_message(handler: str, folder: Path) -> None:
    """The daemon goes on: the next message is handled as if nothing had been."""
    recipient = ["--to", "plain"] if handler == "plain" else []
    for text, to in ((handler, recipient), ("good", [])):
        command = [sys.executable, "-m", "organism", "ask", text, *to]
        asked = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert asked.returncode == 0, asked.stderr
    assert "fine" in asked.stdout


def test_a_handler_that_cancels_all_tasks_cuts_no_call_of_another() -> None:
    """A call of a model goes on and is charged as billed, although it was begun while a message was handled."""

    @agent()
    async def caller(message: Text, ctx: Context) -> Text:
        return Text((await ctx.llm.complete(message.text, max_output_tokens=5)).text)

    @agent()
    async def tidy(message: Text, ctx: Context) -> Text:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await anyio.sleep(1)
        return message

    async def main() -> None:
        hide_own_tasks()
        provider = ScriptedProvider(["fine"], latency_s=10)
        agents, models = [caller, tidy], {"m": "scripted/m"}
        async with Organism(
            agents, models=models, providers={"scripted": provider}, limits=Limits(tokens=1_000), clock=VirtualClock()
        ) as running:
            calls = await running.open_thread("hello", to="caller")
            await anyio.sleep(1)
            assert (await running.run("tidy up", to="tidy")).text == "tidy up"
            result = await running.wait(calls)
            assert result.text == "fine"
            assert result.budget.spent.tokens == provider.billed.total

    run(main)
