"""Ledger entries: immutable facts about money, from which every balance follows.

An entry never changes and is never removed. Resolving a hold writes a new entry that names it, the shape of two-phase
transfers in TigerBeetle. Replaying all entries in order gives the same state as living through them.
"""

from collections.abc import AsyncIterator, Callable

import msgspec

from organism.amounts import ZERO, Amounts, Dimension, Limits, TokenUsage
from organism.errors import Refusal
from organism.journal import EntryLog, JournalBrokenError
from organism.ledger.account_balance import Balance
from organism.pricing.rates import Rates
from organism.usage.attempts import Operation

_PAGE = 10_000


class CallRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a hold is for, a model call as a rule: all it takes to charge and explain it without anybody's memory.

    Attributes:
        thread_id: The thread that pays.
        root_thread_id: The thread at the top of its tree.
        agent: Who asked.
        message_id: The message whose handling asked; empty when there was none.
        call_id: The call; its attempts share it.
        attempt: Counted from 1.
        provider: The provider's name in the configuration.
        model: The model's name in the configuration.
        request_model: The name sent to the provider.
        input_tokens: The estimate of what is sent.
        output_cap: The most the answer may have.
        price_source: Where the price of the hold came from; ``None`` when unknown, and then its money is 0.
        final_reserve_of: The account whose final reserve it was admitted from; empty for an ordinary call.
        operation: What is paid for.
        tool: The tool that runs, or what else a handler pays for; empty for a model call, and then alone there are a
            provider and a model.
        last_output: How many tokens of output were to be left for one more call, in a loop of tools; 0 elsewhere.
    """

    thread_id: str
    root_thread_id: str
    agent: str
    message_id: str
    call_id: str
    attempt: int
    provider: str
    model: str
    request_model: str
    input_tokens: int
    output_cap: int
    price_source: str | None
    final_reserve_of: str = msgspec.field(default="", name="wrap_up")
    operation: Operation = "chat"
    tool: str = ""
    last_output: int = 0


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag=True):
    """What every entry carries.

    Attributes:
        seq: Its place in the ledger, from 1, without gaps.
        time_ns: When, nanoseconds since the Unix epoch.
    """

    seq: int
    time_ns: int


class AccountOpened(Entry, frozen=True, kw_only=True):
    """A scope got a budget."""

    account: str
    limits: Limits


class LimitsSet(Entry, frozen=True, kw_only=True):
    """The limits of an account changed: a new revision, under which thresholds count afresh.

    Attributes:
        carried: Thresholds that stand as fired under the new limits.
        configured: Whether the configuration changed, and not an operator.
    """

    account: str
    limits: Limits
    revision: int
    carried: tuple[tuple[Dimension, int], ...]
    configured: bool = False


class LimitSliced(Entry, frozen=True, kw_only=True):
    """What a partition of a cluster may use of a limit that all partitions share; its revision and thresholds stay.

    Attributes:
        slice: So much of the limits; a unit that is not limited counts as nothing.
        elsewhere: What the other partitions had spent.
        agreed: The limits that all partitions had agreed on; a change by an operator here is still to reach them.
    """

    account: str
    slice: Amounts
    elsewhere: Amounts
    agreed: Limits


class Reserved(Entry, frozen=True, kw_only=True):
    """An amount was taken on every account of a call, before the call.

    Attributes:
        call: The call; ``None`` when a child thread's whole limit is carved out.
    """

    hold_id: str
    accounts: tuple[str, ...]
    amounts: Amounts
    call: CallRecord | None = None


class Dispatched(Entry, frozen=True, kw_only=True):
    """The call is about to leave the machine; from here on it may cost money whatever happens to us."""

    hold_id: str


CARVED = "carved"
"""The source of a settlement that is no call's, but all that a carved child has spent."""


class Settled(Entry, frozen=True, kw_only=True):
    """What a hold really cost, as far as the hold covers it.

    Attributes:
        source: Where the numbers come from: an outcome of :data:`organism.usage.attempts.Outcome`.
        priced: Whether the money is known; if not, its share of ``amounts`` is 0 and totals are a lower bound.
        usage: The tokens by bucket, those above the hold included.
        rates: The prices it was computed with, so that the cost can be computed again from the entry alone;
            ``None`` when the whole hold was charged or no price is known.
        truncated: Whether the answer's stream was closed because it had passed the hold.
    """

    hold_id: str
    amounts: Amounts
    source: str
    priced: bool = True
    usage: TokenUsage | None = None
    rates: Rates | None = None
    truncated: bool = False


class Overran(Entry, frozen=True, kw_only=True):
    """What a call cost above its hold. The money is gone, so this is never refused, only shown."""

    hold_id: str
    amounts: Amounts


class Released(Entry, frozen=True, kw_only=True):
    """A hold was given back: no work was done for it."""

    hold_id: str


class ThresholdFired(Entry, frozen=True, kw_only=True):
    """Spend reached a threshold, or came so near that few calls fit; kept, so that it is never reported twice.

    Attributes:
        agent: Whose call reached it; empty when no call of the thread's own did.
        final: Whether it was the last one before refusals.
        call_size: What one call takes, where it came ahead of its per cent because few of that size fit; 0 otherwise.
    """

    account: str
    dimension: Dimension
    threshold: int
    revision: int
    agent: str = ""
    final: bool = False
    call_size: int = 0


class ShortfallReported(Entry, frozen=True, kw_only=True):
    """A limit refused a call for the first time under its present revision; kept, so that its event is emitted once.

    Attributes:
        shortfall: The scope that refused, and every number.
        thread_id: The thread whose call it was.
    """

    account: str
    revision: int
    shortfall: Refusal
    thread_id: str


class Adjusted(Entry, frozen=True, kw_only=True):
    """Spend was corrected after the fact, by a receipt or an operator. The only entry that can make spend fall.

    Attributes:
        accounts: Whose spend.
        amounts: What is added; may be negative.
        reason: Why, and on whose word.
    """

    accounts: tuple[str, ...]
    amounts: Amounts
    reason: str


class ThresholdPassed(Entry, frozen=True, kw_only=True):
    """A person has let an account go on at a threshold, until its limits change or its window ends.

    Attributes:
        by: Who.
    """

    account: str
    threshold: int
    by: str


class Remarked(Entry, frozen=True, kw_only=True):
    """Something was decided about an account that moves no money, such as a breaker that has tripped on its thread.

    Attributes:
        text: What, in words.
    """

    account: str
    text: str


class AccountClosed(Entry, frozen=True, kw_only=True):
    """A scope ended with this final spend."""

    account: str
    spent: Amounts


class Hold(msgspec.Struct, gc=False, omit_defaults=True):
    """An open hold; it exists from its ``Reserved`` entry until it is settled or released.

    Its holder has the registry's ``GrantedHold``, with what was decided then and is no part of the books.

    Attributes:
        dispatched: Whether the call has been let out. A crash charges such a hold and gives back the others.
        call: Which call it is for; ``None`` for a carved child.
        dispatched_ns: When the call has been let out; 0 before.
        overran: What it has cost above the hold.
    """

    hold_id: str
    accounts: tuple[str, ...]
    amounts: Amounts
    dispatched: bool = False
    call: CallRecord | None = None
    dispatched_ns: int = 0
    overran: Amounts = ZERO


class Checkpoint(Entry, frozen=True, kw_only=True):
    """Everything that is open at this point: a replay may begin here, and what came before may be forgotten."""

    balances: tuple[Balance, ...]
    holds: tuple[Hold, ...]


AnyEntry = (
    AccountOpened
    | LimitsSet
    | LimitSliced
    | Reserved
    | Dispatched
    | Settled
    | Overran
    | Released
    | ThresholdFired
    | ShortfallReported
    | Adjusted
    | Remarked
    | ThresholdPassed
    | AccountClosed
    | Checkpoint
)
"""Every kind of entry: what a journal stores and a replay matches on."""

_decode: Callable[[bytes], AnyEntry] = msgspec.json.Decoder(AnyEntry).decode


def decode_entry(body: bytes) -> AnyEntry:
    """Read an entry from JSON.

    Raises:
        JournalBrokenError: If it is no entry, because it was changed or a newer program has written it.
    """
    try:
        return _decode(body)
    except msgspec.MsgspecError as error:
        raise JournalBrokenError(
            f"an entry of the ledger cannot be read ({error}): {body[:80]!r}; 'organism ledger verify' names it"
        ) from None


async def stored_entries(log: EntryLog) -> AsyncIterator[AnyEntry]:
    """Yield every entry that is stored, in order.

    Raises:
        JournalBrokenError: If one of them cannot be read.
    """
    after = 0
    while page := await log.entries_after(after, _PAGE):
        for stored in page:
            yield decode_entry(stored.body.encode())
        after = page[-1].seq
