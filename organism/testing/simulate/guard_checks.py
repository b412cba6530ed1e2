"""What must hold of the guards beside limits, after every record: thresholds, breakers, grants, and ends of windows.

It folds the same entries as the second set of books, and shares no line with what it checks.
"""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from organism.amounts import NS_PER_S, Limits
from organism.amounts.account import Account, thread_account
from organism.amounts.units import AMOUNT_FIELDS
from organism.budget.guards.actions import Actions
from organism.control.orders.budget_grants import GrantRecord
from organism.errors import Refusal
from organism.journal import Drop, Keep, Piece
from organism.ledger.entries import AccountOpened, CallRecord, Dispatched, LimitsSet, Reserved, ThresholdPassed
from organism.testing.books import AccountSums, Books
from organism.threads.records import THREAD, ThreadRecord
from organism.usage.events import ThreadClosed

_GRANT: Final = "grant"
_LATE_NS: Final = NS_PER_S
_PERIODS: Final = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}


class GuardChecks:
    """Folds records, and says what a guard should not have let through.

    Args:
        books: The sums of all accounts, with each entry in them already.
        wrong: Told, in a sentence, of everything that is not right.
        saw: Counts what was met.
    """

    def __init__(self, books: Books, wrong: Callable[[str], None], saw: Callable[[str], None]) -> None:
        self._books = books
        self._wrong = wrong
        self._saw = saw
        self._began_ns = 0
        self._passed: dict[str, dict[int, int]] = defaultdict(dict)
        self._tripped: set[str] = set()
        self._limits: dict[str, Limits] = {}
        self._raised_by: dict[str, tuple[int, ...]] = {}
        self._grants: dict[str, GrantRecord] = {}
        self._to_set: dict[str, int] = {}

    def take_up(self, pieces: tuple[Piece, ...]) -> None:
        """Take up what an earlier process has left: the threads that are paused, and the grants that run."""
        for piece in pieces:
            kind = piece.key.partition(":")[0]
            if kind == _GRANT:
                self._grants[piece.key] = msgspec.json.decode(piece.body, type=GrantRecord)
            elif kind == THREAD:
                self._note_pause(msgspec.json.decode(piece.body, type=ThreadRecord))

    def note(self, record: msgspec.Struct) -> None:
        """Fold in what is no entry."""
        match record:
            case Keep(key=key, body=GrantRecord() as grant):
                self._note_grant(key, grant)
            case Drop(key=key) if key in self._grants:
                self._end_grant(self._grants.pop(key))
            case Keep(body=ThreadRecord() as thread):
                self._note_pause(thread)
                self._check_carve(thread)
            case ThreadClosed(thread_id=thread_id):
                self._grants = {k: each for k, each in self._grants.items() if each.thread_id != thread_id}
            case _:
                pass

    def enter(self, entry: Any, actions_of: Callable[[str], Actions] | None) -> None:
        """Fold in an entry, and check it where it is known what happens at thresholds of accounts that refuse."""
        match entry:
            case AccountOpened(account=account, limits=limits):
                self._limits[account] = limits
                self._passed.pop(account, None)
            case LimitsSet(account=account, limits=limits):
                self._set_limits(account, limits)
            case ThresholdPassed(account=account, threshold=threshold):
                self._passed[account][threshold] = entry.time_ns
                self._saw("a threshold let pass")
            case Reserved(call=CallRecord() as call) if actions_of is not None and call.operation != "charge":
                self._check_hold(entry, call, actions_of)
            case Dispatched(hold_id=hold_id) if actions_of is not None:
                self._check_windows(self._books.lines[hold_id].accounts, entry.time_ns)
            case _:
                pass
        if actions_of is not None:
            self._check_grants(entry.time_ns)

    def check_end(self) -> None:
        """Check what must hold when nothing is under way."""
        for account in self._to_set:
            self._wrong(f"the grant of {account} has ended, but its limit was not taken back")

    # -- thresholds, breakers, windows ----------------------------------------------------------------------------

    def _check_hold(self, entry: Reserved, call: CallRecord, actions_of: Callable[[str], Actions]) -> None:
        if call.thread_id in self._tripped:
            self._wrong(f"{entry.hold_id} was granted to {call.thread_id}, which a breaker has paused")
        for account in entry.accounts:
            sums = self._books.accounts[account]
            for threshold, action in actions_of(account):
                if action == "approve":
                    self._check_approval(entry, account, sums, threshold)
                elif action in ("park", "refuse"):
                    self._check_end(entry, account, sums, threshold)

    def _check_approval(self, entry: Reserved, account: str, sums: AccountSums, threshold: int) -> None:
        held = entry.amounts if sums.window_ns == 0 else sums.held
        spent, window_ns = sums.used(entry.time_ns, entry.amounts) - held, sums.window_ns
        passed = [each for each in self._passed[account] if each >= threshold]
        last_ns = max(self._passed[account].values(), default=0)
        if passed and (window_ns is None or entry.time_ns - last_ns < window_ns):
            return
        for unit in AMOUNT_FIELDS:
            limit = getattr(sums.limits, unit)
            if limit and getattr(spent, unit) * 100 >= limit * threshold:
                self._wrong(f"{entry.hold_id} was granted at {threshold} % of {account}, which nobody has let go on")

    def _check_end(self, entry: Reserved, account: str, sums: AccountSums, threshold: int) -> None:
        used = sums.used(entry.time_ns, entry.amounts)
        for unit in AMOUNT_FIELDS:
            limit = getattr(sums.limits, unit)
            if limit is not None and getattr(used, unit) > limit * threshold // 100:
                self._wrong(f"{entry.hold_id} takes {account} beyond {threshold} %, where it ends")

    def _note_pause(self, thread: ThreadRecord) -> None:
        if isinstance(thread.paused_by, Refusal):
            self._saw("paused by a breaker")
            self._tripped.add(thread.thread_id)
        else:
            self._tripped.discard(thread.thread_id)

    def _check_carve(self, thread: ThreadRecord) -> None:
        """What is held for a carved child is all that it may spend: else those above it would pass their limits."""
        if thread.carve is None or (line := self._books.lines.get(thread.carve)) is None:
            return
        limits = self._limits.get(thread_account(thread.thread_id), Limits())
        for unit in AMOUNT_FIELDS:
            if (limit := getattr(limits, unit)) is not None and getattr(line.amounts, unit) < limit:
                self._wrong(f"{thread.carve} holds less for {thread.thread_id} than its limit of {limit} {unit}")

    def _check_windows(self, accounts: tuple[str, ...], now_ns: int) -> None:
        now = datetime.fromtimestamp(now_ns // NS_PER_S, UTC)
        for account in accounts:
            per, _, began = Account.parse(account).over.partition(":")
            if per in _PERIODS and f"{now:{_PERIODS[per]}}" != began:
                self._wrong(f"a call has left on {account} at {now}, when that was over or had not begun")

    # -- grants ---------------------------------------------------------------------------------------------------

    def _set_limits(self, account: str, limits: Limits) -> None:
        before, self._limits[account] = self._limits.get(account, limits), limits
        self._passed.pop(account, None)
        if limits.tokens is None or before.tokens is None:
            return
        # The last two: one that had passed its limit is raised once more for a child that is carved out of it.
        self._raised_by[account] = (*self._raised_by.get(account, ())[-1:], limits.tokens - before.tokens)
        if (granted := self._to_set.pop(account, None)) is not None:
            sums = self._books.accounts[account]  # as it is now: what was carved out for a child below is less already
            expected = before.tokens - min(granted, max(0, before.tokens - (sums.spent + sums.held).tokens))
            if limits.tokens != expected:
                self._wrong(f"a grant of {account} has ended: its limit became {limits.tokens}, not {expected} tokens")

    def _note_grant(self, key: str, grant: GrantRecord) -> None:
        self._saw("a grant for a while")
        self._grants[key] = grant
        for account in grant.accounts:
            limited = self._limits.get(account, Limits()).tokens is not None
            if limited and grant.tokens not in self._raised_by.get(account, ()):
                self._wrong(f"{account} was granted {grant.tokens} tokens, and raised by {self._raised_by}")

    def _end_grant(self, grant: GrantRecord) -> None:
        self._saw("the end of a grant")
        for account in grant.accounts:
            sums = self._books.accounts.get(account)
            if sums is not None and sums.limits.tokens is not None:
                self._to_set[account] = grant.tokens

    def _check_grants(self, now_ns: int) -> None:
        self._began_ns = self._began_ns or now_ns
        for key, grant in tuple(self._grants.items()):
            if now_ns > max(self._began_ns, grant.until_ns) + _LATE_NS:
                del self._grants[key]
                self._wrong(f"the grant of {grant.thread_id} until {grant.until_ns} stands at {now_ns}")
