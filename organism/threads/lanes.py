"""The messages of one thread for one agent: which is next, which wait."""

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from organism.messages import Envelope, Message, is_runtime
from organism.threads.approvals import WaitReason

_NONE_QUEUED: deque[Envelope] = deque(maxlen=0)
"""The queue of every lane that has none: an empty one of its own would weigh 600 bytes."""


class ParkedMessage(msgspec.Struct, frozen=True, gc=False):
    """A message that waits, for budget or a person, and why."""

    envelope: Envelope
    waits: WaitReason


class Lane(msgspec.Struct, eq=False, gc=False):
    """The messages of one thread for one agent, in order, the first being handled.

    One that has to wait for budget or a person steps aside, so that those behind it which need neither go on. When it
    may go on, it comes next, before all that has not begun.

    Small, and out of the garbage collector's sight, because a thread has one for each agent it has come by.

    Attributes:
        queue: The messages; :meth:`put` adds to it and :meth:`pop` takes off.
        running: Whether somebody works on it, or is about to.
        place: Whether its handler has one of the places that bound how many run at once.
        aside: Messages that wait for budget or a person, by id, in order; ``None`` while none do.
        joining: Messages that wait for their companions, by sender; ``None`` while none do.
        arriving: Messages that stand before the full mailbox, in order; ``None`` while none do.
        handling: The first message while it is being handled; ``None`` once it is done.
        tries: How often messages that are not done have been tried before, by id; ``None`` while none were.
        stored: The agent's own dictionary for this thread as JSON, as it was after the last message that was done.
            Each run has a copy, so that neither one that fails nor what one leaves behind changes it.
        heard: The thresholds that the agent has heard of, by the numbers of their entries in the ledger.
        home: The agent's own lane, if this is one beside it, for a single question that was asked beside others.
    """

    agent: str
    queue: deque[Envelope] = _NONE_QUEUED
    running: bool = False
    place: bool = False
    handling: Envelope | None = None
    aside: dict[str, ParkedMessage] | None = None
    joining: dict[str, deque[Envelope]] | None = None
    arriving: deque[Envelope] | None = None
    tries: dict[str, int] | None = None
    stored: bytes = b"{}"
    heard: frozenset[int] = frozenset()
    home: "Lane | None" = None

    def refresh(self) -> None:
        """Have a run that begins now see what the agent's other runs have left in its dictionary meanwhile."""
        if self.home is not None:
            self.stored = self.home.stored

    def merged(self, state: bytes) -> bytes:
        """Return the agent's dictionary with what a run has changed in its own copy.

        By key, for runs beside each other have each begun with the same: of what two have changed, the last is kept.

        Args:
            state: The copy, as the run has left it.
        """
        now = self.stored if self.home is None else self.home.stored
        if now == self.stored:
            return state  # as nearly always
        if state == self.stored:
            return now
        decode = msgspec.json.decode
        began, mine, theirs = decode(self.stored), decode(state), decode(now)
        kept = {key: value for key, value in theirs.items() if key in mine or key not in began}
        changed = {key: value for key, value in mine.items() if key not in began or began[key] != value}
        return msgspec.json.encode(kept | changed)

    def put(self, envelope: Envelope) -> None:
        """Queue a message."""
        if self.queue:
            self.queue.append(envelope)
        else:
            self.queue = deque((envelope,))

    def pop(self) -> None:
        """Take the first message off; it has been handled."""
        self.handling = None
        queue = self.queue
        queue.popleft()
        if not queue:
            self.queue = _NONE_QUEUED

    @property
    def runnable(self) -> bool:
        """Whether it has something to handle now."""
        return bool(self.queue)

    @property
    def attempts(self) -> int:
        """How often the first message has been tried before."""
        return self.tries.get(self.queue[0].id, 0) if self.tries and self.queue else 0

    def count_try(self, envelope: Envelope) -> int:
        """Count a try of a message, and return how many it has had."""
        tries = self.tries = self.tries or {}
        tries[envelope.id] = count = tries.get(envelope.id, 0) + 1
        return count

    def forget_tries(self, envelope: Envelope) -> bool:
        """Forget the tries of a message; whether it had any."""
        return self.tries is not None and self.tries.pop(envelope.id, 0) > 0

    @property
    def parked(self) -> WaitReason | None:
        """Why its first message that waits does so; ``None`` while none waits."""
        return next(iter(self.aside.values())).waits if self.aside else None

    @property
    def waiting(self) -> tuple[ParkedMessage, ...]:
        """The messages that wait for budget or a person, in order."""
        return tuple(self.aside.values()) if self.aside else ()

    def step_aside(self, envelope: Envelope, waits: WaitReason) -> None:
        """Let a message wait for budget or a person, out of the way of those behind it."""
        self.queue = deque(each for each in self.queue if each is not envelope) or _NONE_QUEUED
        aside = self.aside = self.aside or {}
        aside[envelope.id] = ParkedMessage(envelope, waits)

    def unpark(self, which: Callable[[ParkedMessage], bool]) -> tuple[Envelope, ...]:
        """Put messages that waited where they come next, in their order, and return them."""
        found = tuple(each.envelope for each in self.waiting if which(each))
        if found:
            left: dict[str, ParkedMessage] = {each.envelope.id: each for each in self.waiting if not which(each)}
            self.aside = left or None
            self._put_next(found)
        return found

    def drain(self) -> list[Envelope]:
        """Take out everything that waits, those first that waited first."""
        joining = (self.joining or {}).values()
        waiting = [each.envelope for each in self.waiting]
        waiting += [*self.queue, *(envelope for companions in joining for envelope in companions)]
        self.queue, self.aside, self.joining = _NONE_QUEUED, None, None
        return waiting

    def put_note(self, envelope: Envelope) -> None:
        """Queue a message of the runtime before all that has not begun: it is read before the call that it is about."""
        self._put_next((envelope,))

    def take_notes(self, kind: type[Message]) -> tuple[Envelope, ...]:
        """Take out the runtime's own messages of a type, but the one that is being handled; return them in order."""
        taken: list[Envelope] = []
        left: deque[Envelope] = deque()
        for each in self.queue:
            (taken if type(each.payload) is kind and each is not self.handling else left).append(each)
        if taken:
            self.queue = left or _NONE_QUEUED
        return tuple(taken)

    def _put_next(self, envelopes: Iterable[Envelope]) -> None:
        """Queue messages behind the one that is being handled and the runtime's own."""
        rest = deque(self.queue)
        first: deque[Envelope] = deque()
        while rest and (rest[0] is self.handling or is_runtime(rest[0].payload)):
            first.append(rest.popleft())
        self.queue = deque((*first, *envelopes, *rest))

    def hurry_notes(self) -> None:
        """Put the runtime's own messages before all others: a warning must be read before the call it is about."""
        first = deque(envelope for envelope in self.queue if is_runtime(envelope.payload))
        if first:
            first += [envelope for envelope in self.queue if not is_runtime(envelope.payload)]
            self.queue = first
