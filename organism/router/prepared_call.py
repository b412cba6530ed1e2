"""What is worked out about an attempt before its budget is held."""

import msgspec

from organism.budget.calibration import Guess
from organism.budget.holds import Spender
from organism.budget.policy import Ask
from organism.ledger.entries import CallRecord
from organism.llm.provider import Request
from organism.pricing.rates import Rates
from organism.router.planning.plan import Route


class PreparedCall(msgspec.Struct, frozen=True):
    """An attempt before it is held.

    Attributes:
        route: Where it goes.
        spender: On whose behalf.
        ask: Its worst case.
        record: Which call it is for, as the ledger notes it.
        rates: The model's usual prices; ``None`` when unknown.
        guess: What there is to learn from its usage, if there is anything.
        extra_tokens: How much of the input that is held is for anything but text.
        last: What is sent in place of the call's request, as the last one that fits.
    """

    route: Route
    spender: Spender
    ask: Ask
    record: CallRecord
    rates: Rates | None
    guess: Guess | None
    extra_tokens: int = 0
    last: Request | None = None
