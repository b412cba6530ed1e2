"""What a node tells a scraper of itself: its partitions, and its parts of what all nodes share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from organism import Context, Limits, Organism, Text, agent
from organism.budget.scopes import BudgetPlan
from organism.cluster.lease_times import LeaseTimes
from organism.cluster.node import ClusterNode
from organism.cluster.node_metrics import NodeMetrics
from organism.cluster.routing.metrics_text import merged_metrics
from organism.router.call import RouterSettings
from organism.router.limits.provider_settings import ProviderSettings
from organism.testing import ScriptedProvider
from organism.testing.postgres_server import PostgresServer
from tests.waiting import until

TIMES = LeaseTimes(ttl_s=60.0, renew_s=0.1, margin_s=1.0, drain_s=0.2, again_s=0.1)


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


@asynccontextmanager
async def running(url: str, name: str) -> AsyncIterator[ClusterNode]:
    organism = Organism(
        [writer],
        name="house",
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(["done"])},
        provider_kinds={"scripted": "local"},
        limits=BudgetPlan(windows={"lifetime": Limits(calls=30)}),
        router=RouterSettings(providers={"scripted": ProviderSettings(concurrency=4)}),
    )
    async with ClusterNode(organism, url, node=name, partitions=2, times=TIMES) as node:
        yield node


def values(node: ClusterNode) -> dict[str, float]:
    """Return each sample by its name and labels, without the node's."""
    found = {}
    for family in text_string_to_metric_families(NodeMetrics(node).render().decode()):
        for sample in family.samples:
            assert sample.labels.pop("node") == node.name
            labels = ",".join(sample.labels.values())
            found[sample.name.removeprefix("organism_cluster_") + (f" {labels}" if labels else "")] = sample.value
    return found


@pytest.mark.debian
@pytest.mark.anyio
async def test_a_node_tells_what_it_has_and_has_had(postgres: PostgresServer) -> None:
    """Partitions it has, has taken and has handed over; its slices, what it spent of them, its places at a provider."""
    url = postgres.database()
    async with running(url, "a") as a:
        await until(lambda: len(a.organisms) == 2)
        assert (await a.wait(await a.open_thread("write"))).outcome == "completed"
        alone = values(a)
        assert (alone["partitions"], alone["partitions_taken_total"]) == (2, 2)
        has, unused = alone["slice_calls organism@lifetime"], alone["slice_unused_calls organism@lifetime"]
        assert 1 <= has <= 30
        assert has - unused == 1
        assert alone["slice_statements_total"] >= 2
        assert 1 <= alone["provider_share scripted,concurrency"] <= 4
        async with running(url, "b") as b:
            await until(lambda: len(a.organisms) == len(b.organisms) == 1)
            both = values(a)
            assert (both["partitions"], both["partitions_ended_total handed_over"]) == (1, 1)
            assert values(b)["partitions"] == 1
        assert 0 <= values(a)["lease_age_seconds"] < TIMES.ttl_s


@pytest.mark.debian
@pytest.mark.anyio
async def test_a_node_tells_that_another_has_a_newer_file(postgres: PostgresServer) -> None:
    """Until it has it, too: an alert finds who was forgotten when a new file was brought to all machines."""
    url = postgres.database()
    async with running(url, "a") as a, running(url, "b") as b:
        for node, mark in ((a, "one"), (b, "one"), (b, "two")):
            await node.reload(replace(node.parts.spec, configuration=mark))
        await until(lambda: values(a)["configuration_differs"] == 1)
        assert values(b)["configuration_differs"] == 0
        await a.reload(replace(a.parts.spec, configuration="two"))
        await until(lambda: values(a)["configuration_differs"] == 0)


def test_a_page_that_ends_in_openmetrics_ends_so_when_it_is_merged() -> None:
    """Without its last line Prometheus would refuse the page; samples of nodes get no partition."""
    page = b"# TYPE a gauge\na 1.0\n# EOF\n"
    node = b'# TYPE b gauge\nb{node="x"} 2.0\n# EOF\n'
    assert merged_metrics({3: page, 1: page}, [node]).decode().splitlines() == [
        "# TYPE a gauge", 'a{partition="1"} 1.0', 'a{partition="3"} 1.0', "# TYPE b gauge", 'b{node="x"} 2.0', "# EOF"
    ]  # fmt: skip
    assert not merged_metrics({1: b"# TYPE a gauge\na 1.0\n"}).endswith(b"# EOF\n")
