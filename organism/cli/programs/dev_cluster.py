"""``organism cluster dev``: a database and daemons on this machine, started, watched and ended by their pids."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import msgspec
from msgspec.structs import replace

from organism.cli import exit_codes
from organism.cli.options import DaemonOptions
from organism.cli.output import called_as, note, print_json, print_text
from organism.config.load import load_config
from organism.config.yaml.nodes import how_to_begin
from organism.config.yaml.scalars import AnyEnvironment
from organism.daemon.state_folder import read_address, remove_address
from organism.errors import ConfigError
from organism.wiring import check_postgres

_LOOK_S = 0.1
_START_S = 120
_STOP_S = 45
"""A daemon gives calls under way half a minute."""


class DevNode(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon that was started.

    Attributes:
        node: What it is called.
        url: Where it answers.
        pid: The number of its process.
        state: Its state folder.
        labels: What it has that agents may need.
    """

    node: str
    url: str
    pid: int
    state: str
    labels: tuple[str, ...] = ()


def run_dev_cluster(daemon: DaemonOptions, count: int, labelled: int, database: str | None, *, as_json: bool) -> int:
    """Start everything, print how to use it, and wait until this process is stopped or every daemon has ended.

    Args:
        count: How many daemons.
        labelled: How many of them have every label that an agent of the configuration needs.

    Raises:
        ConfigError: If there is no PostgreSQL on this machine, no configuration, or a daemon does not start.
        MissingExtraError: If the driver is not installed.
    """
    check_postgres()
    if not daemon.file.is_file():
        raise ConfigError(f"there is no such file; {how_to_begin(daemon.file)}", where=str(daemon.file))
    with ExitStack() as stack:
        stopped = stack.enter_context(_stop_signals())
        url = database or stack.enter_context(_own_database())
        labels = _needed_labels(daemon.file)
        labels_of = {f"n{number}": labels if number <= labelled else () for number in range(1, count + 1)}
        running = [stack.enter_context(_node(daemon, name, url, its)) for name, its in labels_of.items()]
        started = [_started(process, name, state, stopped) for process, name, state in running]
        if any(node is None for node in started):
            return exit_codes.INTERRUPTED
        nodes = [replace(node, labels=labels_of[node.node]) for node in started if node is not None]
        if as_json:
            print_json({"database": url, "nodes": nodes})
        else:
            print_text(_usage(daemon, nodes, url))
        _watch([(process, name) for process, name, _ in running], labels_of, stopped)
        note("stopping; calls under way get 30 s")
    return exit_codes.OK


def _needed_labels(file: Path) -> tuple[str, ...]:
    """Return the labels that agents of a configuration need."""
    config = load_config(file, AnyEnvironment(os.environ)).config
    return tuple(sorted({agent.node_label for agent in config.agents.values() if agent.node_label}))


@contextmanager
def _own_database() -> Iterator[str]:
    from organism.stores.postgres.loopback_server import PostgresServer, postgres_binaries

    if postgres_binaries() is None:
        raise ConfigError(
            "PostgreSQL's programs are not on this machine: install them (Debian: apt install postgresql), or give a "
            "database of your own with --database postgresql://..."
        )
    with PostgresServer({"max_connections": "200"}) as server:
        yield server.database()


@contextmanager
def _node(
    daemon: DaemonOptions, name: str, database: str, labels: tuple[str, ...]
) -> Iterator[tuple["subprocess.Popen[bytes]", str, Path]]:
    """Start a daemon, and end it at the end: with a signal, and if that does not help, without."""
    state = daemon.folder / "cluster-dev" / name
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    remove_address(state)  # of one that was killed: it would be taken for the new one's
    begun = [sys.executable, "-P", "-m", "organism.cli.programs.dev_node"]
    words = [*begun, str(daemon.file), str(state), database, name, ",".join(labels)]
    with (state / "log").open("ab") as log:
        # A group of its own: Ctrl-C is for us, who then end them in good order.
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)  # noqa: S603
    try:
        yield process, name, state
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        remove_address(state)


def _started(process: "subprocess.Popen[bytes]", name: str, state: Path, stopped: list[int]) -> DevNode | None:
    """Wait until a daemon has said where it answers; ``None`` if we are stopped meanwhile."""
    for _ in range(int(_START_S / _LOOK_S)):
        if stopped:
            return None
        if (address := read_address(state)) is not None:
            return DevNode(node=name, url=address.url, pid=process.pid, state=str(state))
        if process.poll() is not None:
            break
        time.sleep(_LOOK_S)
    last = (state / "log").read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    raise ConfigError(f"node {name} has not started: {last.removeprefix('organism: ')}", where=str(state / "log"))


def _usage(daemon: DaemonOptions, nodes: list[DevNode], database: str) -> str:
    file = [] if str(daemon.file) == "organism.yaml" else ["--file", str(daemon.file)]
    lines = [f"a cluster of {len(nodes)} on {database}", ""]
    for node in nodes:
        at = shlex.join([*file, "--state", node.state])
        labels = f"  labels: {', '.join(node.labels)}" if node.labels else ""
        lines += [
            f"{node.node}  {node.url}{labels}",
            f"    {shlex.quote(called_as())} send 'hello' {at}",
            f"    kill -9 {node.pid}",
        ]
    status = shlex.join([called_as(), "cluster", "status", *file, "--database", database])
    return "\n".join([*lines, "", f"who has what: {status}", "Ctrl-C ends all."])


def _watch(
    running: list[tuple["subprocess.Popen[bytes]", str]],
    labels_of: Mapping[str, tuple[str, ...]],
    stopped: list[int],
) -> None:
    """Say which daemon has ended, until all have or we are stopped."""
    alive = list(running)
    while alive and not stopped:
        for process, name in list(alive):
            if process.poll() is not None:
                alive.remove((process, name))
                note(f"{name} has ended; what it had goes on at the others within 13 s")
                if labels_of[name] and not any(labels_of[other] for _, other in alive):
                    note(f"no other has its labels: threads that need {', '.join(labels_of[name])} wait")
        time.sleep(_LOOK_S)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect signals that stop us, instead of ending in the middle of something."""
    came: list[int] = []

    def take(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
