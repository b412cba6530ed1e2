"""What a failure of an HTTP provider means for money, without any HTTP.

Everything that comes from a provider is untrusted: what goes into an error is cut short.
"""

import json
from collections.abc import Mapping

from organism.error_text import describe
from organism.errors import ProviderError, RejectedError, UncertainError
from organism.formats.json_reading import part, short_int

RETRY_AFTER_MAX_S = 30.0

_AGAIN = frozenset({429, 500, 503, 529})
_UNCERTAIN = frozenset({408, 502, 504})
_NOT_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError"})
"""Names of the HTTP client's errors that happen before a byte of the request is out."""


def rejected_or_uncertain(provider: str, status: int, body: bytes, headers: Mapping[str, str]) -> ProviderError:
    """Decide what an HTTP error status means for money; the table of the guarantees page.

    A 4xx was refused before any work. A 500, 503 or 529 with the provider's own error in its body did no work either.
    A 408, 502 or 504 may come from a gateway after the provider took the work, and so may an empty 5xx.
    """
    said = _error_text(body)
    detail = said or body.decode("utf-8", "replace")
    if status in _UNCERTAIN or (status >= 500 and said is None):  # noqa: PLR2004
        return UncertainError(provider, detail, status=status)
    return RejectedError(
        provider, detail, status=status, again=status in _AGAIN, retry_after_s=retry_after_s(headers.get("retry-after"))
    )


def unsent_or_uncertain(provider: str, error: BaseException) -> ProviderError:
    """Decide what a failure of the connection means: before the request is out it is as if nothing had been asked."""
    seen: BaseException | None = error
    first = error
    while seen is not None:
        if type(seen).__name__ in _NOT_SENT:
            return RejectedError(provider, f"cannot connect: {seen}", again=True)
        # The SDKs wrap what happened in an error that says only that something did.
        first = seen.__cause__ or first
        seen = seen.__cause__ or seen.__context__
    return UncertainError(provider, describe(first))


def retry_after_s(value: str | None) -> float | None:
    """Read a ``Retry-After`` header in seconds, capped; ``None`` for a date or nonsense."""
    try:
        seconds = float(value or "nan")
    except ValueError:
        return None
    return min(seconds, RETRY_AFTER_MAX_S) if seconds >= 0 else None


def _error_text(body: bytes) -> str | None:
    """Return what the provider's error object says; ``None`` when the body has none."""
    try:
        value = json.loads(body, parse_constant=str, parse_int=short_int)
    except (ValueError, RecursionError):
        return None
    error = part(value, "error")
    message = part(error, "message")
    if isinstance(message, str):
        return message
    return error if isinstance(error, str) else None
