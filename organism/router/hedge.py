"""Hedged calls: a second attempt begins if the first is slow; the first answer counts, the other is cancelled.

A cancelled attempt itself reads on for its real usage and is charged for it. A streamed answer is taken from the
attempt that speaks first, and never from both.
"""

from collections.abc import Awaitable, Callable

import anyio

from organism.errors import BudgetError, ProviderError
from organism.llm.deltas import Delta, DeltaSink
from organism.llm.provider import Answer
from organism.router.attempt import Attempt

Ended = tuple[Attempt, Answer | ProviderError]
MakeAttempt = Callable[[DeltaSink | None], Awaitable[Ended | None]]
"""Makes an attempt that streams to a sink; ``None`` if no attempt could be made."""


async def first_answer(first: MakeAttempt, hedge: MakeAttempt, after_s: float, on_text: DeltaSink | None) -> Ended:
    """Make a hedged call and return its end: an answer if either attempt gave one, else the failure.

    A hedge that the budget refuses is not made, which is no failure. An attempt that fails before the hedge begins ends
    the race; the caller decides what follows.

    Args:
        after_s: Seconds without a word of the first after which the second begins.
        on_text: Called with each piece of the answer that counts.
    """
    race = _Race(on_text)
    async with anyio.create_task_group() as tasks:
        # Both run beside this task: cancelling the caller cancels both, and each settles by itself.
        tasks.start_soon(race.run, 0, first)
        with anyio.move_on_after(after_s):
            await race.settled.wait()
        # Looked at again after the wait: the first may have spoken in the very turn in which the time ran out.
        if not race.settled.is_set():
            tasks.start_soon(race.run, 1, hedge)
    return race.result()


class _Race:
    def __init__(self, on_text: DeltaSink | None) -> None:
        self.settled = anyio.Event()
        """Set once the first lane has spoken or ended."""
        self._on_text = on_text
        self._scopes = (anyio.CancelScope(), anyio.CancelScope())
        self._speaker: int | None = None
        self._ended: list[Ended | None] = [None, None]
        self._error: Exception | None = None

    async def run(self, lane: int, attempt: MakeAttempt) -> None:
        with self._scopes[lane]:
            try:
                ended = self._ended[lane] = await attempt(self._sink(lane))
            except BudgetError as error:
                # A refused hedge is no failure of the call; the first attempt is still under way and has its own hold.
                self._error = self._error or (error if lane == 0 else None)
            except Exception as error:  # noqa: BLE001 - raised by result(), where no task group wraps it
                self._error = self._error or error
            else:
                if ended is not None and isinstance(ended[1], Answer):
                    self._scopes[1 - lane].cancel()
        if lane == 0:
            self.settled.set()

    def _sink(self, lane: int) -> DeltaSink | None:
        on_text = self._on_text
        if on_text is None:
            return None

        def pass_on(piece: Delta) -> None:
            if self._speaker is None:
                # One speaks, the other is cancelled in the same step: no listener may hear two answers mixed.
                self._speaker = lane
                self._scopes[1 - lane].cancel()
                self.settled.set()
            if self._speaker == lane:
                on_text(piece)

        return pass_on

    def result(self) -> Ended:
        ended = [one for one in self._ended if one is not None]
        for one in ended:
            if isinstance(one[1], Answer):
                return one
        if ended:
            return ended[-1]
        raise self._error if self._error is not None else AssertionError("a race ends somehow")
