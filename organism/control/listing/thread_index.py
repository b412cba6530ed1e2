"""Where a list of threads finds them: the open ones, and those that ended last."""

from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from organism.amounts.account import thread_account
from organism.control.components import Components
from organism.control.listing.thread_list import (
    ENDED_STATES,
    PageRequest,
    ThreadFilter,
    ThreadOrder,
    chosen,
    page_of,
    waits_for,
)
from organism.control.observed.history import History
from organism.control.views import ThreadPage, ThreadState, ThreadSummary, Waiting
from organism.ids import USER
from organism.text.redaction import headline
from organism.threads.thread import Thread, ThreadView, view


class ThreadIndex:
    """Finds threads for lists: itself the source of the open ones.

    Args:
        describe: Makes the description of an open thread.
    """

    def __init__(self, components: Components, describe: Callable[[ThreadView], ThreadSummary]) -> None:
        self._threads = components.pump.open_threads
        self._history = components.history
        self._ledger = components.ledger
        self._call_approvals = components.orders.call_approvals
        self._describe = describe
        self._ended = _Ended(components.history)

    def page(self, wanted: ThreadFilter, request: PageRequest) -> ThreadPage:
        """Return one page of the threads that meet conditions.

        Raises:
            ConfigError: If the cursor of the page is none, or of a list in another order.
        """
        found = list(chosen(self._ended, wanted, request.sort)) if wanted.states & ENDED_STATES else []
        found += chosen(self, wanted, request.sort)
        return page_of(found, request)

    def all(self) -> Iterable[Thread]:
        """Return the open threads, oldest first."""
        return self._threads.all()

    def thread_id(self, thread: Thread) -> str:
        """Return a thread's name."""
        return thread.id

    def state(self, thread: Thread) -> ThreadState:
        """Return what a thread does."""
        return thread.status

    def labels(self, thread: Thread) -> dict[str, str]:
        """Return a thread's labels."""
        return thread.labels

    def agents(self, thread: Thread) -> tuple[str, ...]:
        """Return the agents that a thread began with or that have worked for it, as far as this process knows."""
        lanes = (lane.agent for lane in thread.lanes.values())
        return _once((thread.origin.opened_by, thread.entry, *lanes, *self._history.worked(thread.id).agents))

    def waiting(self, thread: Thread) -> Waiting:
        """Return what a thread waits for."""
        return waits_for(thread, self._calls)

    def place(self, sort: ThreadOrder, thread: Thread) -> int:
        """Return the number that a thread is sorted by."""
        if sort == "opened":
            return thread.origin.opened_ns
        if sort == "activity":
            return max(thread.origin.opened_ns, self._history.worked(thread.id).last_ns)
        account = thread_account(thread.id)
        return self._ledger.balance(account).spent.cost_nanousd if self._ledger.has(account) else 0

    def describe(self, thread: Thread) -> ThreadSummary:
        """Return a thread as lists show it."""
        return self._describe(view(thread))

    def completed(self, summary: ThreadSummary) -> ThreadSummary:
        """Return a description of an open thread with what it waits for, and who has worked for it until when."""
        thread = self._threads.find(summary.thread_id)
        if thread is None:
            return summary
        active_ns = self.place("activity", thread)
        waiting, agents, asked = self.waiting(thread), self.agents(thread), tuple(dict.fromkeys(self._asked(thread)))
        return replace(summary, waiting=waiting, agents=agents, active_ns=active_ns, approvals=asked)

    def _asked(self, thread: Thread) -> Iterator[str]:
        """Yield the questions that a thread and those below it wait for, which its own end waits for too."""
        yield from (approval.id for approval in thread.approvals)
        yield from (approval.id for approval in self._call_approvals.waiting() if approval.thread_id == thread.id)
        for child in map(self._threads.find, thread.children):
            if child is not None:
                yield from self._asked(child)

    def _calls(self, thread_id: str) -> bool:
        """Whether a call of a thread is at a provider."""
        account = thread_account(thread_id)
        if not (self._ledger.has(account) and self._ledger.balance(account).open_holds):
            return False
        return any(
            hold.dispatched and hold.call is not None and hold.call.thread_id == thread_id and hold.call.model
            for hold in self._ledger.open_holds
        )


class _Ended:
    """The source of the threads that ended last."""

    def __init__(self, history: History) -> None:
        self._history = history

    def all(self) -> Iterable[ThreadSummary]:
        return self._history.closed()

    def thread_id(self, thread: ThreadSummary) -> str:
        return thread.thread_id

    def state(self, thread: ThreadSummary) -> ThreadState:
        return thread.state

    def labels(self, thread: ThreadSummary) -> dict[str, str]:
        return thread.labels

    def agents(self, thread: ThreadSummary) -> tuple[str, ...]:
        return thread.agents

    def waiting(self, thread: ThreadSummary) -> Waiting:
        return thread.waiting

    def place(self, sort: ThreadOrder, thread: ThreadSummary) -> int:
        if sort == "spent":
            return thread.budget.spent.cost_nanousd
        return thread.opened_ns if sort == "opened" else thread.closed_ns

    def describe(self, thread: ThreadSummary) -> ThreadSummary:
        return as_listed(thread, content=False)


def reason_shown(reason: str | None, *, content: bool) -> str | None:
    """Return why something failed, without what it quotes unless that was asked for."""
    return reason if content or reason is None else headline(reason)


def as_listed(thread: ThreadSummary, *, content: bool) -> ThreadSummary:
    """Return a thread that has ended as lists show it."""
    return replace(thread, reason=reason_shown(thread.reason, content=content))


def _once(names: Iterable[str]) -> tuple[str, ...]:
    """Return names without repetition, without the user."""
    found: list[str] = []
    for name in names:
        if name and name != USER and name not in found:
            found.append(name)
    return tuple(found)
