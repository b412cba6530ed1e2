"""Child threads: opened by handlers, each with a budget of its own or a share of its parent's."""

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from organism.agents.agent import Agent
from organism.budget.registry import ThreadBudgetRegistry
from organism.bus.routing import check_work
from organism.bus.threads import MessageKey, Origin, Thread
from organism.errors import BoundExceededError, BudgetExhaustedError, Shortfall
from organism.ids import IdSource
from organism.pump.envelopes import Envelopes
from organism.pump.host import Birth
from organism.pump.in_force import InForce
from organism.pump.lifecycle import Lifecycle
from organism.pump.outgoing import weighed
from organism.tracing import current_trace


class Children:
    """Opens child threads.

    Args:
        life: Holds the threads.
        registry: Gives them their budgets.
        envelopes: Wraps their first messages.
        in_force: The agents and bounds.
        ids: Names them.
        origin: Says when and out of what a thread begins, which a message spawns in this place.
    """

    def __init__(
        self,
        life: Lifecycle,
        registry: ThreadBudgetRegistry,
        envelopes: Envelopes,
        in_force: InForce,
        ids: IdSource,
        origin: Callable[[str | None, MessageKey | None], Origin],
    ) -> None:
        self._life = life
        self._registry = registry
        self._envelopes = envelopes
        self._in_force = in_force
        self._ids = ids
        self._origin = origin

    async def spawn(self, parent: Thread, agent: Agent, key: MessageKey, birth: Birth) -> Thread:
        """Open a child thread of a handler, or find the one its earlier run has opened.

        Where siblings hold what is to be carved out for it, it waits in line for them as a call does.

        Args:
            parent: The thread of the handler.
            agent: Whose handler.
            key: Its message, and as which of its questions it spawns.
            birth: How the child begins.

        Raises:
            BudgetExhaustedError: If its parent cannot give it the budget that is to be carved out.
            BoundExceededError: If it would be nested too deep, or is one too many.
            DeliveryError: If its first message cannot be accepted.
        """
        if (known := parent.spawned.get(key)) is not None:
            return known
        if parent.depth + 1 > (depth := self._in_force.bounds.depth):
            raise BoundExceededError("depth", depth, "child threads are nested too deep")
        message, size = weighed(birth.message, self._in_force.bounds)
        check_work(agent, birth.recipient, message, self._in_force.agents)
        birth, origin = replace(birth, message=message), self._origin(current_trace(), key)
        begin = partial(self._begin, parent, key, birth, size, origin)
        child = begin() if birth.budget == "shared" else await self._registry.carve_in_turn(parent.id, begin)
        if isinstance(child, Shortfall):
            raise BudgetExhaustedError(child, parent.id)
        return child

    def _begin(self, parent: Thread, key: MessageKey, birth: Birth, size: int, origin: Origin) -> Thread | Shortfall:
        """Open a child with its budget and its first message, in one step, or say who has no room for its budget."""
        root, bounds = self._life.get(parent.root), self._in_force.bounds
        if root.descendants + 1 > bounds.descendants:
            raise BoundExceededError("descendants", bounds.descendants, "the thread has too many descendants")
        child_id = self._ids.next("th")
        refusal = self._registry.open_thread(child_id, limits=birth.limits, parent=parent.id, child_budget=birth.budget)
        if refusal is not None:
            return refusal
        child = Thread(
            id=child_id,
            root=parent.root,
            parent=parent.id,
            depth=parent.depth + 1,
            entry=birth.recipient,
            labels=parent.labels,
            origin=origin,
        )
        root.descendants += 1
        self._life.keeper.thread(root)
        parent.children.add(child_id)
        parent.spawned[key] = child
        self._life.begin(child, self._envelopes.first(child, birth.recipient, birth.message, size))
        if parent.status == "paused":
            self._life.pause(child)  # it waits with the rest of its tree, whose handler has still been at work
        return child
