"""An attempt before its budget is held."""

import msgspec

from organism.budget.calibration import Guess
from organism.budget.holds import Spender
from organism.budget.policy import Ask
from organism.ledger.entries import CallRecord
from organism.llm.provider import Request
from organism.pricing.rates import Rates
from organism.router.planning.plan import Route


class PreparedCall(msgspec.Struct, frozen=True):
    """An attempt before its budget is held.

    Attributes:
        route: Its provider and model.
        spender: Who spends.
        ask: Its worst case.
        record: Which call it is for, as the ledger notes it.
        rates: The model's usual prices; ``None`` when unknown.
        guess: The estimate that its usage will correct; ``None`` if nothing can be learnt.
        extra_tokens: The part of the held input that is for anything but text.
        last: The final request that is sent in place of the call's own; ``None`` for an ordinary attempt.
    """

    route: Route
    spender: Spender
    ask: Ask
    record: CallRecord
    rates: Rates | None
    guess: Guess | None
    extra_tokens: int = 0
    last: Request | None = None
