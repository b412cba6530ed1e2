"""What has happened in a thread, as one list in order of time: messages, calls, charges, warnings, orders. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Literal

import msgspec
from msgspec.structs import replace

from organism.control.views import Hop
from organism.ledger.entries import Hold
from organism.usage.events import (
    AnyEvent,
    ApprovalDecided,
    ApprovalRequested,
    BreakerTripped,
    BudgetExceeded,
    DeadLetterEvent,
    LLMFailover,
    LLMRetry,
    ModelDegraded,
    OperatorAction,
    Reported,
    ThreadBlocked,
    ThreadClosed,
    ThreadOpened,
    ThreadResumed,
    ThresholdCrossed,
    UsageEvent,
)
from organism.usage.headlines import with_headline

TimelineKind = Literal["message", "call", "charge", "hold", "warning", "child", "order", "approval", "state"]
"""What an item is: a model call, what else has cost something, what is held for a call under way, a child thread that
has begun or ended, an operator's order, a question to a person, what the thread itself has become."""

_NS_PER_MS = 1_000_000


class TimelineItem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that has happened.

    Attributes:
        at: When it began, nanoseconds since the Unix epoch.
        thread_id: In which thread of the tree.
        agent: Whose it is; empty where it is no agent's.
        duration_ms: Milliseconds it took, or has taken so far.
        cost_nanos: Nano-USD it has cost, or that are held for it; ``None`` where no price is known.
        tokens: Likewise.
        title: What it is, in a few words.
        detail: More about it. What was said, and what errors say beyond their headline, only if asked for.
        id: What :attr:`under` of others names; empty of what nothing is under.
        under: The id of the message in whose handling it has happened; empty where there is none.
    """

    at: int
    kind: TimelineKind
    thread_id: str
    agent: str = ""
    duration_ms: int = 0
    cost_nanos: int | None = 0
    tokens: int = 0
    title: str
    detail: str = ""
    id: str = ""
    under: str = ""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened in a thread and its descendants, oldest first.

    Attributes:
        more: Whether there was more before the first item, which is left out.
    """

    thread_id: str
    items: tuple[TimelineItem, ...]
    more: bool = False


def items_of_events(events: Iterable[AnyEvent], thread_id: str, *, content: bool) -> Iterator[TimelineItem]:
    """Yield what stored events tell of a thread and its descendants."""
    for event in events:
        if thread_id in (event.thread_id, event.root_thread_id):
            shown = event if content else with_headline(event)
            item = _of_usage(shown) if isinstance(shown, UsageEvent) else _of_event(shown, thread_id)
            if item is not None:
                yield item


def items_of_hops(hops: Iterable[Hop]) -> Iterator[TimelineItem]:
    """Yield messages; what they have cost to make stands with the calls."""
    for hop in hops:
        if not hop.recalled:
            kind = f" ({hop.message_type})" if hop.message_type else ""
            yield TimelineItem(
                at=hop.time_ns,
                kind="message",
                thread_id=hop.thread_id,
                agent=hop.sender,
                title=f"{hop.sender} to {hop.recipient}{kind}",
                detail=hop.text or "",
                id=id_of(hop),
                under=hop.caused_by,
            )


def id_of(hop: Hop) -> str:
    """Return the id of a message; one from outside is known by its number."""
    return hop.id or f"hop {hop.number}"


def nested(items: Iterable[TimelineItem], hops: Iterable[Hop]) -> tuple[TimelineItem, ...]:
    """Put each thing under the message in whose handling it has happened.

    Messages and calls know it. Of all else it is found out: an agent handles a message of a thread at a time, so what
    it does belongs to the last one that was for it. What happens to a child thread belongs to the child's first one.
    Nothing is above itself, whatever ids say: a message is under one that went on its way before it.

    Args:
        items: In order of time.
        hops: The messages among them.
    """
    openings: dict[str, str] = {}
    numbers: dict[str, int] = {}
    handled: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for hop in hops:
        if not hop.recalled:
            openings.setdefault(hop.thread_id, id_of(hop))
            numbers[id_of(hop)] = hop.number
            for thread_id in (hop.thread_id, ""):  # who begins a child does so from another thread
                handled.setdefault((thread_id, hop.recipient), []).append((hop.time_ns, id_of(hop)))
    for received in handled.values():
        received.sort()
    found = list(items)
    above = {
        item.id: item.under if numbers.get(item.under, -1) < numbers.get(item.id, 0) else ""
        for item in found
        if item.id
    }

    def is_below(under: str, item: TimelineItem) -> bool:
        while under and under != item.id:
            under = above.get(under, "")
        return bool(under)

    for place, item in enumerate(found):
        if item.under in above and above.get(item.id, item.under) == item.under:
            continue
        under = openings.get(item.thread_id, "") if item.kind == "child" else _last_for(item, handled)
        if item.id:
            under = "" if is_below(under, item) else under
            above[item.id] = under
        found[place] = replace(item, under=under)
    return tuple(found)


def _last_for(item: TimelineItem, handled: Mapping[tuple[str, str], list[tuple[int, str]]]) -> str:
    """Return the last message before an item that was for its agent: in its thread, or else anywhere in the tree.

    Args:
        handled: By thread and agent, when each message went to it, in order.
    """
    for thread_id in (item.thread_id, ""):
        received = handled.get((thread_id, item.agent), ())
        before = bisect_right(received, item.at, key=itemgetter(0))
        if before and item.agent:
            return received[before - 1][1]
    return ""


def items_of_holds(holds: Iterable[Hold], thread_id: str, now_ns: int) -> Iterator[TimelineItem]:
    """Yield what is held for calls under way."""
    for hold in holds:
        call = hold.call
        if call is not None and thread_id in (call.thread_id, call.root_thread_id):
            yield TimelineItem(
                at=hold.dispatched_ns or now_ns,
                kind="hold",
                thread_id=call.thread_id,
                agent=call.agent,
                duration_ms=(now_ns - hold.dispatched_ns) // _NS_PER_MS if hold.dispatched_ns else 0,
                cost_nanos=hold.amounts.cost_nanousd if call.price_source else None,
                tokens=hold.amounts.tokens,
                title=f"{call.tool or call.model} under way",
                detail=f"attempt {call.attempt} at {call.provider}/{call.request_model}" if call.model else "",
                under=call.message_id,
            )


def _of_usage(event: UsageEvent) -> TimelineItem:
    place = f"{event.provider}/{event.request_model}, " if event.model else ""
    attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
    why = f": {event.error}" if event.error else ""
    return TimelineItem(
        at=event.time_ns - event.latency_ns,
        kind="charge" if event.tool else "call",
        thread_id=event.thread_id,
        agent=event.agent,
        duration_ms=event.latency_ns // _NS_PER_MS,
        cost_nanos=event.cost_nanousd,
        tokens=event.usage.total,
        title=event.tool or event.model,
        detail=f"{place}{event.outcome}{attempt}{why}",
        under=event.message_id,
    )


def _of_event(event: AnyEvent, thread_id: str) -> TimelineItem | None:
    """Return what an event is that has cost nothing itself; ``None`` if it is not shown."""
    found = _of_thread(event, thread_id) or _of_warning(event)
    match event:
        case ApprovalRequested(what=what, approval_id=asked):
            found = "approval", f"asks a person: {what}", asked
        case ApprovalDecided(what=what, allowed=allowed):
            found = "approval", f"{'allowed' if allowed else 'denied'}: {what}", event.approval_id
        case OperatorAction(action=action, by=by):
            found = "order", action, f"by {by}" + (f": {event.after}" if event.after else "")
        case Reported(name=name, result=result):
            found = "message", f"{name}: {result}", ""
        case _:
            pass
    if found is None:
        return None
    kind, title, detail = found
    agent = getattr(event, "agent", "")
    return TimelineItem(at=event.time_ns, kind=kind, thread_id=event.thread_id, agent=agent, title=title, detail=detail)


def _of_thread(event: AnyEvent, thread_id: str) -> tuple[TimelineKind, str, str] | None:
    kind: TimelineKind = "state" if event.thread_id == thread_id else "child"
    match event:
        case ThreadOpened(entry=entry, opened_by=opener):
            return kind, "opened", f"{opener} to {entry}"
        case ThreadClosed(outcome=outcome, reason=reason):
            return kind, outcome, reason or ""
        case ThreadBlocked(shortfall=shortfall):
            return kind, "waits", str(shortfall)
        case ThreadResumed():
            return kind, "goes on", ""
        case _:
            return None


def _of_warning(event: AnyEvent) -> tuple[TimelineKind, str, str] | None:
    said: tuple[str, str] | None = None
    match event:
        case ThresholdCrossed(
            threshold=threshold, dimension=dimension, account=account, calls_left=left, limits_passed=passed
        ):
            note = "" if left is None else f"{left} more calls of that size fit"
            note = f"{passed:,} whole limits at once" if passed else note
            said = f"{threshold} % of {dimension} of {account}", note
        case BudgetExceeded(shortfall=shortfall, enforced=enforced):
            said = "refused" if enforced else "would be refused", str(shortfall)
        case BreakerTripped(text=text, action=action):
            said = text, action
        case ModelDegraded(model=model, to_model=to_model):
            said = f"{to_model} instead of {model}", f"{event.threshold} % of {event.account}"
        case LLMRetry(reason=reason, next_provider=following):
            said = f"tried again at {following}", reason
        case LLMFailover(to_provider=to, from_provider=before, reason=reason):
            said = f"{to} instead of {before}", reason
        case DeadLetterEvent(message_type=what, recipient=recipient, detail=detail, reason=reason):
            said = f"given up: {what} to {recipient}", f"{reason}: {detail}"
        case _:
            pass
    return None if said is None else ("warning", *said)
