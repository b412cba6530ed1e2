"""Timers: functions called when their time is up, unless they are cancelled before; one task for all of them.

Nearly everything that has a deadline is done long before. To set and call off a timer of the event loop, with a cancel
scope around it, takes 5 us; to put a line into a table and take it out again, half of one.
"""

import asyncio
import math
from collections.abc import Callable

import anyio
import msgspec

from organism.amounts import NS_PER_S
from organism.clock import Clock
from organism.concurrency.wakeups import Wakeup
from organism.runtime.workers.guard import guarded_call
from organism.threads.thread import Thread

_CLOCK_LOOK_S = 30.0
"""Seconds between two looks at the clock by what waits for an instant."""


class Timer(msgspec.Struct, eq=False):
    """A timer that was started.

    Attributes:
        seconds: The delay it was started with.
        due: When its time is up, in seconds of the event loop's clock.
        then: Called then; must not block.
        thread: The thread it belongs to: while any part of that is paused, the timer stands still.
        paused_s: For how many seconds the thread had been paused when the timer was started.
        passed: Whether its time is up.
    """

    seconds: float
    due: float
    then: Callable[[], object]
    thread: Thread | None = None
    paused_s: float = 0.0
    passed: bool = False


class Timers:
    """Calls functions when their time is up; its :meth:`run` must run for that."""

    def __init__(self) -> None:
        self._set: dict[float, dict[Timer, None]] = {}  # by length: those of one length end in the order of setting
        self._wakes_at = math.inf
        self._sooner = Wakeup()

    def start(self, seconds: float, then: Callable[[], object], thread: Thread | None = None) -> Timer:
        """Have a function called after some seconds; it must not block.

        Args:
            thread: The thread whose deadline it is: time in which an operator has paused a part of it does not count.
        """
        now = asyncio.get_running_loop().time()
        timer = Timer(seconds, now + seconds, then, thread)
        if thread is not None:
            timer.paused_s = thread.paused_seconds(now)
        self._put(timer)
        if timer.due < self._wakes_at:
            self._wakes_at = timer.due
            self._sooner.notify()
        return timer

    def _put(self, timer: Timer) -> None:
        same = self._set.get(timer.seconds)
        if same is None:
            same = self._set[timer.seconds] = {}
        same[timer] = None

    def cancel(self, timer: Timer) -> None:
        """Cancel a timer; does nothing once its time is up."""
        if not timer.passed:
            del self._set[timer.seconds][timer]

    async def run(self) -> None:
        """Call what is due, until cancelled."""
        while True:
            self._wakes_at = self._call_due(asyncio.get_running_loop().time())
            with anyio.CancelScope(deadline=self._wakes_at):
                await self._sooner.wait()

    def _call_due(self, now: float) -> float:
        """Call what is due, and return when the next will be: what is called may have set others."""
        over = []
        for seconds, same in list(self._set.items()):
            for timer in same:
                if timer.due > now:
                    break
                timer.passed = True
                over.append(timer)
            else:
                del self._set[seconds]
        for timer in over:
            self._set.get(timer.seconds, {}).pop(timer, None)
        for timer in over:
            if self._put_off(timer, now):
                continue
            guarded_call(timer.then, "calling what is due")
        return min((next(iter(same)).due for same in self._set.values() if same), default=math.inf)

    def _put_off(self, timer: Timer, now: float) -> bool:
        """Give a deadline the time back in which its thread was paused; whether there was any.

        Looked at only now, for nearly none comes so far. Two that were put off for as long end in the order in which
        they were, like those that were set, so they may stand in one line.
        """
        if timer.thread is None or (paused_s := timer.thread.paused_seconds(now)) <= timer.paused_s:
            return False
        timer.seconds, timer.paused_s = paused_s - timer.paused_s, paused_s
        timer.due, timer.passed = now + timer.seconds, False
        self._put(timer)
        return True


async def sleep_until(due_ns: int, clock: Clock) -> None:
    """Wait until an instant has come, or as long as it was away when the wait began, whichever is first.

    In pieces: while the machine is suspended, or its clock set ahead, the event loop's clock does not go on.

    Args:
        due_ns: The instant, nanoseconds since the Unix epoch.
        clock: Tells which it is now.
    """
    left_s = (due_ns - clock.now_ns()) / NS_PER_S
    end_s = anyio.current_time() + left_s
    while left_s > 0:
        await anyio.sleep(min(left_s, _CLOCK_LOOK_S))
        left_s = min((due_ns - clock.now_ns()) / NS_PER_S, end_s - anyio.current_time())
