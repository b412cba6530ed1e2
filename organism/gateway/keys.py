"""Who makes a request: an API key of the configuration, or a token. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256

from organism.api.gate import Authenticate
from organism.api.tokens import Caller
from organism.gateway.settings import Key

KEY_PREFIX = "key:"
"""Begins the caller's name of a key, so that it is nobody's who has a token of the same name."""


def authenticate(keys: Iterable[Key], find_token: Callable[[str], Caller | None] | None) -> Authenticate:
    """Return what says who one is: ``Authorization: Bearer KEY``, or ``x-api-key: KEY``.

    Args:
        keys: The keys.
        find_token: Finds tokens; ``None`` if they are no keys here.
    """
    by_hash = {key.sha256: key for key in keys}

    def find(secret: str) -> Caller | None:
        key = by_hash.get(sha256(secret.encode()).hexdigest())
        if key is not None:
            return Caller(KEY_PREFIX + key.name, frozenset({"send"}))
        return find_token(secret) if find_token is not None else None

    def authenticated(headers: Mapping[str, str]) -> Caller | None:
        return next((caller for secret in _presented(headers) if (caller := find(secret)) is not None), None)

    return authenticated


def _presented(headers: Mapping[str, str]) -> Iterator[str]:
    kind, _, secret = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and secret.strip():
        yield secret.strip()
    if secret := headers.get("x-api-key", "").strip():
        yield secret
