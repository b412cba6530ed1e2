"""Signatures of webhooks as Standard Webhooks 1.0 has them. Pure.

A secret of the specification is ``whsec_`` and the base64 of the key. One without the prefix is read by some receivers
as base64 and by others as the key itself, so a request is signed under each reading: the header holds several
signatures, and a receiver takes the request when one of them is right.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Sequence
from hashlib import sha256

PREFIX = "whsec_"


def keys_of(secret: str) -> tuple[bytes, ...]:
    """Return the keys that a secret may stand for, the specification's reading first.

    Raises:
        ValueError: If it can stand for none.
    """
    secret = secret.strip()
    bare = secret.removeprefix(PREFIX)
    readings = [_strict(bare)]
    if secret == bare:
        readings += [secret.encode(), _lenient(bare)]
    keys = tuple(dict.fromkeys(key for key in readings if key))
    if not keys:
        raise ValueError(f"behind {PREFIX!r} must stand the base64 of the key" if secret else "the secret is empty")
    return keys


def signatures(keys: Sequence[bytes], name: str, timestamp: str, body: bytes) -> str:
    """Sign a request with each key: HMAC-SHA256 over its id, its time in seconds and its body."""
    signed = f"{name}.{timestamp}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, sha256)).decode() for key in keys)


def all_keys(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Return the keys of several secrets, of which receivers may still know the older.

    Raises:
        ValueError: If one of them can stand for no key.
    """
    return tuple(dict.fromkeys(key for secret in secrets for key in keys_of(secret)))


def _strict(text: str) -> bytes | None:
    """Read base64 of either alphabet, padded or not."""
    plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _lenient(text: str) -> bytes | None:
    """Read base64 as the Python library of Standard Webhooks does, which skips what is not of its alphabet."""
    try:
        return base64.b64decode(text + "==")
    except (binascii.Error, ValueError):
        return None
