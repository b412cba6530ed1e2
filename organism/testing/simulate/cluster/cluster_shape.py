"""The random shapes of clusters: those of single organisms, with ids and limits that nodes can share."""

import re
from itertools import count

from msgspec.structs import replace

from organism.agents.agent import Agent, agent
from organism.agents.context import Context
from organism.budget.guards.actions import Actions, warned_at
from organism.budget.scopes import BudgetPlan, ScopeRule
from organism.ids import ID_DIGITS
from organism.llm.requests import CompletionRequest
from organism.messages import Message, Text
from organism.testing.simulate.shape import RandomShape
from organism.testing.simulate.tasks import Task, carry_out
from organism.testing.simulate.world import World

LABEL = "gpu"
"""What one of the agents needs of its nodes."""

_PINNED = "pinned"
_THREAD = re.compile(r"\bth_[0-9a-f]+")


class ClusterIds:
    """Ids counted from 1, as long as random ones: the partition that one carries is read from its length."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def next(self, prefix: str) -> str:
        """Return ``prefix_`` and the next number."""
        return f"{prefix}_{next(self._numbers):0{ID_DIGITS}x}"


class ClusterShape(RandomShape):
    """An organism that several nodes can run: no limit of several threads asks a person, and one agent needs a label.

    Args:
        world: The run's surroundings; its ids become those of a cluster.
        seed: Decides the shape.
    """

    def __init__(self, world: World, seed: int) -> None:
        world.ids = ClusterIds()
        world.owner = _first_thread
        super().__init__(world, seed)
        self._agents = (*self._agents, self._pinned())

    def _pinned(self) -> Agent:
        async def handle(message: Message, ctx: Context) -> Text | None:
            return await carry_out(message, ctx, self.saw) if isinstance(message, Task) else None

        return agent(_PINNED, accepts=[Message], peers=[_PINNED], timeout_s=40, node_label=LABEL)(handle)

    def _plan(self) -> BudgetPlan:
        plan = super()._plan()
        return replace(plan, actions=_without_people(plan.actions))

    def _rule(self) -> ScopeRule:
        actions = _without_people(super()._rule().actions)
        return ScopeRule(thresholds=warned_at(actions) or (100,), actions=actions) if actions else ScopeRule()


def _without_people(actions: Actions | None) -> Actions:
    return tuple(each for each in actions or () if each[1] != "approve")


def _first_thread(request: CompletionRequest) -> str:
    texts = (message.text for message in reversed(request.messages) if message.role == "user")
    found = (_THREAD.search(text) for text in texts)
    return next((match[0] for match in found if match), "")
