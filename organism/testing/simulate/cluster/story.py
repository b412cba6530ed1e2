"""What happens to a simulated cluster: orders of its users, and what befalls its nodes and their network."""

import random

from organism.testing.simulate.scenario import Scenario, ScenarioStep

WEIGHTS = {
    "open": 12,
    "send": 3,
    "raise": 5,
    "lower": 2,
    "terminate": 2,
    "pause": 1,
    "resume": 2,
    "decide": 2,
    "join": 5,
    "leave": 3,
    "kill": 4,
    "drain": 2,
    "undrain": 1,
    "cut": 3,
    "stall": 4,
    "lose": 3,
    "reload": 3,
}
"""How often each is drawn; those of users are as in :mod:`organism.testing.simulate.operations`."""

FATES = ("join", "leave", "kill", "drain", "undrain", "cut", "stall", "lose", "reload")
"""What befalls nodes. What each does is in :mod:`organism.testing.simulate.cluster.processes`."""

_PAUSES_S = (0.0, 0.0, 0.3, 2.0, 4.0, 15.0)


def draw_cluster_story(seed: int, operations: int) -> Scenario:
    """Draw a story from a seed; it begins with a node, and with a thread once that has partitions."""
    chance = random.Random(f"cluster story {seed}")  # noqa: S311 - repeatable, not secret
    drawn = chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=chance.randint(2, operations))
    first = (ScenarioStep("join", 0.0, 0), ScenarioStep("open", 4.0, chance.randrange(1 << 20)))
    steps = (ScenarioStep(kind, chance.choice(_PAUSES_S), chance.randrange(1 << 20)) for kind in drawn)
    return Scenario(seed, (*first, *steps))


POSSIBLE_IN_CLUSTERS = (
    *(f"node {kind}" for kind in FATES),
    "node ended by NodeReplacedError",
    "a partition with another owner",
    "a partition that needs a label",
    "a stale owner refused",
    "a group whose answer was lost",
    "a hold on a shared limit",
    "a slice of a shared limit",
)
"""What hand-over is about: each of it should have happened, or "no failure" says little."""
