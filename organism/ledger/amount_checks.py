"""What is no amount that a ledger may carry. Pure."""

from organism.amounts import AMOUNT_MAX, Amounts
from organism.amounts.units import numbers_of
from organism.errors import LedgerStateError


def require_natural(hold_id: str, verb: str, amounts: Amounts) -> None:
    """Refuse what would turn a charge into a gift."""
    require_amounts(hold_id, verb, amounts)
    if min(numbers_of(amounts)) < 0:
        raise LedgerStateError(hold_id, verb, f"asked to carry a negative amount ({amounts})")


def require_amounts(hold_id: str, verb: str, amounts: Amounts) -> None:
    """Refuse what no later start would read as an amount.

    A truth value or a fraction is taken by Python's arithmetic without an error, and then refused by a reader of the
    entry: the journal could never be opened again.
    """
    for number in numbers_of(amounts):
        if type(number) is not int or number > AMOUNT_MAX:
            raise LedgerStateError(hold_id, verb, f"asked to carry what is no amount of 64 bits ({number!r})")
