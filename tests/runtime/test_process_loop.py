"""In a process that is ours no handler stops the event loop, takes it apart, or throws the process out of it."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
import uvloop

from organism import Agent, Bounds, Context, Limits, Organism, Text, agent
from organism.runtime.process_loop import COPY_EXIT_CODE, loop_class, process_options
from organism.testing import ScriptedProvider

HANDLERS: dict[str, Callable[[], Any]] = {}
LEFT: list[Any] = []


def handler(function: Callable[[], Any]) -> Callable[[], Any]:
    HANDLERS[function.__name__] = function
    return function


def interrupts() -> None:
    raise KeyboardInterrupt


@handler
async def stops_the_loop() -> None:
    asyncio.get_running_loop().stop()


@handler
async def has_the_loop_stopped() -> None:
    asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)


@handler
async def exits_from_the_loop() -> None:
    asyncio.get_running_loop().call_soon(sys.exit)


@handler
async def exits_later() -> None:
    asyncio.get_running_loop().call_later(0.001, sys.exit, 3)


@handler
async def interrupts_from_the_loop() -> None:
    asyncio.get_running_loop().call_soon(interrupts)


@handler
async def exits_from_another_thread() -> None:
    threading.Thread(target=asyncio.get_running_loop().call_soon_threadsafe, args=(sys.exit,)).start()


@handler
async def exits_through_a_worker_thread() -> None:
    await anyio.to_thread.run_sync(lambda: anyio.from_thread.run_sync(sys.exit))


@handler
async def exits_when_a_future_is_done() -> None:
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda _done: sys.exit(2))
    future.set_result(None)


@handler
async def exits_when_a_task_is_done() -> None:
    asyncio.get_running_loop().create_task(asyncio.sleep(0)).add_done_callback(lambda _done: sys.exit(2))


@handler
async def exits_in_a_generator_that_it_left() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            sys.exit(1)

    async for _ in numbers():
        break


@handler
async def exits_whenever_a_socket_is_ready() -> None:
    LEFT.append(pair := socket.socketpair())
    asyncio.get_running_loop().add_reader(pair[0], sys.exit)
    pair[1].send(b"x")
    await asyncio.sleep(0.01)
    asyncio.get_running_loop().remove_reader(pair[0])


@handler
async def ends_the_generators_of_others() -> None:
    await asyncio.get_running_loop().shutdown_asyncgens()


@handler
async def ends_the_threads_of_others() -> None:
    await asyncio.get_running_loop().shutdown_default_executor()


@handler
async def makes_the_tasks_of_others() -> None:
    asyncio.get_running_loop().set_task_factory(lambda loop, coro, **options: 1 / 0)  # type: ignore[arg-type, return-value]


@handler
async def hears_the_errors_of_others() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: sys.exit(1))
    asyncio.get_running_loop().call_soon(interrupts)


@handler
async def closes_the_loop() -> None:
    asyncio.get_running_loop().close()


def organism_of(bad: Callable[[], Awaitable[Any]]) -> Organism:
    @agent(name="bad")
    async def bad_agent(message: Text, ctx: Context) -> Text:
        await bad()
        await anyio.sleep(0.005)
        return Text("done")

    @agent(name="good")
    async def good(message: Text, ctx: Context) -> Text:
        await anyio.sleep(0.001)
        return Text("fine")

    agents: list[Agent] = [bad_agent, good]
    return Organism(
        agents,
        models={"m": "s/x"},
        providers={"s": ScriptedProvider(["hi"])},
        limits=Limits(tokens=50_000),
        provider_kinds={"s": "local"},
        bounds=Bounds(attempts=1, restarts=100),
    )


@pytest.mark.parametrize("kind", [asyncio.SelectorEventLoop, uvloop.Loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("bad", HANDLERS.values(), ids=HANDLERS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:.*never awaited")
def test_no_handler_ends_or_changes_the_loop(
    bad: Callable[[], Awaitable[Any]], kind: type[asyncio.AbstractEventLoop]
) -> None:
    """What would end the process costs the message or the callback that did it, and others are served on."""

    async def main() -> list[str]:
        async with organism_of(bad) as it:
            outcomes = [(await it.run("x", to="bad")).outcome]
            for _ in range(3):
                outcomes.append((await it.run("x", to="good")).outcome)
                await asyncio.get_running_loop().run_in_executor(None, int)
        return outcomes

    outcomes = anyio.run(main, backend_options={"loop_factory": loop_class(kind)})
    assert outcomes[0] in {"completed", "failed"}
    assert outcomes[1:] == ["completed"] * 3
    while LEFT:
        for end in LEFT.pop():
            end.close()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_main_of_the_process_itself_may_exit(error: type[BaseException]) -> None:
    """The command's own code ends its process as it likes."""

    async def main() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    with pytest.raises(error) as raised:
        anyio.run(main, backend_options=process_options())
    assert raised.type is error


def test_second_interrupt_is_obeyed() -> None:
    """Whoever presses Ctrl-C again while the main task is being cancelled is not made to wait for it."""

    async def main() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        asyncio.get_running_loop().call_later(0.001, interrupts)
        with anyio.CancelScope(shield=True):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                await asyncio.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend_options=process_options())


FORKS = """
import os, sys, anyio
from organism import Context, Limits, Organism, Text, agent
from organism.runtime.process_loop import process_options

@agent()
async def waits(message: Text, ctx: Context) -> Text:
    if os.fork() == 0:
        raise SystemExit(3) if message.text == "raise" else ValueError(message.text)
    return Text(str(os.waitstatus_to_exitcode(os.wait()[1])))

@agent()
def plain(message: Text, ctx: Context) -> Text:
    if os.fork() == 0:
        return Text("in the copy")
    return Text(str(os.waitstatus_to_exitcode(os.wait()[1])))

async def main():
    async with Organism([waits, plain], limits=Limits(calls=5)) as organism:
        for text, to in (("raise", "waits"), ("fail", "waits"), ("return", "plain")):
            print("told", (await organism.run(text, to=to)).outputs[0].text, flush=True)
        print("told still here")

anyio.run(main, backend_options=process_options() if sys.argv[1] == "ours" else {})
"""


@pytest.mark.parametrize("loop", ["ours", "a program's own"])
def test_a_copy_that_a_handler_has_forked_ends_where_it_would_go_on(loop: str) -> None:
    """A handler that forks and falls through in the copy leaves no second process on the same state."""
    ended = subprocess.run([sys.executable, "-c", FORKS, loop], capture_output=True, text=True, timeout=60, check=False)

    told = [line.removeprefix("told ") for line in ended.stdout.split("\n") if line.startswith("told ")]
    assert told == [str(COPY_EXIT_CODE), str(COPY_EXIT_CODE), "1", "still here"], ended.stderr
    assert ended.stdout.count("a handler has forked the process") == 2
