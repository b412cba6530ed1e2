"""Orders from outside: who gives them, and how the same one given twice is carried out once.

A caller that got no answer cannot know whether its order was carried out. It sends the order again with the same key:
the receipt, kept in the same commit as the effect, gives back the first answer.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import TypeVar

import msgspec

from organism.amounts import NS_PER_S
from organism.amounts.account import Account
from organism.clock import Clock
from organism.control.views import OrderDone
from organism.errors import OrganismError
from organism.journal import Drop, Journal, JournalError, Pieces, Remember, kept
from organism.usage.event_log import Store
from organism.usage.events import OperatorAction
from organism.usage.outbox import Outbox

T = TypeVar("T")

RECEIPT_DAYS = 7
"""So long a key is remembered."""

_KEPT_NS = RECEIPT_DAYS * 86_400 * NS_PER_S
_AT_HAND_MAX = 10_000
"""So many receipts are known without asking the journal, which has all of them after its next commit."""

_KIND = "receipt"
_PREFIX = f"{_KIND}:"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Who orders, and under which key.

    Attributes:
        by: The name of the caller's token; ``python`` for the program that embeds the organism.
        key: The caller's own name for this order; empty for none.
        fingerprint: A hash of everything the order says; the same key with another one is a mistake.
        owner_only: Whether the caller may reach only threads that it has opened itself.
    """

    by: str = "python"
    key: str = ""
    fingerprint: str = ""
    owner_only: bool = False

    @property
    def may_raise(self) -> bool:
        """Whether it may give a thread more than is configured: a caller that reaches all threads may operate them."""
        return not self.owner_only


PYTHON = Order()
"""The program that embeds the organism."""


class Receipt(msgspec.Struct, frozen=True, tag=True):
    """An order that was carried out.

    Attributes:
        fingerprint: What it said.
        answer: What it was answered, as JSON.
        time_ns: When.
    """

    fingerprint: str
    answer: str
    time_ns: int


class AlreadyDoneError(OrganismError):
    """The order was carried out before; this is its answer. No failure: the caller gets the answer.

    Attributes:
        answer: The first answer, as JSON.
    """

    def __init__(self, answer: str) -> None:
        self.answer = answer
        super().__init__("this order was carried out before")


class KeyReusedError(OrganismError):
    """A key was used again for another order."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the idempotency key {key!r} was used for another request; use a new key for a new request")


class UnknownLetterError(OrganismError):
    """There is no dead letter of that message; it was sent again, discarded or forgotten."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"there is no dead letter {message_id!r}; look at the list again")


def audit_row(order: Order, action: str, target: str, before: object, after: object) -> OperatorAction:
    """Return the event that tells who has ordered what, and how it was before and after."""
    thread_id = target if action.startswith("thread.") else Account.parse(target).within_thread
    return OperatorAction(
        thread_id=thread_id,
        root_thread_id=thread_id,
        by=order.by,
        action=action,
        target=target,
        before=None if before is None else msgspec.json.encode(before).decode(),
        after=None if after is None else msgspec.json.encode(after).decode(),
    )


class TooManyKeysError(JournalError):
    """No more idempotency keys can be remembered for as long as is promised, so none is taken."""

    def __init__(self) -> None:
        super().__init__(
            f"the journal has no room to remember another idempotency key for {RECEIPT_DAYS} days; "
            "send the request without a key, or keep the journal in a file"
        )


class Receipts:
    """Remembers the answers to orders with a key, each for as long as is promised, however many there are.

    They are in the journal, found by their keys. Those given lately are here as well: until the next commit the
    journal may not find them.
    """

    def __init__(self, journal: Journal, now_ns: Callable[[], int]) -> None:
        self._journal = journal
        self._now_ns = now_ns
        self._receipts: OrderedDict[str, Receipt] = OrderedDict()

    def restore(self, pieces: Pieces) -> None:
        """Take over what a program before this one has kept among the live state, where each start had to read it."""
        for piece, receipt in pieces.read(_KIND, Receipt):
            self._remember(piece.key, receipt)
            self._journal.append(Drop(piece.key, piece.thread_id))

    async def look_up(self, order: Order) -> None:
        """Ask the journal for the receipt of an order, for :meth:`check`, which may not wait.

        Raises:
            JournalError: If it cannot be read, or has no room for another.
        """
        place = _place(order)
        if not order.key or place in self._receipts:
            return
        if (found := await self._journal.remembered(place)) is not None:
            self._know(place, msgspec.json.decode(found, type=Receipt))
        elif not self._journal.has_room:
            raise TooManyKeysError

    def once(self, order: Order, step: Callable[[], T]) -> T:
        """Carry an order out that was not before, and keep its answer in the same step.

        Raises:
            AlreadyDoneError: If it was carried out before; it holds the answer.
            KeyReusedError: If its key was used for another order.
        """
        self.check(order)
        answer = step()
        self.keep(order, answer)
        return answer

    def check(self, order: Order) -> None:
        """Stop an order that was carried out before.

        Raises:
            AlreadyDoneError: If so; it holds the answer.
            KeyReusedError: If its key was used for another order.
        """
        receipt = self._receipts.get(_place(order)) if order.key else None
        if receipt is None or self._expired(receipt):
            return
        if receipt.fingerprint != order.fingerprint:
            raise KeyReusedError(order.key)
        raise AlreadyDoneError(receipt.answer)

    def keep(self, order: Order, answer: object) -> None:
        """Remember the answer to an order; in the same step as its effect."""
        if not order.key:
            return
        receipt = Receipt(order.fingerprint, msgspec.json.encode(answer).decode(), self._now_ns())
        self._remember(_place(order), receipt)

    def _remember(self, place: str, receipt: Receipt) -> None:
        self._know(place, receipt)
        until_ns = receipt.time_ns + _KEPT_NS
        value = msgspec.json.encode(receipt).decode()
        self._journal.append(Remember(key=place, value=value, time_ns=receipt.time_ns, until_ns=until_ns))

    def _know(self, place: str, receipt: Receipt) -> None:
        self._receipts[place] = receipt
        if len(self._receipts) > _AT_HAND_MAX:
            self._receipts.popitem(last=False)

    def _expired(self, receipt: Receipt) -> bool:
        return self._now_ns() - receipt.time_ns > _KEPT_NS


def _place(order: Order) -> str:
    """Return where a receipt is kept: the same key of another caller is another key."""
    return _PREFIX + sha256(f"{order.by}\0{order.key}".encode()).hexdigest()


class OrderExecution:
    """Carries orders out: each once, in one step with its audit row and its receipt, answered when it is durable.

    Args:
        check: Raises while no order is taken.
    """

    def __init__(self, journal: Store, outbox: Outbox, clock: Clock, check: Callable[[], None]) -> None:
        self._journal = journal
        self._check = check
        self._outbox = outbox
        self._receipts = Receipts(journal, clock.now_ns)

    async def note(
        self, action: str, target: str, *, before: object = None, after: object = None, order: Order = PYTHON
    ) -> None:
        """Write an audit row for something that was done outside of the organism, such as making a token.

        Raises:
            JournalError: If it cannot be kept.
        """
        self._check()
        self._audit(order, action, target, before=before, after=after)
        await self._journal.commit()

    async def _steer(self, order: Order, action: str, name: str, effect: Callable[[str], tuple[str, ...]]) -> OrderDone:
        """Pause or resume a thread or an agent."""

        def step() -> OrderDone:
            changed = effect(name)
            self._audit(order, action, name, after=changed)
            return OrderDone(changed)

        return await self._do(order, step)

    async def _do(self, order: Order, step: Callable[[], T]) -> T:
        """Carry an order out once and return its answer when it is durable; a step must not await."""
        await self._receipts.look_up(order)

        def once() -> T:
            self._check()
            return self._receipts.once(order, step)

        return await kept(self._journal, once)

    async def _do_slowly(
        self, order: Order, action: str, target: str, effect: Callable[[], Awaitable[T]], after: object
    ) -> T:
        """Carry out an order that takes time and does no harm when it is carried out twice."""
        await self._journal.ready()
        await self._receipts.look_up(order)
        self._check()
        self._receipts.check(order)
        self._audit(order, action, target, after=after)
        answer = await effect()
        self._receipts.keep(order, answer)
        await self._journal.commit()
        return answer

    def _audit(self, order: Order, action: str, target: str, *, before: object = None, after: object = None) -> None:
        self._outbox.emit(audit_row(order, action, target, before, after))
