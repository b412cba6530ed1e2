"""What is no amount that a ledger may carry. Pure."""

from organism.amounts import AMOUNT_MAX, Amounts
from organism.errors import LedgerStateError


def require_natural(hold_id: str, verb: str, amounts: Amounts) -> None:
    """Refuse what would turn a charge into a gift."""
    require_amounts(hold_id, verb, amounts)
    if min(amounts.tokens, amounts.cost_nanousd, amounts.calls) < 0:
        raise LedgerStateError(hold_id, verb, f"asked to carry a negative amount ({amounts})")


def require_amounts(hold_id: str, verb: str, amounts: Amounts) -> None:
    """Refuse what no later start would read as an amount.

    A truth value or a fraction is taken by Python's arithmetic without an error, and then refused by a reader of the
    entry: the journal could never be opened again.
    """
    tokens, cost_nanousd, calls = amounts.tokens, amounts.cost_nanousd, amounts.calls
    if type(tokens) is type(cost_nanousd) is type(calls) is int and max(tokens, cost_nanousd, calls) <= AMOUNT_MAX:
        return
    wrong = next(each for each in (tokens, cost_nanousd, calls) if type(each) is not int or each > AMOUNT_MAX)
    raise LedgerStateError(hold_id, verb, f"asked to carry what is no amount of 64 bits ({wrong!r})")
