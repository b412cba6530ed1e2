"""How many handlers run at once, in all and of one agent: each message waits for a free place before its handler runs.

A handler takes its place where it first waits, for nobody else runs before that; one that never does needs none, which
spares nearly every hop the count. Its lane keeps the place until the message is done or waits for budget or a person,
also from one try to the next. One that was cut short while it had lent its place has one beyond the bound at its end;
its message waits for its turn again before the next try.

A handler that waits for what other handlers do (a question, a child, room in a mailbox) lends its place meanwhile: else
as many of them as there are places would wait without end. When it goes on it waits for a place again, before all that
has not begun. Nothing else that waits gives its place away, so each that has one comes to its end.
"""

import asyncio
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from organism.threads.lanes import Lane

T = TypeVar("T")


class HandlerStatistics(msgspec.Struct, frozen=True):
    """A look at the places of handlers.

    Attributes:
        limit: Handlers that may run at once.
        running: Handlers that run, by agent.
        waiting: Messages that wait for a place, by agent.
    """

    limit: int = 0
    running: dict[str, int] = {}
    waiting: dict[str, int] = {}

    def of(self, agent: str) -> tuple[int, int]:
        """Return how many handlers of an agent run, and how many messages wait for a place of it."""
        return self.running.get(agent, 0), self.waiting.get(agent, 0)

    def in_all(self) -> tuple[int, int]:
        """Return the same of all agents."""
        return sum(self.running.values()), sum(self.waiting.values())


class PlaceHolder(msgspec.Struct, eq=False, kw_only=True):
    """A run of a handler, as far as its place is concerned.

    Attributes:
        lends: For how many things it waits at the moment for which it lends its place.
        place_lent: Whether it goes without a place at the moment.
        returning: Whether it waits for a place again.
    """

    lends: int = 0
    place_lent: bool = False
    returning: bool = False


class _Run(Protocol):
    lane: Lane
    lends: int
    place_lent: bool
    returning: bool
    closed: bool


class HandlerPlaces:
    """Gives places to messages and takes them back: fair to agents, first come, first served within one.

    Args:
        limit: Says how many there are in all; a reload may change it.
        limit_of: Says how many an agent may have.
    """

    def __init__(self, limit: Callable[[], int], limit_of: Callable[[str], int]) -> None:
        self._limit = limit
        self._limit_of = limit_of
        self._running: defaultdict[str, int] = defaultdict(int)
        self._total = 0
        self._waiting: OrderedDict[str, deque[tuple[Lane, Callable[[], object]]]] = OrderedDict()
        self._returning: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def may_begin(self, agent: str) -> bool:
        """Whether a place is free that nobody waits for."""
        # Each hop passes here, so nothing is asked whose answer follows: a place alone is always free.
        return not self._total or (
            agent not in self._waiting and agent not in self._returning and self._has_room(agent)
        )

    def wait(self, lane: Lane, let_in: Callable[[], object]) -> None:
        """Wait in line; when ``let_in`` is called, the lane's handler has a place."""
        self._waiting.setdefault(lane.agent, deque()).append((lane, let_in))

    def take(self, lane: Lane) -> None:
        """Take a place for a lane's handler unless it has one, whether or not one is free."""
        if not lane.place:
            lane.place = True
            self._count_in(lane.agent)

    def leave(self, lane: Lane) -> None:
        """Give the place of a lane's handler back, if it has one."""
        if lane.place:
            lane.place = False
            self._count_out(lane.agent)

    def may_go_on(self, lane: Lane) -> bool:
        """Whether a lane's handler, which has a place, may keep it for another try: not one beyond the bound."""
        return self._total <= self._limit() and self._running[lane.agent] <= self._limit_of(lane.agent)

    def statistics(self) -> HandlerStatistics:
        """Count who runs and who waits."""
        waiting = Counter({agent: len(line) for agent, line in self._waiting.items()})
        waiting.update({agent: len(line) for agent, line in self._returning.items()})
        return HandlerStatistics(
            self._limit(), {agent: count for agent, count in self._running.items() if count}, dict(waiting)
        )

    # -- runs that wait for others --------------------------------------------------------------------------------

    def lend(self, run: _Run) -> None:
        """Lend the place of a run, if it has one."""
        if not run.place_lent and not run.closed:
            run.place_lent = True
            self.leave(run.lane)

    def take_back(self, run: _Run) -> None:
        """Give a run its place again at once, whether or not one is free."""
        if run.place_lent and not run.closed:
            run.place_lent = False
            self.take(run.lane)

    def aside(self, run: _Run) -> tuple[Callable[[], object], Callable[[], object]]:
        """Return what lends the place of a run, and what takes it back."""
        return partial(self.lend, run), partial(self.take_back, run)

    async def come_back(self, run: _Run) -> None:
        """Wait for a place for a run again; at once where it waits for others still, or is over."""
        if run.lends or run.closed or run.returning or not run.place_lent:
            return
        agent = run.lane.agent
        if agent not in self._returning and self._has_room(agent):
            self.take_back(run)
            return
        run.returning = True
        try:
            await self._enter_again(agent)
        finally:
            run.returning = False
            self._seat(run)

    def _seat(self, run: _Run) -> None:
        """Give a run the place it waited for, unless it has ended meanwhile or waits for others again."""
        if run.closed or run.lends or not run.place_lent:
            self._count_out(run.lane.agent)
        else:
            run.place_lent, run.lane.place = False, True

    async def _enter_again(self, agent: str) -> None:
        """Wait for a place; one that is cut short meanwhile has it at once, for what it does until its end."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._returning.setdefault(agent, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.done() or turn.cancelled():
                self._forget(agent, turn)
                self._count_in(agent)
            raise

    def _forget(self, agent: str, turn: "asyncio.Future[None]") -> None:
        if (line := self._returning.get(agent)) is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._returning[agent]

    # -- who is next ----------------------------------------------------------------------------------------------

    def _count_in(self, agent: str) -> None:
        self._total += 1
        self._running[agent] += 1

    def _count_out(self, agent: str) -> None:
        self._total -= 1
        self._running[agent] -= 1
        if self._returning or self._waiting:
            self._let_in()

    def _has_room(self, agent: str) -> bool:
        running = self._running[agent]
        return self._total < self._limit() and (not running or running < self._limit_of(agent))

    def _let_in(self) -> None:
        """Give free places away: to those that return first, and then to each agent in turn."""
        while (agent := self._next(self._returning)) is not None:
            turn = _first(self._returning, agent)
            if not turn.done():
                self._count_in(agent)
                turn.set_result(None)
        while (agent := self._next(self._waiting)) is not None:
            lane, let_in = _first(self._waiting, agent)
            self.take(lane)
            let_in()

    def _next(self, lines: "OrderedDict[str, deque[T]]") -> str | None:
        return next((agent for agent in lines if self._has_room(agent)), None)


def _first(lines: "OrderedDict[str, deque[T]]", agent: str) -> T:
    """Take the first of an agent's line, and put its line behind the others."""
    line = lines[agent]
    first = line.popleft()
    if line:
        lines.move_to_end(agent)
    else:
        del lines[agent]
    return first
