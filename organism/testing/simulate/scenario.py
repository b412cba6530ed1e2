"""What a simulated run does: a seed, and a list of operations that can be shortened and read."""

import random
from collections.abc import Sequence

import msgspec

WEIGHTS = {
    "open": 10,
    "send": 3,
    "raise": 5,
    "lower": 2,
    "correct": 1,
    "terminate": 2,
    "pause": 2,
    "resume": 2,
    "pause_agent": 1,
    "resume_agent": 1,
    "mode": 1,
    "freeze": 2,
    "unfreeze": 2,
    "decide": 4,
    "retry": 1,
    "reload": 1,
    "cancel": 1,
    "clock": 1,
    "hour": 1,
    "crash": 3,
    "restart": 1,
    "late": 1,
    "rename": 1,
}
"""How often each operation is drawn. What each does is in :mod:`organism.testing.simulate.operations`."""

AIMS: dict[str, tuple[tuple[str, float], ...]] = {
    "move dormant close": (("open", 0.01), ("late", 0.3)),
    "move blocked lose_wait": (("open", 0.0), ("open", 0.0), ("freeze", 0.0), ("rename", 90.0)),
    "move paused close": (("open", 0.0), ("pause", 0.01), ("terminate", 2.0)),
    "outcome hold released": (("open", 0.0), ("freeze", 0.01)),
    "outcome execute_tool worst_case": (("open", 0.0), ("crash", 0.3)),
}
"""What chance alone seldom brings about, and operations, each after so many seconds, that often lead there."""

STOPS = ("restart", "hour", "late", "rename")
"""Operations that end a process and begin the next: at once, about the full hour, with an order that comes while it
stops, and with another configuration, which an agent is missing from."""

_AIMED = 0.3
"""How many stories have such operations somewhere."""

_PAUSES_S = (0.0, 0.0, 0.0, 0.01, 0.3, 2.0, 90.0)


class ScenarioStep(msgspec.Struct, frozen=True):
    """One thing that a client, an operator or fate does.

    Attributes:
        kind: One of :data:`WEIGHTS`.
        after_s: Seconds after the operation before it; operations do not wait for each other.
        number: Decides all else about it: which thread, how much, which task.
    """

    kind: str
    after_s: float
    number: int

    def __str__(self) -> str:
        """Write it as a line of a story."""
        return f"{self.kind}({self.number}) after {self.after_s:g} s"


class Scenario(msgspec.Struct, frozen=True):
    """A whole run: the same story is always the same run, to the last record.

    Attributes:
        seed: Decides the organism's shape, the order of tasks, the provider's answers and the disk's delays.
        operations: What happens to it, in order.
    """

    seed: int
    operations: tuple[ScenarioStep, ...]

    def __str__(self) -> str:
        """Write the story, a line for each operation."""
        return "\n".join([f"seed {self.seed}:", *(f"  {operation}" for operation in self.operations)])


def draw_scenario(seed: int, operations: int, kinds: Sequence[str] = tuple(WEIGHTS)) -> Scenario:
    """Draw a story from a seed.

    Args:
        seed: The seed.
        operations: At most how many operations.
        kinds: Which of them may happen.
    """
    chance = random.Random(f"story {seed}")  # noqa: S311 - repeatable, not secret
    drawn = chance.choices(kinds, [WEIGHTS[kind] for kind in kinds], k=chance.randint(1, operations))
    steps = [(kind, chance.choice(_PAUSES_S)) for kind in ("open", *drawn)]
    aims = [aim for aim in AIMS.values() if all(kind in kinds for kind, _ in aim)]
    if aims and chance.random() < _AIMED:
        place = chance.randint(1, len(steps))
        steps[place:place] = chance.choice(aims)
    return Scenario(seed, tuple(ScenarioStep(kind, after_s, chance.randrange(1 << 20)) for kind, after_s in steps))
