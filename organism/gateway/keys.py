"""Authenticates requests: by an API key of the configuration, or by a token. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256

from organism.api.auth_middleware import Authenticate
from organism.api.tokens.token_book import Caller, TokenView
from organism.api.tokens.token_errors import TokensAwayError
from organism.gateway.settings import Key

KEY_PREFIX = "key:"
"""The prefix of a key's caller name, which keeps it apart from a token of the same name."""


def authenticate(key_of: Callable[[str], Key | None], token_of: Callable[[str], Caller | None]) -> Authenticate:
    """Return a function that authenticates by ``Authorization: Bearer KEY``, ``x-api-key: KEY`` or Google's header.

    Args:
        key_of: Finds a key by its hash.
        token_of: Finds a token's caller, where tokens are accepted.
    """

    def find(secret: str) -> Caller | None:
        key = key_of(sha256(secret.encode()).hexdigest())
        return token_of(secret) if key is None else Caller(KEY_PREFIX + key.name, frozenset({"send"}))

    def authenticated(headers: Mapping[str, str]) -> Caller | None:
        away: TokensAwayError | None = None
        for secret in _presented(headers):
            try:
                if (caller := find(secret)) is not None:
                    return caller
            except TokensAwayError as error:
                away = error  # a request may present two secrets: the other may be a key of the configuration
        if away is not None:
            raise away
        return None

    return authenticated


def listed(keys: Iterable[Key]) -> Iterator[TokenView]:
    """Yield the keys of the configuration as tokens are listed, under the names that audit records show."""
    for key in keys:
        yield TokenView(
            name=KEY_PREFIX + key.name,
            scopes=("send",),
            created_ns=None,
            expires_ns=None,
            limits=key.limits,
            labels=key.labels,
            source="configuration",
        )


def _presented(headers: Mapping[str, str]) -> Iterator[str]:
    kind, _, secret = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and secret.strip():
        yield secret.strip()
    for header in ("x-api-key", "x-goog-api-key"):
        if secret := headers.get(header, "").strip():
            yield secret
