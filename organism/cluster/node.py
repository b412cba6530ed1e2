"""One process of a cluster: takes its share of the partitions, runs an organism for each, and gives them up again."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

import anyio
import anyio.abc
import structlog

from organism.app import Organism
from organism.cluster.balance import next_step
from organism.cluster.escrow import Escrow
from organism.cluster.lease_times import LeaseTimes, elsewhere
from organism.cluster.node_counts import NodeCounts
from organism.cluster.node_labels import NodeLabels
from organism.cluster.node_parts import Applied, NodeParts, check_node, ordered, until_durable, version
from organism.cluster.partition_core import Beside, PartitionCore, alone, replaced
from organism.cluster.rate_shares import RateShares
from organism.concurrency.error_groups import sole_error
from organism.concurrency.loop_time import loop_time
from organism.concurrency.own_threads import OwnThreads
from organism.concurrency.wakeups import Wakeup
from organism.control.components import OrganismSpec
from organism.control.idempotency import PYTHON, Order
from organism.errors import StoppedError
from organism.ids import Layout
from organism.journal import FencedError, JournalBrokenError, JournalError
from organism.messages import Message, ThreadResult
from organism.stores.group_storage import Retention
from organism.stores.leases import ClusterView, Lease, LeaseRow, NodeReplacedError, OlderCopyError, unseen
from organism.text.lasting_failure import LastingFailure
from organism.wiring import check_postgres, postgres_journal

if TYPE_CHECKING:
    from organism.stores.postgres.lease_table import LeaseTable

_SOON_S = 0.1
"""Seconds between two looks while a partition is awaited that another node is handing over."""

_log = structlog.get_logger("organism.cluster")


class ClusterNode:
    """A node. Use it as an async context manager; it stops by itself if another process takes its name.

    Args:
        template: An organism that is not entered: one like it runs for each partition. Its own journal is not used.
        database: The PostgreSQL database that all nodes share.
        node: What this node is called; a process that begins under the same name takes its place.
        partitions: How many journals it has that any node may run, 2 to 256; fixed when the database is made.
        labels: What it has that agents may need: their threads are in partitions that only such nodes run.
        url: Where this node answers, for the others to tell.
        retention: What is forgotten when.
        times: How long things take.
        beside: Called with the organism of each partition before it runs; what it returns is entered while it does.

    Attributes:
        news: Wakes those who wait for a partition: at each renewal, and when an organism has begun or ended here.

    Raises:
        ConfigError: If the name, a label, the agents of labels or the number of partitions cannot be.
        MissingExtraError: If the driver of PostgreSQL is not installed.
    """

    def __init__(  # noqa: PLR0913 - all that a process knows of its part; most have defaults
        self,
        template: Organism,
        database: str,
        *,
        node: str,
        partitions: int = 16,
        labels: NodeLabels | None = None,
        url: str = "",
        retention: Retention | None = None,
        times: LeaseTimes | None = None,
        beside: Beside = alone,
    ) -> None:
        check_postgres()
        check_node(node, partitions)
        self._organism, self._clock = template.name, template.clock
        self.name, self._partitions, self._url = node, partitions, url
        self.parts = NodeParts(template, labels or NodeLabels())
        self.label_of = self.parts.label_of
        self._database, self._retention, self._times = database, retention, times or LeaseTimes()
        self._threads, self._reloading = OwnThreads(1), anyio.Lock()
        self.escrow = Escrow(database, partitions)
        self.rates = RateShares(database, node, self.parts.limiters, self._times)
        self.counts, self._renewing = NodeCounts(), LastingFailure()
        self._table: LeaseTable | None = None
        self._cores: dict[int, PartitionCore] = {}
        self._failed_s: dict[int, float] = {}
        self._changed, self._turns = anyio.Event(), count()
        self.news, self._view, self._beside = Wakeup(), unseen(partitions), beside
        self._tasks: anyio.abc.TaskGroup | None = None
        self._stack = AsyncExitStack()

    # -- what it runs ---------------------------------------------------------------------------------------------

    @property
    def organisms(self) -> Mapping[int, Organism]:
        """The organisms that run here and take work, by partition."""
        return {partition: core.organism for partition, core in sorted(self._cores.items()) if core.open}

    @property
    def view(self) -> ClusterView:
        """The cluster, as it was at the last renewal."""
        return self._view

    @property
    def layout(self) -> Layout:
        """Which partitions the cluster has, and which of them need a label."""
        return self._view.layout

    @property
    def key(self) -> bytes:
        """A secret that only nodes of this cluster know."""
        return self.table.key

    def renew_soon(self) -> None:
        """Look at the cluster at once: something seems to have changed."""
        self._changed.set()

    def organism_of(self, thread_id: str) -> Organism:
        """Return the organism that has, or would have, a thread of this id or name.

        Raises:
            PartitionElsewhereError: If another node runs it, or none.
        """
        partition = self.layout.partition_of(thread_id)
        core = self._cores.get(partition)
        if core is not None and core.open:
            return core.organism
        raise elsewhere(self._view, partition, self.name)

    async def open_thread(
        self,
        message: Message | str,
        *,
        to: str | None = None,
        thread_id: str | None = None,
        labels: dict[str, str] | None = None,
    ) -> str:
        """Open a thread in a partition of this node that its agent may work in; return its id once it is durable.

        Raises:
            PartitionElsewhereError: If the name given is in another node's partition, or this node has none yet.
            DeliveryError: If the message cannot be accepted.
            JournalError: If it cannot be kept.
        """
        organism = self._any_organism(self.label_of(to)) if thread_id is None else self.organism_of(thread_id)
        return await organism.open_thread(message, to=to, thread_id=thread_id, labels=labels)

    async def wait(self, thread_id: str) -> ThreadResult:
        """Wait for the end of a thread of this node as ``Organism.wait`` does, also where its partition comes back.

        Raises:
            PartitionElsewhereError: If another node has it, now or by then; it says which.
        """
        while True:
            organism = self.organism_of(thread_id)
            try:
                return await organism.wait(thread_id)
            except (StoppedError, JournalBrokenError):
                if self._tasks is None:
                    raise
            await self._until_taken(self.layout.partition_of(thread_id), organism)

    async def _until_taken(self, partition: int, before: Organism) -> None:
        """Wait until a partition is known to run somewhere after an organism of it has ended here."""
        with anyio.move_on_after(self._times.ttl_s + self._times.renew_s):
            while (owner := self._view.owner_of(partition)) is None or owner.name == self.name:
                core = self._cores.get(partition)
                if core is not None and core.open and core.organism is not before:
                    return
                await self.news.wait()

    def _any_organism(self, label: str) -> Organism:
        """Return each organism in turn whose partition needs a label."""
        running = [core.organism for core in self._cores.values() if core.open and core.lease.node_label == label]
        if not running:
            raise elsewhere(self._view, self.layout.of(label)[0], self.name)
        return running[next(self._turns) % len(running)]

    async def reload(self, spec: OrganismSpec, order: Order = PYTHON, applied: Applied = lambda: None) -> None:
        """Have every partition be made of other parts in one step, in which ``applied`` is called; journals tell of it.

        Raises:
            ConfigError: If the parts do not fit together, or change what only a start can. Nothing was changed.
            JournalError: If the database does not answer, or partitions are taken up for long. Nothing was changed.
            StoppedError: If the node is leaving. Nothing was changed.
        """
        self.parts.check(spec, self.layout)
        async with self._reloading:
            order_file = partial(self._threads.run, self.table.order, spec.configuration, self.parts.mark)
            number = await ordered(order_file, self._cores, self.news, self._times.reload_s)
            if self._tasks is None:
                raise StoppedError
            # One step to `applied`; only then is the database told, so it never says more than is active.
            reached = self.parts.replace(spec, [core.organism for core in self._cores.values()], order, self._tasks)
            self.rates.replace(self.parts.limiters)
            self.escrow.configure(number)
            applied()
            with suppress(JournalError):  # then with the next renewal
                await self._say_configured()
        self.renew_soon()
        await until_durable(reached, self._times.reload_s)

    async def _say_configured(self) -> None:
        await self._threads.run(self.table.configured, self.parts.mark, self.escrow.configuration)

    # -- its life -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Register, and take the partitions that are free; more come as their nodes hand them over.

        Raises:
            JournalError: If the database cannot be reached or is refused, or the machine's clock is wrong.
        """
        self._table = table = self.parts.lease_table(self._database, self.name, self._partitions, self._times.ttl_s)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._leave)
            await self._threads.run(table.register, self._url, version(), self._clock.now_ns())
            self.escrow.configure(await self._threads.run(table.order, self.parts.mark))
            await self._say_configured()
            self.counts.renewed_s = loop_time()
            self._view = await self._threads.run(table.look)
            await stack.enter_async_context(self.parts.tool_servers)
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.push_async_callback(self._hand_all_over, self._tasks.cancel_scope)
            self._tasks.start_soon(self._tend)
            self._tasks.start_soon(self._watch)
            self._tasks.start_soon(self.escrow.run)
            self._tasks.start_soon(self.rates.run, table.incarnation)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Hand every partition over, and leave the cluster.

        Raises:
            NodeReplacedError: If that is what has ended it.
        """
        try:
            await self._stack.__aexit__(exc_type, exc, traceback)
        except BaseExceptionGroup as group:
            if (error := sole_error(group)) is not exc:
                raise error from None

    async def _hand_all_over(self, scope: anyio.CancelScope) -> None:
        self._tasks = None
        with anyio.CancelScope(shield=True):
            for core in self._cores.values():
                core.leave()
            while self._cores:  # noqa: ASYNC110 - each takes its own time, and this happens once
                await anyio.sleep(_SOON_S / 10)
        scope.cancel()

    async def _leave(self) -> None:
        """Be no node any more, and close what the organisms have shared."""
        with anyio.CancelScope(shield=True):
            try:
                await self._threads.run(self.table.leave)
            except JournalError as error:
                _log.warning("leave_failed", error=str(error))  # the others take its leases when they have run out
            await self._threads.run(self.table.close)
            await self.parts.close()

    @property
    def table(self) -> "LeaseTable":
        """The leases, for operators; its calls block.

        Raises:
            RuntimeError: If the node has not been entered.
        """
        if self._table is None:
            raise RuntimeError("the node runs only inside 'async with'")
        return self._table

    # -- leases ---------------------------------------------------------------------------------------------------

    async def _tend(self) -> None:
        """Renew, and take, ask for and give up partitions; an unreachable database ends nothing by itself."""
        while self._tasks is not None:
            soon = False
            try:
                soon = await self._turn()
            except NodeReplacedError as error:
                self._end(error, replaced)
            except OlderCopyError as error:
                self._end(error, lambda _lease, why=error: why)  # type: ignore[misc]
            except JournalError as error:
                self.counts.renewals_failed += 1
                if self._renewing.is_news(str(error)):
                    _log.error("lease_not_renewed", node=self.name, error=str(error))
            with anyio.move_on_after(_SOON_S if soon else self._times.renew_s):
                await self._changed.wait()
            self._changed = anyio.Event()

    async def _turn(self) -> bool:
        """Renew once, and do what follows from it; whether more is to be done soon."""
        began_s, table = loop_time(), self.table
        renewal = await self._threads.run(table.renew, [core.lease for core in self._cores.values()])
        self.counts.renewed_s, self._view = began_s, renewal.view
        self._renewing.end()
        self._hold(held=False)
        self.news.notify()
        for lease in renewal.view.leases:
            await self._compare(lease, kept=lease.partition in renewal.kept)
        if self._tasks is None:
            return False
        me = renewal.view.node(self.name)
        if me is not None and me.configuration != self.parts.mark and not self._reloading.locked():
            await self._say_configured()
        step = next_step(renewal.view, self.name, self._cores.keys())
        for partition in step.hand_over:
            self._cores[partition].leave()
        await self._threads.run(table.ask, list(step.ask))
        for label, most in {} if self._reloading.locked() else step.acquire.items():
            but = [partition for partition, until_s in self._failed_s.items() if loop_time() < until_s]
            self._begin(await self._threads.run(table.acquire, most, [*but, *self._cores], label))
        return bool(step.ask)

    async def _compare(self, row: LeaseRow, *, kept: bool) -> None:
        """Abandon an organism whose lease is not this node's any more, and give back a lease that none has."""
        core = self._cores.get(row.partition)
        if core is None:
            if kept:  # the answer to its taking, or to its release, was lost
                await self._threads.run(self.table.release, Lease(row.partition, row.epoch, self._partitions))
        else:
            core.compare(row, kept=kept)

    async def _watch(self) -> None:
        """Begin nothing new when the lease was not renewed until shortly before its end; renewing it lifts that."""
        while True:
            left_s = self.counts.renewed_s + self._times.ttl_s - self._times.margin_s - loop_time()
            if left_s <= 0:
                self._hold(held=True)
            await anyio.sleep(max(left_s, self._times.margin_s / 10))

    def _hold(self, *, held: bool) -> None:
        for core in self._cores.values():
            core.hold(held=held)

    def _end(self, error: JournalError, why: Callable[[Lease], JournalBrokenError]) -> NoReturn:
        """End the node: what its organisms still hold belongs to others, or is kept from all of them."""
        for core in self._cores.values():
            core.abandon(why(core.lease))
        raise error

    # -- organisms ------------------------------------------------------------------------------------------------

    def _begin(self, taken: Iterable[Lease]) -> None:
        if self._tasks is None:  # it has begun to leave meanwhile: leaving gives back what it has just taken
            return
        for lease in taken:
            self.counts.taken += 1
            self._tasks.start_soon(self._run, self._core(lease))

    def _core(self, lease: Lease) -> PartitionCore:
        """Build the organism of a partition that was just taken."""
        journal = postgres_journal(self._database, self._organism, self._retention, lease)
        parts = self.parts.wired(lease, journal)
        core = self._cores[lease.partition] = PartitionCore(lease, parts, journal, self._times.drain_s, self.name)
        self.escrow.join(lease, parts, lambda: core.running)
        core.attach(self._beside(lease.partition, core.organism), self.news.notify)
        return core

    async def _run(self, core: PartitionCore) -> None:
        """Run a core to its end, whatever that is; it never takes the node with it."""
        lease, stopped = core.lease, ""
        try:
            await core.run()
            self.counts.ended["handed_over"] += 1
        except Exception as wrapped:  # noqa: BLE001 - one partition's failure is not the others'
            error = sole_error(wrapped)
            self.counts.ended["fenced" if isinstance(error, FencedError) else "failed"] += 1
            if isinstance(error, JournalBrokenError) and not isinstance(error, FencedError):
                stopped = str(error)
            self._failed_s[lease.partition] = loop_time() + self._times.again_s
            _log.error("partition_ended", node=self.name, partition=lease.partition, error=str(error))
        finally:
            self.escrow.part(lease.partition)
            with anyio.CancelScope(shield=True):
                await self._give_back(lease, stopped)
            del self._cores[lease.partition]
            self.news.notify()
            self._changed.set()

    async def _give_back(self, lease: Lease, stopped: str) -> None:
        give_back = partial(self.table.stop, reason=stopped) if stopped else self.table.release
        try:
            await self._threads.run(give_back, lease)
        except JournalError as error:
            _log.warning("release_failed", partition=lease.partition, error=str(error))
