"""``python -m organism.testing.simulate``: simulate organisms of random shape, as many as there is time for."""

import argparse
import sys
import time
from itertools import count

from organism.testing.simulate.search import OPERATIONS, search
from organism.testing.simulate.shape import RandomShape


def main() -> int:
    """Search, and print what was found; 1 if a run has failed."""
    parser = argparse.ArgumentParser(prog="python -m organism.testing.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many seeds; 1000 unless --minutes is given")
    parser.add_argument("--minutes", type=float, help="for how long at most")
    parser.add_argument("--first", type=int, default=0, help="the first seed: with --seeds 1 it replays one run")
    parser.add_argument("--operations", type=int, default=OPERATIONS, help="operations of a run, at most")
    parser.add_argument("--processes", type=int, default=1, help="how many processes share the seeds")
    options = parser.parse_args()
    number = options.seeds or (1000 if options.minutes is None else None)
    seeds = count(options.first) if number is None else range(options.first, options.first + number)
    began = time.monotonic()
    until = None if options.minutes is None else began + 60 * options.minutes
    found = search(
        RandomShape,
        seeds,
        operations=options.operations,
        go_on=lambda: until is None or time.monotonic() < until,
        processes=max(1, options.processes),
    )
    print(f"{found}\n{time.monotonic() - began:.1f} s")  # noqa: T201 - what it is for
    return 0 if found.failure is None else 1


if __name__ == "__main__":
    sys.exit(main())
