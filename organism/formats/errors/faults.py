"""Faults of calls through the gateway, before a format writes them. Pure.

Clients go by the status and retry what they take for transient: 408, 409, 429 and everything from 500 on. A fault that
would recur, or that has been charged, says that a retry is not worth it.
"""

from typing import Literal

import msgspec

FaultKind = Literal[
    "request", "key", "permission", "not_found", "too_large", "budget", "rate", "upstream", "unavailable"
]
"""The kind of a fault; each format has its own word for each."""


class BudgetRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """A budget's refusal in numbers; amounts are integers of their unit.

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
    """Why a call was not answered.

    Attributes:
        status: The HTTP status.
        kind: The kind of fault.
        code: A stable code for programs, in snake case.
        message: What went wrong and what to do about it, for people.
        param: The field of the request that is to blame.
        retry: Whether the client should retry by itself; ``None`` leaves it to the client.
        retry_after_s: Seconds after which a retry may succeed.
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
    """Return the error for a request that is wrong, or asks for what cannot be honoured."""
    return FaultError(Fault(status=400, kind="request", code=code, message=message, param=param))
