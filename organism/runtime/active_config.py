"""The agents and bounds that hold for the next message: replaced in one step by a reload, so nobody keeps a part."""

from collections.abc import Mapping
from typing import Literal

from organism.agents.agent import Agent
from organism.concurrency.wakeups import Wakeup
from organism.runtime.bounds import Bounds

OnExhausted = Literal["park", "fail"]
"""``park``: a refused message waits for a higher limit. ``fail``: the handler gets ``BudgetExhaustedError``."""

_CHECKED_MAX = 10_000


class InFlightCounter:
    """Counts the handler runs in flight that began with the same agents; a reload waits for those of the old ones.

    Attributes:
        count: Runs in flight; add one for each that begins, and call :meth:`end` for each that ends.
    """

    __slots__ = ("_none", "count")

    def __init__(self) -> None:
        self.count = 0
        self._none = Wakeup()

    def end(self) -> None:
        """Count a run as ended."""
        self.count -= 1
        if not self.count:
            self._none.notify()

    async def wait_none(self) -> None:
        """Return when none is in flight."""
        while self.count:
            await self._none.wait()


class ActiveConfig:
    """What holds for every message handled from now on.

    Attributes:
        agents: All agents by name; the mapping itself is replaced, never changed.
        bounds: Structural bounds.
        on_exhausted: What a refusal means for a handler.
        runs: The runs that have begun with these agents.
        paused: Agents that an operator has paused.
        stopped: Agents that have failed too often and take no more messages, with the reason.
        allowed: What :func:`organism.threads.routing.check_work` has allowed with these agents: sender, recipient,
            type of message, and whether it replies. It looks at nothing else, so it need not look again.
    """

    __slots__ = ("agents", "allowed", "bounds", "on_exhausted", "paused", "runs", "stopped")

    def __init__(self, agents: Mapping[str, Agent], bounds: Bounds, on_exhausted: OnExhausted) -> None:
        self.paused: set[str] = set()
        self.stopped: dict[str, str] = {}
        self.replace(agents, bounds, on_exhausted)

    def replace(self, agents: Mapping[str, Agent], bounds: Bounds, on_exhausted: OnExhausted) -> None:
        """Make others active; runs in flight finish with what they began with."""
        self.agents: Mapping[str, Agent] = dict(agents)
        self.bounds = bounds
        self.on_exhausted: OnExhausted = on_exhausted
        self.runs = InFlightCounter()
        self.allowed: set[tuple[str, str, type, bool]] = set()
        self.paused.intersection_update(self.agents)
        self.stopped = {name: why for name, why in self.stopped.items() if name in self.agents}

    def allow(self, passage: tuple[str, str, type, bool]) -> None:
        """Remember that a check was passed."""
        if len(self.allowed) >= _CHECKED_MAX:  # types may be made while the process runs
            self.allowed.clear()
        self.allowed.add(passage)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all agents."""
        return tuple(self.agents)
