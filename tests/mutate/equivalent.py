"""Changes that somebody has looked at, and after which the program does the same for everybody.

By file, function and change; where the program is rewritten an entry matches nothing any more, and the change is tried.
"""

EQUIVALENT: dict[str, str] = {
    "organism/ledger/fold.py::: 100 -> (101)": "thresholds are at most 100 within a limit, and at least 200 beyond",
}
"""By key, why it makes no difference."""
