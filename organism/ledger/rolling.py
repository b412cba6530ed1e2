"""Spend within the last so many hours, in few numbers and never too little. Pure.

Spend of about the same time is added up in one slice, and the whole slice counts until the youngest part of it is older
than the window. So at any instant no less counts than was really spent within the window, and a sixtieth of the window
at most counts longer than it must.
"""

import msgspec

from organism.amounts import ZERO, Amounts
from organism.amounts.units import positive

_SLICES = 60


class SpendSlice(msgspec.Struct, frozen=True, gc=False):
    """Spend of about the same time.

    Attributes:
        since_ns: The oldest of it.
        until_ns: The youngest of it.
        amounts: How much.
    """

    since_ns: int
    until_ns: int
    amounts: Amounts


SpendSlices = tuple[SpendSlice, ...]
"""Oldest first."""


def counted(slices: SpendSlices, now_ns: int, window_ns: int) -> Amounts:
    """Return what was spent within the last ``window_ns`` nanoseconds."""
    total = ZERO
    for each in slices:
        if each.until_ns >= now_ns - window_ns:
            total += each.amounts
    return total


def with_spend(slices: SpendSlices, amounts: Amounts, now_ns: int, window_ns: int) -> SpendSlices:
    """Return slices with what was spent now, or corrected, and without those that do not count any more."""
    kept = [each for each in slices if each.until_ns >= now_ns - window_ns]
    added, rest = positive(amounts), positive(ZERO - amounts)
    if rest != ZERO:
        # The oldest first: a correction that counted from now on would go on doing so when the spend that it corrects
        # counts no more, as room that nobody has.
        for place, each in enumerate(kept):
            off = rest.within(each.amounts)
            rest -= off
            kept[place] = SpendSlice(each.since_ns, each.until_ns, each.amounts - off)
    if added != ZERO:
        since_ns = now_ns
        if kept and now_ns - kept[-1].since_ns < window_ns // _SLICES:
            last = kept.pop()
            since_ns, added = last.since_ns, last.amounts + added
        kept.append(SpendSlice(since_ns, now_ns, added))
    return tuple(kept)


def free_again_ns(slices: SpendSlices, now_ns: int, window_ns: int) -> list[tuple[int, Amounts]]:
    """Return when spend counts no more, the next first, with all that has gone by then."""
    gone, steps = ZERO, []
    for each in slices:
        if each.until_ns >= now_ns - window_ns:
            gone += each.amounts
            steps.append((each.until_ns + window_ns + 1, gone))
    return steps
