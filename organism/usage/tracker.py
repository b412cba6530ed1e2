"""Publishes events to listeners, and sums usage by agent, model, thread and in total.

Publishing never waits and never fails: a callback that raises is counted and logged, a subscriber that is too slow is
cut off with an error of its own. The ledger does not depend on anybody listening.
"""

import warnings
from collections import deque
from collections.abc import AsyncIterator, Callable, Container
from types import TracebackType
from typing import Self, TypeVar, cast, overload

import anyio
import msgspec

from organism.errors import OrganismError
from organism.text.error_text import shown
from organism.usage.events import AnyEvent, ThreadClosed, UsageEvent
from organism.usage.listeners import EventCallback, Listener, is_about, wanted_types
from organism.usage.sums import Sums
from organism.usage.totals import UsageTotals

E = TypeVar("E", bound=AnyEvent)

DEFAULT_CAPACITY = 10_000
"""Events a subscriber may be behind before it is cut off."""

_ALL = ""
"""The name of the sums over everything."""

_TOOLS_KEPT = 1_000
"""Tools, and names of other charges, whose sums are kept; the oldest go first."""

_THREADS_KEPT = 1_000
"""Closed threads whose sums are kept; the sums over all threads keep counting them."""


class SlowConsumerError(OrganismError):
    """A subscriber fell too far behind and was cut off; subscribe again to go on.

    Attributes:
        capacity: How many events it could be behind.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        super().__init__(f"the subscriber fell more than {capacity:,} events behind and was cut off; subscribe again")


class TrackerStatistics(msgspec.Struct, frozen=True):
    """A look at the tracker: who listens, and how often a listener failed."""

    subscribers: int
    callbacks: int
    callback_errors: int
    cut_off: int


class Subscription:
    """Events since it was made, as an async iterator; leave its ``async with`` block to end it."""

    def __init__(self, tracker: "UsageTracker", types: tuple[type, ...], thread_id: str | None, capacity: int) -> None:
        self._tracker = tracker
        self.types = types
        self._thread_id = thread_id
        self._capacity = capacity
        self._events: deque[AnyEvent] = deque()
        self._wake = anyio.Event()
        self._ended = False
        self._overflowed = False

    def put_nowait(self, event: AnyEvent) -> bool:
        """Take an event that is wanted; ``False`` when the subscriber is too slow and gets no more."""
        if self.types and not isinstance(event, self.types):
            return True
        if not is_about(event, self._thread_id):
            return True
        if len(self._events) >= self._capacity:
            self._overflowed = True
        else:
            self._events.append(event)
        self._wake.set()
        return not self._overflowed

    def end(self) -> None:
        """Nothing more will come; what is here can still be read."""
        self._ended = True
        self._wake.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tracker.unsubscribe(self)

    def __aiter__(self) -> AsyncIterator[AnyEvent]:
        return self

    async def __anext__(self) -> AnyEvent:
        """Return the next event.

        Raises:
            SlowConsumerError: After everything that was kept, if events had to be left out.
        """
        while not self._events:
            if self._overflowed:
                raise SlowConsumerError(self._capacity)
            if self._ended:
                raise StopAsyncIteration
            if self._wake.is_set():  # else another reader waits for it, which a new one would never wake
                self._wake = anyio.Event()
            await self._wake.wait()
        return self._events.popleft()


class _Wanted(dict[type[AnyEvent], bool]):
    """Whether anybody listens to a kind of event: found out when it is asked first, and anew after a change."""

    def __init__(self, tracker: "UsageTracker") -> None:
        super().__init__()
        self._tracker = tracker

    def __missing__(self, kind: type[AnyEvent]) -> bool:
        wanted = self[kind] = self._tracker.has_subscribers(kind)
        return wanted


class UsageTracker:
    """Fans events out and adds usage up.

    Attributes:
        wanted: Whether anybody listens, by kind of event.
    """

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self._closed = False
        self._listeners: list[Listener] = []
        self.wanted: dict[type[AnyEvent], bool] = _Wanted(self)
        self._callback_errors = 0
        self._cut_off = 0
        self._total, self._agents, self._models, self._threads, self._tools = self.sums = (
            Sums("total"),
            Sums("agent"),
            Sums("model"),
            Sums("thread"),
            Sums("tool", _TOOLS_KEPT),
        )
        self._closed_threads: deque[str] = deque()

    def publish(self, event: AnyEvent) -> None:
        """Add an event up and hand it to all listeners; never waits, never raises."""
        self._count(event)
        slow = [subscription for subscription in self._subscriptions if not subscription.put_nowait(event)]
        for subscription in slow:
            self._subscriptions.remove(subscription)
            self.wanted.clear()
            self._cut_off += 1
        for listener in tuple(self._listeners):
            self._callback_errors += not listener.tell(event)

    def has_subscribers(self, kind: type[AnyEvent]) -> bool:
        """Whether anybody listens to this kind of event."""
        listeners = [subscription.types for subscription in self._subscriptions]
        listeners += [listener.types for listener in self._listeners]
        return any(not types or issubclass(kind, types) for types in listeners)

    def restore(self, event: AnyEvent) -> None:
        """Add up an event of an earlier process, without telling anybody."""
        self._count(event)

    def restored(self, open_threads: Container[str]) -> None:
        """Take the sums of threads that an earlier process has kept for those of open threads, or of closed ones."""
        self._closed_threads.extend(name for name in self._threads.snapshot() if name not in open_threads)

    @overload
    def subscribe(
        self, callback: Callable[[E], object], kind: type[E], /, *, thread_id: str | None = None
    ) -> Listener: ...

    @overload
    def subscribe(
        self, callback: EventCallback, /, *wanted: type[AnyEvent], thread_id: str | None = None
    ) -> Listener: ...

    @overload
    def subscribe(
        self, *wanted: type[AnyEvent], thread_id: str | None = None, capacity: int = DEFAULT_CAPACITY
    ) -> Subscription: ...

    def subscribe(
        self,
        *wanted: type[AnyEvent] | Callable[..., object],
        thread_id: str | None = None,
        capacity: int = DEFAULT_CAPACITY,
    ) -> Subscription | Listener:
        """Listen from now on: iterate over what this returns, or have a function called with each event.

        ``async for event in usage.subscribe(UsageEvent)``, or ``usage.subscribe(print, UsageEvent)``.

        Args:
            wanted: The kinds of events wanted, all when none is named; before them a function of an event, if that is
                to be called instead. It must not block; what it raises is logged and harms nobody.
            thread_id: Only events of this thread and its descendants.
            capacity: How many events a reader may be behind.

        Returns:
            What to iterate over, or for a function what ends it when it is called; :meth:`unsubscribe` ends both.

        Raises:
            TypeError: If one of these is something else.
            ValueError: If the capacity is below 1.
        """
        if not (thread_id is None or isinstance(thread_id, str)):
            raise TypeError(f"thread_id is the id of a thread, not {shown(thread_id)}")
        if wanted and not isinstance(wanted[0], type) and callable(wanted[0]):
            return self._listen(
                Listener(cast("EventCallback", wanted[0]), wanted_types(wanted[1:]), thread_id, self._end)
            )
        types = wanted_types(wanted)
        if isinstance(capacity, bool) or not isinstance(capacity, int):
            raise TypeError(f"capacity is a number of events, not {shown(capacity)}")
        if capacity < 1:
            raise ValueError(f"capacity is at least 1 event, not {capacity}")
        subscription = Subscription(self, types, thread_id, capacity)
        if self._closed:  # nothing more will come, and who iterates would wait for it without end
            subscription.end()
            return subscription
        self._subscriptions.append(subscription)
        self.wanted.clear()
        return subscription

    def unsubscribe(self, subscription: Subscription | Listener) -> None:
        """Stop telling a subscription or a function; it may have been stopped before.

        Raises:
            TypeError: If it is nothing that :meth:`subscribe` has returned.
        """
        if isinstance(subscription, Listener):
            self._end(subscription)
            return
        if not isinstance(subscription, Subscription):
            raise TypeError(f"unsubscribe takes what subscribe has returned, not {shown(subscription)}")
        subscription.end()
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self.wanted.clear()

    def on_event(self, callback: EventCallback, *types: type[AnyEvent]) -> Listener:
        """Call a function with every event: the name that :meth:`subscribe` had for it until 0.2."""
        warnings.warn("on_event is now subscribe", DeprecationWarning, stacklevel=2)
        return self.subscribe(callback, *types)

    def _listen(self, listener: Listener) -> Listener:
        self._listeners.append(listener)
        self.wanted.clear()
        return listener

    def _end(self, listener: Listener) -> None:
        listener.ended = True
        self._listeners = [other for other in self._listeners if other is not listener]
        self.wanted.clear()

    def close(self) -> None:
        """End all subscriptions after what they have, and those made from now on."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end()
        self._subscriptions.clear()
        self.wanted.clear()

    @property
    def total(self) -> UsageTotals:
        """The sums over everything since the start."""
        return self._total.group(_ALL).snapshot()

    def by_agent(self) -> dict[str, UsageTotals]:
        """Return the sums of each agent."""
        return self._agents.snapshot()

    def by_model(self) -> dict[str, UsageTotals]:
        """Return the sums of each model, by its name in the configuration."""
        return self._models.snapshot()

    def by_tool(self) -> dict[str, UsageTotals]:
        """Return the sums of each tool that has a price, and of what handlers have charged, by its name."""
        return self._tools.snapshot()

    def by_thread(self) -> dict[str, UsageTotals]:
        """Return the sums of each open thread and of those closed last."""
        return self._threads.snapshot()

    def statistics(self) -> TrackerStatistics:
        """Count listeners."""
        return TrackerStatistics(
            subscribers=len(self._subscriptions),
            callbacks=len(self._listeners),
            callback_errors=self._callback_errors,
            cut_off=self._cut_off,
        )

    def _count(self, event: AnyEvent) -> None:
        if isinstance(event, ThreadClosed):
            self._forget_oldest(event.thread_id)
        if not isinstance(event, UsageEvent):
            return
        self._total.add(_ALL, event)
        self._agents.add(event.agent, event)
        if event.tool:
            self._tools.add(event.tool, event)
        else:
            self._models.add(event.model, event)
        self._threads.add(event.thread_id, event)

    def _forget_oldest(self, thread_id: str) -> None:
        if thread_id in self._threads:
            self._closed_threads.append(thread_id)
        while len(self._closed_threads) > _THREADS_KEPT:
            self._threads.forget(self._closed_threads.popleft())
