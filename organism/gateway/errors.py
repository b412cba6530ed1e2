"""Translates errors of the organism into faults for clients of the gateway. Pure."""

from datetime import datetime

from organism.errors import (
    BudgetExhaustedError,
    OrganismError,
    ProviderError,
    RejectedError,
    StoppedError,
    ThreadClosedError,
    TooLargeError,
    UnboundedError,
    UncertainError,
    UnknownAccountError,
    UnpricedError,
    UnsupportedError,
)
from organism.formats.errors.faults import Fault, FaultError, FaultKind
from organism.gateway.exhausted import exhausted
from organism.journal import JournalError
from organism.text.error_text import cleaned
from organism.threads.thread import ThreadPausedError


def unknown_model(model: str, models: tuple[str, ...]) -> FaultError:
    """Return the error for a request of a model that is not offered."""
    message = f"the model {model[:100]!r} is not offered here; there are: {', '.join(models) or 'none'}"
    return FaultError(Fault(status=404, kind="not_found", code="model_not_found", message=message, param="model"))


def fault_of(error: OrganismError, now: datetime) -> Fault:
    """Return the fault of an error of the organism.

    Args:
        error: The error.
        now: The present instant, in the time zone in which days and months begin.
    """
    if isinstance(error, BudgetExhaustedError):
        return exhausted(error, now)
    if isinstance(error, ProviderError):
        return _upstream(error)
    message = cleaned(str(error))
    if isinstance(error, ThreadClosedError):
        message = (
            f"thread {error.thread_id!r} has ended, or is not this key's; name another in the header "
            f"organism-thread, or have the operator give the key another"
        )
    status, kind, code = next((found for sort, found in _KNOWN.items() if isinstance(error, sort)), _BAD)
    return Fault(status=status, kind=kind, code=code, message=message, retry=None if status < _FAILURES else False)


_FAILURES = 500
_BAD: tuple[int, FaultKind, str] = (400, "request", "invalid_request")
_KNOWN: dict[type[OrganismError], tuple[int, FaultKind, str]] = {
    ThreadClosedError: (403, "permission", "thread_not_open"),
    UnknownAccountError: (403, "permission", "thread_not_open"),
    ThreadPausedError: (403, "permission", "thread_paused"),
    UnboundedError: (400, "request", "unbounded_input"),
    UnpricedError: (503, "unavailable", "unpriced_model"),
    StoppedError: (503, "unavailable", "stopping"),
    JournalError: (503, "unavailable", "journal_unavailable"),
}
"""Status, kind and code by type of error; any other :class:`OrganismError` is a mistake in the request."""


def _upstream(error: ProviderError) -> Fault:
    """Return the fault of a provider's error; one about our own key or account is not told in the provider's words."""
    status, kind, code, retry = _meaning(error)
    message = str(error)
    if code == "upstream_forbids":
        # The provider's words are about a key or an account that is not the client's.
        message = f"provider {error.provider!r} refused organism itself; the operator can see why"
    again_s = error.retry_after_s if isinstance(error, RejectedError) else None
    return Fault(status=status, kind=kind, code=code, message=message, retry=retry, retry_after_s=again_s)


def _meaning(error: ProviderError) -> tuple[int, FaultKind, str, bool | None]:
    """Return status, kind, code and retry of a provider's error, by its meaning and not by its status."""
    match error:
        case UncertainError():  # it has been charged, and a retry would be charged again
            return (504 if error.status in (408, 504) else 502), "upstream", "upstream_uncertain", False
        case RejectedError(meaning="context"):
            return 400, "request", "context_length_exceeded", None
        case (
            TooLargeError() | UnsupportedError() | RejectedError(meaning="policy")
            | RejectedError(meaning="request", status=int())
        ):  # fmt: skip
            return 400, "request", "upstream_refused", None
        case RejectedError(meaning="rate"):
            return 429, "rate", "rate_limit_exceeded", None
        case RejectedError(rules_out=str()):
            return 502, "upstream", "upstream_forbids", False
        case _:
            return 503, "unavailable", "upstream_unavailable", None
