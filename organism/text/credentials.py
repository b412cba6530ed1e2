"""Keys and tokens as they come from the environment and from files, made fit for the header they are sent in. Pure."""

from collections.abc import Mapping

from organism.error_root import ConfigError
from organism.text.redaction import remember

_AROUND = "\ufeff\u200b\u2060"
"""Marks that editors and web pages leave around a text, and nobody sees."""


_SECRET_ENDINGS = ("_API_KEY", "_ADMIN_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
"""What variables of the environment that hold secrets are called."""


def remember_environment(environment: Mapping[str, str]) -> None:
    """Know as secret what variables hold that are called like secrets, whether or not the configuration uses them."""
    remember(*(value for name, value in environment.items() if name.upper().endswith(_SECRET_ENDINGS)))


def header_secret(name: str, value: str) -> str:
    """Return a secret without what files and editors put around it, and know it as secret from now on.

    A key of a mounted file ends in a line break, and one that was copied may begin with a byte order mark. What no
    header can hold is refused here, at the start, where it can be said which key it is; the HTTP client would refuse
    it in the middle of a call whose worst case is held already.

    Args:
        name: Where it comes from, such as ``the environment variable UP_KEY``: errors say it, and never the value.
        value: The secret.

    Raises:
        ConfigError: If nothing is left, or a character of it can't stand in a header.
    """
    remember(value)
    secret = value
    while (stripped := secret.strip().strip(_AROUND)) != secret:
        secret = stripped
    if not secret:
        raise ConfigError(f"{name} is empty")
    for place, character in enumerate(secret, start=1):
        if not (character.isascii() and character.isprintable()):
            raise ConfigError(
                f"{name} holds a character at place {place} (U+{ord(character):04X}) that no HTTP header can hold; "
                f"copy the key anew, without line breaks and from a plain text"
            )
    remember(secret)
    return secret
