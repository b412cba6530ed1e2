"""What has happened lately, kept for people who look: messages between agents, ended threads, and how fast money goes.

It listens to events and to messages on their way, and keeps a bounded number of each; nothing else depends on it. After
a restart it knows what the journal does: which threads were opened and ended, what each agent spent in which order, and
the messages that still wait.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, count

import msgspec
from msgspec.structs import replace

from organism.amounts import NS_PER_S
from organism.amounts.account import thread_account
from organism.control.observed.message_flow import LONG_TEXT, CarriedMessages, MessageFlow
from organism.control.views import Burn, Hop, ThreadSummary, fastest
from organism.ids import USER
from organism.journal import Pieces
from organism.messages import RUNTIME_MESSAGES, Envelope, Message, MessageRegistry, PayloadError, as_text, type_name
from organism.threads.records import MESSAGE
from organism.threads.thread import ThreadView
from organism.usage.events import AnyEvent, ThreadClosed, ThreadOpened, UsageEvent

HOPS_KEPT = 5_000
CLOSED_KEPT = 1_000
_SAMPLES_MAX = 20_000
_HOPS_LOOKED_AT = 500
_LATE_NS = NS_PER_S
"""How much later than another, that was made after it, a message may go its way."""
BURN_S = 300
"""Over how many seconds the burn rate is taken."""


class _Sample(msgspec.Struct, frozen=True, gc=False):
    time_ns: int
    names: tuple[str, ...]
    tokens: int
    cost_nanousd: int


class _Opened(msgspec.Struct, frozen=True, gc=False):
    time_ns: int
    labels: dict[str, str]
    parent: str | None
    by: str = USER


class Worked(msgspec.Struct, gc=False):
    """What was seen of an open thread: when something happened in it last, and which agents have worked for it."""

    last_ns: int = 0
    agents: tuple[str, ...] = ()

    def note(self, agents: Iterable[str], time_ns: int) -> None:
        """Note that agents have worked at an instant."""
        self.last_ns = max(self.last_ns, time_ns)
        for name in agents:
            if name != USER and name not in self.agents:
                self.agents += (name,)


NOTHING_SEEN = Worked()


class History:
    """Keeps what has happened lately. Give its :meth:`on_event` to a tracker, :attr:`carried` to an outbox.

    Attributes:
        KINDS: The events it wants.
        carried: The messages that went on their way since somebody looked; newer than all other hops.
        flow: How many messages went from whom to whom.
    """

    KINDS = (ThreadOpened, UsageEvent, ThreadClosed)

    def __init__(self) -> None:
        self.flow = MessageFlow()
        self.carried = CarriedMessages(self.flow, HOPS_KEPT, self._look_at_carried)
        self._numbers = count(1)
        self._hops: deque[Hop] = deque(maxlen=HOPS_KEPT)
        self._recalled: dict[int, Hop] = {}
        self._recalled_last: dict[str, int] = {}
        self._spent: dict[tuple[str, str], tuple[int, int, int]] = {}
        self._opened: dict[str, _Opened] = {}
        self._closed: OrderedDict[str, ThreadSummary] = OrderedDict()
        self._samples: deque[_Sample] = deque(maxlen=_SAMPLES_MAX)
        self._worked: dict[str, Worked] = {}

    def on_event(self, event: AnyEvent) -> None:
        """Take an event in."""
        match event:
            case ThreadOpened():
                self._open(event)
                if event.parent_thread_id is None:  # that a child begins was seen as its first message went its way
                    self.flow.count({(event.opened_by, event.entry): 1}, event.time_ns)
                    self._keep(self._first_hop(event))
            case UsageEvent():
                self._look_at_carried()
                self._use(event)
            case ThreadClosed():
                self._close(event)
            case _:
                pass

    def recall(self, event: AnyEvent) -> None:
        """Take an event in that an earlier process has stored; they come in order. What flows is of this process."""
        match event:
            case ThreadOpened():
                self._open(event)
                self._keep(self._first_hop(event))
            case UsageEvent() if event.outcome != "released":
                self._sample(event)
                self._recall_use(event)
            case ThreadClosed():
                self._close(event)
            case _:
                pass

    def _open(self, event: ThreadOpened) -> None:
        self._look_at_carried()
        opened = _Opened(event.time_ns, event.labels, event.parent_thread_id, event.opened_by)
        self._opened[event.thread_id] = opened

    def _recall_use(self, event: UsageEvent) -> None:
        """Keep what an agent has spent as a message of its own: whom it wrote to afterwards is not known any more."""
        last = self._recalled.get(self._recalled_last.get(event.thread_id, 0))
        if last is not None and last.sender == event.agent:
            self._recalled[last.number] = _charged(last, event)
            return
        hop = Hop(
            number=next(self._numbers),
            time_ns=event.time_ns,
            thread_id=event.thread_id,
            root_thread_id=event.root_thread_id,
            sender=event.agent,
            recipient=event.agent,
            message_type="",
            recalled=True,
        )
        self._recalled[hop.number] = _charged(hop, event)
        self._recalled_last[event.thread_id] = hop.number
        if len(self._recalled) > HOPS_KEPT:
            oldest = self._recalled.pop(next(iter(self._recalled)))
            if self._recalled_last[oldest.thread_id] == oldest.number:
                del self._recalled_last[oldest.thread_id]

    def _first_hop(self, event: ThreadOpened) -> Hop:
        return Hop(
            number=next(self._numbers),
            time_ns=event.time_ns,
            thread_id=event.thread_id,
            root_thread_id=event.root_thread_id,
            sender=event.opened_by,
            recipient=event.entry,
            message_type="",
        )

    def restore(self, pieces: Pieces, messages: MessageRegistry, threads: Iterable[ThreadView]) -> Iterator[None]:
        """Take messages in that have waited since an earlier process; after each, others may have the event loop.

        Args:
            pieces: What the journal has kept.
            threads: The open threads; those that were opened long ago have no event among the last ones.
        """
        roots = {}
        for view in threads:
            roots[view.thread_id] = view.root_thread_id
            opened = _Opened(view.opened_ns, view.labels, view.parent_thread_id, view.opened_by)
            self._opened.setdefault(view.thread_id, opened)
        waiting = []
        for piece in pieces.of(MESSAGE):
            with suppress(PayloadError):  # of a type that is gone, and so is what it said
                waiting.append(messages.decode_envelope(piece.body))
            yield
        self._look_at_carried()
        places: dict[tuple[str, str], int] = {}
        for place, hop in enumerate(self._hops):
            places.setdefault((hop.thread_id, hop.recipient), place)
        carried = [envelope for envelope in waiting if not self._recall_opening(envelope, places)]
        for envelope in sorted(carried, key=lambda envelope: envelope.created_ns):
            if not isinstance(envelope.payload, RUNTIME_MESSAGES):
                root = roots.get(envelope.thread_id, envelope.thread_id)
                self._keep(self._hop(root, envelope, envelope.created_ns))
            yield

    def _recall_opening(self, envelope: Envelope, places: dict[tuple[str, str], int]) -> bool:
        """Give the hop that opened a thread its text, if this is the message that did so; whether it is.

        Args:
            places: Where the first hop of a thread to a recipient stands.
        """
        if not envelope.from_outside:
            return False
        place = places.get((envelope.thread_id, envelope.recipient))
        if place is None or self._hops[place].message_type:
            return False
        kind, text = type_name(envelope.payload), as_text(envelope.payload)
        self._hops[place] = replace(self._hops[place], message_type=kind, text=text[:LONG_TEXT])
        return True

    def _look_at_carried(self) -> None:
        """Make hops of the messages that went on their way since somebody looked."""
        for root, envelope, time_ns in self.carried.take():
            self._keep(self._hop(root, envelope, time_ns))

    def _hop(self, root: str, envelope: Envelope, time_ns: int) -> Hop:
        return Hop(
            number=next(self._numbers),
            time_ns=time_ns,
            thread_id=envelope.thread_id,
            root_thread_id=root,
            sender=envelope.sender,
            recipient=envelope.recipient,
            message_type=type_name(envelope.payload),
            text=as_text(envelope.payload)[:LONG_TEXT],
            id=envelope.id,
            caused_by=envelope.causation_id or "",
        )

    def note_opening(self, thread_id: str, message: Message) -> None:
        """Say what the message says that opened a thread, which no event does; the message is a hop already."""
        self._look_at_carried()
        for place in range(len(self._hops) - 1, -1, -1):
            hop = self._hops[place]
            if hop.thread_id == thread_id:
                self._hops[place] = replace(hop, message_type=type_name(message), text=as_text(message)[:LONG_TEXT])
                return

    def note_sent(self, thread_id: str, recipient: str, message: Message, time_ns: int) -> None:
        """Take in a message that a user has sent into an open thread; neither an event nor an outbox tells of it."""
        self._look_at_carried()
        root = next((hop.root_thread_id for hop in self._hops if hop.thread_id == thread_id), thread_id)
        self.flow.count({(USER, recipient): 1}, time_ns)
        self._keep(
            Hop(
                number=next(self._numbers),
                time_ns=time_ns,
                thread_id=thread_id,
                root_thread_id=root,
                sender=USER,
                recipient=recipient,
                message_type=type_name(message),
                text=as_text(message)[:LONG_TEXT],
            )
        )

    def hops(self, thread_id: str, *, content: bool) -> tuple[Hop, ...]:
        """Return the messages of a thread and its descendants, oldest first; their text only if asked for."""
        self._look_at_carried()
        all_hops = chain(self._recalled.values(), self._hops)
        found = [hop for hop in all_hops if thread_id in (hop.thread_id, hop.root_thread_id)]
        found.sort(key=lambda hop: (hop.time_ns, hop.number))
        return tuple(hop if content else replace(hop, text=None) for hop in found)

    def closed(self) -> tuple[ThreadSummary, ...]:
        """Return the threads that ended last, oldest first."""
        return tuple(self._closed.values())

    def find_closed(self, thread_id: str) -> ThreadSummary | None:
        """Return a thread that has ended not too long ago."""
        return self._closed.get(thread_id)

    def opened_ns(self, thread_id: str) -> int:
        """Return when an open thread was opened; 0 when this process has not seen it."""
        opened = self._opened.get(thread_id)
        return opened.time_ns if opened is not None else 0

    def worked(self, thread_id: str) -> Worked:
        """Return the agents that were seen to work for an open thread, and when something was seen in it last."""
        self._look_at_carried()
        return self._worked.get(thread_id, NOTHING_SEEN)

    def burn(self, now_ns: int) -> tuple[Burn, ...]:
        """Return what the last minutes used, the whole first and then what used most."""
        since = now_ns - BURN_S * NS_PER_S
        while self._samples and self._samples[0].time_ns < since:
            self._samples.popleft()
        sums: dict[str, list[int]] = {"total": [0, 0, 0]}
        for sample in self._samples:
            for name in ("total", *sample.names):
                line = sums.setdefault(name, [0, 0, 0])
                line[0] += 1
                line[1] += sample.tokens
                line[2] += sample.cost_nanousd
        lines = [
            Burn(name=name, seconds=BURN_S, calls=calls, tokens=tokens, cost_nanousd=cost)
            for name, (calls, tokens, cost) in sums.items()
        ]
        return tuple(sorted(lines, key=fastest))

    def _keep(self, hop: Hop) -> None:
        """Keep a message, and with it what its sender has spent to make it."""
        spent = self._spent.pop((hop.thread_id, hop.sender), None)
        if spent is not None:
            cost, tokens, calls = spent
            hop = replace(hop, cost_nanousd=cost, tokens=tokens, calls=calls)
        self._hops.append(hop)
        if hop.thread_id in self._opened:
            self._work(hop.thread_id).note((hop.sender, hop.recipient), hop.time_ns)

    def _use(self, event: UsageEvent) -> None:
        if event.outcome == "released":
            return
        more = event.cost_nanousd or 0
        if not self._add_to_hop(event):
            cost, tokens, calls = self._spent.get((event.thread_id, event.agent), (0, 0, 0))
            self._spent[event.thread_id, event.agent] = (
                cost + more,
                tokens + event.usage.total,
                calls + (not event.tool),
            )
        self._sample(event)

    def _sample(self, event: UsageEvent) -> None:
        used = f"tool:{event.tool}" if event.tool else f"model:{event.model}"
        names = (thread_account(event.root_thread_id), f"agent:{event.agent}", used)
        self._samples.append(_Sample(event.time_ns, names, event.usage.total, event.cost_nanousd or 0))
        if event.thread_id in self._opened:
            self._work(event.thread_id).note((event.agent,), event.time_ns)

    def _work(self, thread_id: str) -> Worked:
        return self._worked.setdefault(thread_id, Worked())

    def _add_to_hop(self, event: UsageEvent) -> bool:
        """Charge a message that is here already: usage is published after its commit, messages at once."""
        found = None
        for place in range(len(self._hops) - 1, max(-1, len(self._hops) - _HOPS_LOOKED_AT), -1):
            hop = self._hops[place]
            if hop.time_ns < event.time_ns:
                if hop.time_ns < event.time_ns - _LATE_NS:
                    break
                continue  # messages of threads that run side by side are not in the order of their times
            if (hop.thread_id, hop.sender) == (event.thread_id, event.agent):
                found = place
        if found is None:
            return False
        self._hops[found] = _charged(self._hops[found], event)
        return True

    def _close(self, event: ThreadClosed) -> None:
        opened = self._opened.pop(event.thread_id, _Opened(0, {}, None))
        if self._spent:
            self._look_at_carried()  # before what its agents have spent is forgotten, which belongs to what they sent
            for key in [key for key in self._spent if key[0] == event.thread_id]:
                del self._spent[key]
        worked = self._worked.pop(event.thread_id, Worked())
        worked.note((event.entry,) if event.entry else (), event.time_ns)
        self._closed[event.thread_id] = ThreadSummary(
            thread_id=event.thread_id,
            root_thread_id=event.root_thread_id,
            parent_thread_id=opened.parent,
            state=event.outcome,
            budget=event.budget,
            opened_ns=opened.time_ns,
            closed_ns=event.time_ns,
            labels=opened.labels,
            reason=event.reason,
            opened_by=opened.by,
            agents=worked.agents,
            active_ns=event.time_ns,
        )
        if len(self._closed) > CLOSED_KEPT:
            self._closed.popitem(last=False)


def _charged(hop: Hop, event: UsageEvent) -> Hop:
    return replace(
        hop,
        cost_nanousd=hop.cost_nanousd + (event.cost_nanousd or 0),
        tokens=hop.tokens + event.usage.total,
        calls=hop.calls + (not event.tool),
    )
