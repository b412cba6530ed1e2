"""What an organism was when its last process ended, read from its journal: for questions when no daemon runs."""

from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from typing import TypeVar

from msgspec.structs import replace

from organism.amounts import UNLIMITED, ZERO, BudgetState
from organism.amounts.account import thread_account
from organism.cli.client import Client, UnreachableError
from organism.cli.ledger_sources import KeptJournal, NamedConfig, events_of, kept_journal
from organism.cli.options import DaemonOptions
from organism.cli.output import note
from organism.clock import SystemClock
from organism.control.listing.shown_period import shown_period
from organism.control.listing.thread_list import has_labels
from organism.control.observed.history import History
from organism.control.orders.budget_grants import WaitingGrants, granted
from organism.control.views import AccountState, By, ThreadSummary, Usage
from organism.daemon.journal_file import JOURNAL_FILE
from organism.errors import UnknownAccountError
from organism.journal import Pieces
from organism.ledger.entries import decode_entry
from organism.ledger.ledger import Ledger
from organism.threads.records import THREAD, ThreadRecord
from organism.usage.events import AnyEvent, ApprovalDecided, ApprovalRequested, ThreadClosed, ThreadOpened
from organism.usage.series import Measure, SeriesStep, UsageOverTime, UsageSeries
from organism.usage.sums import Breakdown, kept_upto
from organism.usage.totals import UsageTotals
from organism.usage.tracker import UsageTracker

T = TypeVar("T")


class RecordedState:
    """Answers what a daemon would, of the time when its journal was last written.

    Args:
        journal: The journal.
        now_ns: The time: what has left a rolling window since then counts no more.
        zone: Where days, weeks and months begin.
    """

    def __init__(self, journal: KeptJournal, now_ns: int, zone: tzinfo) -> None:
        self._now_ns, self._zone = now_ns, zone
        self._ledger = Ledger()
        stored = journal.load()
        self._ledger.restore(map(decode_entry, stored.entries))
        pieces = Pieces(stored.pieces)
        self._grants = WaitingGrants(granted(pieces))
        self._usage, self._history = UsageTracker(), History()
        self._breakdown = Breakdown(lambda: UTC)
        self._open: dict[str, ThreadSummary] = {}
        self._over_time = UsageOverTime(lambda: zone, self._labels_of, self._opener_of)
        self._over_time_upto = kept_upto(pieces) if self._over_time.restore(pieces) else 0
        for event in events_of(journal):
            self._take(event)
        for _, record in pieces.read(THREAD, ThreadRecord):
            self._take_up(record)

    def budgets(self) -> list[AccountState]:
        """Return every account that was open."""
        return [self._budget(account) for account in self._ledger.accounts]

    def budget(self, account: str) -> AccountState:
        """Return an account; a plain name is a thread's.

        Raises:
            UnknownAccountError: If none of that name was open.
        """
        found = next((name for name in (account, thread_account(account)) if self._ledger.has(name)), None)
        if found is None:
            raise UnknownAccountError(account)
        return self._budget(found)

    def threads(self, *, ended: bool = False, label: str | None = None) -> list[ThreadSummary]:
        """Return the threads that were open, and those that ended last if asked for, newest first."""
        closed = self._history.closed() if ended else ()
        opened = (replace(one, budget=self._own(one.thread_id)) for one in self._open.values())
        wanted = () if label is None else (label,)
        found = (one for one in (*closed, *opened) if has_labels(one.labels, wanted))
        return sorted(found, key=lambda one: -one.opened_ns)

    def usage(self, by: By) -> Usage:
        """Return sums, broken down."""
        groups: dict[By, Callable[[], dict[str, UsageTotals]]] = {
            "agent": self._usage.by_agent,
            "model": self._usage.by_model,
            "tool": self._usage.by_tool,
            "thread": self._usage.by_thread,
            "day": self._breakdown.by_day,
            "label": self._breakdown.by_label,
        }
        return Usage(self._usage.total, by, groups[by]())

    def usage_over_time(
        self, measure: Measure, by: str, *, since: str | None, until: str | None, step: SeriesStep | None
    ) -> UsageSeries:
        """Return what was used over a time, in steps, as :meth:`Queries.usage_over_time` does.

        Raises:
            ConfigError: If an instant is none, the first is behind the last, or no such steps are kept of that time.
        """
        shown = shown_period(since, until, step, zone=self._zone, now_ns=self._now_ns)
        return self._over_time.series(measure, by, *shown)

    def _labels_of(self, thread_id: str) -> Mapping[str, str]:
        return self._open[thread_id].labels if thread_id in self._open else {}

    def _opener_of(self, thread_id: str) -> str:
        return self._open[thread_id].opened_by if thread_id in self._open else ""

    def _take(self, event: AnyEvent) -> None:
        if int(event.id) > self._over_time_upto:
            self._over_time.on_event(event)
        self._usage.restore(event)
        self._breakdown.on_event(event)
        self._history.recall(event)
        match event:
            case ThreadOpened():
                self._open[event.thread_id] = ThreadSummary(
                    thread_id=event.thread_id,
                    root_thread_id=event.root_thread_id,
                    parent_thread_id=event.parent_thread_id,
                    state="dormant",
                    budget=self._own(event.thread_id),
                    opened_ns=event.time_ns,
                    labels=event.labels,
                    opened_by=event.opened_by,
                )
            case ThreadClosed():
                self._open.pop(event.thread_id, None)
            case ApprovalRequested() | ApprovalDecided():
                for thread_id in {event.thread_id, event.root_thread_id} & self._open.keys():
                    self._open[thread_id] = _asked(self._open[thread_id], event)
            case _:
                pass

    def _take_up(self, record: ThreadRecord) -> None:
        """Take over why a thread stands still, and who is below it, as a daemon would find it."""
        if (opened := self._open.get(record.thread_id)) is None:
            return
        self._open[record.thread_id] = replace(
            opened,
            state=record.status if record.status in ("blocked", "paused") else opened.state,
            blocked_by=record.paused_by or record.blocked_by,
        )
        if (above := self._open.get(record.parent or "")) is not None:
            self._open[above.thread_id] = replace(above, children=(*above.children, record.thread_id))

    def _own(self, thread_id: str) -> BudgetState:
        account = thread_account(thread_id)
        return self._budget(account) if self._ledger.has(account) else BudgetState(account, UNLIMITED, ZERO, ZERO)

    def _budget(self, account: str) -> AccountState:
        balance = self._ledger.balance(account)
        return AccountState(
            account=account,
            limits=balance.limits,
            spent=balance.total_at(self._now_ns),
            held=balance.held_now,
            revision=balance.revision,
            unpriced_calls=balance.unpriced_calls,
            resets_ns=balance.resets_ns(lambda: self._now_ns, self._zone),
            granted=self._grants.of(account),
        )


def _asked(thread: ThreadSummary, event: ApprovalRequested | ApprovalDecided) -> ThreadSummary:
    """Return a thread with the questions that wait for a person after one was asked or answered."""
    approvals = tuple(one for one in thread.approvals if one != event.approval_id)
    if isinstance(event, ApprovalRequested):
        return replace(thread, state="blocked", waiting="person", approvals=(*approvals, event.approval_id))
    if approvals or thread.blocked_by is not None:
        return replace(thread, approvals=approvals)
    return replace(thread, state="dormant", waiting="", approvals=())


def answer_of(daemon: DaemonOptions, ask: Callable[[Client], T], look_up: Callable[[RecordedState], T]) -> T:
    """Ask the daemon, or look the answer up in its journal if none runs.

    Raises:
        UnreachableError: If no daemon answers and there is no journal.
        ConfigError: If another process owns the journal, or its database is not known.
        JournalError: If it cannot be read.
    """
    try:
        return ask(daemon.client())
    except UnreachableError:
        if (recorded := recorded_now(daemon)) is None:
            raise
    note("no daemon runs; this is what its journal says")
    return look_up(recorded)


def recorded_now(daemon: DaemonOptions) -> RecordedState | None:
    """Return what the journal says of a daemon that does not run; ``None`` if there is no journal.

    Raises:
        ConfigError: If another process owns the journal, or its database is not known.
        JournalError: If it cannot be read.
    """
    config = NamedConfig.read(daemon.file)
    if config.database() is None and not (daemon.folder / JOURNAL_FILE).is_file():
        return None
    with kept_journal(daemon, config=config) as journal:
        return RecordedState(journal, SystemClock().now_ns(), config.time_zone)
