"""How lists of accounts are ordered, cut and gone on with: the same in a daemon and in a cluster."""

from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

from organism.amounts import BudgetState
from organism.amounts.units import DIMENSIONS, amount_of, limit_of

ACCOUNTS_MAX = 500
"""Accounts of a page at most."""

SCOPED_MAX = 20
"""Accounts of a status at most: the fullest."""


def next_page(page: Sequence[BudgetState], scopes: Iterable[str], search: str, limit: int) -> str:
    """Return what the ``Link`` header says of the page behind one; empty on the last.

    Args:
        page: The accounts of a page, in the order of their names.
        scopes: The kinds of accounts that were asked for.
        limit: How many accounts were asked for at most.
    """
    if len(page) < limit:
        return ""
    query = [*(("scope", scope) for scope in scopes), ("search", search), ("limit", limit)]
    return f'</v1/budgets?{urlencode([*query, ("cursor", page[-1].account)])}>; rel="next"'


def fullness(state: BudgetState) -> float:
    """Return which part of its nearest limit is spent or held."""
    used = state.spent + state.held
    limited = ((limit_of(state.limits, unit), amount_of(used, unit, state.elapsed_ns)) for unit in DIMENSIONS)
    return max((amount / limit if limit else 1.0 for limit, amount in limited if limit is not None), default=0.0)
