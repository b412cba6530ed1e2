"""A hold on a thread's budget as a ``with`` block: for whatever costs money and is no call of the router's."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import msgspec

from organism.amounts import CALL_TOKENS_MAX, ZERO, Amounts, Dollars, TokenUsage, cost_of
from organism.budget.holds import GrantedHold, Settlement
from organism.budget.policy import Ask
from organism.errors import AmountError, BudgetExhaustedError, ConfigError, LedgerStateError, Refusal
from organism.ledger.ledger import Cost
from organism.text.error_text import shown

T = TypeVar("T")


class PaidBefore(msgspec.Struct, frozen=True):
    """An earlier run of the same handler has paid for the same thing: nothing is held or charged again."""


class HoldSteps(Protocol):
    """How one block holds and what follows from its end; each method but the first is one step, with no await."""

    async def take(self, worst: Ask) -> GrantedHold | PaidBefore:
        """Hold the worst case, and mark that from here on it may cost money.

        Raises:
            BudgetExhaustedError: A limit refuses it.
        """
        ...

    def enter(self, take: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Wait, in a plain function on a worker thread, until the worst case is held.

        Raises:
            ConfigError: If this is no such thread.
        """
        ...

    def in_loop(self, step: Callable[[], T]) -> T:
        """Do a step where nothing comes between its parts, from whatever thread."""
        ...

    def check(self) -> None:
        """Refuse what is asked of a block that must not go on, whatever it holds."""
        ...

    def settle(self, held: GrantedHold, actual: Amounts, cost: Cost, *, done: bool) -> Settlement:
        """Charge what it has cost; ``done`` says whether the block has come to its own end."""
        ...

    def release(self, held: GrantedHold) -> None:
        """Give it back."""
        ...


class OwnSteps(msgspec.Struct, frozen=True):
    """The steps of a block of a program that is no handler: nothing but what the registry does.

    Attributes:
        reserve: Holds, and marks; answers with a refusal where there is no room.
        charge: Charges a hold.
        give_back: Releases one, by its id.
        thread_id: The thread that pays.
    """

    reserve: Callable[[Ask], Awaitable[GrantedHold | Refusal]]
    charge: Callable[[GrantedHold, Amounts, Cost], Settlement]
    give_back: Callable[[str], object]
    thread_id: str

    async def take(self, worst: Ask) -> GrantedHold | PaidBefore:
        """Hold the worst case."""
        answer = await self.reserve(worst)
        if isinstance(answer, Refusal):
            raise BudgetExhaustedError(answer, self.thread_id)
        return answer

    def enter(self, take: Callable[[], Coroutine[Any, Any, object]]) -> None:  # noqa: ARG002
        """Refuse it: the program has no worker threads of ours."""
        raise ConfigError("a hold is entered with 'async with'")

    def in_loop(self, step: Callable[[], T]) -> T:
        """Do it here."""
        return step()

    def check(self) -> None:
        """Any holder of the block may use it."""

    def settle(self, held: GrantedHold, actual: Amounts, cost: Cost, *, done: bool) -> Settlement:  # noqa: ARG002
        """Charge what it has cost, however it ended."""
        return self.charge(held, actual, cost)

    def release(self, held: GrantedHold) -> None:
        """Give it back."""
        self.give_back(held.hold_id)


def worst_case(tokens: object, usd: object, *, calls: int = 1) -> Ask:
    """Make what is to be held of tokens and dollars.

    Raises:
        AmountError: If one of them is no amount.
    """
    return Ask(input_tokens=_tokens(tokens), output_cap=0, output_min=0, request_cost=cost_of(usd), calls=calls)


class BudgetHold:
    """Holds a worst case on all accounts of a thread while its ``async with`` block runs; ``with`` in plain functions.

    A block says what it has cost by :meth:`settle`, or piece by piece by :meth:`charge`; what is left of the hold is
    given back. One that ends by an error, or without a word, is charged all that it held: what may have cost money is
    never free.

    Attributes:
        settlement: What the end of the block did; ``None`` before.
        note: What its cost is made of, for people; an event of a handler's block has it.
        paid: Whether an earlier run of the same handler has paid for this very block already. Then nothing is held and
            nothing that the block says is charged again.
    """

    def __init__(self, worst: Ask, steps: HoldSteps) -> None:
        self._worst = worst
        self._steps = steps
        self._held: GrantedHold | None = None
        self._charged: Amounts | None = None
        self.settlement: Settlement | None = None
        self.note = ""
        self.paid = False

    @property
    def amounts(self) -> Amounts:
        """What is held: tokens, nano-USD and calls."""
        return self._open("look at").amounts

    async def __aenter__(self) -> Self:
        """Hold the worst case; wait in line where siblings' holds may still give room back.

        Raises:
            BudgetExhaustedError: A limit refuses it.
            UnknownAccountError: The thread has no budget.
            LedgerStateError: The block was entered before.
        """
        if self._held is not None or self.paid or self.settlement is not None:
            raise LedgerStateError("the hold", "enter", "entered already; make another for another block")
        held = await self._steps.take(self._worst)
        if isinstance(held, PaidBefore):
            self.paid = True
        else:
            self._held = held
        return self

    def settle(
        self,
        usage: TokenUsage | None = None,
        *,
        tokens: int | None = None,
        usd: Dollars | None = None,
        estimated: bool = False,
    ) -> Settlement:
        """Charge what it really cost; more than was held is charged as well, and noted as an overrun.

        Args:
            usage: The tokens, by kind.
            tokens: The tokens, where their kinds are not known; as held unless either is given.
            usd: Dollars; as held unless given.
            estimated: Whether the numbers are no more than an estimate.

        Returns:
            The overrun, the thresholds that this crossed, and every account as it is now.

        Raises:
            AmountError: If one of these is no amount; then the hold is as it was.
            LedgerStateError: If it is resolved already.
        """
        cost_nanousd = self._worst.request_cost if usd is None else cost_of(usd)
        spent = usage.total if usage is not None else self._worst.input_tokens if tokens is None else _tokens(tokens)
        source = "estimated" if estimated else "settled"
        actual, cost = Amounts(spent, cost_nanousd, self._worst.calls), Cost(source, usage=usage)
        return self._steps.in_loop(partial(self._settle, actual, cost))

    def charge(self, *, usd: Dollars = 0, tokens: int = 0) -> None:
        """Note a part of what it costs; a block that goes through is charged the sum of its parts.

        Raises:
            AmountError: If one of these is no amount.
            LedgerStateError: If it is resolved already.
        """
        part = Amounts(_tokens(tokens), cost_of(usd))
        self._steps.in_loop(partial(self._charge, part))

    def _charge(self, part: Amounts) -> None:
        self._steps.check()
        if not self.paid:
            self._open("charge")
            self._charged = part + (self._charged or Amounts(calls=self._worst.calls))

    def release(self) -> None:
        """Give it back untouched: nothing was bought.

        Raises:
            LedgerStateError: If it is resolved already, or a part of it was charged.
        """
        self._steps.in_loop(self._release)

    def _release(self) -> None:
        self._steps.check()
        if self.paid:
            return
        held = self._open("release")
        if self._charged is not None:
            raise LedgerStateError("the hold", "release", "charged in part")
        self._held = None
        self._steps.release(held)

    def __enter__(self) -> Self:
        """Do the same in a plain function: a handler or a tool that is no coroutine.

        Raises:
            ConfigError: In a coroutine, which has to write ``async with``.
        """
        self._steps.enter(self.__aenter__)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._steps.in_loop(partial(self._end, done=exc_type is None))

    def _end(self, *, done: bool) -> None:
        if self._held is not None:
            if done and self._charged is not None:
                self._settle(self._charged, Cost("settled"))
            else:
                self.abandon(done=done)

    def abandon(self, *, done: bool = False) -> None:
        """Charge all that is held, if anything is: nobody says what it has cost."""
        if (held := self._held) is not None:
            self._held = None
            self.settlement = self._steps.settle(held, held.amounts, Cost("worst_case"), done=done)

    def _settle(self, spent: Amounts, cost: Cost) -> Settlement:
        self._steps.check()
        if self.paid:
            return Settlement(ZERO, (), ())
        held = self._open("settle")
        self._held = None
        self.settlement = self._steps.settle(held, spent, cost, done=True)
        return self.settlement

    def _open(self, wanted: str) -> GrantedHold:
        """Return the hold.

        Raises:
            LedgerStateError: If there is none.
        """
        if self._held is None:
            raise LedgerStateError("the hold", wanted, "not open")
        return self._held


def _tokens(tokens: object) -> int:
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= CALL_TOKENS_MAX:
        raise AmountError(f"tokens is a whole number from 0 to {CALL_TOKENS_MAX:,}, not {shown(tokens)}")
    return tokens
