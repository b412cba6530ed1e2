"""What a context needs of the pump, and what it hands to it: the port between a handler and all that runs it."""

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, Protocol, TypeVar

import msgspec

from organism.amounts import BudgetState, Limits
from organism.budget.budget_hold import BudgetHold
from organism.budget.holds import ChildBudget
from organism.errors import BudgetExhaustedError
from organism.llm.answers import Completion
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import TextSink
from organism.llm.requests import CompletionRequest
from organism.messages import BudgetWarning, Message, ThreadResult
from organism.router.call import LastWord
from organism.router.spending.expense import Expense
from organism.threads.approvals import BudgetRequest, Decision

T = TypeVar("T")


class Sending(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a handler wants a message sent.

    Attributes:
        recipient: Who gets it; ``None`` leaves that to the routing rules.
        delay_s: Seconds to wait before it is delivered.
        is_reply: Whether it answers the present message.
        to_all: Whether it goes to every peer that accepts its type.
    """

    recipient: str | None = None
    delay_s: float = 0.0
    is_reply: bool = False
    to_all: bool = False


AS_USUAL = Sending()
"""At once, and to whom the routing rules say: what a handler returns."""


class Spending(Protocol):
    """What a handler pays for beside model calls, charged to the thread."""

    def charge(self, expense: Expense) -> Awaitable[None]:
        """Charge what has been spent; awaiting what comes back waits until that is durable."""
        ...

    def hold(self, expense: Expense, *, parks: bool) -> BudgetHold:
        """Make a block that holds an expense; a refusal lets the message wait, or is raised."""
        ...


class Runtime(Protocol):
    """What a context needs of the pump, for the one run of a handler that it belongs to.

    Every method raises :class:`~organism.errors.ContextClosedError` once that run is over: it may be called by a task
    or a function that the handler has left behind.
    """

    async def complete(
        self,
        model: str | None,
        request: CompletionRequest,
        on_text: TextSink | None,
        last_word: LastWord | None = None,
    ) -> Completion:
        """Make a model call, charged to the thread."""
        ...

    async def embed(self, model: str | None, request: EmbeddingRequest) -> Embeddings:
        """Have vectors made of texts, charged to the thread."""
        ...

    def send(self, message: Message, sending: Sending = AS_USUAL) -> None:
        """Check a message and keep it until the handler has finished."""
        ...

    @property
    def spending(self) -> "Spending":
        """What the handler pays for beside model calls."""
        ...

    async def exhausted(self, error: BudgetExhaustedError) -> NoReturn:
        """Let the message wait for what was refused, or raise it where the organism is set to fail then."""
        ...

    def report(self, name: str, result: str) -> None:
        """Keep the outcome of a decision until the handler has finished."""
        ...

    def ask(
        self, recipient: str, message: Message, timeout_s: float, *, beside: bool = False
    ) -> Callable[[], Awaitable[Message]]:
        """Give a question its number within the handler; calling what comes back sends it and waits for its reply."""
        ...

    async def spawn(self, recipient: str, message: Message, limits: Limits | None, budget: ChildBudget) -> ThreadResult:
        """Open a child thread now and wait for its end."""
        ...

    def budgets(self) -> tuple[BudgetState, ...]:
        """Return every account that limits the thread, its own first."""
        ...

    def standing_warning(self) -> BudgetWarning | None:
        """Return the warning of the limit that is nearest to its end, if any is near."""
        ...

    def take_warnings(self) -> tuple[BudgetWarning, ...]:
        """Return the thresholds that the agent has not heard of, in place of their messages."""
        ...

    async def approval(self, what: str, detail: str, budget: BudgetRequest | None = None) -> Decision:
        """Ask a person, for something or for budget, and let the message wait until one has answered."""
        ...

    def on_tool(self, place: int, name: str, arguments: str, result: str) -> str | None:
        """Count what a tool has given; returns what its model has to read, if anything."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the agent's own dictionary for the thread."""
        ...

    def first_state(self) -> dict[str, Any] | None:
        """Return the state that this message's paid answers were asked with; ``None`` if none is paid or it is kept."""
        ...

    def keep_first_state(self) -> None:
        """Keep the present state as the one that this message's answers are asked with."""
        ...

    def kept(self, key: str) -> bytes | None:
        """Return what was kept for this message under a key."""
        ...

    def keep(self, key: str, value: bytes) -> None:
        """Keep a value until the message is done."""
        ...

    async def on_thread(self, function: Callable[[], T]) -> T:
        """Call a plain function on a worker thread, where it may block without holding up the others."""
        ...
