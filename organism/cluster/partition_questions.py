"""What people are asked about limits that all partitions share: asked by one partition, answered at any, heard by all.

The database has one question for a limit at a time. The partition that asks keeps it in its own journal too, and
reports it from there: so the next owner of that partition goes on with it, and asks nothing twice.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from organism.budget.accounts.shared_questions import Asking
from organism.budget.accounts.slice_sizes import is_shared
from organism.budget.guards.standing import Standing
from organism.cluster.partition_slices import PartitionSlices
from organism.concurrency.own_threads import OwnThreads
from organism.control.components import Components
from organism.stores.leases import Lease
from organism.stores.shared.slice_rows import NewQuestion, SharedLimit
from organism.threads.approvals import Approval, Decision

if TYPE_CHECKING:
    from organism.stores.postgres.slice_table import SliceTable

_TOLD_LATE_NS = 86_400 * 1_000_000_000
"""What was answered so long ago is not reported any more: a journal remembers answers for at least so long."""


class PartitionQuestions:
    """What a node does for one partition.

    Args:
        table: The limits in the database.
        threads: Where its calls block.
        lease: The partition.
        components: The parts of its organism.
        slices: Its slices of the limits.
        on_change: Called when something was answered that the node's other partitions are to hear.

    Attributes:
        watched: Accounts of which is to be heard what people are asked and have said.
        taken_up: Whether that is known of what an earlier owner has left.
    """

    def __init__(
        self,
        table: "SliceTable",
        threads: OwnThreads,
        lease: Lease,
        components: Components,
        slices: PartitionSlices,
        on_change: Callable[[], object],
    ) -> None:
        self.watched: set[str] = set()
        self.taken_up = False
        self._table = table.questions
        self._run = threads.run
        self._lease = lease
        self._slices = slices
        budgets = components.budgets
        line, book = budgets.slices, budgets.accounts
        self._look_again, self._payers = line.look_again, book.threads
        self._ledger = components.ledger
        self._clock = components.clock
        self._known = slices.shared.questions
        self._shared = components.orders.shared_approvals
        self._told: dict[str, int] = {}
        self._noted: dict[str, tuple[int, int]] = {}
        self._heeded: dict[str, tuple[int, int]] = {}
        self._on_change = on_change
        approvals = components.orders.approvals
        self._given = approvals.given
        approvals.answer_for_all(self._answer)
        slices.on_standing = self._note

    def take_up(self) -> None:
        """Look at what stands for all limits that people are asked about.

        An earlier owner may have asked, and ended before it had written so into the journal, or before it had heard of
        an answer.
        """
        accounts = (name for name in self._ledger.accounts if is_shared(name) and self._known.asked_at(name))
        self.watched.update(accounts)
        self.taken_up = True

    async def serve(self) -> None:
        """Ask what calls wait for, or find out that it is asked or answered."""
        for account, asking in list(self._known.asks.items()):
            if not await self._ask(account, asking):
                continue
            self._known.asks.pop(account, None)
            if self._slices.running():
                self._look_again(account)

    async def _ask(self, account: str, asking: Asking) -> bool:
        """Ask, unless that is not to be asked any more; whether what stands is known to calls that wait."""
        # The limit as it was changed here, and not told yet, is another one to be asked about.
        await self._slices.agree(account)
        if (standing := await self._look(account)) is None:
            return not self._ledger.has(account)
        if self._known.next_threshold(self._ledger.balance(account)) != asking.threshold:
            return True  # another than it was; or none, since it was let pass
        if standing.threshold != asking.threshold:
            self.watched.add(account)  # also where it is not heard that the database has taken the question
            await self._run(self._table.ask, self._lease, self._question(account, asking, standing.revision))
            standing = await self._look(account)
        return standing is not None and standing.threshold == asking.threshold

    async def _look(self, account: str) -> Standing | None:
        """Return what stands for a limit, as the database says, and counts; ``None`` if that is not to be known."""
        standing = await self._run(self._table.standing, account)
        if standing is None or not (self._slices.running() and self._ledger.has(account)):
            return None
        self._note(account, standing)
        return self._known.standing(self._ledger.balance(account))

    def _note(self, account: str, standing: Standing) -> None:
        """Know what stands; before a call reads of a question, it is settled who reports it."""
        if not (self._slices.running() and self._ledger.has(account)):
            return
        self._known.hear(account, standing)
        if not standing.open or self._noted.get(account) == standing.age:
            return
        self._noted[account] = standing.age
        self.watched.add(account)
        if standing.p == self._lease.partition:
            self._report(account, standing)
        else:
            self._shared.know(account, standing)

    def _report(self, account: str, standing: Standing) -> None:
        self._told[account] = standing.asked_ns
        self._shared.ask(account, standing)

    def _question(self, account: str, asking: Asking, revision: int) -> NewQuestion:
        spender, counted_ns = asking.spender, self._ledger.balance(account).counted_ns
        payer = self._payers.get(spender.thread_id)
        return NewQuestion(
            account=account,
            revision=revision,
            threshold=asking.threshold,
            thread_id=spender.thread_id,
            root=spender.thread_id if payer is None else payer.root,
            agent=spender.agent,
            detail=asking.detail,
            since_ns=self._clock.now_ns() - counted_ns if counted_ns else 0,
        )

    async def _answer(self, asked: Approval, decision: Decision, by: str) -> bool:
        """Answer for all partitions; whether this is the answer."""
        account = asked.account
        standing = await self._run(self._table.standing, account)
        if standing is None or Approval.id_of(account, standing.threshold, standing.revision) != asked.id:
            return False
        said = partial(self._table.answer, allowed=decision.allowed, note=decision.note, by=by)
        if not (standing.open and await self._run(said, account, standing)):
            return False
        if (answered := await self._run(self._table.standing, account)) is not None and self._slices.running():
            self._note(account, answered)
            self._heed(account, answered)
        self._on_change()
        return True

    async def tell_missed(self, limit: SharedLimit) -> None:
        """Report what this partition has asked for all, and was answered, before its journal had the question.

        Its owner ended in between, or did not hear that the database had taken the question.
        """
        account, standing = limit.account, limit.standing
        if standing.p != self._lease.partition or standing.said is None or not self._ledger.has(account):
            return
        late = self._clock.now_ns() - standing.said_ns > _TOLD_LATE_NS
        if late or self._told.get(account) == standing.asked_ns:
            return
        asked = Approval.id_of(account, standing.threshold, standing.revision)
        is_told = await self._given.is_remembered(asked)
        if self._slices.running() and self._ledger.has(account) and not is_told:
            self._report(account, standing)

    def hear(self, limit: SharedLimit) -> None:
        """Take note of what was said of a limit, before anything is done by it."""
        if limit.account in self.watched or self._known.asked_at(limit.account):
            self._note(limit.account, limit.standing)

    def heed(self, limit: SharedLimit) -> None:
        """Do what was said of a limit, if it is new."""
        if limit.account in self.watched or self._known.asked_at(limit.account):
            self._heed(limit.account, limit.standing)

    def _heed(self, account: str, standing: Standing) -> None:
        if not self._ledger.has(account):
            self.watched.discard(account)
            return
        if self._heeded.get(account) != standing.age:
            self._heeded[account] = standing.age
            self._shared.heed(account, standing)
            self._look_again(account)
        if not standing.open:
            self.watched.discard(account)
