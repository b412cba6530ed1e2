"""What every operation on budgets works with."""

from organism.budget.account_book import AccountBook
from organism.budget.engine import BudgetEngine
from organism.budget.reserve_queue import ReserveQueue
from organism.clock import Clock
from organism.ledger.ledger import Ledger


class BudgetOperation:
    """One subject of a registry.

    Args:
        engine: Decides.
        book: The accounts.
        queue: The lines; what waits in them is looked at again when room comes back.
        ledger: Where holds, slices and notes are kept.
        clock: For instants.
    """

    def __init__(
        self, engine: BudgetEngine, book: AccountBook, queue: ReserveQueue, ledger: Ledger, clock: Clock
    ) -> None:
        self._engine = engine
        self._book = book
        self._queue = queue
        self._ledger = ledger
        self._clock = clock
