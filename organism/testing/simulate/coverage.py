"""How much of what can happen has happened: without it, "no failure" says nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, get_args
from unittest.mock import patch

from organism.ledger.entries import AnyEntry
from organism.threads import thread
from organism.threads.thread_state import TRANSITIONS, ThreadEvent, ThreadStatus, next_status
from organism.usage.attempts import Operation, Outcome
from organism.usage.events import AnyEvent

_PAID_FOR: Final = get_args(Operation)
_OUTCOMES: Final = get_args(Outcome)

UNREACHABLE: Final[dict[str, str]] = {
    **{f"outcome embeddings {how}": "the random shapes make no vectors" for how in _OUTCOMES},
    **{
        f"outcome {what} disputed": "a count beyond belief is a model's provider's; a handler's numbers are charged"
        for what in ("hold", "charge", "execute_tool")
    },
    **{
        f"outcome charge {how}": "what has been spent already is charged as it is told; nothing is held before"
        for how in ("estimated", "worst_case", "released")
    },
    "entry LimitSliced": "partitions share limits; that is what --cluster simulates",
    "event PartitionMoved": "nodes hand partitions over; that is what --cluster simulates",
    "event EventLoopBlocked": "no step takes time by the virtual clock",
    "event AgentSaid": "what agents say is told to listeners, and not recorded",
}
"""What no run of a random shape can bring about, and why."""

POSSIBLE: Final = tuple(
    what
    for what in (
        *(f"move {status} {event}" for status, event in TRANSITIONS),
        *(f"outcome {operation} {outcome}" for operation in _PAID_FOR for outcome in _OUTCOMES),
        *(f"entry {kind.__name__}" for kind in get_args(AnyEntry)),
        *(f"event {kind.__name__}" for kind in get_args(AnyEvent)),
    )
    if what not in UNREACHABLE
)
"""Every move of a thread, every outcome of everything that is paid for, and every kind of entry and event."""

_SELDOM_PER_MILLE: Final = 5
"""What happens less often in a thousand runs is said to be seldom."""


@contextmanager
def counting_moves(seen: Counter[str]) -> Iterator[None]:
    """Count the moves of threads from state to state."""

    def count(thread_id: str, status: ThreadStatus, event: ThreadEvent) -> ThreadStatus:
        after = next_status(thread_id, status, event)
        seen[f"move {status} {event}"] += 1
        return after

    with patch.object(thread, "next_status", count):
        yield


def coverage_lines(
    seen: Counter[str],
    possible: tuple[str, ...] = POSSIBLE,
    *,
    unreachable: Mapping[str, str] = UNREACHABLE,
    runs: int = 0,
) -> list[str]:
    """Return what happened how often, then what of the possible happened seldom or never, and what cannot.

    Args:
        runs: In how many runs.
    """
    missing = [what for what in possible if not seen[what]]
    seldom = [what for what in possible if 0 < 1000 * seen[what] < _SELDOM_PER_MILLE * runs]
    return [
        *(f"  {what:<40} {times:>9,}" for what, times in sorted(seen.items())),
        f"  {len(possible) - len(missing)} of {len(possible)} that can happen; never: {', '.join(missing) or 'none'}",
        f"  less than {_SELDOM_PER_MILLE} times in 1,000 runs: {', '.join(seldom) or 'none'}",
        *(f"  {what:<40}         - {why}" for what, why in sorted(unreachable.items())),
    ]
