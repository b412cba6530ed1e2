"""The slices of one partition: taken where a call needs more, given back where others do, limits kept the same."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import structlog
from msgspec.structs import replace

from organism.amounts import ZERO, Amounts
from organism.amounts.units import ceilings_of, limited, numbers_of, positive, whole
from organism.budget.accounts.shared_limits import SharedLimits, SliceAnswer
from organism.budget.accounts.slice_sizes import CALLS_AHEAD, given_back_of, is_shared
from organism.budget.guards.standing import Standing
from organism.budget.scopes import window_end_ns
from organism.budget.thresholds import Due
from organism.cluster.file_limits import FileLimits, changes_of, times, units, whole_of, with_units
from organism.concurrency.own_threads import OwnThreads
from organism.control.components import Components
from organism.ledger.account_balance import Balance
from organism.stores.leases import Lease
from organism.stores.shared.slice_rows import Share, SharedLimit, SliceBound, SliceRow

if TYPE_CHECKING:
    from organism.stores.postgres.slice_table import SliceTable

_RETRY_S, _RETRY_MAX_S = 0.1, 0.8
"""Seconds until a partition asks again for what it did not get: twice as long each time."""

_SCARCE_NS = 1_500_000_000
"""After so long what others have and do not use is taken for what cannot be had: their node may be gone."""

_COMMIT_S = 5.0

_NOTED_PART = 64
"""What others have spent is noted in the ledger when it has moved by so much of the limit: an entry for each report
would be many. What is shown goes by the report itself."""

_log = structlog.get_logger("organism.cluster")


class PartitionSlices:
    """What a node does for one partition.

    Args:
        table: The slices in the database.
        threads: Where its calls block.
        lease: The partition.
        components: The parts of its organism.
        running: Whether it has taken up its journal and may write.

    Attributes:
        lease: The partition.
        running: Whether it may write.
        shared: What it lacks.
        taken_up: Whether it has been compared with the database since this node has it.
        files: What the file of this node says of limits.
        watched: Accounts of which others are to be heard.
        on_standing: Takes note of what people have said of a limit.
    """

    on_standing: Callable[[str, Standing], object]

    def __init__(
        self,
        table: "SliceTable",
        threads: OwnThreads,
        lease: Lease,
        components: Components,
        running: Callable[[], bool],
    ) -> None:
        self.lease, self.running, self.taken_up = lease, running, False
        self.files = FileLimits()
        self.watched: set[str] = set()
        self.shared: SharedLimits
        self._table = table
        self._run = threads.run
        self._slices = components.budgets.slices
        self._budgets = components.budgets
        self._changes = components.orders.budget_changes
        self._ledger = components.ledger
        self._journal = components.journal
        self._clock = components.clock
        self._rows: dict[str, SliceRow] = {}
        self._reported: dict[str, tuple[Amounts, Amounts]] = {}
        self._retry: dict[str, tuple[float, float]] = {}

    def take_part(self, on_need: Callable[[], object]) -> SharedLimits:
        """Have the partition's budgets ask for slices."""

        def enforces(account: str) -> bool:
            return self._budgets.mode_of(account) == "enforce"

        book = self._budgets.accounts
        shared = SharedLimits(self._ledger, self._clock, enforces, book.actions_of, on_need)
        self._slices.share(shared)
        return shared

    def now_ns(self) -> int:
        """Return the time."""
        return self._clock.now_ns()

    async def take_up(self) -> None:
        """Compare what an earlier owner has left with what the database says.

        It may have taken what its ledger does not know, or have been about to warn of a threshold.
        """
        self.shared.touched.update(name for name in self._ledger.accounts if is_shared(name))
        self._rows |= {row.account: row for row in await self._run(self._table.of_partition, self.lease)}
        self.files.go_by(self.files.order, self._rows)
        for account, unit, threshold, at_ns in await self._run(self._table.fired_by, self.lease):
            if self._ledger.has(account) and at_ns >= self._lapsed_ns(self._ledger.balance(account)):
                self._changes.warn_for_all(account, Due(unit, threshold), "", tell=True)  # type: ignore[arg-type]
        self.taken_up = True

    def _lapsed_ns(self, balance: Balance) -> int:
        """Return the instant before which what was noted of an account counts no more."""
        return self.now_ns() - balance.counted_ns if balance.counted_ns else 0

    # -- needs ----------------------------------------------------------------------------------------------------

    async def serve_needs(self) -> float:
        """Take what calls need, and have thresholds noted; returns after how many seconds to look again."""
        soon_s = _RETRY_MAX_S
        for account, full in list(self.shared.needs.items()):
            due_s, wait_s = self._retry.get(account, (0.0, _RETRY_S))
            if (left_s := due_s - anyio.current_time()) > 0:
                soon_s = min(soon_s, left_s)
                continue
            self._retry[account] = (anyio.current_time() + wait_s, min(2 * wait_s, _RETRY_MAX_S))
            # Before the database is asked: a call that needs more during that notes its need anew, and is not lost.
            self.shared.needs.pop(account, None)
            await self._take(account, full)
        for key, (due, agent) in list(self.shared.dues.items()):
            await self._warn(key.account, due, agent)
            self.shared.dues.pop(key, None)
        return soon_s

    async def _take(self, account: str, full: Amounts) -> None:
        row = await self._row(account)
        if row is None or not self._ledger.has(account):
            return
        # What was taken and never came into the ledger, for the process died in between, is used first.
        self._adopt(row)
        balance = self._ledger.balance(account)
        need = self.shared.lacking(balance, full)
        if need != ZERO:
            want = limited(need + times(full, CALLS_AHEAD - 1), balance.limits)
            self._forget(account)
            questions = self.shared.questions
            bound, share = await self._bound(balance), self._share(balance, row)
            taken = await self._run(self._table.take, self.lease, account, share, need, want, bound)
            if taken is None:  # it is not the slice, or the limit, that was seen, so nothing was taken: look again
                questions.forget(account)
                self.shared.needs.setdefault(account, full)
                return
            self._rows[account] = row = taken
        # Again: the account may have been closed while the database was asked. Its slice goes back by `return_closed`.
        if not self._ledger.has(account):
            return
        self._answer(row, full)
        self._adopt(row)

    async def _bound(self, balance: Balance) -> SliceBound:
        """Return how much of a limit all may have: up to its end, or to where a person must let it go on."""
        questions, account = self.shared.questions, balance.account
        if not questions.asked_at(account):
            return SliceBound(questions.percent(balance))
        if questions.standing(balance) is None:
            table = self._table.questions
            standing = await self._run(table.standing, account)
            if standing is not None:
                self.on_standing(account, standing)
        standing = questions.standing(balance)
        return SliceBound(questions.percent(balance), 0 if standing is None else standing.revision)

    def _answer(self, row: SliceRow, full: Amounts) -> None:
        """Note whether there is more to be had: what others have and neither spend nor hold, and what nobody has."""
        balance, now_ns = self._ledger.balance(row.account), self._clock.monotonic_ns()
        missing = self.shared.lacking(replace(balance, slice=row.amounts), full)
        if missing == ZERO:
            self._retry.pop(row.account, None)
            self.shared.answers[row.account] = SliceAnswer(now_ns, scarce=False, since_ns=0)
            return
        before = self.shared.answers.get(row.account)
        since_ns = before.since_ns if before is not None and before.since_ns else now_ns
        used = row.amounts + row.elsewhere + row.held_elsewhere
        idle = positive(limited(whole(self.shared.spendable(replace(balance, limits=row.limits))) - used, row.limits))
        more = any(lacks and left for lacks, left in zip(numbers_of(missing), numbers_of(idle), strict=True))
        scarce = not more or now_ns - since_ns > _SCARCE_NS
        self.shared.answers[row.account] = SliceAnswer(now_ns, scarce=scarce, since_ns=since_ns)

    async def _warn(self, account: str, due: Due, agent: str) -> None:
        """Have one partition warn of a threshold, and note it here in any case."""
        row = await self._row(account)
        if row is None or not self._ledger.has(account):
            return
        since_ns, revision = self._lapsed_ns(self._ledger.balance(account)), row.revision
        won = await self._run(self._table.fire, self.lease, account, due.dimension, due.threshold, revision, since_ns)
        # Noted here whichever has won: each partition's ledger must know that the threshold was reported, or it would
        # ask again with every call. The one that has won tells its agents.
        if self.running() and self._ledger.has(account):
            self._changes.warn_for_all(account, due, agent, tell=won)

    # -- exchange -------------------------------------------------------------------------------------------------

    async def reports(self) -> list[tuple[Lease, str, Share]]:
        """Return what has changed since the last report."""
        found = []
        touched = self.shared.take_touched()
        self.watched = {name for name in (*touched, *self._slices.waited_for) if self._is_sliced(name)}
        for account in touched & self.watched:
            row = await self._row(account) if self._is_sliced(account) else None
            if row is None or not self._ledger.has(account):
                continue
            balance = self._ledger.balance(account)
            share = self._share(balance, row)
            if balance.counted_ns and self.shared.spent(balance) != ZERO:
                self.shared.touched.add(account)  # it gets old by itself, here and elsewhere
            if self._reported.get(account) != (share.spent, share.held):
                self._reported[account] = share.spent, share.held
                found.append((self.lease, account, share))
        return found

    def unreported(self) -> None:
        """Report and hear once more what was to be: nobody knows whether it was."""
        self.shared.touched.update(self.watched)
        self._reported.clear()

    @property
    def accounts(self) -> list[str]:
        """The limits that it has slices of."""
        return list(self._rows)

    def _is_sliced(self, account: str) -> bool:
        return self._ledger.has(account) and self._ledger.balance(account).slice is not None

    async def hear(self, limit: SharedLimit) -> None:
        """Take in what the others have spent and need of a limit."""
        account = limit.account
        if not self._is_sliced(account):
            return
        self.shared.heard[account] = elsewhere = limit.elsewhere(self.lease.partition)
        balance = self._ledger.balance(account)
        if self._untold(balance) or limit.limits != units(balance.limits):
            await self._agree(account)
            if not self._is_sliced(account):
                return
        self._note(account, elsewhere)
        first = next((each for each in limit.wanted[:1] if each.partition != self.lease.partition), None)
        mine = limit.shares.get(self.lease.partition)
        balance = self._ledger.balance(account)
        idle = self._idle(balance)
        back = ZERO if first is None else given_back_of(idle, first.need)
        spendable = self.shared.spendable(replace(balance, limits=limit.limits))
        if limit.granted.within(whole_of(spendable, limit.granted)) != limit.granted:
            back = idle  # the limit was lowered below what is granted
        behind = mine is not None and balance.slice is not None and mine.amounts.within(balance.slice) != mine.amounts
        if (back := limited(back, balance.limits)) != ZERO or behind:
            await self._give(account, back)

    def _idle(self, balance: Balance) -> Amounts:
        used = balance.spent_by(self._clock.now_ns) + balance.held_now
        return positive((balance.slice or ZERO) - used)

    async def _give(self, account: str, back: Amounts) -> None:
        """Make a slice smaller: in the ledger, durably, and only then for the others."""
        row = await self._row(account)
        if row is None or not self._is_sliced(account) or not self.running():
            return
        balance = self._ledger.balance(account)
        smaller = (balance.slice or ZERO) - back.within(self._idle(balance))
        # In the ledger, committed, then in the table. The other order would let another partition spend what a crash in
        # between leaves in this one's ledger too.
        self._slices.set_slice(account, smaller, balance.elsewhere, balance.agreed or balance.limits)
        if not await self._committed() or not self._is_sliced(account):
            return
        self._forget(account)
        given = await self._run(self._table.give, self.lease, account, self._share(balance, row), smaller)
        if given is not None:
            self._rows[account] = given

    async def return_closed(self) -> None:
        """Give back what accounts had that are closed: nothing will be spent on them."""
        for account in [name for name in self._rows if not self._ledger.has(name)]:
            row = self._rows[account]
            # Its closing entry first: until that is durable, a crash opens the account again with its slice.
            if row.amounts != ZERO and not await self._committed():
                return
            for known in (self._rows, self._reported, self._retry, self.shared.answers, self.shared.heard):
                known.pop(account, None)
            self.files.forget(account)
            if row.amounts != ZERO:
                unused = Share(ZERO, ZERO, row.amounts, row.version)
                await self._run(self._table.give, self.lease, account, unused, ZERO)

    async def _committed(self) -> bool:
        """Wait until all that was written is durable; a journal that is being closed may never say so."""
        with anyio.move_on_after(_COMMIT_S) as commit:
            await self._journal.commit()
        return not commit.cancelled_caught

    # -- one limit for all ----------------------------------------------------------------------------------------

    async def agree(self, account: str) -> None:
        """Have a limit known to all, as it was changed here."""
        sliced = await self._row(account) is not None and self._is_sliced(account)
        if sliced and self._untold(self._ledger.balance(account)):
            await self._agree(account)

    def _untold(self, balance: Balance) -> bool:
        """Whether a limit was changed here, though an operator has put it back to what it was."""
        return balance.limits != balance.agreed or self.files.is_unsaid(balance)

    async def tell_ordered(self) -> None:
        """Tell the others of the changes that were ordered and whose answer waits for that."""
        for account in list(self.shared.ordered):
            if await self._row(account) is not None and self._is_sliced(account):
                await self._agree(account, ordered=True)
            self.shared.ordered.discard(account)
            self._changes.told.notify()

    async def say_of_files(self) -> None:
        """Pass on what a newer file says, where the ledger has known it: a file was put back, or another node's."""
        for account in self.files.unsaid:
            self._forget(account)
            row = await self._row(account)
            may = self._is_sliced(account) and self.running()
            if may and row is not None and self.files.says_anew(balance := self._ledger.balance(account), row):
                self.files.forget(account)  # should the database be away now, it still is the file's word
                if row.configuration < self.files.order:  # else an operator has spoken since the file was ordered
                    self._changes.change_limits(account, balance.configured, configured=True)
                await self._agree(account, by_file=True)
            self.files.said(account)

    async def _agree(self, account: str, *, by_file: bool = False, ordered: bool = False) -> None:
        """Tell the others of a change of limits that was made here, or take over one that was made elsewhere."""
        balance = self._ledger.balance(account)
        if balance.agreed is not None:
            changed = self.files.has_changed(balance, await self._row(account)) and self.files.order > 0
            before = None if ordered else balance.configured if changed else balance.agreed
            for change in changes_of(balance, self.files.order if by_file or changed else 0, before):
                await self._run(self._table.change, self.lease, account, change)
        # By the number of the change and not by the limits themselves: two changes may have the same end.
        pushed = balance.revision
        self._forget(account)
        row = await self._row(account)
        if row is None or not self._is_sliced(account) or (balance := self._ledger.balance(account)).revision != pushed:
            return  # or changed once more meanwhile: the next exchange passes that on
        agreed = with_units(balance.limits, row.limits)
        self._slices.set_slice(account, balance.slice or ZERO, balance.elsewhere, agreed)
        self.files.note(balance)
        if balance.limits != agreed:
            self._changes.agree(account, agreed)

    def _note(self, account: str, elsewhere: Amounts) -> None:
        """Note what others have spent, if that has moved by more than little."""
        balance = self._ledger.balance(account)
        if balance.slice is None or elsewhere == balance.elsewhere:
            return
        more = elsewhere - balance.elsewhere
        if any(
            limit is not None and abs(by) * _NOTED_PART >= limit
            for by, limit in zip(numbers_of(more), ceilings_of(balance.limits), strict=True)
        ):
            self._slices.set_slice(account, balance.slice, positive(elsewhere), balance.agreed or balance.limits)

    # -- rows -----------------------------------------------------------------------------------------------------

    async def _row(self, account: str) -> SliceRow | None:
        """Return what is known of a slice in the database; looks it up where that is nothing."""
        if (row := self._rows.get(account)) is None and self._ledger.has(account):
            balance = self._ledger.balance(account)
            until_ns = window_end_ns(account, self._budgets.plan.time_zone)
            await self._run(self._table.begin, self.lease, balance, until_ns, self.files.order)
            row = await self._run(self._table.look, self.lease, account)
            if row is not None:
                self._rows[account] = row
                self._adopt(row)
        return row

    def _adopt(self, row: SliceRow) -> None:
        """Use a slice as it is in the database: a take whose answer was lost is in it."""
        if not self._is_sliced(row.account) or not self.running():
            return
        balance = self._ledger.balance(row.account)
        agreed = balance.agreed or balance.limits
        if not self.files.is_unsaid(balance) and balance.limits == agreed:
            self.files.note(balance, anew=False)
            if row.limits != units(agreed):
                agreed = with_units(agreed, row.limits)
                self._changes.agree(row.account, agreed)
        self._slices.set_slice(row.account, row.amounts, row.elsewhere, agreed)

    def _forget(self, account: str) -> None:
        """Look a slice up before it is changed again: an answer that is lost must not leave what is out of date."""
        self._rows.pop(account, None)

    def _share(self, balance: Balance, row: SliceRow) -> Share:
        return Share(balance.spent_by(self._clock.now_ns), balance.held_now, row.amounts, row.version)
