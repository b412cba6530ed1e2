"""Where has a thread's budget gone? Every hold of it, what became of it and at which price. Pure."""

from collections.abc import Iterable

import msgspec

from organism.amounts import Amounts, Limits, TokenUsage
from organism.amounts.account import Account, thread_account
from organism.amounts.units import ADDITIVE, amount_of, format_amount
from organism.errors import Refusal
from organism.ledger.entries import (
    AccountOpened,
    Adjusted,
    AnyEntry,
    CallRecord,
    Dispatched,
    LimitsSet,
    Overran,
    Released,
    Remarked,
    Reserved,
    Settled,
    ShortfallReported,
    ThresholdFired,
    ThresholdPassed,
)
from organism.pricing.rates import Rates


class HoldTrace(msgspec.Struct, kw_only=True):
    """One hold from its reserve to its end.

    Attributes:
        seq: The number of its first entry.
        time_ns: When it was taken.
        accounts: What it was held on.
        held: What was taken.
        call: The call it was for; ``None`` for a carved child.
        state: ``held``, ``dispatched``, ``released``, or the outcome it was settled with.
        charged: What it cost in the end, overrun included.
        overrun: What of that was above the hold.
        usage: The tokens by bucket.
        priced: Whether the cost is known.
        rates: The prices it was computed with.
        truncated: Whether the answer was stopped in mid-stream because it had passed the hold.
    """

    seq: int
    time_ns: int
    accounts: tuple[str, ...]
    held: Amounts
    call: CallRecord | None
    state: str = "held"
    charged: Amounts = Amounts()
    overrun: Amounts = Amounts()
    usage: TokenUsage | None = None
    priced: bool = True
    rates: Rates | None = None
    truncated: bool = False


class Note(msgspec.Struct, frozen=True):
    """Something else that happened to an account: a limit, a threshold, a refusal, a correction."""

    seq: int
    time_ns: int
    account: str
    text: str
    limits: Limits | None = None
    shortfall: Refusal | None = None


class BudgetTrace(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger tells of a thread.

    Attributes:
        thread_id: The thread.
        holds: Its holds and those of its descendants that count on it, oldest first.
        notes: What else happened to its accounts, oldest first.
        charged: What all of them have cost.
        open_held: What is held still.
    """

    thread_id: str
    holds: tuple[HoldTrace, ...]
    notes: tuple[Note, ...]
    charged: Amounts
    open_held: Amounts


def explain(entries: Iterable[AnyEntry], thread_id: str) -> BudgetTrace:
    """Tell the story of a thread's budget from the ledger's entries in order."""
    own = thread_account(thread_id)
    holds: dict[str, HoldTrace] = {}
    notes: list[Note] = []
    for entry in entries:
        match entry:
            case Reserved(accounts=accounts, call=call) if own in accounts or (call and call.thread_id == thread_id):
                holds[entry.hold_id] = HoldTrace(
                    seq=entry.seq, time_ns=entry.time_ns, accounts=accounts, held=entry.amounts, call=call
                )
            case Dispatched() | Overran() | Settled() | Released() if entry.hold_id in holds:
                _go_on(holds[entry.hold_id], entry)
            case _:
                if (note := _note(entry, own, thread_id)) is not None:
                    notes.append(note)
    charged, open_held = Amounts(), Amounts()
    for story in holds.values():
        charged += story.charged
        if story.state in ("held", "dispatched"):
            open_held += story.held
    return BudgetTrace(
        thread_id=thread_id, holds=tuple(holds.values()), notes=tuple(notes), charged=charged, open_held=open_held
    )


def _go_on(story: HoldTrace, entry: Dispatched | Overran | Settled | Released) -> None:
    match entry:
        case Dispatched():
            story.state = "dispatched"
        case Released():
            story.state = "released"
        case Overran(amounts=amounts):
            story.overrun = amounts
            story.charged += amounts
        case Settled(amounts=amounts):
            story.state = entry.source
            story.charged += amounts
            story.usage, story.priced, story.rates = entry.usage, entry.priced, entry.rates
            story.truncated = entry.truncated


def _note(entry: AnyEntry, own: str, thread_id: str) -> Note | None:
    """Say what an entry that is no hold's tells of the thread; ``None`` if it tells nothing."""
    match entry:
        case AccountOpened(account=account, limits=limits) if Account.parse(account).within_thread == thread_id:
            return Note(entry.seq, entry.time_ns, account, "opened", limits=limits)
        case LimitsSet(account=account, limits=limits) if Account.parse(account).within_thread == thread_id:
            return Note(entry.seq, entry.time_ns, account, f"limits set, revision {entry.revision}", limits=limits)
        case ThresholdFired(account=account) if Account.parse(account).within_thread == thread_id:
            whom = f", {entry.agent} was warned" if entry.agent else ""
            what = "warned of ahead" if entry.call_size else "reached"
            return Note(entry.seq, entry.time_ns, account, f"{entry.threshold} % of {entry.dimension} {what}{whom}")
        case ShortfallReported(account=account) if entry.thread_id == thread_id or account == own:
            return Note(entry.seq, entry.time_ns, account, "refused a call", shortfall=entry.shortfall)
        case Adjusted() | Remarked() | ThresholdPassed():
            return _decided(entry, own)
        case _:
            return None


def _decided(entry: Adjusted | Remarked | ThresholdPassed, own: str) -> Note | None:
    """Say what was decided about the thread's account; ``None`` if it is about another's."""
    if isinstance(entry, ThresholdPassed):
        text = f"{entry.by} has let it go on at {entry.threshold} %"
        return Note(entry.seq, entry.time_ns, entry.account, text) if entry.account == own else None
    if isinstance(entry, Remarked):
        return Note(entry.seq, entry.time_ns, own, entry.text) if entry.account == own else None
    if own not in entry.accounts:
        return None
    return Note(entry.seq, entry.time_ns, own, f"adjusted by {_signed(entry.amounts)}: {entry.reason}")


def _signed(amounts: Amounts) -> str:
    """Write what a correction adds and takes off, unit by unit."""
    changes = ((unit, amount_of(amounts, unit)) for unit in ADDITIVE)
    return ", ".join(f"{'+' if by > 0 else ''}{format_amount(unit, by)}" for unit, by in changes if by)
