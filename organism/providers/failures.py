"""Decides whether a failed connection may have cost anything. Pure."""

from organism.errors import ProviderError, RejectedError, UncertainError
from organism.text.error_text import describe

_NOT_SENT = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError", "LocalProtocolError"}
)
"""Names of errors that are raised before a byte of the request is sent."""

_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"


def unsent_or_uncertain(provider: str, error: BaseException) -> ProviderError:
    """Return the error of a failed connection: rejected if the request was not sent, else uncertain."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__name__ in _NOT_SENT:
            remedy = "; give the authority that signed it as 'ca_file'" if _UNTRUSTED in str(seen) else ""
            said = f"cannot connect: {describe(seen)}"
            return RejectedError(provider, f"{said}{remedy}", meaning="overloaded")
        seen = seen.__cause__ or seen.__context__
    return UncertainError(provider, describe(error))
