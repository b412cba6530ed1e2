"""Calls that wait in line for room: one line per account that limits them, first come, first served."""

from collections import deque
from collections.abc import Iterable

import anyio

from organism.budget.holds import HeldCall, Spender
from organism.budget.policy import Ask
from organism.errors import Shortfall
from organism.ledger.entries import CallRecord


class Waiter:
    """One call in line."""

    __slots__ = ("account", "answer", "answered", "ask", "call", "spender", "ticket")

    def __init__(self, spender: Spender, ask: Ask, call: CallRecord | None, ticket: int) -> None:
        self.spender = spender
        self.ask = ask
        self.call = call
        self.ticket = ticket
        self.account: str | None = None
        self.answered = anyio.Event()
        self.answer: HeldCall | Shortfall | None = None


class WaitingLines:
    """The lines of all accounts. A call stands in one line at a time and keeps its place by its ticket."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Waiter]] = {}
        self._tickets = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def first_line(self, accounts: Iterable[str]) -> str | None:
        """Return the first of these accounts at which somebody waits."""
        if not self._lines:
            return None
        return next((account for account in accounts if account in self._lines), None)

    def join(self, spender: Spender, ask: Ask, call: CallRecord | None, account: str) -> Waiter:
        """Stand last in line at an account."""
        self._tickets += 1
        waiter = Waiter(spender, ask, call, self._tickets)
        self.move(waiter, account)
        return waiter

    def move(self, waiter: Waiter, account: str) -> None:
        """Stand at another account, behind those who came earlier and before those who came later."""
        self.leave(waiter)
        line = self._lines.setdefault(account, deque())
        place = len(line)
        while place and line[place - 1].ticket > waiter.ticket:
            place -= 1
        line.insert(place, waiter)
        waiter.account = account

    def leave(self, waiter: Waiter) -> str | None:
        """Step out of line; returns the account at which that made another the first."""
        account, waiter.account = waiter.account, None
        if account is None:
            return None
        line = self._lines[account]
        was_first = line[0] is waiter
        line.remove(waiter)
        if not line:
            del self._lines[account]
            return None
        return account if was_first else None

    def first(self, account: str) -> Waiter | None:
        """Return whose turn it is at an account."""
        line = self._lines.get(account)
        return line[0] if line else None
