"""What the control API needs of an organism."""

from typing import Protocol

from organism.amounts import BudgetState, Limits
from organism.bus.threads import ThreadView
from organism.messages import Message, MessageRegistry, ThreadResult
from organism.usage.events import AnyEvent
from organism.usage.tracker import UsageTracker


class Controlled(Protocol):
    """A running organism, as an operator sees it; ``organism.app.Organism`` is one."""

    messages: MessageRegistry
    usage: UsageTracker

    async def open_thread(
        self,
        message: Message | str,
        *,
        to: str | None = None,
        thread_id: str | None = None,
        limits: Limits | None = None,
        labels: dict[str, str] | None = None,
        trace: str | None = None,
    ) -> str:
        """Open a thread and return its id."""
        ...

    async def send(self, thread_id: str, message: Message | str, *, to: str | None = None) -> str:
        """Send a message into a thread and return its id."""
        ...

    def threads(self) -> tuple[ThreadView, ...]:
        """Return a look at every open thread."""
        ...

    def thread(self, thread_id: str) -> ThreadView:
        """Return a look at one open thread."""
        ...

    def thread_budgets(self, thread_id: str) -> tuple[BudgetState, ...]:
        """Return every account that limits a thread."""
        ...

    async def set_limits(self, thread_id: str, limits: Limits) -> BudgetState:
        """Give a thread new limits."""
        ...

    async def events_after(self, after: str, limit: int = 1000) -> list[AnyEvent]:
        """Return stored events after the one of that id."""
        ...

    async def terminate(self, thread_id: str, reason: str = "") -> ThreadResult:
        """End a thread."""
        ...
