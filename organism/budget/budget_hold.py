"""A hold on a thread's budget as a ``with`` block: for whatever costs money and is no call of the router's."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from organism.amounts import CALL_TOKENS_MAX, Amounts, Dollars, TokenUsage, dollars_nanousd
from organism.budget.holds import HeldCall, Settlement, Spender
from organism.budget.policy import Ask
from organism.errors import BudgetExhaustedError, LedgerStateError, Refusal
from organism.ledger.ledger import Cost
from organism.text.error_text import shown

Steps = tuple[
    Callable[[Spender, Ask], Awaitable[HeldCall | Refusal | None]],
    Callable[[str], None],
    Callable[[HeldCall, Amounts, Cost, str], Settlement],
    Callable[[str], object],
]
"""The registry's own ``reserve``, ``dispatch``, ``settle`` and ``release``."""


def worst_case(tokens: int, usd: Dollars) -> Ask:
    """Make what is to be held of tokens and dollars.

    Raises:
        ValueError: If one of them is no amount.
    """
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= CALL_TOKENS_MAX:
        raise ValueError(f"tokens is a whole number from 0 to {CALL_TOKENS_MAX:,}, not {shown(tokens)}")
    return Ask(input_tokens=tokens, output_cap=0, output_min=0, request_cost=dollars_nanousd(usd))


class BudgetHold:
    """Holds a worst case on all accounts of a thread while its ``async with`` block runs; made by the registry.

    A block that ends without :meth:`settle` or :meth:`release`, by an error or not, is charged all that it held: what
    may have cost money is never free.

    Attributes:
        settlement: What :meth:`settle` did; ``None`` before.
    """

    def __init__(self, spender: Spender, worst: Ask, steps: Steps) -> None:
        self._spender = spender
        self._worst = worst
        self._reserve, self._dispatch, self._settle, self._release = steps
        self._held: HeldCall | None = None
        self.settlement: Settlement | None = None

    @property
    def amounts(self) -> Amounts:
        """What is held: tokens, nano-USD and one call."""
        return self._open("look at").amounts

    async def __aenter__(self) -> Self:
        """Hold the worst case; wait in line where siblings' holds may still give room back.

        Raises:
            BudgetExhaustedError: A limit refuses it.
            UnknownAccountError: The thread has no budget.
        """
        answer = await self._reserve(self._spender, self._worst)
        if isinstance(answer, Refusal):
            raise BudgetExhaustedError(answer, self._spender.thread_id)
        assert answer is not None, "a hold without a deadline waits for its answer"  # noqa: S101
        self._held = answer
        # From here on whatever the block does may cost money, and a crash must leave a charge behind.
        self._dispatch(answer.hold_id)
        return self

    def settle(
        self, usage: TokenUsage | None = None, *, tokens: int | None = None, usd: Dollars | None = None
    ) -> Settlement:
        """Charge what it really cost; more than was held is charged as well, and noted as an overrun.

        Args:
            usage: The tokens, by kind.
            tokens: The tokens, where their kinds are not known; as held unless either is given.
            usd: Dollars; as held unless given.

        Returns:
            The overrun, the thresholds that this crossed, and every account as it is now.

        Raises:
            LedgerStateError: If it is resolved already.
        """
        held = self._open("settle")
        spent = usage.total if usage is not None else held.amounts.tokens if tokens is None else tokens
        cost = held.amounts.cost_nanousd if usd is None else dollars_nanousd(usd)
        self._held = None
        self.settlement = self._settle(held, Amounts(spent, cost, 1), Cost("settled", usage=usage), self._spender.agent)
        return self.settlement

    def release(self) -> None:
        """Give it back untouched: nothing was bought.

        Raises:
            LedgerStateError: If it is resolved already.
        """
        held = self._open("release")
        self._held = None
        self._release(held.hold_id)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if (held := self._held) is not None:
            self._held = None
            self.settlement = self._settle(held, held.amounts, Cost("worst_case"), self._spender.agent)

    def _open(self, wanted: str) -> HeldCall:
        """Return the hold.

        Raises:
            LedgerStateError: If there is none.
        """
        if self._held is None:
            raise LedgerStateError("the hold", wanted, "not open")
        return self._held
