"""The stub upstream and a real ``organism daemon`` before it, each a process of its own, and what both have counted."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parent.parent.parent
START_S = 60.0
SPENT_CALLS, WARNED_CALLS = 2, 9
KEYS = {
    "main": "",
    "spent": f"limits: {{calls: {SPENT_CALLS}}}",
    "warned": f"limits: {{calls: {WARNED_CALLS}}}",
    "cancelled": "",
}
"""A client's keys by what is tried with them, each with a thread of its own, and their limits."""

CONFIG = """\
name: clients
entry: nobody
limits: {{thread: {{tokens: 100000000}}}}
llm:
  providers:
    openai: {{type: openai, base_url: "{upstream}/v1", api_key: "${{env:UPSTREAM_KEY}}", image_tokens: 2000,
      stops_when_closed: true}}
    responses: {{type: openai, api: responses, base_url: "{upstream}/v1", api_key: "${{env:UPSTREAM_KEY}}",
      image_tokens: 2000, prices_as: openai, stops_when_closed: true}}
    anthropic: {{type: anthropic, base_url: "{upstream}", api_key: "${{env:UPSTREAM_KEY}}", image_tokens: 2000,
      structured_outputs: true}}
  models:
    gpt-4o: openai/gpt-4o
    gpt-5-mini: openai/gpt-5-mini
    gpt-5.1-codex: responses/gpt-5.1-codex
    claude-sonnet-4-5: anthropic/claude-sonnet-4-5
    claude-haiku-4-5: anthropic/claude-haiku-4-5
agents:
  nobody: {{model: gpt-4o}}
gateway:
  warn: text
  keys:
"""
BUCKETS = ("input", "cached_input", "cache_write", "output", "reasoning")


def secret(key: str) -> str:
    """Return the secret of a key."""
    return f"sk-{key}-00000000000000000000000000000000"


class Stage:
    """Starts both processes and ends them. Use it as a context manager.

    Args:
        folder: Where both write.

    Attributes:
        upstream: The stub's address.
        gateway: The daemon's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        upstream, gateway = _free_ports()
        self.upstream, self.gateway = f"http://127.0.0.1:{upstream}", f"http://127.0.0.1:{gateway}"
        self._ports = str(upstream), str(gateway)
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        config = CONFIG.format(upstream=self.upstream)
        for key, rest in KEYS.items():
            hashed = sha256(secret(key).encode()).hexdigest()
            config += f"    {key}: {{sha256: {hashed}{', ' if rest else ''}{rest}}}\n"
        (self.folder / "organism.yaml").write_text(config, encoding="utf-8")
        upstream, gateway = self._ports
        self._start("upstream", "tests.clients.upstream", upstream, str(self.folder))
        organism = ("organism", "daemon", "--port", gateway, "--file", str(self.folder / "organism.yaml"))
        self._start("daemon", *organism, "--state", str(self.folder / "state"))
        self._await(f"{self.upstream}/v1/models")
        self._await(f"{self.gateway}/readyz")
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait(timeout=30)

    def bill(self) -> list[dict[str, Any]]:
        """Return what the stub has charged, call by call."""
        path = self.folder / "bill.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def recorded(self) -> dict[str, dict[str, int]]:
        """Return what the ledger has, by thread and kind of token."""
        groups = self._get("/v1/usage?by=thread")["groups"]
        return {thread: {each: group["usage"][each] for each in BUCKETS} for thread, group in groups.items()}

    def begun(self) -> int:
        """Return how many calls the stub has begun to answer."""
        path = self.folder / "begun.jsonl"
        return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0

    def refusals(self) -> int:
        """Return how many calls limits have refused."""
        lines = self._text("/metrics").splitlines()
        found = (line for line in lines if line.startswith("organism_budget_refusals_total{"))
        return round(sum(float(line.rpartition(" ")[2]) for line in found))

    def _start(self, name: str, *module: str) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        environment = {**os.environ, "UPSTREAM_KEY": "sk-upstream"}
        command = [sys.executable, "-m", *module]
        self._processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))

    def _await(self, url: str) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until and all(process.poll() is None for process in self._processes):
            try:
                with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - on this machine
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        logs = [path.read_text(encoding="utf-8")[-2000:] for path in sorted(self.folder.glob("*.log"))]
        raise RuntimeError("\n".join([f"{url} does not answer", *logs]))

    def _get(self, path: str) -> Any:
        return json.loads(self._text(path))

    def _text(self, path: str) -> str:
        token = (self.folder / "state" / "token").read_text(encoding="ascii").strip()
        request = urllib.request.Request(self.gateway + path, headers={"authorization": f"Bearer {token}"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - on this machine
            text: str = answer.read().decode()
            return text


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
