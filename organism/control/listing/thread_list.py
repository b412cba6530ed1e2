"""Which threads a list shows and in which order: found among ten thousand before any of them is described.

A description of a thread takes its account, its lanes and its approvals. So threads are compared as they are, and only
those of the page are described.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from organism.control.views import ThreadPage, ThreadState, ThreadSummary, Waiting
from organism.errors import ConfigError, Refusal
from organism.threads.thread import Thread

T = TypeVar("T")

OPEN_STATES: frozenset[ThreadState] = frozenset({"open", "blocked", "paused", "closing", "dormant"})
ENDED_STATES: frozenset[ThreadState] = frozenset({"completed", "failed", "terminated"})

ThreadOrder = Literal["opened", "spent", "activity"]
"""What a list of threads is sorted by."""

_CAUSES: dict[str, Waiting] = {"limit": "budget", "approval": "person", "freeze": "freeze", "breaker": "breaker"}


class ThreadFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which threads are wanted; each condition that is given must hold.

    Attributes:
        states: In one of these; all that have not ended when none is named.
        search: Words that each stand somewhere in its id, its labels or the names of its agents, in any case.
        agent: An agent that it began with, or that has worked for it.
        labels: Labels that it has, each as ``name=value`` or only ``name``.
        waiting: What it waits for.
    """

    states: frozenset[ThreadState] = frozenset()
    search: str = ""
    agent: str | None = None
    labels: tuple[str, ...] = ()
    waiting: Waiting | None = None


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list is wanted, in which order.

    Attributes:
        sort: By when it was opened, by what it has cost (and then tokens), or by when something happened in it last.
        ascending: Whether the smallest comes first.
        limit: How many at most.
        cursor: Goes on where a page has ended; from its ``next_cursor``, of the same order.
        after: Goes on after this thread, while it is in the list.
    """

    sort: ThreadOrder = "opened"
    ascending: bool = False
    limit: int = 100
    cursor: str | None = None
    after: str | None = None


class ThreadSource(Protocol[T]):
    """Where threads of one kind are, and what they are chosen and placed by."""

    def all(self) -> Iterable[T]:
        """Return all of them, oldest first."""
        ...

    def thread_id(self, thread: T, /) -> str:
        """Return its name."""
        ...

    def state(self, thread: T, /) -> ThreadState:
        """Return what it does, or how it ended."""
        ...

    def labels(self, thread: T, /) -> dict[str, str]:
        """Return its labels."""
        ...

    def agents(self, thread: T, /) -> tuple[str, ...]:
        """Return the agents that it began with or that have worked for it."""
        ...

    def waiting(self, thread: T, /) -> Waiting:
        """Return what it waits for."""
        ...

    def place(self, sort: ThreadOrder, thread: T, /) -> int:
        """Return the number that it is sorted by: an instant, or what it has cost."""
        ...

    def describe(self, thread: T, /) -> ThreadSummary:
        """Return it as lists show it."""
        ...


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a page has ended: how it was sorted, and the last thread's place, age and name."""

    sort: ThreadOrder
    ascending: bool
    place: int
    opened_ns: int
    thread_id: str


Listed = tuple[int, ThreadSource[Any], Any]
"""The place of a thread that is wanted, where it is, and the thread."""


def chosen(source: ThreadSource[T], wanted: ThreadFilter, sort: ThreadOrder) -> Iterator[Listed]:
    """Yield the threads of a source that meet every condition.

    Of a thread that is not wanted nothing is made: there may be ten thousand, and the event loop waits.
    """
    states, agent, waiting = wanted.states or OPEN_STATES, wanted.agent, wanted.waiting
    words = tuple(wanted.search.casefold().split())
    for each in source.all():
        if source.state(each) not in states:
            continue
        if wanted.labels and not has_labels(source.labels(each), wanted.labels):
            continue
        if agent is not None and agent not in source.agents(each):
            continue
        if words and not _has_words(source, each, words):
            continue
        if waiting is None or source.waiting(each) == waiting:
            yield source.place(sort, each), source, each


def page_of(found: list[Listed], request: PageRequest) -> ThreadPage:
    """Return one page of threads, in order.

    Raises:
        ConfigError: If its cursor is none, or of a list in another order.
    """
    found.sort(key=_key, reverse=not request.ascending)
    start = _start(found, request)
    page = found[start : start + request.limit]
    threads = tuple(source.describe(each) for _, source, each in page)
    if start + len(page) >= len(found) or not page:
        return ThreadPage(threads, total=len(found))
    (place, source, last), last_id = page[-1], threads[-1].thread_id
    text = cursor_at(request.sort, place, source.place("opened", last), last_id, ascending=request.ascending)
    return ThreadPage(threads, last_id, text, len(found))


def _key(listed: Listed) -> tuple[int, int, str]:
    """Return what a thread is sorted by: no two threads are equal, so where a page has ended is one place in any list.

    The lists of a cluster's partitions become one, where threads that are equal would be shown again and again.
    """
    place, source, thread = listed
    return place, source.place("opened", thread), source.thread_id(thread)


def cursor_at(sort: ThreadOrder, place: int, opened_ns: int, thread_id: str, *, ascending: bool) -> str:
    """Write where a page has ended: behind a thread of that place, age and name."""
    cursor = _Cursor(sort, ascending, place, opened_ns, thread_id)
    return urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def _start(found: list[Listed], request: PageRequest) -> int:
    """Return where a page begins: behind the place where the last one has ended, whatever is there by now."""
    if request.cursor is not None:
        cursor = _read_cursor(request)
        last = (cursor.place, cursor.opened_ns, cursor.thread_id)
        if request.ascending:
            return bisect_right(found, last, key=_key)
        return len(found) - bisect_left(found[::-1], last, key=_key)
    names = (source.thread_id(each) for _, source, each in found)
    return next((number + 1 for number, name in enumerate(names) if name == request.after), 0)


def waits_for(thread: Thread, calls: Callable[[str], bool]) -> Waiting:
    """Return what an open thread waits for; empty while it works.

    Args:
        calls: Whether a thread has a call at a provider.
    """
    if thread.approvals:
        return "person"
    stopped_by = thread.paused_by or thread.blocked_by
    if isinstance(stopped_by, Refusal):
        return _CAUSES.get(stopped_by.cause, "budget")
    if stopped_by is not None:
        return "person"
    if thread.status == "paused":
        return "operator"
    if calls(thread.id):
        return "provider"
    return "child" if thread.children else ""


def has_labels(labels: dict[str, str], wanted: Iterable[str]) -> bool:
    """Whether a thread has labels, each wanted as ``name=value`` or only ``name``."""
    parts = (label.partition("=") for label in wanted)
    return all(name in labels and (not equals or labels[name] == value) for name, equals, value in parts)


def _has_words(source: ThreadSource[T], thread: T, words: tuple[str, ...]) -> bool:
    labels = (f"{name}={value}" for name, value in source.labels(thread).items())
    text = "\n".join((source.thread_id(thread), *source.agents(thread), *labels)).casefold()
    return all(word in text for word in words)


def _read_cursor(request: PageRequest) -> _Cursor:
    text = request.cursor or ""
    try:
        cursor = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Cursor)
    except (ValueError, msgspec.MsgspecError):
        cursor = None
    if cursor is None or (cursor.sort, cursor.ascending) != (request.sort, request.ascending):
        raise ConfigError("it is no cursor of a list in this order; use the next_cursor of a page", path="cursor")
    return cursor
