"""LiteLLM's proxy, in a virtual environment of its own: it pins what others need newer.

``python -m bench.litellm`` makes that environment, once, outside of the repository. Without it the side is left out.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

VERSION = "1.108.7"
KEY = "sk-bench"
START_S = 120.0

HOME = platformdirs.user_cache_path("organism") / f"bench-litellm-{VERSION}"
PROGRAM = HOME / "bin" / "litellm"


class Proxy(msgspec.Struct, frozen=True):
    """A proxy that runs.

    Attributes:
        url: Its address, as a client wants it.
        pid: Its process.
    """

    url: str
    pid: int


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """Run the proxy, with one worker and a budget, before an upstream server."""
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "model_list": [
                {
                    "model_name": "stub",
                    "litellm_params": {"model": "openai/stub", "api_base": upstream, "api_key": "k"},
                }
            ],
            "litellm_settings": {"max_budget": 1000.0, "budget_duration": "30d", "num_retries": 0},
        }
        with configured(Path(folder), config) as found:
            yield found


@contextmanager
def configured(folder: Path, config: Mapping[str, Any]) -> Iterator[Proxy]:
    """Run the proxy with a configuration, in a folder where it finds modules that this names."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = folder / "config.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")
    command = [PROGRAM, "--config", file, "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    quiet = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    log = folder / "log"
    with (
        log.open("ab") as out,
        subprocess.Popen(command, env={**os.environ, **quiet}, stdout=out, stderr=out, cwd=folder) as process,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}/health/liveliness", process, log)
            yield Proxy(f"http://127.0.0.1:{port}/v1", process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - on this machine
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise RuntimeError(f"LiteLLM's proxy did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")


def main() -> None:
    """Make the environment."""
    venv.create(HOME, clear=True)
    pip = [sys.executable, "-m", "pip", "--python", str(HOME / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", f"litellm[proxy]=={VERSION}"], check=True)
    print(f"LiteLLM {VERSION} is in {HOME}")


if __name__ == "__main__":
    main()
