"""Changes that somebody has looked at, and after which the program does the same for everybody.

By file, function and change; where the program is rewritten an entry matches nothing any more, and the change is tried.
"""

EQUIVALENT: dict[str, str] = {
    "organism/ledger/fold.py::: 100 -> (101)": "thresholds are at most 100 within a limit, and at least 200 beyond",
    "organism/budget/reserve_queue.py::ReserveQueue.next_ticket: 1 -> (2)": "of tickets only the order counts",
    "organism/budget/guards/actions.py::ThresholdActions.approval_due: 0 -> (1)": (
        "a unit that is due has a limit, of more than nothing; the 0 is there for the type alone"
    ),
    "organism/router/answers/charge.py::Charges._is_beyond_belief: 1 -> (2)": (
        "every call holds two tokens at least, and more than ten dollars are more than so many nano-dollars either way"
    ),
}
"""By key, why it makes no difference."""
