"""Parked messages: those that wait for budget or a person, and what unparks them. FIFO.

A message that was refused only because other calls hold the headroom is unparked as soon as enough of it is released.
The reserve queue cannot do that: its places are bounded in time, and the handler that asked has ended.
"""

from collections.abc import Callable, Container, Iterable, Mapping

from organism.amounts.units import amount_of, limit_of
from organism.budget.registry import ThreadBudgetRegistry
from organism.errors import Refusal, UnknownAccountError
from organism.runtime.waiting.threshold_questions import ThresholdQuestions
from organism.threads.approvals import WaitReason
from organism.threads.lanes import Lane, ParkedMessage
from organism.threads.state_writer import ThreadStateWriter
from organism.threads.thread import Thread


class ParkedMessages:
    """Unparks messages.

    Args:
        threads: The open threads, by id.
        registry: Their budgets; calls back when headroom is released.
        state_writer: Writes what is parked.
        start_lane: Queues a lane for a worker.

    Attributes:
        threshold_questions: What people are asked about thresholds.
    """

    def __init__(
        self,
        threads: Mapping[str, Thread],
        registry: ThreadBudgetRegistry,
        state_writer: ThreadStateWriter,
        start_lane: Callable[[Thread, Lane], None],
    ) -> None:
        self._threads = threads
        self.threshold_questions = ThresholdQuestions(threads)
        self._registry = registry
        self._accounts, self._last_calls = registry.accounts, registry.accounts.last_calls
        self._reservations, self._stops = registry.reservations, registry.stops
        self._state_writer = state_writer
        self._start_lane = start_lane
        self._held_up: dict[str, None] = {}  # threads with messages whose room others hold, in the order of waiting

    def unpark(self, thread: Thread, which: Callable[[WaitReason], bool] = lambda _waits: True) -> None:
        """Unpark messages of a thread, and in the threads above it those that wait for the same.

        Args:
            which: What they wait for; anything unless given.
        """
        askers: set[str] = set()  # one may stand with what its question had waited for before
        for question in thread.questions.values():
            if question.parked is not None and which(question.parked):
                question.parked = None
                askers.add(question.key[0])
        if thread.blocked_by is not None and which(thread.blocked_by):
            thread.blocked_by = None  # what waits for this thread looks at it
            if thread.status == "paused":  # or a next process would have its parent wait for what is there already
                self._state_writer.save_thread(thread)
        self._unpark_where(thread, lambda each: which(each.waits) or each.envelope.id in askers)
        if thread.parent is not None and (parent := self._threads.get(thread.parent)) is not None:
            self.unpark(parent, which)

    def stands(self, waits: WaitReason) -> bool:
        """Whether what a message was refused for refuses it still: other limits, or a person's word, may have come."""
        if isinstance(waits, Refusal):
            refuses = waits.cause != "limit" or self._registry.mode_of(waits.account) == "enforce"
            return refuses and (waits.cause != "limit" or not self._accounts.room_came_back(waits))
        return not waits.account or self._stops.awaits(waits.account, waits.threshold)

    def unpark_unstopped(self, thread: Thread) -> None:
        """Unpark what waits for a freeze or a breaker, if none stops the thread any more.

        What waits for a breaker goes on where the thread is frozen, too: refused anew, it waits for the freeze, whose
        end lets it go on. That end looks for nothing else.
        """
        if thread.paused_by is None:
            frozen = self._stops.stopped(thread.id) is not None
            stay = {"limit", "freeze", "approval"} if frozen else {"limit"}
            self.unpark(thread, lambda waits: isinstance(waits, Refusal) and waits.cause not in stay)

    def unpark_message(self, thread: Thread, message_id: str) -> None:
        """Unpark a message that waited for another one: that has its budget or answer, or never will."""
        self._unpark_where(thread, lambda each: each.envelope.id == message_id)

    def _unpark_where(self, thread: Thread, which: Callable[[ParkedMessage], bool]) -> None:
        for lane in tuple(thread.lanes.values()):
            for envelope in lane.unpark(which) if lane.aside else ():
                self._state_writer.delete_parked(envelope)
            if lane.runnable:
                self._start_lane(thread, lane)
        thread.note_change()

    # -- room that others hold ------------------------------------------------------------------------------------

    def resumes_by_itself(self, thread: Thread) -> bool:
        """Whether somebody at work will give back what one of a thread's messages waits for."""
        waits = (each.waits for lane in thread.lanes.values() for each in lane.waiting if _held_up(each))
        gives_back = self._reservations.gives_back
        return any(isinstance(why, Refusal) and gives_back(why.account, self._waits_for_order) for why in waits)

    def _waits_for_order(self, thread_id: str) -> bool:
        thread = self._threads[thread_id]
        return thread.status == "blocked" and not self.resumes_by_itself(thread)

    def held_up(self) -> list[Thread]:
        """Return the threads with messages whose room others hold, in the order of waiting."""
        return [thread for thread_id in self._held_up if (thread := self._threads.get(thread_id)) is not None]

    def watch_headroom(self, thread: Thread) -> None:
        """Unpark messages of a thread when the headroom is released that others hold; call it when one was parked."""
        if any(_held_up(each) for lane in thread.lanes.values() for each in lane.waiting):
            self._held_up[thread.id] = None
            self._registry.on_headroom(self._on_headroom)
            self._look_for_room({})  # it may have come back since the refusal

    def _on_headroom(self, accounts: Iterable[str]) -> None:
        self._look_for_room({}, frozenset(accounts))
        if not self._held_up:
            self._registry.on_headroom(None)  # it is asked at each settled call

    def _look_for_room(self, taken: dict[tuple[str, str], int], accounts: frozenset[str] | None = None) -> None:
        """Unpark those that fit now, first come, first served."""
        for thread_id in tuple(self._held_up):
            thread = self._threads.get(thread_id)
            waiting = [] if thread is None else [each for lane in thread.lanes.values() for each in lane.waiting]
            held_up = [each for each in waiting if _held_up(each)]
            fit = {each.envelope.id for each in held_up if self._fits(each.waits, taken, accounts)}
            if len(fit) == len(held_up):
                del self._held_up[thread_id]
            if fit and thread is not None:
                self.unpark_messages(thread, fit)

    def unpark_messages(self, thread: Thread, ids: Container[str]) -> None:
        """Unpark some messages, their askers, and those above that wait for the same."""
        waits = [each.waits for lane in thread.lanes.values() for each in lane.waiting if each.envelope.id in ids]
        self.unpark(thread, lambda why: any(why is each or why == each for each in waits))

    def _fits(self, waits: WaitReason, taken: dict[tuple[str, str], int], accounts: frozenset[str] | None) -> bool:
        """Whether what was refused fits now, beside what was unparked before in the same step, or never will."""
        if not isinstance(waits, Refusal) or (accounts is not None and waits.account not in accounts):
            return False
        try:
            state, unit = self._registry.state(waits.account), waits.dimension
        except UnknownAccountError:
            return True  # it is found out anew what limits the call
        held, others = amount_of(state.held, unit), 0
        if waits.reserved_by_others:
            others = amount_of(self._last_calls.on(waits.account), unit)
        if not held and not others:
            return True  # nobody has anything to give back any more, so it is found out anew what is missing
        place = (waits.account, unit)
        needed = taken.get(place, 0) + waits.needed
        kept = waits.final_reserve - waits.reserved_by_others + others
        used = amount_of(state.spent, unit, state.elapsed_ns) + held + kept
        # Of a limit that ends before 100 % only that part: else what was refused would be run again and again.
        limit = limit_of(self._accounts.headrooms((waits.account,))[0].limits, unit)
        if limit is not None and used + needed > limit:
            return False
        taken[place] = needed
        return True


def _held_up(waiting: ParkedMessage) -> bool:
    """Whether a message waits for room that others hold."""
    return isinstance(waiting.waits, Refusal) and (waiting.waits.held > 0 or waiting.waits.reserved_by_others > 0)
