"""Who takes part, and within which bounds: replaced in one step by a reload, so nobody keeps a part of it."""

from collections.abc import Mapping

from organism.agents.agent import Agent
from organism.runtime.bounds import Bounds
from organism.wakeups import Wakeup


class InFlightCounter:
    """Counts the runs of handlers that have begun with the same agents.

    Attributes:
        count: How many: one more for each that begins, and :meth:`end` for each that ends.
    """

    __slots__ = ("_ended", "count")

    def __init__(self) -> None:
        self.count = 0
        self._ended = Wakeup()

    def end(self) -> None:
        """Count one as ended."""
        self.count -= 1
        if not self.count:
            self._ended.notify()

    async def wait_none(self) -> None:
        """Return when none is under way."""
        while self.count:
            await self._ended.wait()


class ActiveConfig:
    """What holds for every message handled from now on.

    Attributes:
        agents: All agents by name; the mapping itself is replaced, never changed.
        bounds: Structural bounds.
        runs: The runs that have begun with these agents.
        paused: Agents that an operator has told to wait.
    """

    __slots__ = ("agents", "bounds", "paused", "runs")

    def __init__(self, agents: Mapping[str, Agent], bounds: Bounds) -> None:
        self.paused: set[str] = set()
        self.replace(agents, bounds)

    def replace(self, agents: Mapping[str, Agent], bounds: Bounds) -> None:
        """Put others in force; runs that are under way finish with what they began with."""
        self.agents: Mapping[str, Agent] = dict(agents)
        self.bounds = bounds
        self.runs = InFlightCounter()
