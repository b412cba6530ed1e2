"""Runs one side of a workload in this process and prints its figures as JSON.

``python -m bench.side place size [warm]``: with a third argument it is run once before, at that size, so that what a
process does once (imports in functions, caches, pages of memory) is no part of the figures.
"""

import json
import logging
import sys
from importlib import import_module


def main() -> None:
    """Measure one side."""
    logging.disable(logging.WARNING)  # what peers log about their own work is no part of it
    module, _, function = sys.argv[1].partition(":")
    side = getattr(import_module(f"bench.{module}"), function)
    for warm in map(int, sys.argv[3:]):
        side(warm)
    figures = side(int(sys.argv[2]))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
