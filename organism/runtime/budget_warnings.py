"""Thresholds that were crossed, told: as an event, and as a message to the agents that can do something about it.

A call tells of what it crossed through the router, to its own agent. What is crossed without a call (a carved child's
return, a correction, a lowered limit, new thresholds, another mode) is reported here. Both go to the same agents.
Others that spend from the account hear of it before the next message that they begin: an agent that has had nothing to
do so far, one of another thread, and one whose message waits for that very budget.
"""

from collections.abc import Iterable, Iterator

import msgspec

from organism.amounts.account import Account, thread_of
from organism.budget.holds import Spender
from organism.budget.registry import ThreadBudgetRegistry
from organism.messages import BudgetWarning
from organism.runtime.delivery import Delivery
from organism.threads.lanes import Lane
from organism.threads.open_threads import OpenThreads
from organism.threads.state_writer import ThreadStateWriter
from organism.threads.thread import Thread
from organism.usage.events import ThresholdCrossed
from organism.usage.outbox import Outbox


class BudgetWarnings:
    """Tells of thresholds.

    Args:
        registry: Knows which threads spend from an account.
        state_writer: Writes who has heard of what.

    Attributes:
        any_told: Whether there may be something that an agent has not heard; spares the look at every message.
    """

    def __init__(
        self,
        registry: ThreadBudgetRegistry,
        threads: OpenThreads,
        delivery: Delivery,
        outbox: Outbox,
        state_writer: ThreadStateWriter,
    ) -> None:
        self._registry = registry
        self._accounts = registry.accounts
        self._state_writer = state_writer
        self._find = threads.find
        self._delivery = delivery
        self._outbox = outbox
        self.any_told = False

    def resume(self) -> None:
        """Begin with what the journal has kept: an agent may not have heard all of it."""
        self.any_told = self.any_told or self._accounts.any_noted()

    def tell_call(self, spender: Spender, warning: BudgetWarning) -> None:
        """Deliver a warning of what a call has crossed: to its agent, and to those of the thread whose limit it is."""
        self.any_told = True
        owner = thread_of(warning.account)
        spending = self._find(spender.thread_id)
        if spending is not None and _takes_messages(spending):
            above = owner is not None and owner != spending.id
            self._warn(spending, (spender.agent,), warning, listeners=not above)
        if owner is not None and owner != spender.thread_id:
            self._tell_thread(owner, warning)

    def tell(self, warnings: Iterable[BudgetWarning]) -> None:
        """Tell of what was crossed without a call, in the step that crossed it."""
        for warning in warnings:
            self.any_told = True
            owner = self._find(Account.parse(warning.account).within_thread)
            event = ThresholdCrossed(
                thread_id="" if owner is None else owner.id,
                root_thread_id="" if owner is None else owner.root,
                agent="" if owner is None else next(self._concerned(owner, warning), ""),
                **msgspec.structs.asdict(warning),
            )
            self._outbox.emit(event)
            for thread_id in self._accounts.threads_on(warning.account):
                self._tell_thread(thread_id, warning)

    def _tell_thread(self, thread_id: str, warning: BudgetWarning) -> None:
        thread = self._find(thread_id)
        if thread is None or not _takes_messages(thread):
            return
        listeners = thread_of(warning.account) in (None, thread_id)
        self._warn(thread, tuple(self._concerned(thread, warning)), warning, listeners=listeners)

    def catch_up(self, thread: Thread, lane: Lane) -> bool:
        """Tell an agent what it has not heard, because others' calls have crossed it; whether there was something.

        Of several thresholds in one unit of an account it hears of the highest.
        """
        warnings, noted = self._registry.unheard(thread.id, lane.agent, lane.heard)
        for warning in warnings:
            self._delivery.warn(thread, (lane.agent,), warning, listeners=False)
        if warnings:
            self._state_writer.save_heard(thread, lane, noted)
        return bool(warnings)

    def take(self, thread: Thread, lane: Lane) -> tuple[BudgetWarning, ...]:
        """Return what an agent has not heard of yet, for the handler that is at work to pass on by itself.

        It has heard it by that: the messages that would have told it are taken out of its lane, in the step that writes
        what it has heard. A lane beside the agent's own is another conversation: it hears what that one has heard, too.
        """
        if not self.any_told:
            return ()
        heard = lane.heard
        if lane.home is None:
            for warning in self._delivery.take_warnings(thread, lane):
                heard -= self._accounts.noted(warning.account, warning.dimension, warning.threshold)
        warnings, noted = self._registry.unheard(thread.id, lane.agent, heard)
        if lane.home is None:
            self._state_writer.save_heard(thread, lane, noted)
        else:
            lane.heard = noted  # for as long as its only message takes; what that one has passed on is kept with it
        return warnings

    def _warn(self, thread: Thread, agents: tuple[str, ...], warning: BudgetWarning, *, listeners: bool) -> None:
        heard = self._accounts.noted(warning.account, warning.dimension)
        for lane in self._delivery.warn(thread, agents, warning, listeners=listeners):
            noted = self._accounts.noted_of(thread.id, lane.agent)
            self._state_writer.save_heard(thread, lane, (lane.heard & noted) | heard)

    def _concerned(self, thread: Thread, warning: BudgetWarning) -> Iterator[str]:
        """Yield the agents of a thread that spend: the one that is limited, else those with something to do."""
        if limited := Account.parse(warning.account).agent:
            yield from (limited,) if limited in thread.lanes else ()
            return
        at_work = [lane.agent for lane in thread.lanes.values() if lane.queue]
        yield from at_work or [thread.entry]


def _takes_messages(thread: Thread) -> bool:
    return thread.status != "closing" and not thread.standing
