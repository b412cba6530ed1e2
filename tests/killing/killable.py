"""The command line of organism, in a process that kills itself where ``ORGANISM_KILL_AT`` says."""

import os
import sys
from functools import partial

from organism.daemon import journal_file
from organism.testing.kill_points import KILL_AT, KillingJournal, KillPoint


def arm() -> None:
    """Have this process use a journal that kills it, if it is to be killed at a point."""
    if (point := os.environ.get(KILL_AT)) is not None:
        made = partial(KillingJournal, point=KillPoint.parse(point))
        vars(journal_file)["SqliteJournal"] = made


if __name__ == "__main__":
    from organism.cli.app import main

    sys.path[0] = ""  # as with python -m: the folder it runs in, not that of this program
    arm()
    main()
