"""``organism cluster``: the nodes of a cluster and their partitions, read from its database and changed there."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter, validators

from organism.cli import exit_codes
from organism.cli.completion import NodeName
from organism.cli.ledger_sources import NamedConfig
from organism.cli.options import DAEMON, DaemonOptions, Json, Whole
from organism.cli.output import note, print_answer
from organism.cli.tables import state_table, styled_state
from organism.cli.terminal import Terminal, markup
from organism.cluster.node_labels import needs_label
from organism.errors import ConfigError
from organism.router.limits.provider_share import RATE_UNIT_NAMES, NodeClaims, ProviderClaims, RateUnit
from organism.stores.leases import ClusterView, LeaseRow, NodeRow
from organism.text.plain_text import counted

if TYPE_CHECKING:
    from organism.stores.postgres.lease_table import LeaseTable

app = App(name="cluster")

Database = Annotated[
    str | None, Parameter(help="The database, as postgresql://...; the one that the configuration names unless given.")
]


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a cluster.

    Attributes:
        node: Its name.
        state: ``running``, ``draining``, or ``silent`` if it has not renewed its leases lately.
        partitions: Those that it runs.
        url: Where it answers.
        version: Of organism.
        labels: What it has that agents may need.
        configuration: The mark of the configuration that is active there; empty if it has not said.
        differs: Whether another node has a newer one.
    """

    node: str
    state: str
    partitions: tuple[int, ...]
    url: str
    version: str
    labels: tuple[str, ...] = ()
    configuration: str = ""
    differs: bool = False


class PartitionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A partition of a cluster.

    Attributes:
        partition: Its number.
        state: ``running``, ``asked for`` if it is about to move, ``free`` if no node has it, or ``stopped``.
        node: The node that has it.
        owners: How many owners it has had.
        reason: Where it moves to, why it is stopped, or what it needs.
        node_label: The label that its nodes must have; empty if any may run it.
    """

    partition: int
    state: str
    node: str | None
    owners: int
    reason: str
    node_label: str = ""


class RateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has of a limit that a provider sets.

    Attributes:
        provider: Its name.
        unit: ``concurrency``, or ``requests`` or ``tokens`` within a minute.
        node: The node, with an earlier process of its name that still counts.
        limit: The whole limit, as this node is configured.
        granted: What it may use.
        used: What it has used, as far as it has said.
        waiting: What waits there.
    """

    provider: str
    unit: RateUnit
    node: str
    limit: int
    granted: int
    used: int
    waiting: int


class ClusterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What ``organism cluster status --json`` prints.

    Attributes:
        nodes: Those that have begun and not left.
        partitions: All of them.
        rates: What the nodes have of the limits that providers set.
        unreadable_rates: By provider of which that cannot be read: why.
        missing_labels: Those that partitions need, and no node has that takes partitions.
    """

    nodes: tuple[NodeStatus, ...]
    partitions: tuple[PartitionStatus, ...]
    rates: tuple[RateStatus, ...] = ()
    unreadable_rates: dict[str, str] = {}
    missing_labels: tuple[str, ...] = ()


@app.command
def status(*, daemon: DaemonOptions = DAEMON, database: Database = None, json: Json = False) -> int:
    """Show the nodes of the cluster, which of them has each partition, and what each may use of providers' limits.

    The database is read: no node need run. The exit code is 1 if a partition is stopped or no node has it, if no node
    has a label that partitions need, or if what nodes have of a provider's limits cannot be read.
    """
    with _table(daemon, database) as table:
        from organism.stores.postgres.rate_table import RateTable

        with closing(RateTable(_url(daemon, database))) as rates:
            found = _status_of(table.look(), rates.read_all())
    unable = found.unreadable_rates or found.missing_labels
    lost = unable or [one for one in found.partitions if one.state in ("stopped", "free")]
    if json:
        print_answer(found, "", as_json=True)
    else:
        _show(found, daemon)
    return exit_codes.FAILED if lost else exit_codes.OK


@app.command
def drain(
    node: NodeName,
    *,
    undo: Annotated[bool, Parameter(help="Let it take its share again.", negative=())] = False,
    daemon: DaemonOptions = DAEMON,
    database: Database = None,
    json: Json = False,
) -> int:
    """Have a node hand all its partitions to the others; it goes on answering, and may then be stopped.

    Calls under way get 30 s. A node that is started anew takes its share again.

    Args:
        node: Its name, as 'organism cluster status' shows it.
    """
    with _table(daemon, database) as table:
        if not table.drain(node, draining=not undo):
            known = ", ".join(repr(each.name) for each in table.look().nodes) or "none"
            raise ConfigError(f"the cluster has no node {node!r}; its nodes: {known}")
        view = table.look()
    has = sum(lease.owner == node for lease in view.leases)
    if undo:
        return print_answer(
            {"node": node, "draining": False, "partitions": has}, f"{node} takes its share again", as_json=json
        )
    for label in sorted(view.missing_labels):
        note(f"{needs_label(label)}, or undo the drain with --undo; until then its threads wait")
    if not any(each.live and not each.draining for each in view.nodes):
        note("no other node takes partitions: threads wait until one is started, or the drain is undone with --undo")
    text = (
        f"{node} hands over {counted(has, 'partition')}; see: {daemon.command('cluster', 'status')}"
        if has
        else f"{node} has no partition"
    )
    return print_answer({"node": node, "draining": True, "partitions": has}, text, as_json=json)


@app.command
def resume(partition: Whole, *, daemon: DaemonOptions = DAEMON, database: Database = None, json: Json = False) -> int:
    """Let nodes take a partition again that was stopped because acknowledged work is missing in it.

    First restore the newest copy, or accept what is lost: 'organism ledger verify' with the last anchor tells what is.

    Args:
        partition: Its number, as 'organism cluster status' shows it.
    """
    with _table(daemon, database) as table:
        row = next((lease for lease in table.look().leases if lease.partition == partition), None)
        if row is None:
            raise ConfigError(f"the cluster has no partition {partition}; see: {daemon.command('cluster', 'status')}")
        if row.stopped:
            table.resume(partition)
    text = (
        f"partition {partition} is free for the next node" if row.stopped else f"partition {partition} is not stopped"
    )
    return print_answer(
        {"partition": partition, "resumed": bool(row.stopped), "reason": row.stopped}, text, as_json=json
    )


@app.command(name="forget-rates")
def forget_rates(
    provider: str, *, daemon: DaemonOptions = DAEMON, database: Database = None, json: Json = False
) -> int:
    """Have the nodes agree anew on a provider's limits, where what they have of them cannot be read.

    They do after 72 s: until then nobody knows what was used of the minute before, and it is taken for all of it.

    Args:
        provider: Its name, as 'organism cluster status' shows it.
    """
    with _table(daemon, database):
        from organism.stores.postgres.rate_table import RateTable

        with closing(RateTable(_url(daemon, database))) as rates:
            unreadable = {each.provider for each in rates.read_all() if each.unreadable}
            forgotten = provider in unreadable and rates.forget(provider)
    text = f"the nodes agree anew on {provider}'s limits, after a minute"
    if not forgotten:
        text = f"what the nodes have of {provider}'s limits can be read, or is not known: nothing to forget"
    return print_answer({"provider": provider, "forgotten": forgotten}, text, as_json=json)


@app.command
def dev(
    nodes: Annotated[Whole, Parameter(validator=validators.Number(gte=1, lte=9))] = 3,
    *,
    labelled: Annotated[
        Whole, Parameter(help="How many of them, the first ones, have the labels that agents need.")
    ] = 1,
    daemon: DaemonOptions = DAEMON,
    database: Database = None,
    json: Json = False,
) -> int:
    """Try a cluster on this machine: start a database and several daemons, until stopped.

    The database is a new PostgreSQL of this machine's, in a temporary folder, and gone afterwards. The daemons listen
    on free ports, as nodes n1, n2 and so on; their logs and tokens are in the state folder. Kill one to see its threads
    go on elsewhere.

    Args:
        nodes: How many daemons.
        database: A database to use instead, as postgresql://...; it is kept.
    """
    from organism.cli.programs.dev_cluster import run_dev_cluster

    return run_dev_cluster(daemon, nodes, labelled, database, as_json=json)


@contextmanager
def _table(daemon: DaemonOptions, database: str | None) -> Iterator["LeaseTable"]:
    """Open the leases of the cluster for an operator: nothing is registered.

    Raises:
        ConfigError: If the journal is in a file, or in a database that is one daemon's.
        JournalError: If the database cannot be read.
        MissingExtraError: If the driver is not installed.
    """
    from organism.wiring import check_postgres

    url = _url(daemon, database)
    check_postgres()
    from organism.stores.postgres.lease_table import LeaseTable
    from organism.stores.postgres.preparation import layout_of

    if (partitions := layout_of(url).partitions) == 1:
        raise ConfigError("this database holds the journal of one daemon, which is no cluster")
    table = LeaseTable(url, name="", node="", partitions=partitions)
    try:
        yield table
    finally:
        table.close()


def _url(daemon: DaemonOptions, database: str | None) -> str:
    if (url := database or NamedConfig.read(daemon.file).database()) is None:
        raise ConfigError(
            "this organism is no cluster: its journal is a file. Give the configuration of a node with --file, or its "
            "database with --database"
        )
    return url


def _status_of(view: ClusterView, rates: Sequence[ProviderClaims]) -> ClusterStatus:
    return ClusterStatus(
        nodes=tuple(_node_status(node, view) for node in view.nodes),
        partitions=tuple(_partition_status(lease, view) for lease in view.leases),
        rates=tuple(
            _rate_status(each.provider, node, unit) for each in rates for node in each.nodes for unit in node.claims
        ),
        unreadable_rates={each.provider: each.unreadable for each in rates if each.unreadable},
        missing_labels=tuple(sorted(view.missing_labels)),
    )


def _rate_status(provider: str, node: NodeClaims, unit: RateUnit) -> RateStatus:
    claim = node.claims[unit]
    return RateStatus(
        provider=provider,
        unit=unit,
        node=node.node,
        limit=claim.limit,
        granted=claim.granted,
        used=claim.used,
        waiting=claim.waiting,
    )


def _node_status(node: NodeRow, view: ClusterView) -> NodeStatus:
    has = tuple(lease.partition for lease in view.leases if lease.owner == node.name and not lease.expired)
    state = ("draining" if node.draining else "running") if node.live else "silent"
    labels = tuple(sorted(node.labels))
    return NodeStatus(
        node=node.name,
        state=state,
        partitions=has,
        url=node.url,
        version=node.version,
        labels=labels,
        configuration=node.configuration,
        differs=view.differs(node),
    )


def _partition_status(lease: LeaseRow, view: ClusterView) -> PartitionStatus:
    state, node, reason = "running", lease.owner, ""
    if lease.stopped:
        state, node, reason = "stopped", None, lease.stopped
    elif lease.owner is None or lease.expired:
        state, node, reason = "free", None, f"{lease.owner} had it" if lease.owner else ""
        if view.missing_label(lease.partition):
            reason = f"needs a node labelled {lease.node_label}"
    elif (asker := view.node(lease.wanted_by)) is not None and asker.live:
        state, reason = "asked for", f"by {asker.name}"
    return PartitionStatus(
        partition=lease.partition,
        state=state,
        node=node,
        owners=lease.epoch,
        reason=reason or (f"of nodes labelled {lease.node_label}" if lease.node_label else ""),
        node_label=lease.node_label,
    )


def _show(found: ClusterStatus, daemon: DaemonOptions) -> None:
    console = Terminal()
    nodes = state_table("node", "state", "partitions", "labels", "version", "configuration", "url")
    for node in found.nodes:
        has, labels = str(len(node.partitions)), ", ".join(node.labels) or "-"
        configuration = markup("[yellow]{}[/]", node.configuration) if node.differs else node.configuration or "-"
        nodes.add_row(node.node, styled_state(node.state), has, labels, node.version, configuration, node.url)
    console.show(nodes if found.nodes else markup("no node has begun yet"))
    partitions = state_table("partition", "state", "node", "owners", "note")
    for one in found.partitions:
        partitions.add_row(str(one.partition), styled_state(one.state), one.node or "-", str(one.owners), one.reason)
    console.show(markup(""), partitions)
    if found.rates:
        rates = state_table("provider", "limit", "node", "granted", "used", "waiting")
        for rate in found.rates:
            most = f"{rate.limit:,} {RATE_UNIT_NAMES[rate.unit]}"
            rates.add_row(rate.provider, most, rate.node, f"{rate.granted:,}", f"{rate.used:,}", f"{rate.waiting:,}")
        console.show(markup(""), rates)
    for node in found.nodes:
        if node.differs:
            console.say(
                "[yellow]![/] {} has another configuration than the newest: bring the file to its machine and run "
                "'organism reload' there",
                node.node,
            )
    for label in found.missing_labels:
        console.say("[yellow]![/] {}; until then requests for its threads get 503", needs_label(label))
    for provider, why in found.unreadable_rates.items():
        console.say("[yellow]![/] nobody can read what the nodes have of {}'s limits: {}", provider, why)
        console.say("no node calls it until you run: {}", daemon.command("cluster", "forget-rates", provider))
    for one in found.partitions:
        if one.state == "stopped":
            console.say(
                "when that is repaired or accepted: {}", daemon.command("cluster", "resume", str(one.partition))
            )
    if any(one.state == "free" and one.node_label not in found.missing_labels for one in found.partitions):
        console.say("a free partition is taken within the lease of its last node, 10 s, if a node runs")
