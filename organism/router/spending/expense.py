"""Expenses beside model calls: runs of tools, and what handlers spend themselves. Pure."""

import msgspec

from organism.budget.holds import Spender
from organism.budget.policy import Ask
from organism.ledger.entries import CallRecord
from organism.usage.attempts import Operation

HANDLER_SAYS = "handler"
"""The price source of a cost that a handler has stated."""


class Expense(msgspec.Struct, frozen=True, kw_only=True):
    """An expense.

    Attributes:
        what: The tool, or a short fixed name of the expense, by which sums are kept.
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
        """The request for its hold, which counts as no call."""
        return Ask(input_tokens=self.tokens, output_cap=0, output_min=0, request_cost=self.cost_nanousd, calls=0)


class ExpensePayer(msgspec.Struct, frozen=True, kw_only=True):
    """The payer of an expense: a message of a thread.

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
        """Return the record of an expense for the ledger."""
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
