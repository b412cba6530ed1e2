"""Time that does not count while an operator has paused something: handler timeouts, and the wall time of threads.

Handler timeouts stop while anything of a thread is paused, since a handler may wait for just that, through any number
of questions and children. The wall time stops only when nothing else of the thread can run.
"""

from collections.abc import Mapping

import anyio

from organism.runtime.loop_services import LoopServices
from organism.threads.thread import Thread


class PausedTime:
    """Stops the time of threads and their handlers.

    Args:
        threads: The open threads, by id.
    """

    def __init__(self, services: LoopServices, threads: Mapping[str, Thread]) -> None:
        self._threads = threads
        self._registry = services.registry
        self._router = services.router
        self._state_writer = services.state_writer
        self._active = services.active

    def holds_up(self, thread: Thread, agent: str) -> bool:
        """Whether an agent's mailbox has no room for a thread's message because of something that is paused."""
        if thread.status == "paused" or agent in self._active.paused:
            return True
        paused = (other for other in self._threads.values() if other.status == "paused" and agent in other.lanes)
        lanes = (lane for other in paused for lane in other.lanes.values() if lane.agent == agent)
        return any(lane.queue or lane.aside for lane in lanes)

    def count_waiting(self, thread: Thread, change: int) -> None:
        """Count a handler in or out that waits for others, and has nothing else to do as far as is known."""
        thread.waits += change
        if thread.paused_since is not None and thread.result is None:
            self.note(thread)

    def note(self, thread: Thread) -> None:
        """Start or stop the time of a thread, and of those above it, after something of it was paused or resumed."""
        paused, now_s = self._has_paused_part(thread), anyio.current_time()
        if paused and thread.paused_since is None:
            thread.paused_since = now_s
        elif not paused and thread.paused_since is not None:
            thread.paused_s, thread.paused_since = thread.paused_seconds(now_s), None
        self._keep_time(thread)
        parent = self._threads.get(thread.parent or "")
        if parent is not None and (paused or parent.paused_since is not None):
            self.note(parent)

    def _has_paused_part(self, thread: Thread) -> bool:
        paused = self._active.paused
        if thread.status == "paused":
            return True
        if paused and any(lane.queue and lane.agent in paused for lane in thread.lanes.values()):
            return True
        if paused and any(envelope.recipient in paused for envelope in thread.timed.values()):
            return True
        return any(self._threads[child].paused_since is not None for child in thread.children)

    def _keep_time(self, thread: Thread) -> None:
        """Let the wall time of a thread run or stand still; that of a standing one runs by its calls only."""
        if thread.status not in ("open", "paused") or thread.standing:
            return
        stands = thread.paused_since is not None and not self._goes_on(thread)
        turn = self._registry.pause_time if stands else self._registry.resume_time
        turn(thread.id)
        if thread.status == "open" and stands != thread.time_stands:
            thread.time_stands = stands
            self._state_writer.save_thread(thread)
            thread.note_change()

    def _goes_on(self, thread: Thread) -> bool:
        """Whether anything of a thread is at work or will be, although something of it is paused."""
        if thread.running > thread.waits or self._router.busy(thread.id):
            return True
        if thread.status != "open":
            return False
        paused = self._active.paused
        if any(envelope.recipient not in paused for envelope in thread.timed.values()):
            return True
        if any(lane.queue and not lane.running and lane.agent not in paused for lane in thread.lanes.values()):
            return True
        return any(self._goes_on(self._threads[child]) for child in thread.children)
