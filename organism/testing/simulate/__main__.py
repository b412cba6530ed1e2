"""``python -m organism.testing.simulate``: simulate organisms of random shape, as many as there is time for.

``--cluster`` simulates clusters of nodes that come, go, stall and crash, on a real database in virtual time.
"""

import argparse
import json
import sys
import time
from itertools import count
from pathlib import Path

from organism.testing.simulate.cluster.cluster_shape import ClusterShape
from organism.testing.simulate.search import ALONE, OPERATIONS, Found, Way, search
from organism.testing.simulate.shape import RandomShape


def main() -> int:
    """Search, and print what was found; 1 if a run has failed."""
    parser = argparse.ArgumentParser(prog="python -m organism.testing.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many seeds; 1000 unless --minutes is given")
    parser.add_argument("--minutes", type=float, help="for how long at most")
    parser.add_argument("--first", type=int, default=0, help="the first seed: with --seeds 1 it replays one run")
    parser.add_argument("--operations", type=int, default=OPERATIONS, help="operations of a run, at most")
    parser.add_argument("--processes", type=int, default=1, help="how many processes share the seeds")
    parser.add_argument("--cluster", action="store_true", help="clusters of up to three nodes; it takes PostgreSQL")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    number = options.seeds or (1000 if options.minutes is None else None)
    seeds = count(options.first) if number is None else range(options.first, options.first + number)
    began = time.monotonic()
    until = None if options.minutes is None else began + 60 * options.minutes

    def keep(found: Found) -> None:
        if options.json is not None:
            part = options.json.with_suffix(".part")
            part.write_text(json.dumps(_figures(found, options.first), indent=1), encoding="utf-8")
            part.replace(options.json)

    way, shape = (in_clusters(), ClusterShape) if options.cluster else (ALONE, RandomShape)
    found = search(
        shape,
        seeds,
        operations=options.operations,
        go_on=lambda: until is None or time.monotonic() < until,
        processes=max(1, options.processes),
        way=way,
        keep=keep,
    )
    keep(found)
    print(f"{found}\n{time.monotonic() - began:.1f} s")  # noqa: T201 - what it is for
    return 0 if found.failure is None else 1


def in_clusters() -> Way:
    """Return how stories of clusters are drawn and run; it takes the driver and the programs of PostgreSQL."""
    from organism.testing.simulate.cluster.run import play_cluster
    from organism.testing.simulate.cluster.story import POSSIBLE_IN_CLUSTERS, draw_cluster_story

    return Way(draw_cluster_story, play_cluster, POSSIBLE_IN_CLUSTERS, {})


def _figures(found: Found, first: int) -> dict[str, object]:
    """Return what was found, as JSON: counts, what happened how often, what could have and did not, the failure."""
    return {
        "first_seed": first,
        "runs": found.runs,
        "lives": found.lives,
        "records": found.records,
        "seen": dict(sorted(found.seen.items())),
        "possible": len(found.way.possible),
        "never": [what for what in found.way.possible if not found.seen[what]],
        "unreachable": dict(found.way.unreachable),
        "failure": None if found.failure is None else str(found.failure),
    }


if __name__ == "__main__":
    sys.exit(main())
