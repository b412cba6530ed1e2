"""Accounts on which no call will hold again: found, so that they can be closed.

A label has any number of values, and each of them an account per day. Kept for good they would fill memory and every
checkpoint; closed, they are still in the journal. What the organism, its agents, models and providers have spent stays
open: these are few, and may be corrected weeks later, after an invoice.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import tzinfo

from organism.amounts import ZERO
from organism.amounts.account import Account
from organism.budget.accounts.thread_budget import ThreadBudget
from organism.ledger.account_balance import Balance
from organism.ledger.windows import is_over


def idle_accounts(
    balances: Iterable[Balance], now_ns: int, time_zone: tzinfo, awaited: Collection[str] = ()
) -> Iterator[str]:
    """Yield the accounts of labels and pools that count nothing any more: nothing is held, and all spend is over.

    Args:
        balances: The open accounts.
        now_ns: When.
        time_zone: Where days begin.
        awaited: Accounts that refuse what waits. A rolling window that was closed would seem to have room: what never
            fits would be tried, warned of and refused at every look, and nobody could raise its limit.
    """
    for balance in balances:
        if balance.open_holds or Account.parse(balance.account).kind not in ("label", "pool"):
            continue
        # What an operator has set for a rolling window still applies, and so does what a person has let pass within it.
        kept = balance.limits != balance.configured or balance.passed_at(now_ns)
        lapsed = balance.counted_ns is not None and not kept and balance.account not in awaited
        if is_over(balance.account, now_ns, time_zone) or (lapsed and balance.spent_at(now_ns) == ZERO):
            yield balance.account


LATEST_MAX = 2_000
"""So many accounts of one label are looked at where that is done again and again: those that were opened last."""


def latest(accounts: Sequence[str]) -> tuple[list[str], Counter[str]]:
    """Leave out accounts of labels beyond so many of each, the oldest first.

    Args:
        accounts: In the order of their opening.

    Returns:
        The others in that order, and how many were left out by label, ``label:tenant``.
    """
    seen: Counter[str] = Counter()
    kept = []
    for account in reversed(accounts):
        if account.startswith(("label:", "pool:")):
            label = account.partition("=")[0]
            seen[label] += 1
            if seen[label] > LATEST_MAX:
                continue
        kept.append(account)
    left_out = {label: count - LATEST_MAX for label, count in seen.items() if count > LATEST_MAX}
    return kept[::-1], Counter(left_out)


def forget_over(threads: Iterable[ThreadBudget], idle: Collection[str], now_ns: int, time_zone: tzinfo) -> None:
    """Have threads that are open for long not remember all the windows that they have ever used."""
    for budget in threads:
        budget.scoped -= {name for name in budget.scoped if name in idle or is_over(name, now_ns, time_zone)}
