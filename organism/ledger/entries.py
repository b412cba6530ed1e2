"""Ledger entries: immutable facts about money, from which every balance follows.

An entry never changes and is never removed. Resolving a hold writes a new entry that names it, the shape of two-phase
transfers in TigerBeetle. Replaying all entries in order gives the same state as living through them.
"""

import msgspec

from organism.amounts import ZERO, Amounts, Dimension, Limits


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=True):
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
    """

    account: str
    limits: Limits
    revision: int
    carried: tuple[tuple[Dimension, int], ...]


class Reserved(Entry, frozen=True, kw_only=True):
    """An amount was taken on every account of a call, before the call."""

    hold_id: str
    accounts: tuple[str, ...]
    amounts: Amounts


class Dispatched(Entry, frozen=True, kw_only=True):
    """The call is about to leave the machine; from here on it may cost money whatever happens to us."""

    hold_id: str


class Settled(Entry, frozen=True, kw_only=True):
    """What a hold really cost, as far as the hold covers it.

    Attributes:
        source: Where the numbers come from: an outcome of :data:`organism.usage.events.Outcome`.
        priced: Whether the money is known; if not, its share of ``amounts`` is 0 and totals are a lower bound.
    """

    hold_id: str
    amounts: Amounts
    source: str
    priced: bool = True


class Overran(Entry, frozen=True, kw_only=True):
    """What a call cost above its hold. The money is gone, so this is never refused, only shown."""

    hold_id: str
    amounts: Amounts


class Released(Entry, frozen=True, kw_only=True):
    """A hold was given back: no work was done for it."""

    hold_id: str


class ThresholdFired(Entry, frozen=True, kw_only=True):
    """Spend reached a threshold; kept, so that it is never reported twice."""

    account: str
    dimension: Dimension
    threshold: int
    revision: int


class AccountClosed(Entry, frozen=True, kw_only=True):
    """A scope ended with this final spend."""

    account: str
    spent: Amounts


AnyEntry = (
    AccountOpened | LimitsSet | Reserved | Dispatched | Settled | Overran | Released | ThresholdFired | AccountClosed
)
"""Every kind of entry: what a journal stores and a replay matches on."""


class Hold(msgspec.Struct):
    """An open hold; it exists from its ``Reserved`` entry until it is settled or released.

    Attributes:
        dispatched: Whether the call has been let out. A crash charges such a hold and gives back the others.
    """

    hold_id: str
    accounts: tuple[str, ...]
    amounts: Amounts
    dispatched: bool = False


class Balance(msgspec.Struct):
    """One account's state: a fold over its entries, never written from anywhere else.

    Attributes:
        fired: Thresholds reached under the present revision.
        open_holds: How many holds it carries.
        unpriced_calls: Settled calls whose cost is unknown.
    """

    account: str
    limits: Limits
    spent: Amounts = ZERO
    held: Amounts = ZERO
    revision: int = 1
    fired: set[tuple[Dimension, int]] = msgspec.field(default_factory=set)
    open_holds: int = 0
    unpriced_calls: int = 0
