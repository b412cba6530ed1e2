"""What runs of handlers need of the pump that runs them: the port between the two."""

from contextlib import AbstractContextManager
from typing import Literal, Protocol

import msgspec

from organism.agents.agent import Agent
from organism.amounts import Limits
from organism.budget.holds import ChildBudget
from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock
from organism.messages import Envelope, Message
from organism.router.router import LLMRouter
from organism.runtime.active_config import ActiveConfig
from organism.runtime.timers import Timers
from organism.runtime.workers.worker_pool import WorkerPool
from organism.threads.state_writer import ThreadStateWriter
from organism.threads.thread import Question, Thread

OnExhausted = Literal["park", "fail"]
"""``park``: a refused message waits for a higher limit. ``fail``: the handler gets ``BudgetExhaustedError``."""


class Host(Protocol):
    """What a run needs of the pump that runs it."""

    on_exhausted: OnExhausted
    router: LLMRouter
    registry: ThreadBudgetRegistry
    timers: Timers
    worker_pool: WorkerPool

    def model_for(self, model: str | None) -> str:
        """Return the model a call goes to when its handler names this one, or none."""
        ...

    async def put_question(
        self, thread: Thread, agent: Agent, asker: Envelope, index: int, recipient: str, message: Message
    ) -> Question:
        """Send a question of an agent."""
        ...

    def waiting(self, thread: Thread, envelope: Envelope) -> AbstractContextManager[None]:
        """Note that the handler of a message does nothing but wait for another agent or a child."""
        ...

    async def spawn_child(
        self, parent: Thread, agent: Agent, asker: Envelope, index: int, request: "SpawnRequest"
    ) -> Thread:
        """Open a child thread, or return the one opened under that index before."""
        ...


class SpawnRequest(msgspec.Struct, frozen=True):
    """How a child thread begins: its first message, whom it is for, and its budget."""

    recipient: str
    message: Message
    limits: Limits | None
    budget: ChildBudget


class RunServices(msgspec.Struct, frozen=True):
    """What the runs of all handlers share.

    Attributes:
        host: The pump.
        active: Agents and bounds.
        state_writer: Keeps what handlers have done.
        clock: Dates it.
    """

    host: Host
    active: ActiveConfig
    state_writer: ThreadStateWriter
    clock: Clock
