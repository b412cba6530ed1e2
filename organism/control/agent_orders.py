"""Orders about agents, and about the messages that they gave up on."""

from organism.control.agent_pauses import AgentPauses
from organism.control.components import Components
from organism.control.idempotency import PYTHON, Order, OrderExecution, UnknownLetterError
from organism.control.views import Accepted, OrderDone


class AgentOrders(OrderExecution):
    """The part of :class:`organism.control.control.Control` that is about agents.

    Args:
        components: What the organism is made of.
    """

    def __init__(self, components: Components) -> None:
        super().__init__(components.journal, components.outbox, components.clock, components.pump.check_orders)
        orders = components.orders
        self._letters = orders.dead_letters
        self._pauses = AgentPauses(components.journal, orders.pausing)

    async def pause_agent(self, agent: str, *, order: Order = PYTHON) -> OrderDone:
        """Have an agent finish what it does and take nothing more, in any thread.

        Raises:
            UnknownRecipientError: If there is no such agent.
        """
        return await self._steer(order, "agent.pause", agent, self._pauses.pause_agent)

    async def resume_agent(self, agent: str, *, order: Order = PYTHON) -> OrderDone:
        """Let an agent go on that was paused, or had stopped after too many failures.

        Raises:
            UnknownRecipientError: If there is no such agent.
        """
        return await self._steer(order, "agent.resume", agent, self._pauses.resume_agent)

    async def retry_letter(self, message_id: str, *, order: Order = PYTHON) -> Accepted:
        """Send the message of a dead letter again: in its thread, or in a new one if that has ended.

        Raises:
            UnknownLetterError: If there is none.
            DeliveryError: If it cannot be accepted; the letter stays where it is.
        """

        def step() -> Accepted:
            letter = next((one for one in self._letters.list() if one.envelope.id == message_id), None)
            if letter is None:
                raise UnknownLetterError(message_id)
            thread_id = self._letters.retry(letter)
            self._audit(order, "letter.retry", message_id, after={"thread_id": thread_id})
            return Accepted(thread_id)

        return await self._do(order, step)

    async def discard_letter(self, message_id: str, *, order: Order = PYTHON) -> OrderDone:
        """Forget a dead letter.

        Raises:
            UnknownLetterError: If there is none.
        """

        def step() -> OrderDone:
            if not self._letters.discard(message_id):
                raise UnknownLetterError(message_id)
            self._audit(order, "letter.discard", message_id)
            return OrderDone((message_id,))

        return await self._do(order, step)
