"""Budget that a person has granted for a while: a raise of limits that takes back what was not spent by then.

The raise is made in the step that answers the agent, so a crash leaves both or none. What is to be taken back, and
when, is a piece of the journal that belongs to the thread: it goes with it, and a start goes on waiting for its time.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import anyio
import msgspec
from msgspec.structs import replace

from organism.amounts import AMOUNT_MAX, NS_PER_S, BudgetState, Limits, format_usd
from organism.clock import Clock
from organism.control.orders.budget_changes import BudgetChanges
from organism.control.views import TimedGrant
from organism.journal import Drop, Keep, Pieces
from organism.runtime.pump import Pump
from organism.runtime.workers.guard import guarded
from organism.text.plain_text import counted
from organism.threads.approvals import Approval, BudgetGrant, BudgetRequest

_KIND = "grant"


class GrantRecord(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A raise that ends.

    Attributes:
        approval_id: What was asked.
        thread_id: By which thread.
        accounts: Whose limits were raised.
        tokens: By so many tokens.
        cost_nanousd: By so many nano-USD.
        until_ns: Until when, nanoseconds since the Unix epoch.
    """

    approval_id: str
    thread_id: str
    accounts: tuple[str, ...]
    tokens: int
    cost_nanousd: int
    until_ns: int


def granted(pieces: Pieces) -> Iterator[GrantRecord]:
    """Yield the raises that a journal says will end."""
    for _, record in pieces.read(_KIND, GrantRecord):
        yield record


class WaitingGrants:
    """The raises that will end, by account."""

    def __init__(self, records: Iterable[GrantRecord] = ()) -> None:
        self._by_account: dict[str, dict[str, GrantRecord]] = {}
        for record in records:
            self.add(record)

    def add(self, record: GrantRecord) -> None:
        """Note a raise that will end."""
        for account in record.accounts:
            self._by_account.setdefault(account, {})[record.approval_id] = record

    def remove(self, record: GrantRecord) -> None:
        """Forget one that has ended."""
        for account in record.accounts:
            of_account = self._by_account[account]
            del of_account[record.approval_id]
            if not of_account:
                del self._by_account[account]

    def of(self, account: str) -> tuple[TimedGrant, ...]:
        """Return what of an account's limits is granted for a while, what ends first first."""
        records = self._by_account.get(account, {}).values()
        return tuple(
            TimedGrant(tokens=record.tokens, cost_nanousd=record.cost_nanousd, until_ns=record.until_ns)
            for record in sorted(records, key=lambda record: record.until_ns)
        )


class BudgetGrants:
    """Raises limits for a while."""

    def __init__(self, pump: Pump, changes: BudgetChanges, clock: Clock) -> None:
        self._clock = clock
        self._registry = pump.registry
        self._accounts = pump.registry.accounts
        self._notes = pump.registry.notes
        self._journal = pump.state_writer.journal
        self._scheduler = pump.scheduler
        self._changes = changes
        self._waiting = WaitingGrants()

    def of(self, account: str) -> tuple[TimedGrant, ...]:
        """Return what of an account's limits is granted for a while, what ends first first."""
        return self._waiting.of(account)

    def restore(self, pieces: Pieces) -> None:
        """Go on waiting for the end of what an earlier run has granted."""
        for record in granted(pieces):
            self._wait_for_end(record)

    def grant(self, approval: Approval, grant: BudgetGrant, by: str) -> None:
        """Raise the limits of a thread and of all above it, in one step."""
        accounts = tuple(self._lineage(approval.thread_id))  # a parent first: a carved child takes of it
        for state in map(self._registry.state, reversed(accounts)):
            self._changes.change_limits(state.account, _moved(state.limits, grant.tokens, grant.cost_nanousd))
        said = f"{by} has granted {approval.agent} {BudgetRequest.of(grant)}, asked for {approval.detail}"
        self._notes.remark(approval.thread_id, said)
        if grant.seconds is not None:
            record = GrantRecord(
                approval_id=approval.id,
                thread_id=approval.thread_id,
                accounts=accounts,
                tokens=grant.tokens,
                cost_nanousd=grant.cost_nanousd,
                until_ns=self._clock.now_ns() + grant.seconds * NS_PER_S,
            )
            self._journal.append(Keep(_key(record), record.thread_id, record))
            self._wait_for_end(record)

    def _lineage(self, thread_id: str | None) -> Iterator[str]:
        """Yield the accounts of a thread and of all above it, whose budget it shares or is carved out of."""
        while thread_id is not None:
            budget = self._accounts.thread(thread_id)
            yield budget.accounts[0]
            thread_id = budget.parent

    def _wait_for_end(self, record: GrantRecord) -> None:
        self._waiting.add(record)
        ending = partial(self._end_in_time, record)
        self._scheduler.start_soon(partial(guarded, ending, "ending a grant", thread_id=record.thread_id))

    async def _end_in_time(self, record: GrantRecord) -> None:
        while (left_ns := record.until_ns - self._clock.now_ns()) > 0:  # noqa: ASYNC110 - clocks may be set back
            await anyio.sleep(left_ns / NS_PER_S)
        self._end(record)

    def _end(self, record: GrantRecord) -> None:
        """Take back what was not spent; what calls under way hold is theirs still."""
        self._waiting.remove(record)
        if not self._registry.has_budget(record.thread_id):
            return
        self._journal.append(Drop(_key(record), record.thread_id))
        back = []
        # From below: what is not carved out for a child any more is there to be taken from those above.
        for account in filter(record.accounts.__contains__, self._lineage(record.thread_id)):
            state = self._registry.state(account)
            back.append(_unspent(state, record))
            self._changes.change_limits(account, _moved(state.limits, *(-amount for amount in back[-1])))
        if back:
            tokens, cost_nanousd = back[0]
            text = (
                f"a granted budget has ended: {format_usd(cost_nanousd)} and {counted(tokens, 'token')} were not spent"
            )
            self._notes.remark(record.thread_id, text)


def _key(record: GrantRecord) -> str:
    return f"{_KIND}:{record.approval_id}"


def _unspent(state: BudgetState, record: GrantRecord) -> tuple[int, int]:
    """Return the tokens and nano-USD of a grant that an account has left."""
    left_tokens = (state.limits.tokens or 0) - state.spent.tokens - state.held.tokens
    left_usd = (state.limits.cost_nanousd or 0) - state.spent.cost_nanousd - state.held.cost_nanousd
    return min(record.tokens, max(0, left_tokens)), min(record.cost_nanousd, max(0, left_usd))


def _moved(limits: Limits, tokens: int, cost_nanousd: int) -> Limits:
    """Move what is limited, up to what 64 bits hold; what is not limited stays so."""
    return replace(
        limits,
        tokens=None if limits.tokens is None else min(limits.tokens + tokens, AMOUNT_MAX),
        cost_nanousd=None if limits.cost_nanousd is None else min(limits.cost_nanousd + cost_nanousd, AMOUNT_MAX),
    )
