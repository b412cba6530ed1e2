"""A program of its own runs the daemon in its event loop, beside what else it does."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest

from organism import ConfigError
from organism.cli.app import call
from organism.config.load import LoadedConfig
from organism.daemon import Daemon, DaemonHooks
from organism.daemon.state_folder import read_address
from organism.errors import OrganismError
from organism.usage.events import AnyEvent, ThreadClosed

pytestmark = pytest.mark.anyio

CONFIG = """\
name: embedded
entry: echo
python_path: ["."]
agents:
  echo: {handler: "embedded_echo:echo"}
"""
HANDLER = '''\
"""An agent of a program's own."""
from organism import Context, Text

async def echo(message: Text, ctx: Context) -> Text:
    return Text(f"heard {message.text}")
'''


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a configuration whose handler's module is forgotten after the test."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "embedded_echo", None)
    del sys.modules["embedded_echo"]
    path = tmp_path / "organism.yaml"
    right(path)
    return path


def right(file: Path) -> None:
    """Write everything as it should be."""
    (file.parent / "embedded_echo.py").write_text(HANDLER)
    file.write_text(CONFIG)
    file.chmod(0o600)
    if (state := file.parent / ".organism").exists():
        state.chmod(0o700)


def audit(file: Path) -> None:
    file.write_text(CONFIG + "mode: audit\n")


async def test_program_runs_daemon_in_its_own_loop(file: Path) -> None:
    """Inside, the organism answers, the API answers, commands find it; after, nothing of it is left."""
    tasks_before = len(asyncio.all_tasks())
    async with Daemon(file, port=0) as daemon:
        result = await daemon.organism.run("tides")
        headers = {"authorization": f"Bearer {(daemon.state / 'token').read_text().strip()}"}
        async with httpx2.AsyncClient(base_url=daemon.url, headers=headers, timeout=60) as api:
            status = (await api.get("/v1/status")).json()
        code = await anyio.to_thread.run_sync(call, ["threads", "--file", str(file)])

    assert result.text == "heard tides"
    assert (status["name"], code) == ("embedded", 0)
    assert read_address(daemon.state) is None
    assert len(asyncio.all_tasks()) == tasks_before
    async with Daemon(file, port=0) as again:  # the state folder is free again, and so is what it holds
        assert again.url


async def test_process_stays_the_programs_own(file: Path) -> None:
    """No signal handler, no working directory and none of the program's tasks is touched."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    folder = Path.cwd()
    async with Daemon(file, port=0):
        assert asyncio.current_task() in asyncio.all_tasks()
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers
        assert Path.cwd() == folder


async def test_order_to_stop_and_reload_reach_the_program(file: Path) -> None:
    """The program learns of orders that come over the API: it decides when to leave, and what a reload means to it."""
    loaded: list[LoadedConfig] = []
    events: list[AnyEvent] = []
    hooks = DaemonHooks(on_loaded=loaded.append, on_event=events.append)
    async with Daemon(file, port=0, hooks=hooks) as daemon:
        await daemon.organism.run("tides")
        audit(file)
        await daemon.organism.control.reload_configuration()
        daemon.organism.control.begin_stop()
        with anyio.fail_after(60):
            await daemon.wait_stop_ordered()
    assert [one.config.mode for one in loaded] == ["enforce", "audit"]
    assert any(isinstance(event, ThreadClosed) for event in events)


def wrong_yaml(file: Path) -> None:
    file.write_text("agents: 3\n")


def wrong_handler(file: Path) -> None:
    (file.parent / "embedded_echo.py").write_text("raise RuntimeError('no')\n")


def foreign(file: Path) -> None:
    file.chmod(0o666)


def other_port(file: Path) -> None:
    file.write_text(CONFIG + "daemon: {host: 0.0.0.0}\n")


def open_folder(file: Path) -> None:
    state = file.parent / ".organism"
    state.mkdir()
    state.chmod(0o777)


@pytest.mark.parametrize("spoil", [wrong_yaml, wrong_handler, foreign, other_port, open_folder])
async def test_start_that_fails_raises_plainly_and_leaves_nothing(file: Path, spoil: Callable[[Path], None]) -> None:
    """What is wrong comes out as the one error it is, no group around it; a second try after it is mended succeeds."""
    spoil(file)
    with pytest.raises(
        OrganismError, match=r"is missing|when imported: no|everybody can write it|on loopback only|others can reach it"
    ):
        async with Daemon(file, port=0):
            pass
    right(file)
    async with Daemon(file, port=0) as daemon:
        assert daemon.url


async def test_second_daemon_of_a_folder_and_of_a_port_is_refused(file: Path, tmp_path: Path) -> None:
    """A state folder has one owner and a port one listener, in one program too."""
    async with Daemon(file, port=0) as daemon:
        with pytest.raises(ConfigError, match="another organism owns"):
            async with Daemon(file, port=0):
                pass
        with pytest.raises(ConfigError, match="cannot listen"):
            async with Daemon(file, port=int(daemon.url.rpartition(":")[2]), state=tmp_path / "other"):
                pass
        assert await daemon.organism.run("still there")


async def test_programs_own_error_comes_out_as_it_is(file: Path) -> None:
    """What the program raises inside is not wrapped, and the daemon has stopped by then."""
    with pytest.raises(KeyError, match="mine"):
        async with Daemon(file, port=0) as daemon:
            raise KeyError("mine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", int(daemon.url.rpartition(":")[2])))


async def test_daemon_that_is_not_entered_says_so(file: Path) -> None:
    """Asking it for its organism too early is a mistake with a sentence."""
    with pytest.raises(RuntimeError, match="async with"):
        _ = Daemon(file).organism


async def test_program_of_the_manual_runs_until_it_is_ordered_to_stop(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manual's program runs as it stands, and ends with `organism stop`."""
    monkeypatch.chdir(file.parent)
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "embed-the-daemon.md").read_text(encoding="utf-8")
    program: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], program)  # noqa: S102 - our own page
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(program["main"])
        with anyio.fail_after(60):
            while "answers at" not in capsys.readouterr().out:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            assert await anyio.to_thread.run_sync(call, ["stop"]) == 0
