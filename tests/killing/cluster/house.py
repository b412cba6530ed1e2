"""The organism of the cluster that faults come upon: its agents, its limits, and each version of its file.

What must outlive a process that is killed is noted at once: a line in a file to which all processes append.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from organism import Agent, Context, Limits, Organism, Text, agent
from organism.amounts import TokenUsage
from organism.budget.scopes import BudgetPlan, LabelLimits, ScopedLimits, ScopeRule
from organism.cluster.lease_times import LeaseTimes
from organism.cluster.node import ClusterNode
from organism.cluster.node_labels import NodeLabels
from organism.control.components import OrganismSpec
from organism.errors import BudgetExhaustedError
from organism.providers.scripted import ScriptedAnswer
from organism.router.call import RouterSettings
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.limits.rate_limit import RateLimits
from organism.testing import ScriptedProvider
from organism.wiring import Environment, wire

PARTITIONS, LABELLED = 6, 2
"""So many may be at any node, and so many more, behind them, only at nodes that have the label."""
LABEL, AT_LABEL = "gpu", frozenset({"b", "c", "last"})
SHARED, SHARED_CALLS = "label:tier=tight@lifetime", 400
ALL, ALL_CALLS = "organism@lifetime", 10_000_000
"""What each version of the file raises by one call."""
DESK_S, DESK_CALLS, ASKED_AT = 4, 30, (10, 20)
"""Another desk is worked at after so many seconds; at so many per cent of its calls a person must let it go on."""
CALLS_AT_A_TIME, CALLS_PER_MINUTE = 6, 1_200
"""What the provider takes of all nodes together; those that die keep their part of it for a minute."""
USAGE = TokenUsage(input=7, output=3)
ENTRIES = "first", "painter"
"""The agents that threads begin with: at any node, and at those with the label."""


class Notes:
    """What processes have noted, by kind; none is lost with the process that has written it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, int] = {}

    def note(self, kind: str, *words: object) -> None:
        """Write a line, in one piece."""
        if kind not in self._files:
            self._files[kind] = os.open(self._folder / kind, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(self._files[kind], (" ".join(map(str, words)) + "\n").encode())

    def read(self, kind: str) -> Iterator[list[str]]:
        """Return the lines of a kind, each in its words."""
        path = self._folder / kind
        return (line.split() for line in (path.read_text() if path.exists() else "").splitlines())


class OwnProvider(ScriptedProvider):
    """A provider that puts each request on the bill as it comes, and notes when it is asked after it was closed."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(self._answer, latency_s=0.02)
        self._notes, self._closed = notes, False

    def _answer(self, _request: object) -> ScriptedAnswer:
        self._notes.note("asked", time.time_ns(), USAGE.total)
        if self._closed:
            self._notes.note("asked-when-closed", time.time_ns())
        return ScriptedAnswer(text="done", usage=USAGE)

    async def aclose(self) -> None:
        """Be asked nothing any more."""
        self._closed = True


class House:
    """What one node is made of.

    Args:
        name: The node's.
        folder: Where the notes are.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.notes = name, Notes(folder)
        self._provider, self._replaced_at = OwnProvider(self.notes), 0

    def node(self, url: str, ttl_s: float, version: int) -> ClusterNode:
        """Return the node, with a version of its file."""
        times = LeaseTimes(ttl_s=ttl_s, renew_s=ttl_s / 4, margin_s=ttl_s / 4, drain_s=1.0, again_s=0.2)
        has = frozenset({LABEL}) if self.name in AT_LABEL else frozenset[str]()
        labels = NodeLabels(has=has, partitions={LABEL: LABELLED})
        template = Organism.of_components(wire(self.spec(version), Environment()), None, None)
        return ClusterNode(template, url, node=self.name, partitions=PARTITIONS, labels=labels, times=times)

    def spec(self, version: int) -> OrganismSpec:
        """Return what a version of the file says: other agents in any case, another provider in every second one."""
        if version // 2 > self._replaced_at:
            self._provider, self._replaced_at = OwnProvider(self.notes), version // 2
        limited = ProviderSettings(concurrency=CALLS_AT_A_TIME, rates=RateLimits(requests=CALLS_PER_MINUTE))
        asks = ScopeRule(thresholds=ASKED_AT, actions=tuple((threshold, "approve") for threshold in ASKED_AT))
        organism = Organism(
            self._agents(),
            name="house",
            models={"main": "scripted/m"},
            providers={"scripted": self._provider},
            provider_kinds={"scripted": "local"},
            router=RouterSettings(providers={"scripted": limited}),
            limits=BudgetPlan(
                windows={"lifetime": Limits(calls=ALL_CALLS + version, tokens=10_000_000_000)},
                labels={
                    "tier": LabelLimits(each=ScopedLimits(Limits(calls=SHARED_CALLS), "lifetime")),
                    "desk": LabelLimits(each=ScopedLimits(Limits(calls=DESK_CALLS), "lifetime", asks)),
                },
            ),
            on_exhausted="fail",
        )
        return replace(organism.control.components.spec, configuration=f"version {version}")

    def _agents(self) -> list[Agent]:
        @agent(next="second")
        async def first(message: Text, ctx: Context) -> Text:
            await self._pay(ctx)
            return Text(message.text)

        @agent()
        async def second(message: Text, ctx: Context) -> Text:
            return Text(await self._pay(ctx))

        @agent(node_label=LABEL)
        async def painter(message: Text, ctx: Context) -> Text:
            self.notes.note("painted", self.name)
            return Text(await self._pay(ctx))

        return [first, second, painter]

    async def _pay(self, ctx: Context) -> str:
        """Make a call; note when it was refused because all calls of its tier are used up."""
        try:
            return (await ctx.llm.complete("write", max_output_tokens=16)).text
        except BudgetExhaustedError as error:
            if error.refusal.account == SHARED:
                self.notes.note("refused", time.time_ns())
            return "refused"


def desk_now() -> str:
    """Return which desk is worked at; processes agree on it by their clock."""
    return str(time.time_ns() // (DESK_S * 1_000_000_000))
