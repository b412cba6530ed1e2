"""The worker threads of plain handlers and tools: as many as configured, and none of them shared with the runtime.

A function holds a *place* from its start until it returns. One that waits for what other agents do lends its place
meanwhile: else as many of them as there are places would deadlock with handlers that need one. How many may wait
like that is bounded for each level of waiting (child threads, then questions within a thread): a waiter does so
for a higher level, never for its own, so the highest level always goes on.

A function that is given up on, because its time is up or its thread has ended, cannot be stopped. It keeps its place
until it returns, and is counted; an agent whose functions hold half of all places like that starts no more of them.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from typing import TypeVar, cast

import anyio
import msgspec

from organism.concurrency.safe_log import safe_logger
from organism.errors import WorkersBusyError
from organism.runtime.workers.worker_thread import ThreadExecutor, ThreadJob
from organism.text.error_text import running_at

T = TypeVar("T")

Level = tuple[int, int]
"""How deep a run is in those that wait for it: child threads above it, then questions within its thread."""

Aside = tuple[Callable[[], object], Callable[[], object]]
"""Called when a function that waits gives way, and when it goes on."""

_TELL_GIVEN_UP_S = 1.0
"""A function that returns so soon after it was given up on was only slow to notice."""

_TELL_BUSY_S = 5.0
"""Seconds that a function waits for a place before that is logged."""

_log = safe_logger("organism.pump")


_NOTHING_TO_LEND = nullcontext()


def _nothing() -> None:
    pass


class WorkerStatistics(msgspec.Struct, frozen=True):
    """A look at the worker threads.

    Attributes:
        threads: Functions that may run at once.
        busy: Functions that run, those that were given up on included.
        waiting: Functions that wait for a place.
        lent: Functions that wait for other agents, and have lent their place meanwhile.
        given_up: Functions that were given up on and have not returned, by agent.
    """

    threads: int = 0
    busy: int = 0
    waiting: int = 0
    lent: int = 0
    given_up: dict[str, int] = {}


class _Place:
    """The place of one function, and whether it is lent or given up on."""

    __slots__ = ("agent", "given_up", "held", "job", "lent", "level", "message_id", "told")

    def __init__(self, agent: str, message_id: str, level: Level) -> None:
        self.agent = agent
        self.message_id = message_id
        self.level = level
        self.job: ThreadJob | None = None
        self.held = True
        self.lent = 0
        self.given_up = False
        self.told = False


_PLACE: ContextVar[_Place | None] = ContextVar("organism_worker_place", default=None)
"""The place of the function that a call into the event loop comes from."""


class WorkerPool:
    """Runs plain functions on threads.

    Args:
        threads: Says how many may run at once; a reload may change it.
    """

    def __init__(self, threads: Callable[[], int]) -> None:
        self._threads = threads
        self._executor: ThreadExecutor | None = None
        self._busy: Counter[str] = Counter()
        self._lent: Counter[Level] = Counter()
        self._given_up: Counter[str] = Counter()
        self._waiting: OrderedDict[tuple[str, Level], deque[asyncio.Future[None]]] = OrderedDict()
        self._asides: dict[asyncio.Future[None], Aside] = {}
        self._told_busy_at = -_TELL_BUSY_S

    async def run(
        self,
        function: Callable[[], T],
        *,
        agent: str,
        message_id: str,
        level: Level,
        begun: Callable[[], None],
        aside: Aside = (_nothing, _nothing),
    ) -> T:
        """Run a function on a thread and return what it returns. If the wait for it is cancelled, it is given up on.

        Args:
            message_id: The message it works on.
            level: How deep in others' waiting it is.
            begun: Called when it has a thread.
            aside: Called when it waits for what others of its level wait for, and when it does not any more.

        Raises:
            WorkersBusyError: Too many functions of the agent were given up on and have not returned.
            RuntimeError: The operating system gives no more threads.
        """
        place = await self._enter(agent, message_id, level, aside)
        try:
            begun()
            loop = asyncio.get_running_loop()
            if self._executor is None or self._executor.loop is not loop:
                self._executor = ThreadExecutor(loop)
            with anyio.CancelScope() as scope:
                context = copy_context()
                context.run(_PLACE.set, place)
                job = ThreadJob(function, context, scope, lambda: self._returned(place))
                coming = loop.run_in_executor(cast("None", self._executor), job)  # it submits, and that is all it takes
                place.job = job
                try:
                    value, error = await coming
                except asyncio.CancelledError:
                    self._give_up(place)
                    scope.cancel()  # what the function has the event loop do for it ends as well
                    raise
        finally:
            if place.job is None:  # no thread has it, so none gives its place back
                self._returned(place)
        if error is not None:
            raise error
        return cast("T", value)

    def lending(self) -> AbstractContextManager[None]:
        """Lend the place of the function that waits in this block, if it is one that does."""
        place = _PLACE.get()
        return _NOTHING_TO_LEND if place is None or not place.held else self._lending(place)

    @contextmanager
    def _lending(self, place: _Place) -> Iterator[None]:
        place.lent += 1
        if place.lent == 1:
            self._busy[place.agent] -= 1
            self._lent[place.level] += 1
            if self._lent[place.level] >= self._threads():
                self._put_aside(place.level)
            self._let_in()
        try:
            yield
        finally:
            place.lent -= 1
            if place.lent == 0:
                self._take_back(place)

    def _take_back(self, place: _Place) -> None:
        self._lent[place.level] -= 1
        if not self._lent[place.level]:
            del self._lent[place.level]
        if place.held:
            self._busy[place.agent] += 1
        self._let_in()

    def busy(self, agent: str) -> WorkersBusyError:
        """Say who holds the places that an agent waits for."""
        return WorkersBusyError(agent, dict(+self._busy), self._threads(), self._given_up.total())

    def statistics(self) -> WorkerStatistics:
        """Count who runs and who waits."""
        return WorkerStatistics(
            threads=self._threads(),
            busy=self._busy.total(),
            waiting=sum(len(waiting) for waiting in self._waiting.values()),
            lent=self._lent.total(),
            given_up=dict(+self._given_up),
        )

    def close(self) -> None:
        """Let threads end; one whose function does not return is left, and keeps no process from ending."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    # -- places ---------------------------------------------------------------------------------------------------

    def _put_aside(self, level: Level) -> None:
        """Have all that waits at a level give way: those it waits for may wait for what it holds."""
        for (_, waiting_level), turns in self._waiting.items():
            if waiting_level == level:
                for turn in turns:
                    self._asides[turn][0]()

    async def _enter(self, agent: str, message_id: str, level: Level, aside: Aside) -> _Place:
        """Wait for a place, in turn with other agents."""
        if self._given_up[agent] >= max(1, self._threads() // 2):
            raise self.busy(agent)
        key = (agent, level)
        if self._waiting or not self._has_room(level):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(key, deque()).append(turn)
            self._asides[turn] = aside
            if self._lent[level] >= self._threads():
                aside[0]()
            telling = turn.get_loop().call_later(_TELL_BUSY_S, self._tell_busy, agent)
            self._let_in()
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._busy[agent] -= 1  # it had its place in the instant of its cancellation
                    self._let_in()
                else:
                    self._leave_queue(key, turn)
                raise
            finally:
                telling.cancel()
                self._asides.pop(turn)[1]()
        else:
            self._busy[agent] += 1
        return _Place(agent, message_id, level)

    def _has_room(self, level: Level) -> bool:
        threads = self._threads()
        return self._busy.total() < threads and self._lent[level] < threads

    def _leave_queue(self, key: tuple[str, Level], turn: asyncio.Future[None]) -> None:
        if (waiting := self._waiting.get(key)) is not None:
            if turn in waiting:
                waiting.remove(turn)
            if not waiting:
                del self._waiting[key]

    def _let_in(self) -> None:
        """Give free places to those who wait: each agent in turn, so that a busy one does not keep out the others."""
        passed = 0
        while passed < len(self._waiting):
            key = next(iter(self._waiting))
            if self._busy.total() >= self._threads():
                return
            self._waiting.move_to_end(key)
            if not self._has_room(key[1]):
                passed += 1
                continue
            passed = 0
            turn = self._waiting[key].popleft()
            if not self._waiting[key]:
                del self._waiting[key]
            if not turn.done():
                self._busy[key[0]] += 1
                turn.set_result(None)

    def _returned(self, place: _Place) -> None:
        """Free the place of a function that has returned, or never began."""
        if not place.held:
            return
        place.held = False
        if not place.lent:
            self._busy[place.agent] -= 1
        if place.given_up:
            self._given_up[place.agent] -= 1
        if place.told:
            _log.info("plain_function_returned_late", agent=place.agent, message_id=place.message_id)
        self._let_in()

    def _give_up(self, place: _Place) -> None:
        """Count a function that nobody waits for any more."""
        if place.held:
            place.given_up = True
            self._given_up[place.agent] += 1
            asyncio.get_running_loop().call_later(_TELL_GIVEN_UP_S, self._tell_given_up, place)

    # -- what is logged -------------------------------------------------------------------------------------------

    def _tell_given_up(self, place: _Place) -> None:
        thread = place.job.thread if place.job is not None else None
        if place.held and thread is not None:
            place.told = True
            _log.warning(
                "plain_function_given_up",
                agent=place.agent,
                message_id=place.message_id,
                thread=thread.name,
                thread_ident=thread.ident,
                where=running_at(thread.ident),
                given_up=self._given_up.total(),
                threads=self._threads(),
            )

    def _tell_busy(self, agent: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told_busy_at >= _TELL_BUSY_S:
            self._told_busy_at = now
            _log.warning("worker_threads_busy", agent=agent, reason=str(self.busy(agent)))
