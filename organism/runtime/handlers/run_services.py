"""What runs of handlers share."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, cast

import msgspec

from organism.agents.agent import Agent, Output, is_async
from organism.agents.context import Context
from organism.budget.operations.reservations import Reservations
from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock
from organism.errors import ConfigError
from organism.messages import Message
from organism.router.memo import Memo
from organism.router.router import LLMRouter
from organism.runtime.active_config import ActiveConfig
from organism.runtime.budget_warnings import BudgetWarnings
from organism.runtime.children import Children
from organism.runtime.delivery import Delivery
from organism.runtime.handlers.loop_breakers import LoopBreakers
from organism.runtime.waiting.paused_time import PausedTime
from organism.runtime.waiting.timers import Timers
from organism.runtime.workers.handler_places import HandlerPlaces
from organism.runtime.workers.worker_pool import WorkerPool
from organism.threads.state_writer import ThreadStateWriter

_ALLOWED_MAX = 1_000

Means = Literal["sends", "answers", "asks"]

AllowedRoute = tuple[tuple[str, ...], type[Message], Means]


class RunServices(msgspec.Struct, frozen=True, kw_only=True):
    """What the runs of all handlers use.

    Attributes:
        active: Agents and bounds.
        router: Makes model calls.
        memo: The answers of messages that are not done, which are paid.
        registry: The budgets.
        reservations: What is held for calls, and left for last ones.
        delivery: Sends questions.
        children: Opens child threads.
        warnings: Know what agents have not heard of their budgets.
        breakers: Count what agents do.
        timers: Handler timeouts.
        worker_pool: The worker threads of plain functions.
        places: Bounds how many handlers run at once.
        paused_time: Stops timeouts while something is paused.
        state_writer: Writes what handlers have done.
        clock: Dates it.
    """

    active: ActiveConfig
    router: LLMRouter
    memo: Memo
    registry: ThreadBudgetRegistry
    reservations: Reservations
    delivery: Delivery
    children: Children
    warnings: BudgetWarnings
    breakers: LoopBreakers
    timers: Timers
    worker_pool: WorkerPool
    places: HandlerPlaces
    paused_time: PausedTime
    state_writer: ThreadStateWriter
    clock: Clock

    def model_for(self, model: str | None) -> str:
        """Return the model a call goes to: the one named, or the only one there is.

        Raises:
            ConfigError: If none is named and there is not exactly one.
        """
        if model is not None:
            return model
        models = list(self.router.models)
        if len(models) != 1:
            raise ConfigError(f"name a model for this call; there are: {', '.join(sorted(models)) or 'none'}")
        return models[0]


class AgentRunner:
    """What all runs of one agent's handler share, until a reload replaces any agent.

    Args:
        services: What the runs of all agents share.

    Attributes:
        start: Calls a handler that is an async function; ``None`` for a plain one, which runs on a worker thread.
        runs: Counts them.
        allowed: What :func:`organism.threads.routing.check_work` has allowed the agent: the recipients of one message,
            its type, and how it goes to them. It looks at the agents and nothing else, so once is enough.
    """

    __slots__ = ("agent", "agents", "allowed", "runs", "services", "start")

    def __init__(self, services: RunServices, name: str) -> None:
        self.services = services
        self.runs = services.active.runs
        self.agents: Mapping[str, Agent] = services.active.agents
        self.agent = agent = self.agents[name]
        self.allowed: set[AllowedRoute] = set()
        self.start: Callable[[Message, Context], Coroutine[Any, Any, Output]] | None = None
        if is_async(agent.handler):
            self.start = cast("Callable[[Message, Context], Coroutine[Any, Any, Output]]", agent.handler)

    def allow(self, permission: AllowedRoute) -> None:
        """Remember that a check was passed."""
        if len(self.allowed) >= _ALLOWED_MAX:  # types may be made while the process runs
            self.allowed.clear()
        self.allowed.add(permission)
