"""Tokens: who may do what. The daemon stores hashes; only the holder has the secret.

The first token is made at the first start and lies in the state folder for the command line. More are made over the
API, each with its scopes. Sessions are tokens that live in memory for some hours: what a browser gets.
"""

import os
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from organism.amounts import NS_PER_S, Limits
from organism.errors import ConfigError
from organism.stores.private_files import UnsafeFileError, explained, make_private_folder, read_private, write_private

TokenScope = Literal["read", "send", "operate", "admin"]
"""``read``: see everything but what agents say. ``send``: open threads and write into them; alone, only to its own.
``operate``: budgets, pauses, ends, dead letters, what agents say. ``admin``: tokens, reload, stop."""

SCOPES: tuple[TokenScope, ...] = ("read", "send", "operate", "admin")

TOKEN_FILE = "token"  # noqa: S105 - a file name
OWNER = "owner"
"""The name of the first token."""

_TOKEN = re.compile(rb"[!-~]{1,512}")
"""What can be sent in a header: anything else would be refused there, request by request."""

_BOOK_FILE = "tokens.json"
_SESSION_S = 12 * 3600
_SESSIONS_MAX = 64
_TOKENS_MAX = 1_000
_INCLUDES: dict[TokenScope, tuple[TokenScope, ...]] = {
    "read": ("read",),
    "send": ("send",),
    "operate": ("operate", "read", "send"),
    "admin": SCOPES,
}


class Caller(msgspec.Struct, frozen=True):
    """Who makes a request.

    Attributes:
        name: The name of the token.
        scopes: Everything it may do.
        limits: The most that each thread it opens may use, where that is less than is configured.
        labels: Of each thread it opens; it may add others, and not change these.
    """

    name: str
    scopes: frozenset[TokenScope]
    limits: Limits | None = None
    labels: dict[str, str] = {}

    def labelled(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Return the labels of a thread that it opens.

        Raises:
            ConfigError: If it asks for another value of a label that it has.
        """
        for name, value in self.labels.items():
            if asked.get(name, value) != value:
                reason = f"this token opens threads with the label {name}={value} and no other; leave it out"
                raise ConfigError(reason, path=f"labels.{name}")
        return {**asked, **self.labels}

    @property
    def owner_only(self) -> bool:
        """Whether it may reach only threads that it has opened itself."""
        return "operate" not in self.scopes


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A token without its secret, or a key of the configuration.

    Attributes:
        created_ns: When it was made, nanoseconds since the Unix epoch; ``None`` for a key of the configuration.
        expires_ns: When it stops being one, likewise; ``None`` for never.
        limits: The most that each thread it opens may use; ``None`` where only the configuration says so.
        labels: Of each thread it opens.
        source: ``made`` by an order, which can be revoked, or ``configuration``.
    """

    name: str
    scopes: tuple[TokenScope, ...]
    created_ns: int | None
    expires_ns: int | None
    limits: Limits | None = None
    labels: dict[str, str] = {}
    source: Literal["made", "configuration"] = "made"


class NewToken(msgspec.Struct, frozen=True):
    """A token that was just made. Its secret is shown this once."""

    name: str
    secret: str
    expires_ns: int | None


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    hash: str
    scopes: tuple[TokenScope, ...]
    created_ns: int
    expires_ns: int | None = None
    limits: Limits | None = None
    labels: dict[str, str] = {}


class TokenBook:
    """Knows every token by the hash of its secret.

    Args:
        now_ns: The present instant.
        file: Where tokens are kept beside the first one; in memory only unless given.
    """

    def __init__(self, now_ns: Callable[[], int], file: Path | None = None) -> None:
        self._now_ns = now_ns
        self._file = file
        self._tokens: dict[str, _Kept] = {}
        self._sessions: dict[str, _Kept] = {}
        self._configured: Callable[[], Iterable[TokenView]] = tuple

    @classmethod
    def open(cls, state: Path, now_ns: Callable[[], int]) -> "TokenBook":
        """Open the book of a state folder and make its first token if there is none.

        Raises:
            ConfigError: If it cannot be read, or others could read it.
        """
        book = cls(now_ns, state / _BOOK_FILE)
        path = state / _BOOK_FILE
        secret = load_or_make_token(state)
        try:
            with explained(path):
                kept = msgspec.json.decode(read_private(path), type=list[_Kept]) if os.path.lexists(path) else []
        except msgspec.MsgspecError as error:
            raise ConfigError(f"the tokens cannot be read: {error}", where=str(path)) from None
        book._tokens = {token.hash: token for token in kept}
        book.know(OWNER, secret, ("admin",))
        return book

    def know(self, name: str, secret: str, scopes: Iterable[TokenScope]) -> None:
        """Accept a token that is kept elsewhere."""
        kept = _Kept(name=name, hash=_hash(secret), scopes=tuple(scopes), created_ns=self._now_ns())
        self._tokens[kept.hash] = kept

    def find(self, secret: str) -> Caller | None:
        """Return who holds a secret, or ``None``.

        Looked up by its whole hash: how long that takes says nothing about any other secret.
        """
        key = _hash(secret)
        kept = self._tokens.get(key) or self._sessions.get(key)
        if kept is None or (kept.expires_ns is not None and kept.expires_ns <= self._now_ns()):
            return None
        scopes = frozenset(scope for given in kept.scopes for scope in _INCLUDES[given])
        return Caller(kept.name, scopes, kept.limits, kept.labels)

    def make(
        self,
        name: str,
        scopes: Collection[TokenScope],
        *,
        days: int | None = None,
        limits: Limits | None = None,
        labels: dict[str, str] | None = None,
    ) -> NewToken:
        """Make a token.

        Raises:
            ConfigError: If the name is taken, there are too many, or limits or labels would bind nothing.
            OSError: If it cannot be kept.
        """
        _check_bounds(scopes, limits, labels)
        if any(token.name == name for token in self._tokens.values()):
            raise ConfigError(f"there is a token {name!r} already; revoke it first, or choose another name")
        if len(self._tokens) >= _TOKENS_MAX:
            raise ConfigError(f"there are {_TOKENS_MAX} tokens already; revoke some")
        secret = secrets.token_urlsafe(32)
        now_ns = self._now_ns()
        expires = None if days is None else now_ns + days * 86_400 * NS_PER_S
        kept = _Kept(
            name=name,
            hash=_hash(secret),
            scopes=tuple(scopes),
            created_ns=now_ns,
            expires_ns=expires,
            limits=limits,
            labels=labels or {},
        )
        self._write([*self._tokens.values(), kept])
        self._tokens[kept.hash] = kept
        return NewToken(name, secret, expires)

    def limit(self, name: str, limits: Limits | None) -> TokenView | None:
        """Give a token other limits, for threads that it opens from now on.

        Args:
            name: The token.
            limits: The most that each thread it opens may use; ``None`` for what is configured.

        Returns:
            How it was before; ``None`` if there is no such token.

        Raises:
            ConfigError: If limits would bind nothing.
            OSError: If that cannot be kept.
        """
        before = next((token for token in self._tokens.values() if token.name == name and name != OWNER), None)
        if before is None:
            return None
        _check_bounds(before.scopes, limits, None)
        tokens = self._tokens | {before.hash: replace(before, limits=limits)}
        self._write(tokens.values())
        self._tokens = tokens
        for key, session in self._sessions.items():
            if session.name == name:
                self._sessions[key] = replace(session, limits=limits)
        return _view(before)

    def revoke(self, name: str) -> bool:
        """Forget a token and its sessions; whether there was one. The first one stays: it is a file's.

        Raises:
            OSError: If that cannot be kept.
        """
        if name == OWNER:
            return False
        left = {key: token for key, token in self._tokens.items() if token.name != name}
        found = len(left) < len(self._tokens)
        if found:
            self._write(left.values())
        self._tokens = left
        self._sessions = {key: session for key, session in self._sessions.items() if session.name != name}
        return found

    def begin_session(self, caller: Caller) -> NewToken:
        """Make a token that lives in memory for some hours, with the same scopes; the oldest goes if there are many."""
        now_ns = self._now_ns()
        self._sessions = {key: one for key, one in self._sessions.items() if (one.expires_ns or 0) > now_ns}
        while len(self._sessions) >= _SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        secret = secrets.token_urlsafe(32)
        expires = now_ns + _SESSION_S * NS_PER_S
        session = _Kept(
            name=caller.name,
            hash=_hash(secret),
            scopes=tuple(sorted(caller.scopes)),
            created_ns=now_ns,
            expires_ns=expires,
            limits=caller.limits,
            labels=caller.labels,
        )
        self._sessions[session.hash] = session
        return NewToken(caller.name, secret, expires)

    def list(self) -> tuple[TokenView, ...]:
        """Return every token without its secret, oldest first, and then the keys of the configuration."""
        made = sorted(self._tokens.values(), key=lambda kept: kept.created_ns)
        return (*map(_view, made), *self._configured())

    def list_also(self, configured: Callable[[], Iterable[TokenView]]) -> None:
        """List the keys of the configuration too, as they are at the time."""
        self._configured = configured

    def _write(self, tokens: Iterable[_Kept]) -> None:
        """Replace the file whole, so that a crash leaves the old one or the new one."""
        if self._file is None:
            return
        write_private(self._file, msgspec.json.encode([token for token in tokens if token.name != OWNER]))


def _view(kept: _Kept) -> TokenView:
    return TokenView(
        name=kept.name,
        scopes=kept.scopes,
        created_ns=kept.created_ns,
        expires_ns=kept.expires_ns,
        limits=kept.limits,
        labels=kept.labels,
    )


def _check_bounds(scopes: Collection[TokenScope], limits: Limits | None, labels: Mapping[str, str] | None) -> None:
    """Refuse limits and labels that would bind nothing.

    Raises:
        ConfigError: If they would.
    """
    if limits is not None and set(scopes) - {"read", "send"}:
        raise ConfigError("limits bind no token that may operate, since it can raise them", path="limits")
    if limits is not None and "send" not in scopes:
        raise ConfigError("limits are for tokens with the scope 'send'; others open no threads", path="limits")
    if labels and set(scopes) - {"read", "send"}:
        raise ConfigError("labels bind no token that may operate, since it can make others", path="labels")
    if labels and "send" not in scopes:
        raise ConfigError("labels are for tokens with the scope 'send'; others open no threads", path="labels")


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


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
