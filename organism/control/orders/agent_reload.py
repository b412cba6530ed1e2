"""Replaces agents and bounds while threads run: in one step, and no message is lost.

What waits is handled by the new agents, and handlers that run finish with what they began with. What waits for an
agent that is gone becomes a dead letter, as it would after a restart; the supervisor sees to that when its turn comes.
"""

from organism.errors import UnknownRecipientError
from organism.runtime.active_config import AgentConfig, InFlightCounter
from organism.runtime.pump import Pump
from organism.threads.thread import Thread
from organism.threads.thread_state import LIVE


class AgentReload:
    """Replaces agents and bounds."""

    def __init__(self, pump: Pump) -> None:
        self._active = pump.active
        self._threads = pump.open_threads
        self._scheduler = pump.scheduler
        self._life = pump.lifecycle
        self._parked = pump.parked
        self._delivery = pump.delivery

    def replace(self, config: AgentConfig) -> InFlightCounter:
        """Make other agents and bounds active; nothing awaits in here.

        Returns:
            The runs that are under way with the agents before.
        """
        before = self._active.runs
        self._active.replace(config)
        self._delivery.fit_mailboxes()
        for thread in self._threads.all():
            if thread.status in LIVE:
                self._sort(thread)
        return before

    def _sort(self, thread: Thread) -> None:
        """Put everything that waits in a thread where it belongs now, and let it go on."""
        agents = self._active.agents
        gone = [lane for lane in thread.lanes.values() if lane.agent not in agents]
        for lane in gone:
            for envelope in lane.arriving or ():
                why = UnknownRecipientError(lane.agent, tuple(agents))
                self._delivery.give_up(thread, envelope, "not_deliverable", str(why))
            lane.arriving = None
        for lane in tuple(thread.lanes.values()):
            joining = [envelope for waiting in (lane.joining or {}).values() for envelope in waiting]
            lane.joining = None
            for envelope in sorted(joining, key=lambda envelope: envelope.created_ns):
                self._delivery.place(thread, envelope)  # the companions it waits for may be others now, or none
        waits = [each.waits for lane in gone for each in lane.waiting]
        if waits:
            self._parked.unpark(thread, lambda why: why in waits)
        if thread.status != "open":
            return
        self._scheduler.start_lanes(thread)
        self._life.settle(thread)
