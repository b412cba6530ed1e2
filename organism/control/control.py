"""The operator's hand on a running organism. The daemon's API is a thin shell around it; a program may use it as well.

Each order is one step: what it does, its audit row and its receipt go into the journal together, and the answer waits
for the commit. Nothing here decides about money or messages; that is for the rooms it calls.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from organism.amounts import Amounts, BudgetState, Limits
from organism.amounts.account import account_of
from organism.budget.guards.freezes import Freeze, FreezeLabels, Frozen, labels_of, scope_of
from organism.budget.holds import Mode
from organism.budget.policy import check_correction
from organism.budget.requests import LimitsRequest
from organism.concurrency.slices import in_slices
from organism.control.accounts import Accounts, LimitsChange
from organism.control.agent_orders import AgentOrders
from organism.control.components import Components, OrganismSpec
from organism.control.idempotency import PYTHON, Order
from organism.control.identity import Identity
from organism.control.observed.history import History
from organism.control.observed.restored_history import RestoredHistory
from organism.control.orders.told_warnings import ToldWarnings
from organism.control.owners import Owners
from organism.control.queries import Queries
from organism.control.reload import apply_spec, switch_mode
from organism.control.stored_answers import StoredAnswers
from organism.control.views import Accepted, Corrected, OrderDone, OrganismStatus, Reloaded
from organism.errors import ConfigError, StoppedError
from organism.journal import Pieces
from organism.messages import Message, as_message
from organism.router.planning.provider_limiters import ProviderLimiters
from organism.runtime.active_config import InFlightCounter
from organism.threads.approvals import Decision, UnknownApprovalError
from organism.threads.quarantine import Quarantine
from organism.threads.records import checked
from organism.usage.cursors import Cursors
from organism.usage.events import STORED, ThreadClosed
from organism.usage.sums import KeptSums

ReloadSource = Callable[["Control", Order], Awaitable[Reloaded]]
"""Reads the configuration again and applies it with :meth:`Control.apply_spec`; the order says on whose word."""


class Control(AgentOrders):
    """Sees and steers a running organism.

    Args:
        components: What it is made of.
        reload: Reads the configuration again; ``None`` for an organism that was not made from a file.

    Attributes:
        components: What it is made of.
        queries: Answers questions.
        cursors: How far exporters have come.
        sums: Usage added up, as it outlives the process.
        quarantine: What the journal has kept and nobody could take up.
        external_threads: Threads and calls of programs that are no agents.
        owners: Which caller has opened which thread.
        stop_ordered: Set when the process is to end, by an order or a signal; its program waits for that.
    """

    def __init__(self, components: Components, reload: ReloadSource | None = None) -> None:
        super().__init__(components)
        journal, orders, usage, history = components.journal, components.orders, components.usage, components.history
        self.components = components
        self._now_ns = now_ns = components.clock.now_ns
        self._active, self._pump, self._budgets = components.active, components.pump, components.budgets
        self._intake, self._open_threads = components.pump.intake, components.pump.open_threads
        self._budget_changes, self._freezing, self._pausing = orders.budget_changes, orders.freezing, orders.pausing
        self._orders, self._approvals = orders, orders.approvals
        self.external_threads = orders.external_threads
        self._accounts = Accounts(components.budgets, components.ledger, now_ns, orders.budget_grants.of)
        self.owners = Owners(journal)
        self.stored_answers = StoredAnswers(journal, now_ns)
        self.told_warnings = ToldWarnings(journal)
        self.cursors = Cursors(journal)
        self.quarantine = Quarantine(journal, now_ns)
        self.queries = Queries(components, self._accounts, self.owners)
        self._reload = reload
        self.stop_ordered = anyio.Event()
        self.identity = Identity(journal, components.ids, components.name)
        breakdown, self._history = self.queries.breakdown, history
        over_time = self.queries.usage_history
        self.sums = KeptSums(journal, (*usage.sums, *breakdown.sums), over_time)
        self.restored_history = RestoredHistory(
            journal, usage, components.pump, self.sums, breakdown, over_time, history
        )
        usage.subscribe(history.on_event, *History.KINDS)
        usage.subscribe(self.owners.on_event, ThreadClosed)
        usage.subscribe(self.told_warnings.on_event, ThreadClosed)
        usage.subscribe(self.sums.on_event, *STORED)

    def check_owner(self, pieces: Pieces) -> None:
        """Refuse a journal with open threads of another organism; see :meth:`Identity.check`."""
        self.identity.check(pieces)

    def keep_sums(self) -> None:
        """Leave the next start the usage of this one added up."""
        self.sums.keep()

    async def restore(self, pieces: Pieces) -> None:
        """Take over what an earlier run on the same journal has kept, before anything is set going."""
        self.identity.restore(pieces)
        self.cursors.restore(pieces)
        self._receipts.restore(pieces)
        self.owners.restore(pieces)
        self.told_warnings.restore(pieces)
        self.stored_answers.restore(pieces)
        self._pauses.restore(pieces)
        self._orders.restore(pieces)
        await in_slices(self._history.restore(pieces, self._active.messages, self._pump.threads()))
        self.quarantine.restore(pieces)

    @property
    def source(self) -> str:
        """What events call this organism: its name and its journal's, within which event ids are unique."""
        return f"urn:organism:{self.components.name}:{self.identity.id}"

    def status(self) -> OrganismStatus:
        """Return the organism at this instant."""
        return self.queries.status(self.source, len(self.cursors.set_aside()))

    # -- threads --------------------------------------------------------------------------------------------------

    async def open_thread(
        self,
        message: Message | str,
        *,
        to: str | None = None,
        thread_id: str | None = None,
        limits: LimitsRequest | Limits | None = None,
        labels: dict[str, str] | None = None,
        trace: str | None = None,
        order: Order = PYTHON,
    ) -> Accepted:
        """Open a thread with a first message; see :meth:`organism.app.Organism.open_thread`.

        Raises:
            ConfigError: If the name is kept for somebody else's thread.
            DeliveryError: If the message cannot be accepted.
            StoppedError: If the organism is stopping.
            JournalError: If it cannot be kept.
        """
        payload, recipient = as_message(message), to or self._active.entry
        self.owners.check_name(thread_id)

        def step() -> Accepted:
            begin = partial(self._pump.start_thread, thread_id=thread_id, limits=limits, labels=labels, trace=trace)
            opened = begin(payload, recipient, may_raise=order.may_raise)
            self.owners.note(opened, order)
            self._audit(order, "thread.open", opened, after={"to": recipient})
            return Accepted(opened)

        await self._open_threads.look_up(thread_id)
        accepted = await self._do(order, step)
        self._history.note_opening(accepted.thread_id, payload)
        return accepted

    async def send(
        self, thread_id: str, message: Message | str, *, to: str | None = None, order: Order = PYTHON
    ) -> Accepted:
        """Send a message into an open thread; see :meth:`organism.app.Organism.send` for what it raises."""
        payload = as_message(message)
        self.owners.check(thread_id, order)
        now_ns = self._now_ns()  # before anything answers it

        def step() -> Accepted:
            message_id = self._pump.send(thread_id, payload, to)
            self._audit(order, "thread.send", thread_id, after={"message_id": message_id})
            return Accepted(thread_id, message_id)

        accepted = await self._do(order, step)
        self._history.note_sent(thread_id, to or self._active.entry, payload, now_ns)
        return accepted

    async def terminate(
        self, thread_id: str, reason: str = "terminated by order", *, order: Order = PYTHON
    ) -> BudgetState:
        """End a thread and its children now and return its final budget.

        Raises:
            ThreadClosedError: If no such thread is open, or it has ended long ago.
        """

        async def effect() -> BudgetState:
            return (await self._pump.terminate(thread_id, reason)).budget

        return await self._do_slowly(order, "thread.terminate", thread_id, effect, {"reason": reason})

    async def pause_thread(self, thread_id: str, *, order: Order = PYTHON) -> OrderDone:
        """Let a thread and its descendants finish what runs and start nothing more.

        Raises:
            ThreadClosedError: If it is not open.
        """
        return await self._steer(order, "thread.pause", thread_id, self._pausing.pause_thread)

    async def resume_thread(self, thread_id: str, *, order: Order = PYTHON) -> OrderDone:
        """Let a paused thread and its descendants go on.

        Raises:
            ThreadClosedError: If it is not open.
        """
        return await self._steer(order, "thread.resume", thread_id, self._pausing.resume_thread)

    async def decide(self, approval_id: str, decision: Decision, *, order: Order = PYTHON) -> OrderDone:
        """Answer what a message asks a person; see :meth:`organism.agents.context.Context.approval`.

        The same answer given again, as after a lost reply, changes nothing and returns what the first did.

        Raises:
            ApprovalAnsweredError: If it has had another answer.
            UnknownApprovalError: If nothing waits for it, and no answer to it is remembered.
        """
        try:
            return await self._decide(approval_id, decision, order)
        except UnknownApprovalError:
            return OrderDone((await self._approvals.given.again(approval_id, decision),))

    async def _decide(self, approval_id: str, decision: Decision, order: Order) -> OrderDone:
        agreed = await self._approvals.agree(approval_id, decision, order.by)

        def step() -> OrderDone:
            # All partitions do what was agreed on when they hear of it, this one as well.
            approval = agreed or self._approvals.decide_nowait(approval_id, decision, order.by)
            self._audit(order, "approval.decide", approval_id, after=decision)
            return OrderDone((approval.thread_id,))

        return await self._do(order, step)

    # -- budgets --------------------------------------------------------------------------------------------------

    async def set_limits(self, account: str, limits: Limits, *, order: Order = PYTHON) -> BudgetState:
        """Give an account new limits; what waited for them goes on. A plain name is a thread's.

        Raises:
            UnknownAccountError: If there is none of that name.
            JournalError: If the change cannot be kept.
        """
        return await self._change_limits(account_of(account), lambda _: limits, order)

    async def move_limits(self, account: str, change: LimitsChange, *, order: Order = PYTHON) -> BudgetState:
        """Raise or lower an account's limits; what waited for them goes on. A plain name is a thread's.

        Raises:
            UnknownAccountError: If there is none of that name.
            ConfigError: If a unit is to be moved that is not limited there.
            JournalError: If the change cannot be kept.
        """
        return await self._change_limits(account_of(account), change.applied, order)

    async def adjust_budget(self, account: str, amounts: Amounts, reason: str, *, order: Order = PYTHON) -> Corrected:
        """Correct what an account has spent, as after an invoice or a refund; what there is room for again goes on.

        A plain name is a thread's: its correction counts on the threads above it and on the organism's windows too.

        Raises:
            UnknownAccountError: If there is none of that name.
            ConfigError: If spend would fall below zero.
            JournalError: If it cannot be kept.
        """
        name = account_of(account)

        def step() -> Corrected:
            check_correction(name, before := self._accounts.state(name, self._now_ns()).spent, amounts)
            self._accounts.open(name, self._now_ns())
            states = self._budget_changes.adjust(name, amounts, f"{order.by}: {reason}")
            after = {"spent": states[0].spent, "reason": reason}
            self._audit(order, "budget.adjust", name, before={"spent": before}, after=after)
            return Corrected(states)

        return await self._do(order, step)

    async def _change_limits(self, account: str, fresh: Callable[[Limits], Limits], order: Order) -> BudgetState:
        def step() -> BudgetState:
            after = fresh(before := self._accounts.state(account, self._now_ns()).limits)
            self._accounts.open(account, self._now_ns())
            state = self._budget_changes.change_limits(account, after)
            self._audit(order, "budget.limits", account, before=before, after=after)
            return state

        changed = await self._do(order, step)
        await self._budget_changes.until_told(account)
        return changed

    async def set_mode(self, mode: Mode, *, order: Order = PYTHON) -> OrganismStatus:
        """Change what a reached limit does, from the next call on, until the process ends or reloads."""

        def step() -> OrganismStatus:
            self._audit(order, "mode", "", before=self._budgets.mode, after=mode)
            switch_mode(self.components, mode)
            return self.status()

        return await self._do(order, step)

    async def freeze(
        self, label: FreezeLabels = None, *, reason: str = "", cancel: bool = False, order: Order = PYTHON
    ) -> Frozen:
        """Stop all spending at once, or that of threads with a label; what waits goes on after :meth:`unfreeze`.

        Args:
            label: Such as ``"tenant=acme"``, or several in a list or a mapping; every thread when not given.
            reason: Why; those who are refused read it.
            cancel: Whether calls under way are closed; else they finish, and are charged what they cost.

        Raises:
            ConfigError: If a label is not written as ``name=value``.
        """
        labels, reason = labels_of(label), checked(reason, str, "the reason")
        freeze = Freeze(labels=labels, by=order.by, since_ns=self._now_ns(), reason=reason)

        def step() -> Frozen:
            self._audit(order, "freeze", freeze.scope, after={"reason": reason, "cancel": cancel})
            return self._freezing.freeze(freeze, cancel=cancel)

        return await self._do(order, step)

    def frozen(self, label: FreezeLabels = None) -> Frozen:
        """Return what is frozen, and what threads with these labels hold; raises as :meth:`freeze`."""
        return self._freezing.look(labels_of(label))

    async def unfreeze(self, label: FreezeLabels = None, *, order: Order = PYTHON) -> Frozen:
        """Lift the freeze of just these labels, or of everything; returns what is frozen still, raises likewise."""
        labels = labels_of(label)

        def step() -> Frozen:
            self._audit(order, "unfreeze", scope_of(labels))
            return self._freezing.lift(labels, order.by)

        return await self._do(order, step)

    # -- the whole ------------------------------------------------------------------------------------------------

    async def drain(self, within_s: float, *, order: Order = PYTHON) -> OrganismStatus:
        """Take no new threads and wait for the open ones, for so many seconds at most; return what is left."""

        async def effect() -> OrganismStatus:
            self._intake.refuse()
            await self._pump.wait_at_rest(within_s)
            return self.status()

        return await self._do_slowly(order, "drain", "", effect, {"within_s": within_s})

    @property
    def accepting(self) -> bool:
        """Whether new threads are taken."""
        return self._intake.open

    async def accept(self, *, order: Order = PYTHON) -> OrganismStatus:
        """Take new threads again after :meth:`drain`; raises :class:`StoppedError` where the process is ending."""

        def step() -> OrganismStatus:
            if self.stop_ordered.is_set() or not self._pump.running:
                raise StoppedError
            self._intake.accept()
            self._audit(order, "accept", "")
            return self.status()

        return await self._do(order, step)

    async def stop(self, *, order: Order = PYTHON) -> OrganismStatus:
        """Order the process to stop in good order; returns before it has."""

        def step() -> OrganismStatus:
            self._audit(order, "stop", "")
            return self.status()

        status = await self._do(order, step)
        self.begin_stop()
        return status

    def begin_stop(self) -> None:
        """Have the process end in good order: after an order, or a signal that its program got."""
        self.stop_ordered.set()

    async def reload_configuration(self, *, order: Order = PYTHON) -> Reloaded:
        """Read the configuration again and apply it as a whole, or change nothing.

        Raises:
            ConfigError: If it is wrong anywhere, changes what only a restart can, or there is none to read.
        """
        if self._reload is None:
            raise ConfigError("this organism was not made from a file, so there is nothing to read again")
        return await self._do_slowly(order, "reload", "", partial(self._reload, self, order), None)

    def apply_spec(self, spec: OrganismSpec) -> None:
        """Make other parts active, or change nothing; see :func:`organism.control.reload.apply_spec`."""
        apply_spec(self.components, spec)
        self._pauses.forget_gone()

    def apply_with_others(self, spec: OrganismSpec, limiters: ProviderLimiters, order: Order) -> InFlightCounter:
        """Make other parts active in the step in which all partitions of a node do, with an audit row of its own."""
        self._audit(order, "reload", "")
        runs = apply_spec(self.components, spec, limiters)
        self._pauses.forget_gone()
        return runs
