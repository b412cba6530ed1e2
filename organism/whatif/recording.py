"""What the ledger has recorded of a thread and of the threads below it: each call from its hold to its end. Pure."""

from collections.abc import Iterable

import msgspec

from organism.amounts import ZERO, Amounts, Limits
from organism.amounts.account import thread_account
from organism.amounts.units import amount_of
from organism.errors import Refusal
from organism.ledger.entries import (
    AccountOpened,
    AnyEntry,
    CallRecord,
    Checkpoint,
    Dispatched,
    Hold,
    Overran,
    Released,
    Reserved,
    Settled,
    ShortfallReported,
    ThresholdFired,
)

_WHOLE_HOLD = frozenset({"estimated", "worst_case", "disputed"})
"""Outcomes that charge the hold itself when no prices stand beside them: the usage is unknown or not believed."""


class RecordedCall(msgspec.Struct, kw_only=True, eq=False):
    """One attempt at a call, from its hold to its end.

    Attributes:
        number: Counts the thread's calls in the order of their holds, from 1.
        seq: The number of the entry that holds it.
        time_ns: When it was held.
        hold_id: The hold.
        accounts: What it was held on.
        held: What was held.
        call: What it was.
        state: ``held``, ``dispatched``, ``released``, or the outcome that it was settled with.
        settled: Its settlement, if it has one.
        overrun: What it cost above its hold.
    """

    number: int
    seq: int
    time_ns: int
    hold_id: str
    accounts: tuple[str, ...]
    held: Amounts
    call: CallRecord
    state: str = "held"
    settled: Settled | None = None
    overrun: Amounts = ZERO

    @property
    def charged(self) -> Amounts:
        """What it has cost so far."""
        return self.overrun + self.settled.amounts if self.settled is not None else ZERO

    @property
    def priced(self) -> bool:
        """Whether its cost is known."""
        return self.settled.priced if self.settled is not None else self.call.price_source is not None

    @property
    def charged_whole(self) -> bool:
        """Whether its hold was charged, because nobody knows or believes what it has used."""
        settled = self.settled
        if settled is None or settled.rates is not None or settled.source not in _WHOLE_HOLD:
            return False
        return self.charged.tokens == self.held.tokens


class Carve(msgspec.Struct, frozen=True):
    """A child's whole limits, held on its parents."""

    accounts: tuple[str, ...]
    child: str
    limits: Limits


class Recording(msgspec.Struct, frozen=True):
    """A thread in the ledger.

    Attributes:
        account: The thread's own account.
        entries: The ledger from where a replay may begin.
        calls: The calls of the thread and of those below it, by hold.
        carves: What was carved out for those below it, by hold.
        accounts: Every account that these calls were held on.
        made_over: The numbers of the reports of a limit that a call was made beyond, since it only watched.
        complete: Whether the ledger still has the thread from its beginning.
        known: Whether it has anything of it.
    """

    account: str
    entries: tuple[AnyEntry, ...]
    calls: dict[str, RecordedCall]
    carves: dict[str, Carve]
    accounts: frozenset[str]
    made_over: frozenset[int]
    complete: bool
    known: bool


def read(entries: Iterable[AnyEntry], thread_id: str) -> Recording:
    """Find a thread, and what is below it, in the ledger's entries in order."""
    whole = tuple(entries)
    # Where old entries were forgotten, balances are known again from the next checkpoint on.
    forgotten = bool(whole) and whole[0].seq > 1
    start = next((n for n, entry in enumerate(whole) if isinstance(entry, Checkpoint)), len(whole)) if forgotten else 0
    reading = _Reading(thread_id)
    for before, entry in zip((None, *whole[start:]), whole[start:], strict=False):
        reading.take(entry, before)
    return Recording(
        account=reading.account,
        entries=whole[start:],
        calls=reading.calls,
        carves=reading.carves,
        accounts=frozenset(account for call in reading.calls.values() for account in call.accounts),
        made_over=frozenset(reading.made_over),
        complete=reading.complete,
        known=reading.known,
    )


class _Reading:
    """A thread's calls while its ledger is read."""

    def __init__(self, thread_id: str) -> None:
        self.account = thread_account(thread_id)
        self.calls: dict[str, RecordedCall] = {}
        self.carves: dict[str, Carve] = {}
        self.made_over: set[int] = set()
        self.complete = False
        self.known = False
        self._thread_id = thread_id
        self._reserved: Reserved | None = None  # the last hold, until anything but a threshold follows it
        self._members = {self.account}  # and its carved children: what shares with one of them holds on it as well

    def take(self, entry: AnyEntry, before: AnyEntry | None) -> None:
        """Take the next entry, and the one that is written just before it."""
        self._note_hold(before)
        match entry:
            case AccountOpened(account=account, limits=limits):
                if account == self.account:
                    self.complete = self.known = True
                if isinstance(before, Reserved) and before.call is None and self._counts_here(before.accounts):
                    # A carved child's account is opened in the same step as its limits are held.
                    self.carves[before.hold_id] = Carve(before.accounts, account, limits)
                    self._members.add(account)
            case Reserved(hold_id=hold_id, accounts=accounts, amounts=amounts, call=call):
                if isinstance(before, Released) and (carve := self.carves.get(before.hold_id)) is not None:
                    # The child has other limits: they are held in the step that gives those before back.
                    self.carves[hold_id] = Carve(accounts, carve.child, Limits(**msgspec.structs.asdict(amounts)))
                self._begin(entry, Hold(hold_id, accounts, amounts, call=call))
            case Checkpoint(holds=holds) if before is None:
                self.known = any(balance.account == self.account for balance in entry.balances)
                for hold in holds:
                    self._begin(entry, hold)
            case Dispatched() | Overran() | Settled() | Released():
                if (begun := self.calls.get(entry.hold_id)) is not None:
                    _go_on(begun, entry)
            case ShortfallReported(shortfall=shortfall) if _is_of(shortfall, self._reserved):
                self.made_over.add(entry.seq)
            case _:
                pass

    def _note_hold(self, before: AnyEntry | None) -> None:
        if not isinstance(before, ThresholdFired):
            self._reserved = before if isinstance(before, Reserved) else None

    def _begin(self, entry: AnyEntry, hold: Hold) -> None:
        call = hold.call
        if call is None or not (self._counts_here(hold.accounts) or call.root_thread_id == self._thread_id):
            return
        self.calls[hold.hold_id] = RecordedCall(
            number=len(self.calls) + 1,
            seq=entry.seq,
            time_ns=entry.time_ns,
            hold_id=hold.hold_id,
            accounts=hold.accounts,
            held=hold.amounts,
            call=call,
            state="dispatched" if hold.dispatched else "held",
        )

    def _counts_here(self, accounts: tuple[str, ...]) -> bool:
        return not self._members.isdisjoint(accounts)


def _is_of(shortfall: Refusal, reserved: Reserved | None) -> bool:
    """Whether a limit that only watches was passed by this very hold: a call that is refused finds it held already."""
    if reserved is None:
        return False
    holds = amount_of(reserved.amounts, shortfall.dimension, 0)
    return shortfall.account in reserved.accounts and shortfall.held < shortfall.needed <= holds


def _go_on(call: RecordedCall, entry: Dispatched | Overran | Settled | Released) -> None:
    match entry:
        case Dispatched():
            call.state = "dispatched"
        case Released():
            call.state = "released"
        case Overran(amounts=amounts):
            call.overrun += amounts
        case Settled(source=source):
            call.state, call.settled = source, entry
