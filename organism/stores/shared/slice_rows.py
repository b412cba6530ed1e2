"""Slices of the limits that all partitions of a cluster share, as every node sees them."""

from collections.abc import Mapping

import msgspec

from organism.amounts import UNLIMITED, ZERO, Amounts, Limits
from organism.budget.guards.standing import Standing


class Share(msgspec.Struct, frozen=True):
    """What a partition does with its slice of a limit.

    Attributes:
        spent: What it has spent.
        held: What its open calls hold.
        amounts: The slice.
        version: How often the slice has changed, as far as its owner has seen.
    """

    spent: Amounts
    held: Amounts
    amounts: Amounts = ZERO
    version: int = 0


class SliceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A partition's slice of a limit, with what it is a slice of.

    Attributes:
        account: The account that is limited.
        version: How often the slice has changed.
        amounts: The slice.
        limits: The limit.
        granted: All slices together.
        revision: How often the limit has changed.
        pushed: The newest revision of the partition's own ledger that has changed it.
        elsewhere: What the other partitions have reported as spent.
        held_elsewhere: What their open calls hold.
        configuration: How late the file was ordered that says what the limit is; 0 if none has said.
        configured: What it says.
    """

    account: str
    version: int
    amounts: Amounts
    limits: Limits
    granted: Amounts
    revision: int
    pushed: int
    elsewhere: Amounts
    held_elsewhere: Amounts
    configuration: int = 0
    configured: Limits = UNLIMITED


class SliceBound(msgspec.Struct, frozen=True):
    """How much of a limit all slices may make.

    Attributes:
        percent: So much of it.
        revision: Where that holds for one revision of the limit only, which.
    """

    percent: int = 100
    revision: int | None = None


UNBOUND = SliceBound()


class LimitChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a limit that one partition tells to all.

    Attributes:
        limits: The limits of tokens, nano-USD and calls from here on.
        units: Which of them are changed; the others stay as they are.
        revision: Of the account in the partition's ledger: an operator's change is made once for each.
        standing: The thresholds that stand as warned of under the new limits.
        configured: What the file of the partition's node says.
        configuration: How late the file was ordered that says so: of two files the newer one counts. 0 for an
            operator's change, and where no node has a file.
    """

    limits: tuple[int | None, ...]
    units: tuple[bool, ...]
    revision: int
    standing: tuple[tuple[str, int], ...]
    configured: tuple[int | None, ...]
    configuration: int = 0


class SliceWanted(msgspec.Struct, frozen=True):
    """A partition that needs more than there was.

    Attributes:
        partition: Its number.
        need: The amounts that it lacks.
    """

    partition: int
    need: Amounts


class SharedLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that the partitions of a cluster share.

    Attributes:
        account: The account that is limited.
        limits: The limit in each unit.
        granted: All slices together.
        revision: How often it has changed.
        shares: By partition, its slice and what it uses of it.
        wanted: The partitions that need more, in the order in which they asked.
        standing: What people have said of it.
    """

    account: str
    limits: Limits
    granted: Amounts
    revision: int
    shares: Mapping[int, Share]
    wanted: tuple[SliceWanted, ...]
    standing: Standing

    def elsewhere(self, partition: int) -> Amounts:
        """Return what all other partitions have spent."""
        return sum((share.spent for p, share in self.shares.items() if p != partition), ZERO)


class NewQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question that a partition asks for all.

    Attributes:
        account: The account that is limited.
        revision: The revision of the limit that the asker has seen: where it has changed since, nothing is asked.
        threshold: The threshold asked about, in per cent of the limit.
        thread_id: The thread whose call needs the answer.
        root: The thread at the top of its tree.
        agent: The agent that has made the call.
        detail: What a person reads.
        since_ns: An answer from before this instant counts no more: a rolling window has passed.
    """

    account: str
    revision: int
    threshold: int
    thread_id: str
    root: str
    agent: str
    detail: str
    since_ns: int
