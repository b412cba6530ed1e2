"""What can go wrong with a call from outside, before any vendor's words for it. Pure.

Clients go by the status, and try again what they take for a passing trouble: 408, 409, 429 and everything from 500 on.
What would only be refused again, or has been charged, says that it is not worth it.
"""

from typing import Literal

import msgspec

FaultKind = Literal[
    "request", "key", "permission", "not_found", "too_large", "budget", "rate", "upstream", "unavailable"
]
"""What sort of trouble it is; each format has its own word for each."""


class BudgetRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """A budget's "no" in numbers; amounts are integers of their unit.

    Attributes:
        scope: The account that refused, such as ``thread:key-ci`` or ``organism@day:2026-11-24``.
        unit: What is counted: ``tokens``, ``nanousd``, ``nanoseconds`` or ``calls``.
        needed: What this call asked for.
        thread: The thread that was to pay.
        remedy: What to do about it.
        resets_at: When the call fits by itself because a day or month is over, with date, time and offset; ``None``
            if that never comes.
        retry_after: Seconds until it may fit by itself, whatever it waits for; ``None`` if nothing comes back.
        approval: The id of what a person has been asked, and whose answer lets the call through.
    """

    scope: str
    unit: str
    limit: int
    used: int
    held: int
    available: int
    needed: int
    thread: str
    remedy: str
    resets_at: str | None = None
    retry_after: int | None = None
    approval: str | None = None


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was not answered.

    Attributes:
        status: The HTTP status.
        kind: What sort of trouble it is.
        code: What went wrong, for programs: stable, in snake case.
        message: What went wrong and what to do about it, for people.
        param: The field of the request that is to blame.
        retry: Whether the client should try again by itself; ``None`` leaves it to its habits.
        retry_after_s: Seconds after which it may be worth it.
        refusal: The numbers, where a budget refused.
        request_id: The request's, by which the daemon's log has more.
    """

    status: int
    kind: FaultKind
    code: str
    message: str
    param: str | None = None
    retry: bool | None = None
    retry_after_s: float | None = None
    refusal: BudgetRefusal | None = None
    request_id: str = ""


class FaultError(Exception):
    """A request that cannot be answered, for a reason of the gateway's own."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.message)


def bad_request(message: str, param: str | None = None, code: str = "invalid_request") -> FaultError:
    """Return the error of a request that is wrong, or asks for what cannot be honoured."""
    return FaultError(Fault(status=400, kind="request", code=code, message=message, param=param))
