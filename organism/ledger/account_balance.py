"""One account's state, as its entries make it. Pure."""

from collections.abc import Callable, Sequence
from datetime import tzinfo

import msgspec

from organism.amounts import ZERO, Amounts, Dimension, Limits
from organism.ledger.rolling import SpendSlices, counted, free_again_ns
from organism.ledger.windows import window_end_ns


class Balance(msgspec.Struct, gc=False, omit_defaults=True):
    """One account's state: a fold over its entries, never written from anywhere else.

    Attributes:
        configured: Its limits by the configuration, from which an operator may have departed.
        fired: Thresholds reached under the present revision.
        fired_seqs: The same, each with the number of its entry: by it is known which agents have heard of it.
        final_to: The agent that was given the final warning under the present revision; empty when no call of the
            scope's own reached it, so that it is any agent's; ``None`` before it was given.
        final_reserve_used: Whether the final reserve has been used under it, or is by a call in flight.
        final_reserve_hold: The hold that has taken that reserve; given back with it, if the call is not charged.
        reported: Whether a refusal under it has had its event.
        open_holds: How many holds it carries.
        unpriced_calls: Settled calls whose cost is unknown.
        counted_ns: For how long spend counts: ``None`` for good, 0 for its own call only, else within a rolling window.
        recent: What was spent within the rolling window.
        noted_ns: Since when ``fired`` and ``reported`` stand, where spend counts for a time only.
        last_call: What the call that was settled last has cost: how large the present one is likely to be.
        last_call_ns: How long it took, in nanoseconds.
        ahead: Of the thresholds in ``fired`` those that came ahead of their per cent, with the size of a call then.
        passed: Thresholds at which a person has let it go on, under the present revision.
        passed_ns: Since when.
        slice: In a cluster, what this partition may use of limits that all share; ``None`` for all others.
        elsewhere: What the other partitions have spent, as far as is known here.
        agreed: The limits that the partitions have agreed on.
    """

    account: str
    limits: Limits
    configured: Limits
    spent: Amounts = ZERO
    held: Amounts = ZERO
    revision: int = 1
    fired: frozenset[tuple[Dimension, int]] = frozenset()
    final_to: str | None = None
    final_reserve_used: bool = msgspec.field(default=False, name="wrapped_up")
    final_reserve_hold: str = ""
    reported: bool = False
    open_holds: int = 0
    unpriced_calls: int = 0
    counted_ns: int | None = None
    recent: SpendSlices = ()
    noted_ns: int = 0
    last_call: Amounts = ZERO
    last_call_ns: int = 0
    ahead: frozenset[tuple[Dimension, int, int]] = frozenset()
    passed: frozenset[int] = frozenset()
    passed_ns: int = 0
    fired_seqs: frozenset[tuple[Dimension, int, int]] = frozenset()
    slice: Amounts | None = None
    elsewhere: Amounts = ZERO
    agreed: Limits | None = None

    def passed_at(self, now_ns: int) -> frozenset[int]:
        """Return the thresholds that a person has let it pass, and that stand now."""
        window_ns = self.counted_ns
        return frozenset() if window_ns is not None and now_ns - self.passed_ns >= window_ns else self.passed

    def spent_at(self, now_ns: int) -> Amounts:
        """Return what counts against the limits now."""
        if self.counted_ns is None:
            return self.spent
        return counted(self.recent, now_ns, self.counted_ns) if self.counted_ns else ZERO

    def spent_by(self, now_ns: Callable[[], int]) -> Amounts:
        """Return what counts against the limits now; the clock is read only where spend counts for a while."""
        return self.spent if self.counted_ns is None else self.spent_at(now_ns())

    def total_at(self, now_ns: int) -> Amounts:
        """Return what all partitions together have spent against the limits; the same where nothing is shared."""
        spent = self.spent_at(now_ns)
        return spent if self.slice is None else spent + self.elsewhere

    def total_by(self, now_ns: Callable[[], int]) -> Amounts:
        """Return :meth:`total_at`; the clock is read only where spend counts for a while."""
        spent = self.spent_by(now_ns)
        return spent if self.slice is None else spent + self.elsewhere

    def resets_ns(self, now_ns: Callable[[], int], time_zone: tzinfo) -> int | None:
        """Return when all that is spent counts no more; ``None`` if it counts for good, or nothing is spent."""
        if self.counted_ns is None:
            return window_end_ns(self.account, time_zone)
        return max((at_ns for at_ns, _ in self.frees(now_ns)), default=None)

    def frees(self, now_ns: Callable[[], int]) -> Sequence[tuple[int, Amounts]]:
        """Return when spend on a rolling window counts no more, the next first, with all that has gone by then."""
        return free_again_ns(self.recent, now_ns(), self.counted_ns) if self.counted_ns else ()

    @property
    def held_now(self) -> Amounts:
        """What open calls take of the limits; calls that are limited one by one take nothing of each other's."""
        return ZERO if self.counted_ns == 0 else self.held

    def notes_lapsed(self, now_ns: int) -> bool:
        """Whether reports about this account are as old as the spend they were about, so that they are made anew."""
        return self.counted_ns is not None and now_ns - self.noted_ns >= self.counted_ns

    def fired_at(self, now_ns: int) -> frozenset[tuple[Dimension, int]]:
        """Return the thresholds that stand as reached now."""
        return frozenset() if self.notes_lapsed(now_ns) else self.fired
