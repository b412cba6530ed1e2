"""Runs a story of a cluster, to the end of all threads, and audits what its journals hold then."""

import random
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from unittest.mock import patch

import anyio
import psycopg

from organism.app import Organism
from organism.cluster import node as node_module
from organism.errors import OrganismError
from organism.stores.group_storage import Retention
from organism.stores.leases import Lease
from organism.stores.postgres.database import PostgresDatabase
from organism.testing.audit import audit_storage
from organism.testing.postgres_server import PostgresServer
from organism.testing.shared_audit import audit_shared
from organism.testing.simulate.cluster.checked import CheckedPartition, ClusterModel
from organism.testing.simulate.cluster.cluster_shape import LABEL
from organism.testing.simulate.cluster.network import Network, fresh_database
from organism.testing.simulate.cluster.processes import LABELLED, PARTITIONS, Nodes
from organism.testing.simulate.cluster.story import FATES
from organism.testing.simulate.coverage import counting_moves
from organism.testing.simulate.operations import Operator
from organism.testing.simulate.scenario import Scenario, ScenarioStep
from organism.testing.simulate.scenario_run import MakeSubject, ScenarioResult, described, quiet
from organism.testing.simulate.subject import Subject
from organism.testing.simulate.world import World
from organism.testing.virtual_time import run

_ALL = PARTITIONS + LABELLED
_PATIENCE_S = 60.0

_ROUNDS = 20

_TURNS = 200_000
"""Turns of the event loop at one instant; what blocks takes none."""


class _ClusterRun:
    def __init__(self, story: Scenario, make: MakeSubject, server: PostgresServer) -> None:
        self.world = World(story.seed)
        self.subject: Subject = make(self.world, story.seed)
        self.url = fresh_database(server)
        self._observer = psycopg.connect(self.url, autocommit=True)
        self.model = ClusterModel(self.subject, self._stands)
        self.network = Network(self.world)
        self._left = deque(story.operations)
        self._journals: dict[int, CheckedPartition] = {}
        self._acknowledged: set[str] = set()
        self._labelled: list[Organism] = []
        self.joined = 0

    def close(self) -> None:
        self._observer.close()

    def _stands(self, partition: int) -> tuple[int, int]:
        found = self._observer.execute("SELECT epoch, batch FROM organism.journals WHERE p = %s", (partition,))
        ((epoch, batch),) = found.fetchall()
        return int(epoch), int(batch)

    def _stopped(self) -> list[str]:
        found = self._observer.execute("SELECT p, stopped FROM organism.leases WHERE stopped <> '' ORDER BY p")
        return [f"partition {partition} is kept from every node: {why}" for partition, why in found.fetchall()]

    def journal(self, url: str, name: str, retention: Retention | None, lease: Lease) -> CheckedPartition:
        """Make the journal of a partition for a node."""
        self.joined += 1
        made = self._journals[lease.partition] = CheckedPartition(url, name, retention, lease, self.model)
        return made

    def _watch(self, partition: int, organism: Organism) -> None:
        self._journals[partition].watch(organism)
        if partition >= PARTITIONS:
            self._labelled.append(organism)

    async def whole(self) -> None:
        """Let everything happen."""
        async with anyio.create_task_group() as tasks:
            nodes = Nodes(self.subject, self.url, tasks, self._watch)
            async with anyio.create_task_group() as orders:
                while self._left:
                    step = self._left.popleft()
                    await anyio.sleep(step.after_s)
                    orders.start_soon(self._carry_out, nodes, step)
                await anyio.sleep(_PATIENCE_S)
                orders.cancel_scope.cancel()
            await self._end_all(nodes)
            nodes.leave()
            with anyio.move_on_after(10 * _PATIENCE_S):
                while nodes.alive:  # noqa: ASYNC110 - virtual time
                    await anyio.sleep(1.0)
            if nodes.alive:
                self.subject.wrong(f"{nodes.alive} nodes have not left")
                tasks.cancel_scope.cancel()
        self._check_end()

    async def _carry_out(self, nodes: Nodes, step: ScenarioStep) -> None:
        if step.kind in FATES:
            await nodes.befall(step.kind, step.number)
            return
        organisms = nodes.organisms()
        if not organisms:
            self.subject.saw("no partition takes work")
            return
        organism = organisms[step.number % len(organisms)]
        if step.kind == "open":
            await self._open(organism, step.number)
        else:
            try:
                await Operator(self.subject, organism).carry_out(step)
            except OrganismError as error:
                self.subject.saw(f"operation {step.kind} refused: {type(error).__name__}")

    async def _open(self, organism: Organism, number: int) -> None:
        opening = self.subject.opening(number)
        agents, label = organism.agents, LABEL if organism in self._labelled else ""
        to = next(name for name in (opening.to, *agents) if name is not None and agents[name].node_label == label)
        try:
            thread_id = await organism.open_thread(
                opening.message, to=to, limits=opening.limits, labels=opening.labels or None
            )
        except OrganismError as error:
            self.subject.saw(f"operation open refused: {type(error).__name__}")
        else:
            self.subject.saw("operation open")
            self._acknowledged.add(thread_id)

    async def _end_all(self, nodes: Nodes) -> None:
        """Heal everything, lift what holds threads up, and wait for their end."""
        open_ones: list[str] = []
        for _ in range(_ROUNDS):
            nodes.heal()
            await anyio.sleep(_PATIENCE_S)
            if stopped := self._stopped():
                self.subject.failures += stopped
                return
            organisms = nodes.organisms()
            open_ones = [view.thread_id for each in organisms for view in each.threads()]
            if len(organisms) == _ALL and not open_ones:
                return
            for organism in organisms:
                await Operator(self.subject, organism).lift_everything()
        here = len(nodes.organisms())
        self.subject.wrong(f"{here} of {_ALL} partitions run, and threads {open_ones} are open at the end")

    def _check_end(self) -> None:
        recorded: Counter[str] = Counter()
        closed: Counter[str] = Counter()
        with ExitStack() as stack:
            stored = {
                number: stack.enter_context(
                    closing(PostgresDatabase(self.url, take=False, lease=Lease(number, 0, PARTITIONS)))
                )
                for number in range(_ALL)
            }
            self.subject.failures += audit_shared(stored).findings
            for number, file in stored.items():
                audit = audit_storage(file, enforced=False)
                self.subject.failures += [f"partition {number}: {finding}" for finding in audit.findings]
                self.subject.failures += [f"{line.hold_id} was never resolved" for line in audit.unresolved]
                self.subject.failures += [f"thread {name} is alive after its end" for name in audit.alive]
                closed += audit.closed
                for (thread_id, _), amounts in audit.recorded().items():
                    recorded[thread_id] += amounts.tokens
        lost = sorted(self._acknowledged - set(closed))
        self.subject.failures += [f"thread {name} was acknowledged, and is lost" for name in lost]
        self.subject.failures += [
            f"thread {name} was billed {tokens} tokens, but {recorded[name]} are recorded"
            for name, tokens in self.world.billed(within_caps=True).items()
            if recorded[name] < tokens
        ]


@cache
def _server() -> PostgresServer:
    """Return the server of this process, which ends with it."""
    import atexit

    server = PostgresServer()
    server.__enter__()
    atexit.register(server.__exit__, None, None, None)
    return server


@contextmanager
def _own_chance(seed: int) -> Iterator[None]:
    """Whatever the product draws without being given chance follows from the seed, too."""
    before = random.getstate()
    random.seed(f"cluster {seed}")
    try:
        yield
    finally:
        random.setstate(before)


def play_cluster(story: Scenario, make: MakeSubject) -> ScenarioResult:
    """Run a story of a cluster in virtual time.

    Args:
        story: The story.
        make: Makes what it is about.

    Raises:
        FileNotFoundError: If PostgreSQL's programs are not installed.
    """
    with closing(_ClusterRun(story, make, _server())) as it:
        patched = patch.object(node_module, "postgres_journal", it.journal)
        with quiet(), counting_moves(it.subject.seen), _own_chance(story.seed), patched, it.network.in_place():
            try:
                run(it.whole, seed=story.seed, turns=_TURNS)
            except Exception as error:  # noqa: BLE001 - whatever comes out of a run is what it was made to find
                it.subject.failures += [f"it ended with {line}" for line in described(error)]
        return ScenarioResult(
            story=story,
            failures=tuple(dict.fromkeys(it.subject.failures)),
            trace=it.model.trace.hexdigest(),
            records=it.model.trace.records,
            lives=it.joined,
            seen=it.subject.seen,
        )
