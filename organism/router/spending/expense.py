"""What is paid for beside model calls: a run of a tool, or what a handler has spent itself. Pure."""

import msgspec

from organism.budget.holds import Spender
from organism.budget.policy import Ask
from organism.ledger.entries import CallRecord
from organism.usage.attempts import Operation

HANDLER_SAYS = "handler"
"""The source of a cost that a handler has told."""


class Expense(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to be paid for.

    Attributes:
        what: The tool, or what it is in a few fixed words: a name that sums are kept by.
        cost_nanousd: What it costs, or at most costs, in nano-USD.
        tokens: How many tokens it takes, likewise.
        operation: Whether a tool runs, or the handler says what it pays for.
        price_source: Where the cost comes from.
    """

    what: str
    cost_nanousd: int = 0
    tokens: int = 0
    operation: Operation = "charge"
    price_source: str = HANDLER_SAYS

    @property
    def ask(self) -> Ask:
        """What is held for it: it is no call of a model."""
        return Ask(input_tokens=self.tokens, output_cap=0, output_min=0, request_cost=self.cost_nanousd, calls=0)


class ExpensePayer(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays: a message of a thread.

    Attributes:
        spender: The thread and the agent.
        root_thread_id: The thread at the top of its tree.
        labels: The thread's.
        message_id: The message whose handling spends.
        raises: Whether the agent gets a refusal as an error, and does not wait.
    """

    spender: Spender
    root_thread_id: str
    labels: dict[str, str]
    message_id: str
    raises: bool = False

    def record(self, expense: Expense, call_id: str) -> CallRecord:
        """Make what the ledger notes."""
        return CallRecord(
            thread_id=self.spender.thread_id,
            root_thread_id=self.root_thread_id,
            agent=self.spender.agent,
            message_id=self.message_id,
            call_id=call_id,
            attempt=1,
            provider="",
            model="",
            request_model="",
            input_tokens=expense.tokens,
            output_cap=0,
            price_source=expense.price_source,
            operation=expense.operation,
            tool=expense.what,
        )
