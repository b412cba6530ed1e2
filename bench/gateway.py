"""Our own gateway, to be measured: a daemon in a process of its own, with a budget and a journal on disk."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.litellm import KEY, Proxy
from organism.daemon.state_folder import read_address

START_S = 60.0


@contextmanager
def gateway(upstream: str) -> Iterator[Proxy]:
    """Run a daemon with a gateway before an upstream server."""
    with tempfile.TemporaryDirectory() as name:
        config = {
            "name": "bench",
            "entry": "nobody",
            "llm": {
                "providers": {"stub": {"type": "openai", "base_url": upstream, "api_key": "${env:BENCH_KEY}"}},
                "models": {"stub": "stub/stub"},
            },
            "prices": {"stub/stub": {"input": 1, "output": 2}},
            "agents": {"nobody": {"model": "stub"}},
            "gateway": {"limits": {"usd": 1000}, "keys": {"bench": {"key": "${env:BENCH_KEY}"}}},
        }
        with daemon(Path(name), config) as proxy:
            yield proxy


@contextmanager
def daemon(folder: Path, config: Mapping[str, Any]) -> Iterator[Proxy]:
    """Run a daemon in a folder, which may have been another's before; its gateway's key is :data:`KEY`."""
    (folder / "organism.yaml").write_text(json.dumps(config), encoding="utf-8")
    (folder / ".organism" / "address.json").unlink(missing_ok=True)  # of one that was killed
    log = folder / "log"
    with (
        log.open("ab") as out,
        subprocess.Popen(
            [sys.executable, "-m", "organism", "daemon", "--port", "0", "--log-format", "json"],
            env={**os.environ, "BENCH_KEY": KEY},
            stdout=out,
            stderr=out,
            cwd=folder,
        ) as process,
    ):
        try:
            yield Proxy(_address(folder / ".organism", process, log), process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


def _address(state: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        if (found := read_address(state)) is not None:
            try:
                with urllib.request.urlopen(f"{found.url}/readyz", timeout=1):  # noqa: S310 - on this machine
                    return f"{found.url}/v1"
            except (OSError, urllib.error.URLError):
                pass  # it has an address, and does not listen there yet
        time.sleep(0.05)
    raise RuntimeError(f"the daemon did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")
