"""Whom would you trust with a budget? ``python -m bench.trust [--quick] [--only NAME ...] [--json FILE]``.

organism and its peers make the same calls to one scripted provider that keeps its own bill: a storm of calls on a
nearly empty budget, a conversation that grows, and work that is killed. Peers are installed into environments of their
own in the user's cache, by pip from the registry that is configured; without one it is said why it is missing.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio

from bench.trust import trial
from bench.trust.environments import PEERS, Absent, Peer, Present, provide
from bench.trust.table import Found, table


async def measure(peer: Peer, present: Present, *, quick: bool) -> Found:
    """Let one side go through all scenes."""
    scenes: dict[str, Callable[[], Awaitable[Found]]] = {
        "storm": partial(trial.storm, peer, present, 1 if quick else 3),
        "loop": partial(trial.loop, peer, present, 6 if quick else 12),
        "work": partial(trial.work, peer, present, 8 if quick else 24),
    }
    found: Found = {"version": present.version}
    for name, scene in scenes.items():
        try:
            found[name] = await scene()
        except trial.TrialError as error:
            found[name] = {"failed": error.said}
    return found


def main() -> int:
    """Compare those that are asked for; returns 1 if organism has spent too much, or recorded too little."""
    parser = argparse.ArgumentParser(prog="python -m bench.trust", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few calls: does everything run?")
    parser.add_argument("--only", nargs="+", choices=[peer.program for peer in PEERS], help="these sides")
    parser.add_argument("--no-install", action="store_true", help="leave out what is not installed")
    parser.add_argument("--json", type=Path, help="keep every figure in this file")
    given = parser.parse_args()
    found: dict[str, Found] = {}
    for peer in PEERS:
        if given.only and peer.program not in given.only:
            continue
        present = provide(peer, install=not given.no_install)
        if isinstance(present, Absent):
            found[peer.name] = {"absent": present.why}
            continue
        print(f"{peer.name} {present.version} ...", file=sys.stderr, flush=True)
        found[peer.name] = anyio.run(partial(measure, peer, present, quick=given.quick))
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}\n")
    print("\n".join(table(found)))
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0 if holds(found.get("organism")) else 1


def holds(found: Found | None) -> bool:
    """Whether organism has kept what it promises: no token too much, none recorded too little, nothing forgotten."""
    if found is None:
        return True
    return not any("failed" in found[scene] for scene in ("storm", "loop", "work")) and all(
        (
            found["storm"]["overspent"] == 0,
            found["storm"]["recorded less billed"] >= 0,
            found["loop"]["overspent"] == 0,
            found["loop"]["recorded less billed"] >= 0,
            found["work"]["forgotten"] == 0,
            found["work"]["jobs lost"] == 0,
            found["work"]["recorded less billed"] >= 0,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
