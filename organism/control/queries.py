"""What an operator sees: every question about a running organism that has no effect."""

from collections.abc import Iterator
from datetime import tzinfo
from functools import cache
from importlib.metadata import version

import anyio
from msgspec.structs import replace

from organism.amounts.account import account_of, thread_account, thread_of
from organism.budget.scopes import limits_over_time, thresholds_by_scope
from organism.concurrency.own_threads import OwnThreads
from organism.control.accounts import AccountFilter, Accounts
from organism.control.components import Components
from organism.control.listing.account_page import ACCOUNTS_MAX
from organism.control.listing.letters import as_shown
from organism.control.listing.shown_period import shown_period
from organism.control.listing.thread_index import ThreadIndex, as_listed, reason_shown
from organism.control.listing.thread_list import PageRequest, ThreadFilter
from organism.control.listing.timeline import Timeline
from organism.control.listing.timeline_reader import ITEMS_MAX, TimelineReader
from organism.control.owners import Owners
from organism.control.views import (
    AccountState,
    AgentView,
    By,
    Letter,
    OrganismStatus,
    ThreadCounts,
    ThreadDetail,
    ThreadPage,
    ThreadState,
    ThreadSummary,
    Usage,
)
from organism.error_root import DISTRIBUTION
from organism.errors import ThreadClosedError, UnknownAccountError
from organism.journal import StoredEntry
from organism.ledger.entries import stored_entries
from organism.ledger.explain import BudgetTrace, Note, explain
from organism.threads.approvals import Approval
from organism.threads.thread import ThreadView
from organism.usage.events import BudgetExceeded, UsageEvent
from organism.usage.series import Measure, SeriesStep, UsageOverTime, UsageSeries
from organism.usage.sums import Breakdown
from organism.usage.totals import UsageTotals
from organism.whatif.changes import Baseline, Changes
from organism.whatif.outcome import Replay
from organism.whatif.replay import replay

PAGE_MAX = 500

_version = cache(version)  # it reads the metadata of the package anew each time, for 0.4 ms


class Queries:
    """Answers questions.

    Args:
        owners: Knows who has opened a thread.
    """

    def __init__(self, components: Components, accounts: Accounts, owners: Owners) -> None:
        budgets, orders = components.budgets, components.orders
        self._name = components.name
        self._active = components.active
        self._prices = components.prices
        self._router = components.router
        self._pump = components.pump
        self._budgets = budgets
        self._journal = components.journal
        self._tracker = components.usage
        self._clock = components.clock
        self._history = components.history
        self._approvals = orders.approvals
        self._letters = orders.dead_letters
        self._accounts = accounts
        self.breakdown = Breakdown(lambda: budgets.plan.time_zone)
        self._index = ThreadIndex(components, self._summary)
        self._timelines = TimelineReader(components)
        self._one_replay = anyio.Lock()
        self._replaying = OwnThreads()
        self._started_ns = components.clock.now_ns()
        components.usage.subscribe(self.breakdown.on_event, UsageEvent)
        threads = components.pump.open_threads
        self.usage_history = UsageOverTime(lambda: budgets.plan.time_zone, threads.labels_of, owners.owner_of)
        components.usage.subscribe(self.usage_history.on_event, UsageEvent, BudgetExceeded)

    async def story(self, name: str) -> BudgetTrace:
        """Tell where a thread's budget has gone, from the ledger's entries.

        Raises:
            UnknownAccountError: If the ledger knows no such thread.
        """
        account = account_of(name)
        story = explain([entry async for entry in stored_entries(self._journal)], thread_of(account) or account)
        if not story.holds and not story.notes:
            raise UnknownAccountError(account)
        return replace(story, notes=(*story.notes, *self._frozen_notes(thread_of(account) or "")))

    def _frozen_notes(self, thread_id: str) -> Iterator[Note]:
        """Yield what is frozen of an open thread now: the one thing about its money that no entry says."""
        budgets, threads = self._budgets, self._pump.open_threads
        labels, frozen = threads.labels_of(thread_id), budgets.stops.freezes
        for freeze in frozen.all if budgets.has_budget(thread_id) else ():
            if freeze.covers(labels):
                yield Note(0, freeze.since_ns, thread_account(thread_id), str(freeze), shortfall=freeze.refusal())

    async def entries(self, after: int, limit: int) -> list[StoredEntry]:
        """Return the ledger's entries as they are stored, those with numbers above ``after``, at most ``limit``."""
        return await self._journal.entries_after(after, limit)

    async def replay(self, thread_id: str, changes: Changes) -> Replay:
        """Decide a thread's recorded calls anew under what is otherwise; see :mod:`organism.whatif.replay`.

        Beside the loop, and one at a time: a long ledger takes seconds, and a place in memory.

        Raises:
            UnknownAccountError: If the ledger knows no such thread.
            ConfigError: If a changed model or price is not known, or no call of the thread used it.
        """
        budgets, settings = self._budgets, self._router.settings
        baseline = Baseline(
            prices=self._prices.prices,
            plan=budgets.plan,
            models=self._router.models,
            thresholds=budgets.thresholds,
            output_min=settings.output_min,
            wait_s=budgets.wait_s,
            parks=self._active.on_exhausted == "park",
            refuse_unpriced=settings.refuse_unpriced,
        )
        async with self._one_replay:
            entries = [entry async for entry in stored_entries(self._journal)]
            return await self._replaying.run(replay, entries, thread_id, changes, baseline)

    def status(self, source: str, set_aside: int = 0) -> OrganismStatus:
        """Return the organism at this instant.

        Args:
            source: What its events call it.
            set_aside: How many events exporters have set aside.
        """
        statistics = self._pump.statistics()
        states = [thread.status for thread in self._pump.threads()]
        now_ns, frozen = self._clock.now_ns(), self._budgets.stops.freezes
        handlers, handlers_waiting = statistics.handlers.in_all()
        return OrganismStatus(
            name=self._name,
            version=_version(DISTRIBUTION),
            source=source,
            mode=self._budgets.mode,
            durable=self._journal.durable,
            started_ns=self._started_ns,
            now_ns=now_ns,
            accepting=statistics.accepting,
            threads=ThreadCounts(
                open=states.count("open") + states.count("closing"),
                blocked=states.count("blocked"),
                paused=states.count("paused"),
            ),
            dead_letters=len(self._letters.list()),
            windows=self._accounts.windows(now_ns),
            usage=self._tracker.total,
            burn=self._history.burn(now_ns),
            set_aside=set_aside,
            handlers=handlers,
            handlers_max=statistics.handlers.limit,
            handlers_waiting=handlers_waiting,
            worker_threads=statistics.workers.threads,
            busy_threads=statistics.workers.busy,
            given_up=statistics.workers.given_up,
            limits_not_kept=() if self._journal.durable else limits_over_time(self._budgets.plan),
            freezes=frozen.all,
            approvals=self._approvals.asked_here(),
            scoped=self._accounts.scoped(now_ns),
            thresholds=thresholds_by_scope(self._budgets.plan, self._budgets.thresholds),
            warn_ahead=self._budgets.plan.warn_ahead,
        )

    def threads(
        self,
        *,
        states: frozenset[ThreadState] = frozenset(),
        label: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> ThreadPage:
        """Return open threads and those that ended last, newest first.

        Args:
            states: Only threads in one of these states; all that are not ended when none is named.
            label: Only threads with this label, as ``name=value`` or only ``name``.
            after: Go on after this thread.
            limit: How many at most.
        """
        labels = () if label is None else (label,)
        page = PageRequest(limit=max(1, min(limit, PAGE_MAX)), after=after)
        return self.find_threads(ThreadFilter(states=states, labels=labels), page)

    def find_threads(self, wanted: ThreadFilter, request: PageRequest) -> ThreadPage:
        """Return one page of the open threads and those that ended last that meet conditions.

        Raises:
            ConfigError: If the cursor of the page is none, or of a list in another order.
        """
        return self._index.page(wanted, request)

    async def knows_thread(self, thread_id: str) -> bool:
        """Whether there is a thread of that name, or was one, as far as the journal remembers.

        Raises:
            JournalError: If it cannot be read.
        """
        threads = self._pump.open_threads
        await threads.look_up(thread_id)
        return threads.find(thread_id) is not None or threads.has_closed(thread_id)

    async def thread(self, thread_id: str, *, content: bool = False) -> ThreadDetail:
        """Return a thread with its budgets, its descendants and its messages.

        One that has just ended is waited for until that is durable: after a crash before then it would be open again.

        Raises:
            ThreadClosedError: If it is not open and has not ended lately.
            JournalError: If its end cannot be kept.
        """
        if (detail := self._detail(thread_id, content=content)) is None:
            await self._journal.commit()
            detail = self._detail(thread_id, content=content)
        if detail is None:
            raise ThreadClosedError(thread_id)
        return detail

    async def timeline(self, thread_id: str, *, content: bool = False, limit: int = ITEMS_MAX) -> Timeline:
        """Return what has happened in a thread and its descendants, the last things; what was said if asked for.

        Raises:
            ThreadClosedError: If there is no such thread and none is remembered.
            JournalError: If it cannot be read.
        """
        if not await self.knows_thread(thread_id):
            raise ThreadClosedError(thread_id)
        return await self._timelines.read(thread_id, content=content, limit=limit)

    def _detail(self, thread_id: str, *, content: bool) -> ThreadDetail | None:
        views = {view.thread_id: view for view in self._pump.threads()}
        hops = self._history.hops(thread_id, content=content)
        if thread_id not in views:
            closed = self._history.find_closed(thread_id)
            if closed is None:
                return None
            below = (t for t in self._history.closed() if t.root_thread_id == thread_id and t is not closed)
            return ThreadDetail(
                as_listed(closed, content=content),
                (self._accounts.shown(closed.budget),),
                tuple(as_listed(thread, content=content) for thread in below),
                hops,
            )
        below_ids = [thread_id]
        for name in below_ids:
            below_ids += [child for child in views[name].children if child in views]
        tree = tuple(self._summary(views[name]) for name in below_ids[1:])
        budgets = tuple(map(self._accounts.shown, self._budgets.budgets(thread_id)))
        return ThreadDetail(self._summary(views[thread_id]), budgets, tree, hops)

    def budgets(self) -> tuple[AccountState, ...]:
        """Return every account."""
        return self._accounts.all(self._clock.now_ns())

    def find_budgets(
        self, wanted: AccountFilter, *, limit: int = ACCOUNTS_MAX, after: str = ""
    ) -> tuple[AccountState, ...]:
        """Return a page of the accounts that are wanted, in the order of their names.

        Args:
            limit: How many at most.
            after: The name that ended the page before.
        """
        return self._accounts.page(wanted, self._clock.now_ns(), max(1, min(limit, ACCOUNTS_MAX)), after)

    def budget(self, account: str) -> AccountState:
        """Return an account; a plain name is a thread's.

        Raises:
            UnknownAccountError: If there is none of that name.
        """
        return self._accounts.shown(self._accounts.state(account_of(account), self._clock.now_ns()))

    @property
    def time_zone(self) -> tzinfo:
        """Where days begin."""
        return self._budgets.plan.time_zone

    @property
    def now_ns(self) -> int:
        """The organism's own time, in nanoseconds since 1970: what a period of what it has kept ends at."""
        return self._clock.now_ns()

    def usage(self, by: By = "agent") -> Usage:
        """Return sums since the start of this process, broken down."""
        tracker = self._tracker
        groups: dict[str, UsageTotals]
        match by:
            case "agent":
                groups = tracker.by_agent()
            case "model":
                groups = tracker.by_model()
            case "tool":
                groups = tracker.by_tool()
            case "thread":
                groups = tracker.by_thread()
            case "day":
                groups = self.breakdown.by_day()
            case "label":
                groups = self.breakdown.by_label()
        return Usage(tracker.total, by, groups)

    def usage_over_time(
        self,
        measure: Measure,
        by: str,
        *,
        since: str | None = None,
        until: str | None = None,
        step: SeriesStep | None = None,
    ) -> UsageSeries:
        """Return what was used over a time, in steps.

        Args:
            by: ``agent``, ``model``, ``key`` or ``label:NAME``.
            since: The first day, an instant, or so long ago; 24 hours ago unless given, or an hour for steps of
                a minute and 30 days for those of a day.
            until: The last day, an instant or so long ago; now unless given.
            step: In which steps; the finest that is kept and fits unless given.

        Raises:
            ConfigError: If an instant is none, the first is behind the last, or no such steps are kept of that time.
        """
        shown = shown_period(since, until, step, zone=self.time_zone, now_ns=self._clock.now_ns())
        return self.usage_history.series(measure, by, *shown)

    def agents(self, *, content: bool = False) -> tuple[AgentView, ...]:
        """Return every agent with what waits for it; what its last error said only if asked for."""
        statistics = self._pump.statistics()
        usage, flow, now_ns = self._tracker.by_agent(), self._history.flow, self._clock.now_ns()
        views = []
        for name, agent in self._active.agents.items():
            mailbox = statistics.mailboxes[name]
            failed = statistics.stopped_agents.get(name)
            handlers, handlers_waiting = statistics.handlers.of(name)
            views.append(
                AgentView(
                    name=name,
                    description=agent.description,
                    state="failed" if failed else "paused" if name in statistics.paused_agents else "running",
                    reason=reason_shown(failed, content=content),
                    next=agent.next,
                    mailbox=mailbox.messages,
                    mailbox_max=mailbox.messages_max,
                    bytes=mailbox.size,
                    usage=usage.get(name),
                    handlers=handlers,
                    handlers_max=self._active.handlers_of(name),
                    handlers_waiting=handlers_waiting,
                    flows=flow.of(name, now_ns),
                )
            )
        return tuple(views)

    def approvals(
        self, *, content: bool = False, threads: frozenset[str] = frozenset(), limit: int | None = None
    ) -> tuple[Approval, ...]:
        """Return what people are asked, in any or in these threads, oldest first; the words of it only if asked for."""
        wanted = self._approvals.waiting(lambda each: not threads or each.thread_id in threads)
        return tuple(approval if content else replace(approval, detail="") for approval in wanted[:limit])

    def letters(self, *, content: bool = False, limit: int | None = None) -> tuple[Letter, ...]:
        """Return the dead letters, oldest first and at most so many; what they say only if asked for."""
        return tuple(as_shown(letter, content=content) for letter in self._letters.list()[:limit])

    def _summary(self, view: ThreadView) -> ThreadSummary:
        summary = ThreadSummary(
            thread_id=view.thread_id,
            root_thread_id=view.root_thread_id,
            parent_thread_id=view.parent_thread_id,
            state=view.status,
            budget=self._budgets.budget(view.thread_id),
            opened_ns=self._history.opened_ns(view.thread_id),
            labels=view.labels,
            queued=view.queued,
            parked=view.parked,
            children=view.children,
            blocked_by=view.blocked_by,
            opened_by=view.opened_by,
        )
        return self._index.completed(summary)
