"""How much of what can happen has happened: without it, "no failure" says nothing."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, get_args
from unittest.mock import patch

from organism.threads import thread
from organism.threads.thread_state import TRANSITIONS, ThreadEvent, ThreadStatus, next_status
from organism.usage.attempts import Outcome

_FROM_OUTSIDE: Final = {"chat", "execute_tool", "hold", "charge"}
"""Operations that the random shapes have; vectors they have none."""

_IMPOSSIBLE: Final = {
    *(f"outcome {what} {how}" for what in ("hold", "charge") for how in ("estimated", "disputed")),
    "outcome charge worst_case",
    "outcome charge released",
    "outcome execute_tool estimated",
    "outcome execute_tool disputed",
}

POSSIBLE: Final = (
    *(f"move {status} {event}" for status, event in TRANSITIONS),
    *(
        f"outcome {operation} {outcome}"
        for operation in sorted(_FROM_OUTSIDE)
        for outcome in get_args(Outcome)
        if f"outcome {operation} {outcome}" not in _IMPOSSIBLE
    ),
)
"""Every move of a thread, and every outcome of everything that is paid for."""


@contextmanager
def counting_moves(seen: Counter[str]) -> Iterator[None]:
    """Count the moves of threads from state to state."""

    def count(thread_id: str, status: ThreadStatus, event: ThreadEvent) -> ThreadStatus:
        after = next_status(thread_id, status, event)
        seen[f"move {status} {event}"] += 1
        return after

    with patch.object(thread, "next_status", count):
        yield


def coverage_lines(seen: Counter[str], possible: tuple[str, ...] = POSSIBLE) -> list[str]:
    """Return what happened how often, then what of the possible did not."""
    lines = [f"  {what:<40} {times:>9,}" for what, times in sorted(seen.items())]
    missing = [what for what in possible if not seen[what]]
    return [
        *lines,
        f"  {len(possible) - len(missing)} of {len(possible)} moves and outcomes; never: {missing or 'none'}",
    ]
