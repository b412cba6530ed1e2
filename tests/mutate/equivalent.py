"""Changes that somebody has looked at, and after which the program does the same for everybody.

By file, function and change; where the program is rewritten an entry matches nothing any more, and the change is tried.
"""

EQUIVALENT: dict[str, str] = {
    "organism/ledger/fold.py::: 100 -> (101)": "thresholds are at most 100 within a limit, and at least 200 beyond",
    "organism/budget/reserve_queue.py::ReserveQueue.next_ticket: 1 -> (2)": "of tickets only the order counts",
    "organism/budget/guards/actions.py::ThresholdActions.approval_due: 0 -> (1)": (
        "a unit that is due has a limit, of more than nothing; the 0 is there for the type alone"
    ),
    "organism/budget/calibration.py::Calibration._most: 0 -> (1)": (
        "where no count is shorter, or none longer, the others' rule: what text takes is far above a thousandth of its "
        "guess"
    ),
    "organism/budget/estimate.py::TextPieces.manner: 2 -> (3)": "a name for a kind of text; only 0 means something",
    "organism/budget/relief.py::_order: 1 -> (2)": "what never comes is behind what comes, which has a 0 there",
    "organism/router/answers/answer_checks.py::_short: len(answer.finish_reason) > _NAME_MAX -> "
    "(len(answer.finish_reason) >= _NAME_MAX)": "a name of just that length is the same after it is cut to that length",
    "organism/router/answers/answer_checks.py::_short: len(answer.model) > _NAME_MAX -> "
    "(len(answer.model) >= _NAME_MAX)": "a name of just that length is the same after it is cut to that length",
    "organism/router/answers/charge.py::Charges._uses_tokens: 0 -> (1)": (
        "asked only of streams that are closed in the middle, and vectors are no streams"
    ),
    "organism/router/answers/charge.py::Charges._is_beyond_belief: 1 -> (2)": (
        "every call holds two tokens at least, and more than ten dollars are more than so many nano-dollars either way"
    ),
}
"""By key, why it makes no difference."""
