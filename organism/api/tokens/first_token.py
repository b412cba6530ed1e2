"""The first token: made at the first start, and kept in a file that only its owner can read."""

import os
import re
import secrets
from pathlib import Path

from organism.errors import ConfigError
from organism.stores.private_files import UnsafeFileError, explained, make_private_folder, read_private, write_private

TOKEN_FILE = "token"  # noqa: S105 - a file name

_TOKEN = re.compile(rb"[!-~]{1,512}")
"""What can be sent in a header: anything else would be refused there, request by request."""


def load_or_make_token(state: Path) -> str:
    """Return the first token, made at the first start and kept in a file that only its owner can read.

    Raises:
        ConfigError: If the folder or the file is open to others or not ours, or cannot be used.
    """
    make_private_folder(state)
    path = state / TOKEN_FILE
    with explained(path):
        if os.path.lexists(path) and (token := _kept_token(path)):
            return token
        # An empty one was left by an older program that was killed between making the file and writing into it.
        token = secrets.token_urlsafe(32)
        write_private(path, f"{token}\n".encode())
    return token


def kept_token(state: Path, owner: int) -> str:
    """Return the token that is kept in a state folder.

    Args:
        state: The folder.
        owner: The user whose folder it is.

    Raises:
        ConfigError: If there is none, or it may be somebody else's.
    """
    path = state / TOKEN_FILE
    with explained(path):
        token = _kept_token(path, owner)
    if not token:
        raise ConfigError("the token's file is empty; start the daemon again to get a new one", where=str(path))
    return token


def _kept_token(path: Path, owner: int | None = None) -> str:
    """Return the text of a token's file; empty if there is none in it."""
    token = read_private(path, owner).strip()
    if token and not _TOKEN.fullmatch(token):
        reason = "this is no token: it must be one line of letters, digits and signs; remove the file to get a new one"
        raise UnsafeFileError(path, reason)
    return token.decode("ascii")
