"""What a replay finds: each call as it was and as it would have been, and the sums. Pure."""

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from organism.amounts import ZERO, Amounts, Limits
from organism.budget.holds import Mode
from organism.errors import Refusal
from organism.messages import BudgetWarning
from organism.router.planning.plan import Degraded

CALLS_MAX = 10_000
"""So many calls are listed; sums count all."""

Fate = Literal["made", "cut", "last_call", "waiting", "refused", "not_made"]
"""How a call ends. ``cut``: made, but its answer would have ended earlier, at the cap that still fits.
``last_call``: made from the slice kept for one, after the final warning. ``waiting``: it waits for its siblings, and
the record ends. ``not_made``: it comes after the first refusal, from where agents would have done something else."""


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """What calls add up to.

    Attributes:
        calls: Attempts that were charged.
        tokens: All tokens.
        cost_nanousd: Their cost; with unpriced calls a lower bound.
        unpriced_calls: Charged attempts whose cost nobody knows.
    """

    calls: int = 0
    tokens: int = 0
    cost_nanousd: int = 0
    unpriced_calls: int = 0

    def plus(self, amounts: Amounts, *, priced: bool) -> "Sum":
        """Add a call."""
        return Sum(
            calls=self.calls + amounts.calls,
            tokens=self.tokens + amounts.tokens,
            cost_nanousd=self.cost_nanousd + amounts.cost_nanousd,
            unpriced_calls=self.unpriced_calls + (amounts.calls if not priced else 0),
        )


class Compared(msgspec.Struct, frozen=True):
    """A sum as it was recorded, and as it would have been."""

    recorded: Sum = Sum()
    replayed: Sum = Sum()


class Crossing(msgspec.Struct, frozen=True):
    """A threshold that would have been crossed.

    Attributes:
        call: The number of the call whose settlement crosses it, or that is refused with it; 0 for a lowered limit.
        warning: The warning its agent would have got.
    """

    call: int
    warning: BudgetWarning


class Stop(msgspec.Struct, frozen=True):
    """The first refusal that stands.

    Attributes:
        call: The number of the refused call; 0 where a child thread's limits could not be carved out.
        seq: The number of the entry that held it when it was recorded.
        agent: Whose call it is; empty for a child thread.
        shortfall: The scope that refuses, and every number.
        parks: Whether the message would have waited for a higher limit; else its handler would have been told.
    """

    call: int
    seq: int
    agent: str
    shortfall: Refusal
    parks: bool


class ReplayedCall(msgspec.Struct, kw_only=True):
    """One attempt at a call, as it was and as it would have been.

    Attributes:
        number: Counts the thread's calls in the order of their holds, from 1.
        seq: The number of the entry that held it.
        time_ns: When it was held.
        thread_id: The thread whose call it is.
        agent: Whose call it is.
        call_id: The call; its attempts share it.
        attempt: Counted from 1.
        route: Where it went: ``provider/model``.
        state: ``held``, ``dispatched``, ``released``, or the outcome that it was settled with.
        recorded: What it cost.
        recorded_priced: Whether that is known.
        to_route: Where it would have gone.
        fate: What would have become of it.
        replayed: What it would have cost.
        replayed_priced: Whether that is known.
        output_cap: The longest answer it would have been granted.
        degraded: How its model would have been replaced because the budget runs low.
        shortfall: Who would have refused it; in mode ``audit`` it is made all the same.
    """

    number: int
    seq: int
    time_ns: int
    thread_id: str
    agent: str
    call_id: str
    attempt: int
    route: str
    state: str
    recorded: Amounts
    recorded_priced: bool
    to_route: str
    fate: Fate = "not_made"
    replayed: Amounts = ZERO
    replayed_priced: bool = True
    output_cap: int = 0
    degraded: tuple[Degraded, ...] = ()
    shortfall: Refusal | None = None


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded thread, decided anew.

    Attributes:
        thread_id: The thread; those below it are part of it.
        mode: What a reached limit does in the replay.
        limits: The thread's own limits in the replay, at its end.
        complete: Whether the ledger still has the thread from its beginning.
        before: What was spent before the ledger's first kept entry; part of neither sum.
        adjusted: Corrections of spend that were recorded; part of neither sum.
        spent: What stands on the thread's own account at the end of the replay.
        total: All calls.
        by_model: The same by ``provider/model``; the sums that are replayed stand where the calls would have gone.
        by_agent: The same by agent.
        crossings: Thresholds in the order in which they would have been crossed.
        over: In mode ``audit``, the first call that ``enforce`` would have refused, by its number; 0 for none.
        stop: Where it would have stopped; ``None`` if nowhere.
        not_made: What was recorded of the refused call and of those after it: they count in no sum that is replayed.
        calls: The first :data:`CALLS_MAX` calls.
        calls_in_all: How many there are.
    """

    thread_id: str
    mode: Mode
    limits: Limits
    complete: bool
    before: Amounts
    adjusted: Amounts
    spent: Amounts
    total: Compared
    by_model: dict[str, Compared]
    by_agent: dict[str, Compared]
    crossings: tuple[Crossing, ...]
    over: int
    stop: Stop | None
    not_made: Sum
    calls: tuple[ReplayedCall, ...]
    calls_in_all: int


def added_up(calls: Iterable[ReplayedCall], names: Callable[[ReplayedCall], tuple[str, str]]) -> dict[str, Compared]:
    """Add calls up by what they are called, first as they were recorded and then as they are replayed."""
    found: dict[str, Compared] = {}
    for call in calls:
        was, would = names(call)
        sides = found.get(was, Compared())
        found[was] = Compared(sides.recorded.plus(call.recorded, priced=call.recorded_priced), sides.replayed)
        sides = found.get(would, Compared())
        found[would] = Compared(sides.recorded, sides.replayed.plus(call.replayed, priced=call.replayed_priced))
    return found


def first_over(calls: Iterable[ReplayedCall]) -> int:
    """Return the number of the first call that is made although a limit refuses it; 0 for none."""
    over = (call.number for call in calls if call.shortfall is not None and call.fate in ("made", "cut"))
    return next(over, 0)


def left_out(calls: Iterable[ReplayedCall]) -> Sum:
    """Add up what was recorded of calls that are not made."""
    total = Sum()
    for call in calls:
        if call.fate in ("not_made", "refused", "waiting"):
            total = total.plus(call.recorded, priced=call.recorded_priced)
    return total
