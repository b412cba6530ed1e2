"""Child threads: opened by handlers, each with a budget of its own or a share of its parent's."""

from functools import partial

import msgspec
from msgspec.structs import replace

from organism.agents.agent import Agent
from organism.amounts import Limits
from organism.budget.holds import ChildBudget
from organism.errors import BoundExceededError, BudgetExhaustedError, Refusal, StoppedError
from organism.messages import Message, sendable
from organism.runtime.intake import Intake
from organism.runtime.lifecycle import Lifecycle
from organism.runtime.loop_services import LoopServices
from organism.threads.routing import check_work
from organism.threads.thread import MessageKey, Origin, Thread
from organism.tracing import current_trace


class SpawnRequest(msgspec.Struct, frozen=True):
    """How a child thread begins: its first message, whom it is for, and its budget."""

    recipient: str
    message: Message
    limits: Limits | None
    budget: ChildBudget


class Children:
    """Opens child threads."""

    def __init__(self, services: LoopServices, life: Lifecycle, intake: Intake) -> None:
        self._threads = life.threads
        self._life = life
        self._registry = services.registry
        self._envelopes = services.envelopes
        self._active = services.active
        self._ids = services.ids
        self._intake = intake
        self._state_writer = services.state_writer

    async def spawn(self, parent: Thread, agent: Agent, key: MessageKey, request: SpawnRequest) -> Thread:
        """Open a child thread of a handler, or find the one its earlier run has opened.

        Where siblings hold what is to be carved out for it, it waits in line for them as a call does.

        Args:
            parent: The thread of the handler.
            key: Its message, and as which of its questions it spawns.
            request: How the child begins.

        Raises:
            BudgetExhaustedError: If its parent cannot give it the budget that is to be carved out.
            BoundExceededError: If it would be nested too deep, or is one too many.
            DeliveryError: If its first message cannot be accepted.
            ThreadClosedError: If its parent is ending.
            StoppedError: If the organism is stopping.
        """
        if (known := parent.spawned_before(key)) is not None:
            return known
        if parent.depth + 1 > (depth := self._active.bounds.depth):
            raise BoundExceededError("depth", depth, "child threads are nested too deep")
        message, size = sendable(request.message, self._active.bounds.message_bytes)
        check_work(agent, request.recipient, message, self._active.agents)
        request = replace(request, message=message)
        origin = self._intake.origin(current_trace(), key, opened_by=agent.name)
        begin = partial(self._begin, parent, key, request, size, origin)
        child = begin() if request.budget == "shared" else await self._registry.carve_in_turn(parent.id, begin)
        if isinstance(child, Refusal):
            raise BudgetExhaustedError(child, parent.id)
        return child

    def _begin(
        self, parent: Thread, key: MessageKey, request: SpawnRequest, size: int, origin: Origin
    ) -> Thread | Refusal:
        """Open a child with its budget and its first message, in one step, or say who has no room for its budget."""
        self._threads.get(parent.id)  # one that is closing has ended its children: another would outlive its account
        if parent.halting:
            raise StoppedError
        root, bounds = self._threads.get(parent.root), self._active.bounds
        if root.descendants + 1 > bounds.descendants:
            raise BoundExceededError("descendants", bounds.descendants, "the thread has too many descendants")
        child_id = self._ids.next("th")
        refusal = self._registry.open_thread(
            child_id, limits=request.limits, parent=parent.id, child_budget=request.budget
        )
        if refusal is not None:
            return refusal
        child = Thread(
            id=child_id,
            root=parent.root,
            parent=parent.id,
            depth=parent.depth + 1,
            entry=request.recipient,
            labels=parent.labels,
            origin=origin,
        )
        root.descendants += 1
        self._state_writer.save_thread(root)
        parent.children[child_id] = None
        parent.know_child(key, child)
        self._life.begin(
            child, self._envelopes.first(child, request.recipient, request.message, size, sender=origin.opened_by)
        )
        if parent.status == "paused":
            self._life.pause(child)  # it waits with the rest of its tree, whose handler has still been at work
        return child
