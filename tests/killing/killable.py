"""The command line of organism, in a process that kills itself where ``ORGANISM_KILL_AT`` says, at another time.

``ORGANISM_AHEAD_S`` sets its clock ahead by so many seconds. ``ORGANISM_KILL_RELOAD_AT`` names a moment of the reload
of a node of a cluster.
"""

import os
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from organism.clock import SystemClock
from organism.daemon import journal_file
from organism.testing.kill_points import KILL_AT, KillingJournal, KillPoint

if TYPE_CHECKING:
    from organism.stores.postgres.lease_table import LeaseTable

AHEAD_S = "ORGANISM_AHEAD_S"
KILL_RELOAD_AT = "ORGANISM_KILL_RELOAD_AT"


def arm() -> None:
    """Have this process use a journal that kills it, if it is to be killed at a point, and another time of day."""
    if ahead_s := int(os.environ.get(AHEAD_S, "0")):
        SystemClock.now_ns = staticmethod(lambda: time.time_ns() + ahead_s * 10**9)  # type: ignore[method-assign]
    if (point := os.environ.get(KILL_AT)) is not None:
        made = partial(KillingJournal, point=KillPoint.parse(point))
        vars(journal_file)["SqliteJournal"] = made
    if (moment := os.environ.get(KILL_RELOAD_AT)) is not None:
        arm_reload(moment)


def arm_reload(moment: str) -> None:
    """Have this process kill itself in the reload of its node.

    Args:
        moment: Before the file is ``ordering`` or when it is ``ordered``; when it is ``active`` and no journal says so
            yet; when the database knows the node's file as ``marked``; when all journals are ``durable``.
    """
    from organism.cluster import node
    from organism.cluster.node_parts import NodeParts, until_durable
    from organism.stores.postgres.lease_table import LeaseTable

    order, replace = LeaseTable.order, NodeParts.replace

    def reach(name: str) -> None:
        if name == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def ordering(table: "LeaseTable", mark: str, before: str = "") -> int:
        if not before:  # the file that the process begins with
            return order(table, mark)
        reach("ordering")
        number = order(table, mark, before)
        reach("ordered")
        return number

    def replacing(*given: Any) -> Any:
        reached = replace(*given)
        reach("active")
        return reached

    async def waiting(*given: Any) -> None:
        reach("marked")
        await until_durable(*given)
        reach("durable")

    setattr(LeaseTable, "order", ordering)  # noqa: B010 - the checker takes no other function there
    setattr(NodeParts, "replace", replacing)  # noqa: B010
    vars(node)["until_durable"] = waiting


if __name__ == "__main__":
    from organism.cli.app import main

    sys.path[0] = ""  # as with python -m: the folder it runs in, not that of this program
    arm()
    main()
