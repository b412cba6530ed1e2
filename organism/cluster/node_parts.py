"""What the organisms of a node's partitions are made of and share; a reload replaces it, for all of them in one step.

A partition that is being taken up has parts already and cannot be reloaded yet: a reload waits until none is, for a
while, and the node takes no further one meanwhile. From then on everything is one step, so no call of any partition
waits in limiters that nobody renews, and none of them has half of a file.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import structlog

from organism.app import Organism
from organism.budget.calibration import Calibration
from organism.cluster.node_labels import AgentLabels, NodeLabels, check_labels
from organism.cluster.partition_core import PartitionCore
from organism.concurrency.wakeups import Wakeup
from organism.control.components import Components, OrganismSpec
from organism.control.idempotency import Order
from organism.control.reload import apply_spec, check_spec
from organism.errors import ConfigError
from organism.ids import PARTITIONS_MAX, THREAD_ID, Layout, PartitionIds
from organism.journal import JournalError
from organism.llm.provider import Provider
from organism.pricing.book import PriceBook
from organism.router.limits.limiter import ProviderLimiter
from organism.router.planning.provider_limiters import ProviderLimiters, gone_providers
from organism.stores.leases import Lease
from organism.wiring import Environment, SharedParts, wire

if TYPE_CHECKING:
    from organism.stores.postgres.lease_table import LeaseTable
    from organism.stores.postgres.postgres_journal import PostgresJournal

_log = structlog.get_logger("organism.cluster")


class NodeParts:
    """The parts of a node.

    Args:
        template: An organism that is not entered: those of the partitions are like it.
        labels: What the node says of labels.

    Attributes:
        spec: What organisms are made of from now on.
        limiters: Those of the providers.
        labels: What the node says of labels, with partitions for each that an agent needs.
        tool_servers: Those that agents use, run by the node.

    Raises:
        ConfigError: If a label cannot be, or agents of different labels write to each other.
    """

    def __init__(self, template: Organism, labels: NodeLabels) -> None:
        self._components = components = template.control.components
        self.spec, self._router = components.spec, components.router
        self._agent_labels = AgentLabels(self.spec.agents, components.active.entry)
        self.labels = self._agent_labels.completed(check_labels(labels))
        self.limiters = ProviderLimiters(self.spec.providers, self.spec.router.providers, components.clock)
        self._calibration = Calibration()
        self._book: PriceBook | None = components.book
        self.tool_servers = components.tool_servers

    @property
    def mark(self) -> str:
        """The mark of the active file; empty if there is none."""
        return self.spec.configuration

    def label_of(self, agent: str | None) -> str:
        """Return the label that an agent needs, or that of the entry; empty for none."""
        return self._agent_labels.of(agent)

    def wired(self, lease: Lease, journal: "PostgresJournal") -> Components:
        """Construct the organism of a partition that was just taken."""
        components = self._components
        environment = Environment(
            journal,
            components.clock,
            PartitionIds(lease.partition, components.ids),
            prices=self._book,
            shared=SharedParts(self.limiters, self._calibration),
        )
        parts = wire(self.spec, environment)
        parts.active.node_label = lease.node_label
        return parts

    def lease_table(self, database: str, node: str, partitions: int, ttl_s: float) -> "LeaseTable":
        """Return the leases as this node sees them, which says what it has to the others."""
        from organism.stores.postgres.lease_table import LeaseTable

        return LeaseTable(
            database,
            name=self._components.name,
            node=node,
            partitions=partitions,
            ttl_s=ttl_s,
            labels=self.labels.has,
            label_partitions=self.labels.partitions,
        )

    def check(self, spec: OrganismSpec, layout: Layout) -> None:
        """Refuse what no running node can become.

        Raises:
            ConfigError: If its parts do not fit together, it names the organism differently, or an agent needs a label
                that has no partitions.
        """
        check_spec(self._components.name, spec)
        needed = AgentLabels(spec.agents, spec.entry).completed(NodeLabels()).partitions
        if missing := sorted(needed.keys() - layout.labelled.keys()):
            raise ConfigError(
                f"agents need a node_label that has no partitions yet: {', '.join(missing)}; they are made when a node "
                "starts with such a file, so nothing was changed: restart this node"
            )

    def replace(
        self, spec: OrganismSpec, partitions: Iterable[Organism], order: Order, tasks: anyio.abc.TaskGroup
    ) -> list[Organism]:
        """Have all organisms be made of other parts, in one step; see :meth:`check` for what that takes.

        Args:
            partitions: Those of the node, which have taken up what their journals hold.
            tasks: Where it is waited for what is used no more, which is then closed.

        Returns:
            Those that are made of them now: one that is ending is not.
        """
        before, limiters = self.spec, self.limiters
        settings, clock = spec.router.providers, self._components.clock
        self.limiters = limiters.succeeded(before.providers, spec.providers, settings, clock)
        self.spec, self._book = spec, None
        self._agent_labels = AgentLabels(spec.agents, spec.entry)
        apply_spec(self._components, spec, self.limiters)
        reached = [organism for organism in partitions if organism.pump.running]
        # Also one that is another node's by now: that shows only where the journal is waited for.
        runs = [organism.control.apply_with_others(spec, self.limiters, order) for organism in reached]

        async def unused() -> None:
            for each in runs:
                await each.wait_none()

        self.tool_servers.replace(spec.tool_servers, unused)
        for name, provider in gone_providers(before.providers, spec.providers).items():
            tasks.start_soon(self._close_unused, limiters[name], provider)
        return reached

    async def _close_unused(self, limiter: ProviderLimiter, provider: Provider) -> None:
        """Close a provider that is gone when no partition asks anything of it any more, or the node ends."""
        try:
            await limiter.wait_unused()
        finally:
            await self._router.close_provider(limiter.provider, provider)

    async def close(self) -> None:
        """Close the providers: no organism uses them any more."""
        for name, provider in self.spec.providers.items():
            await self._router.close_provider(name, provider)


def check_node(node: str, partitions: int) -> None:
    """Refuse what a cluster cannot keep.

    Raises:
        ConfigError: If the name of the node or the number of partitions cannot be.
    """
    if not THREAD_ID.fullmatch(node):
        raise ConfigError(f"{node!r} cannot be a node's name: use letters, digits, '-' and '_'", path="cluster.node")
    if not 1 < partitions <= PARTITIONS_MAX:
        raise ConfigError(
            f"a cluster has from 2 to {PARTITIONS_MAX} partitions, not {partitions}", path="cluster.partitions"
        )


async def ordered(
    order: Callable[[], Awaitable[int]], cores: Mapping[int, PartitionCore], news: Wakeup, within_s: float
) -> int:
    """Order a file once no partition of a node is being taken up, and return how late that is.

    Args:
        order: Orders it.
        cores: The partitions.
        news: Wakes when one has begun or ended.
        within_s: So many seconds are waited for them.

    Raises:
        JournalError: If some were still being taken up then, or the file cannot be ordered.
    """

    def waits() -> list[int]:
        return sorted(partition for partition, core in cores.items() if not core.taken_up)

    with anyio.move_on_after(within_s):
        while True:
            while waits():
                await news.wait()
            number = await order()
            if not waits():  # one may have been acquired just before the reload began
                return number
    raise JournalError(
        f"of this node's partitions these were still being taken up from the database after {within_s:g} s: "
        f"{', '.join(map(str, waits()))}; all partitions of a node get a file in one step, so nothing was changed: "
        "reload again when they run, or restart this node, which reads the file too"
    )


def version() -> str:
    """Return the program's version, as the others are told it."""
    from organism import __version__

    return __version__


async def until_durable(reloaded: Iterable[Organism], within_s: float) -> None:
    """Wait until the journals of partitions say that they were reloaded, but for those of other nodes by now.

    Where the database is away by then they say it when it is back. The file is active in any case, and that is what
    its asker hears: an error would say that nothing was changed.

    Args:
        reloaded: The partitions.
        within_s: So many seconds are waited for a database that neither answers nor fails.
    """
    with anyio.move_on_after(within_s) as wait:
        for organism in reloaded:
            with suppress(JournalError):
                await organism.journal.commit()
    if wait.cancelled_caught:
        _log.warning("reload_not_durable_yet", waited_s=within_s)


Applied = Callable[[], None]
"""Called in the step of a reload; it must not fail."""
