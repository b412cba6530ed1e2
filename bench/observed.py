"""What being seen costs: the same work with nobody watching, with Prometheus, and with OpenTelemetry on top.

Run it with ``python bench/observed.py``; it prints one JSON document. Two loads: messages that only pass through (each
hop is a run of a handler, the worst case for whoever watches), and model calls that answer at once. Times are the best
of several rounds, which is the least disturbed by others on the machine; variants take turns, so that all meet the same
disturbance. OpenTelemetry sends to a receiver in a process of its own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

import anyio

from organism import Context, Limits, Organism, Text, agent
from organism.telemetry.metrics.prometheus import PrometheusExporter
from organism.telemetry.otel import otel_exporting
from organism.testing import ScriptedProvider

Variant = Literal["off", "prometheus", "all"]
VARIANTS: tuple[Variant, ...] = ("off", "prometheus", "all")
ROUNDS = 7
THREADS = 100
HOPS = 20
CALLS = 5

RECEIVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@agent(next="pong")
async def ping(message: Text, ctx: Context) -> Text | None:
    """Pass the message on until it has gone far enough."""
    return message if ctx.envelope.hops < HOPS else None


@agent(next="ping")
async def pong(message: Text, ctx: Context) -> Text | None:
    """Pass the message back."""
    return message if ctx.envelope.hops < HOPS else None


@agent()
async def caller(message: Text, ctx: Context) -> None:
    """Make calls."""
    for _ in range(CALLS):
        await ctx.llm.complete(message.text, max_output_tokens=16)


@asynccontextmanager
async def organism(variant: Variant, endpoint: str) -> AsyncIterator[Organism]:
    """Run an organism that is watched so much."""
    made = Organism(
        [ping, pong, caller],
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(["one two three"])},
        provider_kinds={"scripted": "local"},
        limits=Limits(tokens=1_000_000),
    )
    exporter = PrometheusExporter(made) if variant != "off" else None
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if variant == "all" else {}
    async with otel_exporting(made, environment), made:
        yield made
        if exporter is not None:
            exporter.render()


async def work(made: Organism, to: str) -> None:
    """Run all threads at once."""
    threads = [await made.open_thread("go", to=to) for _ in range(THREADS)]
    for thread in threads:
        await made.wait(thread)


async def measure(variant: Variant, endpoint: str, to: str) -> float:
    """Return the seconds that one round takes, without starting and stopping."""
    async with organism(variant, endpoint) as made:
        await work(made, to)  # warm
        began = time.perf_counter()
        await work(made, to)
        return time.perf_counter() - began


def compare(run: Callable[[Variant], Awaitable[float]]) -> dict[Variant, float]:
    """Return the best time of each variant."""
    best = dict.fromkeys(VARIANTS, float("inf"))
    for _ in range(ROUNDS):
        for variant in VARIANTS:
            best[variant] = min(best[variant], anyio.run(run, variant))
    return best


def main() -> None:
    """Measure both loads and print them."""
    with subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        endpoint = f"http://127.0.0.1:{receiver.stdout.readline().strip()}"
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint  # the SDK reads its own environment
        try:
            hops = compare(lambda variant: measure(variant, endpoint, "ping"))
            calls = compare(lambda variant: measure(variant, endpoint, "caller"))
        finally:
            receiver.terminate()
    result = {
        "hop_microseconds": {name: round(s * 1e6 / THREADS / (HOPS + 1), 1) for name, s in hops.items()},
        "call_microseconds": {name: round(s * 1e6 / THREADS / CALLS, 1) for name, s in calls.items()},
        "hop_ratio": {name: round(s / hops["off"], 2) for name, s in hops.items()},
        "call_ratio": {name: round(s / calls["off"], 2) for name, s in calls.items()},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
