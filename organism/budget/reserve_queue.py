"""What waits in line for room: one line per account that limits it, first come, first served.

Calls wait here, and children whose whole limit is to be carved out. What waits is tried again by those who give room
back, in the same step, so nobody else can take that room in between.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import anyio

from organism.concurrency.loop_time import loop_time
from organism.errors import Refusal

T = TypeVar("T")


class Waiter(Generic[T]):
    """One that waits in line.

    Attributes:
        thread_id: The thread that waits; when its budget is closed, nobody needs an answer any more.
        attempt: Takes what is wanted if there is room, or says who has none; it must not await.
        answer: What came of it; ``None`` as long as it waits.
        error: Raised by the attempt, for the waiter.
    """

    __slots__ = ("account", "answer", "answered", "attempt", "error", "thread_id", "ticket")

    def __init__(self, thread_id: str, attempt: Callable[[], T | Refusal], ticket: int) -> None:
        self.thread_id = thread_id
        self.attempt = attempt
        self.ticket = ticket
        self.account: str | None = None
        self.answered = anyio.Event()
        self.answer: T | Refusal | None = None
        self.error: Exception | None = None

    def try_again(self) -> T | Refusal | None:
        """Try; ``None`` when that raised."""
        try:
            return self.attempt()
        except Exception as error:  # noqa: BLE001 - it is the waiter's; the one who gave the room back must not be stopped
            self.error = error
            return None


class ReserveQueue:
    """The lines of all accounts. A waiter stands in one line at a time and keeps its place by its ticket.

    Args:
        is_open: Whether a thread still has a budget.

    Attributes:
        on_headroom: Called with accounts that have room again, when all in line who fit have been served; ``None``
            while nobody wants to know.
    """

    def __init__(self, is_open: Callable[[str], bool]) -> None:
        self.on_headroom: Callable[[Iterable[str]], object] | None = None
        self._is_open = is_open
        self._lines: dict[str, deque[Waiter[Any]]] = {}
        self._tickets = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts at which somebody waits."""
        return tuple(self._lines)

    def first_queue(self, accounts: Iterable[str]) -> str | None:
        """Return the first of these accounts at which somebody waits."""
        if not self._lines:
            return None
        return next((account for account in accounts if account in self._lines), None)

    async def in_turn(
        self,
        thread_id: str,
        accounts: Iterable[str],
        attempt: Callable[[], T | Refusal],
        *,
        wait_s: float,
        until_s: float = math.inf,
        undo: Callable[[T], object] = lambda _taken: None,
        ticket: int | None = None,
    ) -> T | Refusal | None:
        """Take something if there is room for it, behind those who wait already, or wait for those who hold it.

        Args:
            thread_id: The thread that it is for.
            accounts: What it is taken on.
            attempt: Takes it, or says who has no room; tried at once, and again whenever room comes back.
            wait_s: Seconds to wait.
            until_s: When there is no use in it any more, on the event loop's clock; the answer is ``None`` then.
            undo: Gives back what was taken in the same instant in which the waiter was cancelled.
            ticket: Its place in line; the last one unless given.
        """
        # No call overtakes the line of any of its accounts, even if it would fit: a stream of small calls would starve
        # a large one.
        account = self.first_queue(accounts)
        if account is None:
            answer = attempt()
            if not isinstance(answer, Refusal) or not answer.held:
                return answer
            account = answer.account
        waiter = self.join(thread_id, attempt, account, self.next_ticket() if ticket is None else ticket)
        return await self.answer_to(waiter, wait_s=wait_s, until_s=until_s, undo=undo)

    def next_ticket(self) -> int:
        """Return the place in line of what comes now: behind all that came before it."""
        self._tickets += 1
        return self._tickets

    def join(self, thread_id: str, attempt: Callable[[], T | Refusal], account: str, ticket: int) -> Waiter[T]:
        """Stand at an account, by a ticket."""
        waiter = Waiter(thread_id, attempt, ticket)
        self._move(waiter, account)
        return waiter

    def quit(self, waiter: Waiter[Any]) -> None:
        """Step out of line, and let those behind be looked at."""
        if (next_up := self._leave(waiter)) is not None:
            self.serve(next_up)

    async def answer_to(
        self,
        waiter: Waiter[T],
        *,
        wait_s: float,
        until_s: float = math.inf,
        undo: Callable[[T], object] = lambda _taken: None,
    ) -> T | Refusal | None:
        """Wait for the answer to one in line; see :meth:`in_turn`."""
        try:
            with anyio.CancelScope(deadline=min(loop_time() + wait_s, until_s)):
                await waiter.answered.wait()
        except BaseException:
            # Served and cancelled in the same turn of the event loop: the room was taken, but its task will never use
            # it. Not given back, it would be held until the process ends.
            if waiter.answer is not None and not isinstance(waiter.answer, Refusal):
                undo(waiter.answer)
            raise
        finally:
            # Also after an answer, when it is out of line already; a waiter that leaves in front must let the next one
            # be tried, or the line would stand still with room to spare.
            self.quit(waiter)
        if waiter.error is not None:
            raise waiter.error
        # The patience is over but not the deadline: the last try yields the refusal with the numbers of now, not of
        # when it came.
        if waiter.answer is None and loop_time() < until_s:
            return waiter.attempt()
        return waiter.answer

    def serve(self, *accounts: str) -> None:
        """Answer those in line who fit now, or who never will because nobody holds anything any more."""
        for account in accounts if self._lines else ():
            while (line := self._lines.get(account)) is not None:
                # Only the first is tried. One behind it may fit, but granting that would break the order.
                waiter = line[0]
                if not self._is_open(waiter.thread_id):
                    self._leave(waiter)  # its thread was terminated; its task is being cancelled and needs no answer
                    continue
                # It still waits here, so no one behind it is tried. Otherwise it left, or moved to another account, and
                # the next is first.
                if self._decide(waiter) == account:
                    break
        if self.on_headroom is not None:
            self.on_headroom(accounts)

    def decide_anew(self, is_over: Callable[[str], bool], others: Iterable[Waiter[Any]] = ()) -> None:
        """Try again all that waits at accounts that count no more, in the order in which it came.

        Args:
            is_over: Whether an account counts no more.
            others: What stood in no line, because it had been given room on such an account.
        """
        waiters = [waiter for account, line in self._lines.items() if is_over(account) for waiter in line]
        waiters = sorted((*waiters, *others), key=lambda waiter: waiter.ticket)
        for waiter in waiters:
            self._leave(waiter)
        for waiter in waiters:
            if self._is_open(waiter.thread_id):
                self._decide(waiter)

    def _decide(self, waiter: Waiter[Any]) -> str | None:
        """Try for one in line; returns the account at which it stands now, ``None`` if it need not wait any more."""
        answer = waiter.try_again()
        if isinstance(answer, Refusal) and answer.held:
            if answer.account != waiter.account:
                self._move(waiter, answer.account)
            return answer.account
        self._leave(waiter)
        # Out of line before its task wakes, and answered without an await: room that is granted is never counted as
        # free.
        waiter.answer = answer
        waiter.answered.set()
        return None

    def _move(self, waiter: Waiter[Any], account: str) -> None:
        """Stand at another account, behind those who came earlier and before those who came later."""
        self._leave(waiter)
        line = self._lines.setdefault(account, deque())
        place = len(line)
        while place and line[place - 1].ticket > waiter.ticket:
            place -= 1
        line.insert(place, waiter)
        waiter.account = account

    def _leave(self, waiter: Waiter[Any]) -> str | None:
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
