"""Pauses threads, and agents in all threads.

Pausing is gentle: a handler that runs finishes its message, and what it sends is delivered; the next one of its lane
waits. Messages are still accepted, so the outside notices nothing but the wait. Nothing fails because of it: deadlines
of handlers and questions stand still, what failed is tried again afterwards, and full mailboxes are waited for.
"""

from organism.errors import Refusal, UnknownRecipientError
from organism.runtime.pump import Pump
from organism.threads.thread import Thread
from organism.threads.thread_state import LIVE


class Pausing:
    """Pauses and resumes."""

    def __init__(self, pump: Pump) -> None:
        self._active = pump.active
        self._threads = pump.open_threads
        self._life = pump.lifecycle
        self._scheduler = pump.scheduler
        self._parked = pump.parked
        self._paused_time = pump.paused_time

    def pause_thread(self, thread_id: str) -> tuple[str, ...]:
        """Pause a thread and its descendants; return the ids of those that were not paused before.

        Raises:
            ThreadClosedError: If it is not open.
        """
        changed = [thread for thread in self._tree(thread_id) if thread.status in ("open", "blocked")]
        for thread in changed:
            self._life.pause(thread)
        return tuple(thread.id for thread in changed)

    def resume_thread(self, thread_id: str) -> tuple[str, ...]:
        """Resume a thread and its descendants; return the ids of those that were paused.

        Raises:
            ThreadClosedError: If it is not open.
        """
        changed = [thread for thread in self._tree(thread_id) if thread.status == "paused"]
        for thread in changed:
            self._life.resume(thread)
        return tuple(thread.id for thread in changed)

    def release_blocked(self) -> None:
        """Unpark everything that waits for budget: for when limits refuse no more."""
        for thread in self._threads.all():
            self._parked.unpark(thread, lambda waits: isinstance(waits, Refusal) or bool(waits.threshold))

    def pause_agent(self, agent: str) -> None:
        """Have an agent take no more messages, in any thread.

        Raises:
            UnknownRecipientError: If there is no such agent.
        """
        self._check(agent)
        self._active.paused.add(agent)
        self._note(agent)

    def resume_agent(self, agent: str) -> None:
        """Let an agent take messages again, whether it was paused or had stopped after too many failures.

        Raises:
            UnknownRecipientError: If there is no such agent.
        """
        self._check(agent)
        self._active.paused.discard(agent)
        self._active.stopped.pop(agent, None)
        for thread in self._threads.all():
            for lane in tuple(thread.lanes.values()):
                if lane.agent == agent and lane.runnable:
                    self._scheduler.start_lane(thread, lane)
        self._note(agent)

    @property
    def paused_agents(self) -> frozenset[str]:
        """The agents that stand still by order."""
        return frozenset(self._active.paused)

    def _note(self, agent: str) -> None:
        """Let the time of all threads stand still or run on that have something for an agent."""
        for thread in self._threads.all():
            if agent in thread.lanes and thread.status in LIVE:
                self._paused_time.note(thread)

    def _check(self, agent: str) -> None:
        names = self._active.names
        if agent not in names:
            raise UnknownRecipientError(agent, names)

    def _tree(self, thread_id: str) -> list[Thread]:
        """Return a thread and its open descendants, itself first."""
        found = [self._threads.get(thread_id)]
        for thread in found:
            found += [child for name in sorted(thread.children) if (child := self._threads.find(name)) is not None]
        return found
