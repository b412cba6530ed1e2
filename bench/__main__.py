"""Measures organism against its peers and its floors: ``python -m bench [--quick] [--rounds N] [workload ...]``.

Each side of a workload runs in a process of its own; sides take turns, round after round, so that all of them meet the
same disturbances. The table shows the median, the least and the most, and how often the median fits into ours (or ours
into it): a ratio holds on any machine, a time only on one. ``--json FILE`` keeps every figure.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench import litellm
from bench.catalog import LITELLM, WORKLOADS, Side, Workload
from bench.stopwatch import Figures

ROUNDS = 5

ALSO = (
    "On their own: python -m bench.budget_errors (how wrong estimates are), python -m bench.observed (exporters), "
    "python -m bench.dashboard (the page in a browser)."
)

WHICH = f"a whole name in quotes, or a first word for all that begin with it: {', '.join(WORKLOADS)}; all unless named"


def installed(side: Side) -> bool:
    """Whether what a side needs is there."""
    if not side.needs:
        return True
    if side.needs == LITELLM:
        return litellm.PROGRAM.exists()
    try:
        importlib.metadata.version(side.needs)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def named(asked: Sequence[str]) -> list[str]:
    """Return the workloads of names, each a whole name or its first word; all of them if none is asked for.

    Raises:
        ValueError: If there is none of a name; the sentence says which there are.
    """
    for name in asked:
        if not any(name in (one, one.split()[0]) for one in WORKLOADS):
            raise ValueError(f"there is no workload {name!r}; there are {', '.join(map(repr, WORKLOADS))}")
    return [one for one in WORKLOADS if not asked or {one, one.split()[0]} & set(asked)]


def measure(side: Side, size: int, warm: int) -> Figures:
    """Run one side once, in a process that has run it before at another size unless that is 0.

    Raises:
        RuntimeError: If it failed.
    """
    sizes = [size, warm] if warm else [size]
    command = [sys.executable, "-m", "bench.side", side.place, *(str(max(1, round(n * side.share))) for n in sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{side.name} failed:\n{done.stderr[-2000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(workload: Workload, rounds: int, size: int) -> dict[str, list[Figures]]:
    """Let all sides that are there take turns."""
    sides = [side for side in workload.sides if installed(side)]
    found: dict[str, list[Figures]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            found[side.name].append(measure(side, size, workload.warm))
    return found


def table(workload: Workload, found: dict[str, list[Figures]]) -> list[str]:
    """Write a workload's figures as a table."""
    figure = workload.figure
    lines = [f"| side | {figure}: median | min - max | ratio | more |", "| --- | ---: | ---: | ---: | --- |"]
    first = median(one[figure] for one in next(iter(found.values())))
    for name, rounds in found.items():
        values = [one[figure] for one in rounds]
        middle = median(values)
        more = {key: median(one[key] for one in rounds) for key in rounds[0] if key != figure}
        ratio = middle / first if middle >= first else first / middle
        lines.append(
            f"| {name} | {middle:,.4g} | {min(values):,.4g} - {max(values):,.4g} "
            f"| {'' if ratio == 1 else ('×' if middle >= first else '÷') + f' {ratio:,.3g}'} "
            f"| {', '.join(f'{key} {value:,.4g}' for key, value in more.items())} |"
        )
    return lines


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure organism, its peers, its floors.", epilog=ALSO
    )
    parser.add_argument("workloads", nargs="*", help=WHICH)
    parser.add_argument("--quick", action="store_true", help="small sizes and one round: does everything run?")
    parser.add_argument("--rounds", type=int, help=f"rounds; {ROUNDS} unless given")
    parser.add_argument("--json", type=Path, help="keep every figure in this file")
    given = parser.parse_args()
    rounds = given.rounds or (1 if given.quick else ROUNDS)
    try:
        names = named(given.workloads)
    except ValueError as error:
        parser.error(str(error))
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, {rounds} rounds")
    kept: dict[str, dict[str, list[Figures]]] = {}
    for name in names:
        workload = WORKLOADS[name]
        missing = [side.name for side in workload.sides if not installed(side)]
        print(f"\n**{name}**: {workload.title}" + (f" (not installed: {', '.join(missing)})" if missing else "") + "\n")
        kept[name] = compare(workload, rounds, workload.quick if given.quick else workload.size)
        print("\n".join(table(workload, kept[name])), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
