"""What a failure of the connection means for money. Pure."""

from organism.errors import ProviderError, RejectedError, UncertainError
from organism.text.error_text import describe

_NOT_SENT = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError", "LocalProtocolError"}
)
"""Names of the HTTP client's errors that happen before a byte of the request is out."""

_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"


def unsent_or_uncertain(provider: str, error: BaseException) -> ProviderError:
    """Decide what a failure of the connection means: before the request is out it is as if nothing had been asked."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__name__ in _NOT_SENT:
            remedy = "; give the authority that signed it as 'ca_file'" if _UNTRUSTED in str(seen) else ""
            said = f"cannot connect: {describe(seen)}"
            return RejectedError(provider, f"{said}{remedy}", meaning="overloaded")
        seen = seen.__cause__ or seen.__context__
    return UncertainError(provider, describe(error))
