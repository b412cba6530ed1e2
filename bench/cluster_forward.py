"""What passing a request on to the node that has its thread takes, beside a node's answer from its own partitions.

Two daemons, one client with one connection to the first of them, its own and passed-on requests in turns.
"""

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from bench.stopwatch import percentile
from organism.daemon.state_folder import read_address, read_token

_FILE = """\
name: bench
entry: a
llm: {providers: {fake: {type: scripted, answers: [hi]}}, models: {main: fake/m}}
agents: {a: {model: main, system: Say hello.}}
cluster: {url: "${env:BENCH_DATABASE}", node: "${env:BENCH_NODE}", partitions: 2}
"""
_START_S = 60.0


def forward_cost(url: str, rounds: int) -> str:
    """Measure both kinds of request, and say what they take.

    Args:
        url: An empty database.
        rounds: Five hundred requests of each kind for each of them.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        at = Path(folder)
        (at / "organism.yaml").write_text(_FILE, encoding="utf-8")
        states = [at / name for name in ("a", "b")]
        for state in states:
            stack.enter_context(_daemon(at / "organism.yaml", state, url))
        client = _Client(states[0])
        own, other = _threads(client)
        took: dict[str, list[float]] = {own: [], other: []}
        for turn in range(1_000 * rounds + 100):
            thread = (own, other)[turn % 2]
            began = time.perf_counter()
            client.get(thread)
            if turn >= 100:  # before that connections are made
                took[thread].append(1e3 * (time.perf_counter() - began))
    at_home, passed_on = median(took[own]), median(took[other])
    return (
        f"a request: {at_home:.2f} ms of one's own, {passed_on:.2f} passed on: {passed_on - at_home:.2f} ms more, "
        f"{passed_on / at_home:.2f} of it; p95 {percentile(took[own], 95):.2f} and {percentile(took[other], 95):.2f}; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )


class _Client:
    """Asks the daemon of a state folder over one connection."""

    def __init__(self, state: Path) -> None:
        address = read_address(state)
        assert address is not None
        self._connection = http.client.HTTPConnection(urlsplit(address.url).netloc)
        self._headers = {"authorization": f"Bearer {read_token(state)}"}

    def get(self, thread_id: str) -> str | None:
        """Ask for a thread, and return which other node has answered."""
        self._connection.request("GET", f"/v1/threads/{thread_id}", headers=self._headers)
        response = self._connection.getresponse()
        response.read()
        assert response.status == http.HTTPStatus.OK, response.status
        return response.headers.get("organism-node")

    def open(self, thread_id: str) -> None:
        """Open a thread of that name, wherever it belongs."""
        body = f'{{"text": "hello", "thread_id": "{thread_id}"}}'
        headers = {**self._headers, "content-type": "application/json"}
        self._connection.request("POST", "/v1/threads", body, headers)
        response = self._connection.getresponse()
        said = response.read()
        assert response.status < http.HTTPStatus.BAD_REQUEST, said


def _threads(client: _Client) -> tuple[str, str]:
    """Open threads until one is here and one elsewhere, after the partitions have been divided."""
    names = [f"t{number}" for number in range(8)]
    for name in names:
        client.open(name)
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        by_node = {client.get(name): name for name in names}
        if len(by_node) > 1:
            other = next(node for node in by_node if node is not None)
            return by_node[None], by_node[other]
        time.sleep(0.2)
    raise TimeoutError("the partitions were not divided")


@contextmanager
def _daemon(file: Path, state: Path, url: str) -> Iterator[None]:
    """Run a daemon until the end of the block."""
    state.mkdir(mode=0o700)
    environment = {**os.environ, "BENCH_DATABASE": url, "BENCH_NODE": state.name}
    words = [
        sys.executable,
        "-P",
        "-m",
        "organism",
        "daemon",
        "--file",
        str(file),
        "--state",
        str(state),
        "--port",
        "0",
    ]
    with (state.parent / f"{state.name}.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
        try:
            until = time.monotonic() + _START_S
            while read_address(state) is None:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(Path(log.name).read_text(encoding="utf-8"))
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait()
