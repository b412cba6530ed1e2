"""The command line of organism, in a process that kills itself where ``ORGANISM_KILL_AT`` says, at another time.

``ORGANISM_AHEAD_S`` sets its clock ahead by so many seconds.
"""

import os
import sys
import time
from functools import partial

from organism.clock import SystemClock
from organism.daemon import journal_file
from organism.testing.kill_points import KILL_AT, KillingJournal, KillPoint

AHEAD_S = "ORGANISM_AHEAD_S"


def arm() -> None:
    """Have this process use a journal that kills it, if it is to be killed at a point, and another time of day."""
    if ahead_s := int(os.environ.get(AHEAD_S, "0")):
        SystemClock.now_ns = staticmethod(lambda: time.time_ns() + ahead_s * 10**9)  # type: ignore[method-assign]
    if (point := os.environ.get(KILL_AT)) is not None:
        made = partial(KillingJournal, point=KillPoint.parse(point))
        vars(journal_file)["SqliteJournal"] = made


if __name__ == "__main__":
    from organism.cli.app import main

    sys.path[0] = ""  # as with python -m: the folder it runs in, not that of this program
    arm()
    main()
