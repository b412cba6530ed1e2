"""A node that knows a cluster without a database, and requests as its gate has let them in."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, cast

import anyio
import pytest

from organism.api.auth_middleware import HEADERS, ASGIApp
from organism.app import Organism
from organism.cluster.node import ClusterNode
from organism.cluster.node_counts import NodeCounts
from organism.cluster.node_labels import AgentLabels
from organism.cluster.routing.local_parts import LocalParts, PartParts, RoutedRequest
from organism.concurrency.wakeups import Wakeup
from organism.stores.leases import ClusterView, LeaseRow, NodeRow

NO_SERVED: Any = None


class KnownCluster(ClusterNode):
    """Node ``a``, which has renewed its leases once: what it knows and what runs here is given.

    Args:
        labelled: By partition that needs one, its label.
    """

    def __init__(
        self, owners: Sequence[NodeRow | None], here: Sequence[int] = (), labelled: Mapping[int, str] | None = None
    ) -> None:
        self.name = "a"
        self.label_of = AgentLabels((), "").of
        self._labelled = labelled or {}
        self._partitions = len(owners)
        self.news, self._changed = Wakeup(), anyio.Event()
        self._here = tuple(here)
        self.counts = NodeCounts()
        self.learn(owners)

    def learn(self, owners: Sequence[NodeRow | None]) -> None:
        """Renew: each partition has that owner by now."""
        nodes = {owner.name: owner for owner in owners if owner is not None}
        leases = tuple(
            LeaseRow(
                partition=number,
                epoch=1,
                owner=owner and owner.name,
                incarnation=1,
                expired=False,
                wanted_by=None,
                stopped="",
                node_label=self._labelled.get(number, ""),
            )
            for number, owner in enumerate(owners)
        )
        self._view = ClusterView(nodes=tuple(nodes.values()), leases=leases)
        self.news.notify()

    @property
    def organisms(self) -> Mapping[int, Organism]:
        return {number: cast("Organism", object()) for number in self._here}


class Client:
    """Who makes a request: keeps the answer, and may go."""

    def __init__(self) -> None:
        self.messages: list[MutableMapping[str, Any]] = []
        self.got_piece = anyio.Event()
        self.gone = anyio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.messages.append(message)
        if message.get("body"):
            self.got_piece.set()

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    def asks(self, app: ASGIApp, path: str, query: str = "", method: str = "GET") -> RoutedRequest:
        """Return a request of this client."""
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": []}
        return RoutedRequest(app, {**scope, HEADERS: {}}, b"", self.receive, self.send)


def parts_of(node: ClusterNode) -> LocalParts:
    """Return the partitions that run here."""
    local = LocalParts(node, NO_SERVED)
    for number, organism in node.organisms.items():
        served: Any = number  # tells it from the others
        local.parts[number] = PartParts(organism, served, None, NO_SERVED)
    return local


def row(name: str, url: str = "http://nowhere.invalid", *, live: bool = True) -> NodeRow:
    return NodeRow(name=name, incarnation=1, url=url, version="1", draining=False, live=live)


@pytest.fixture
def client() -> Client:
    return Client()
