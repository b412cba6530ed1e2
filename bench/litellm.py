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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        config = Path(folder) / "config.yaml"
        config.write_text(
            json.dumps(
                {
                    "model_list": [
                        {
                            "model_name": "stub",
                            "litellm_params": {"model": "openai/stub", "api_base": upstream, "api_key": "k"},
                        }
                    ],
                    "litellm_settings": {"max_budget": 1000.0, "budget_duration": "30d", "num_retries": 0},
                }
            ),
            encoding="utf-8",
        )
        free.close()
        command = [PROGRAM, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
        quiet = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        log = Path(folder) / "log"
        with (
            log.open("wb") as out,
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
