"""Tokens: who may do what. The daemon stores hashes; only the holder has the secret.

The first token is made at the first start and lies in the state folder for the command line. More are made over the
API, each with its scopes. Sessions are tokens that live in memory for some hours: what a browser gets.
"""

import os
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from organism.amounts import NS_PER_S, Limits
from organism.api.tokens.first_token import load_or_make_token
from organism.errors import ConfigError
from organism.stores.private_files import explained, read_private, write_private

TokenScope = Literal["read", "send", "operate", "admin"]
"""``read``: see everything but what agents say. ``send``: open threads and write into them; alone, only to its own.
``operate``: budgets, pauses, ends, dead letters, what agents say. ``admin``: tokens, reload, stop."""

SCOPES: tuple[TokenScope, ...] = ("read", "send", "operate", "admin")

OWNER = "owner"
"""The name of the first token."""

_BOOK_FILE = "tokens.json"
_SESSION_S = 12 * 3600
_SESSIONS_MAX = 64
TOKENS_MAX = 1_000
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


class KeptToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept: with a hash of its secret, SHA-256 in hexadecimal digits, in the place of the secret."""

    name: str
    hash: str
    scopes: tuple[TokenScope, ...]
    created_ns: int
    expires_ns: int | None = None
    limits: Limits | None = None
    labels: dict[str, str] = {}


class _Session(msgspec.Struct, frozen=True):
    """What a browser has: good as long as the token it was begun with, and for some hours at most."""

    origin: str
    expires_ns: int


class TokenBook:
    """Knows every token by the hash of its secret.

    Args:
        now_ns: The present instant.
        file: Where tokens are kept beside the first one; in memory only unless given.
    """

    def __init__(self, now_ns: Callable[[], int], file: Path | None = None) -> None:
        self._now_ns = now_ns
        self._file = file
        self._tokens: dict[str, KeptToken] = {}
        self._sessions: dict[str, _Session] = {}
        self._configured: Callable[[], Iterable[TokenView]] = tuple

    @classmethod
    def open(cls, state: Path, now_ns: Callable[[], int]) -> "TokenBook":
        """Open the book of a state folder and make its first token if there is none.

        Raises:
            ConfigError: If it cannot be read, or others could read it.
        """
        book = TokenBook(now_ns, state / _BOOK_FILE)
        secret = load_or_make_token(state)
        book._tokens = {token.hash: token for token in kept_tokens(state)}
        book.know(OWNER, secret, ("admin",))
        return book

    def know(self, name: str, secret: str, scopes: Iterable[TokenScope]) -> None:
        """Accept a token that is kept elsewhere."""
        kept = KeptToken(name=name, hash=_hash(secret), scopes=tuple(scopes), created_ns=self._now_ns())
        self._tokens[kept.hash] = kept

    def find(self, secret: str) -> Caller | None:
        """Return who holds a secret, or ``None``.

        Looked up by its whole hash: how long that takes says nothing about any other secret.

        Raises:
            TokensAwayError: If that cannot be said now.
        """
        key = _hash(secret)
        kept = self._tokens.get(key) or self._begun_with(key)
        if kept is None or (kept.expires_ns is not None and kept.expires_ns <= self._now_ns()):
            return None
        scopes = frozenset(scope for given in kept.scopes for scope in _INCLUDES[given])
        return Caller(kept.name, scopes, kept.limits, kept.labels)

    def _begun_with(self, key: str) -> KeptToken | None:
        """Return the token, as it is now, that a session was begun with."""
        session = self._sessions.get(key)
        if session is None or session.expires_ns <= self._now_ns():
            return None
        return self._tokens.get(session.origin)

    async def make(
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
            JournalError: Likewise, where a database keeps it.
        """
        kept, secret = self._drafted(name, scopes, days, limits, labels)
        self._write([*self._tokens.values(), kept])
        self._tokens[kept.hash] = kept
        return NewToken(name, secret, kept.expires_ns)

    def _drafted(
        self,
        name: str,
        scopes: Collection[TokenScope],
        days: int | None,
        limits: Limits | None,
        labels: dict[str, str] | None,
    ) -> tuple[KeptToken, str]:
        """Return a token that may be kept, and its secret.

        Raises:
            ConfigError: If the name is taken, there are too many, or limits or labels would bind nothing.
        """
        _check_bounds(scopes, limits, labels)
        if any(token.name == name for token in self._tokens.values()):
            raise name_taken(name)
        if len(self._tokens) >= TOKENS_MAX:
            raise ConfigError(f"there are {TOKENS_MAX} tokens already; revoke some")
        secret = secrets.token_urlsafe(32)
        now_ns = self._now_ns()
        kept = KeptToken(
            name=name,
            hash=_hash(secret),
            scopes=tuple(scopes),
            created_ns=now_ns,
            expires_ns=None if days is None else now_ns + days * 86_400 * NS_PER_S,
            limits=limits,
            labels=labels or {},
        )
        return kept, secret

    async def limit(self, name: str, limits: Limits | None) -> TokenView | None:
        """Give a token other limits, for threads that it and its sessions open from now on.

        Args:
            name: The token.
            limits: The most that each thread it opens may use; ``None`` for what is configured.

        Returns:
            How it was before; ``None`` if there is no such token.

        Raises:
            ConfigError: If limits would bind nothing.
            OSError: If that cannot be kept.
            JournalError: Likewise, where a database keeps it.
        """
        before = self._made(name)
        if before is None:
            return None
        tokens = self._tokens | {before.hash: limited(before, limits)}
        self._write(tokens.values())
        self._tokens = tokens
        return view_of(before)

    def _made(self, name: str) -> KeptToken | None:
        """Return a token that can be changed: the first one is a file's."""
        return next((token for token in self._tokens.values() if token.name == name and name != OWNER), None)

    async def revoke(self, name: str) -> tuple[str, ...] | None:
        """Forget a token, and with it its sessions. The first one stays: it is a file's.

        Returns:
            The nodes of a cluster that it does not reach, as a rule none; ``None`` if there is no such token.

        Raises:
            OSError: If that cannot be kept.
            JournalError: Likewise, where a database keeps it.
        """
        if self._made(name) is None:
            return None
        left = {key: token for key, token in self._tokens.items() if token.name != name}
        self._write(left.values())
        self._tokens = left
        return ()

    def begin_session(self, secret: str) -> NewToken | None:
        """Make a token that lives in memory for some hours, as good as another.

        If there are many, the oldest goes of the token that has the most: nobody else's ends by what one token begins.

        Args:
            secret: Of the token, or of a session of it, which the new one does not outlive.

        Returns:
            ``None`` if that is none, or none any more: its request may have been let in some seconds ago.

        Raises:
            TokensAwayError: If that cannot be said now.
        """
        caller = self.find(secret)
        if caller is None:
            return None
        now_ns, key = self._now_ns(), _hash(secret)
        parent = self._sessions.get(key)
        self._sessions = {key: one for key, one in self._sessions.items() if one.expires_ns > now_ns}
        while len(self._sessions) >= _SESSIONS_MAX:
            ((most, _),) = Counter(one.origin for one in self._sessions.values()).most_common(1)
            del self._sessions[next(key for key, one in self._sessions.items() if one.origin == most)]
        made, ends_ns = secrets.token_urlsafe(32), now_ns + _SESSION_S * NS_PER_S
        session = (
            _Session(key, ends_ns) if parent is None else replace(parent, expires_ns=min(ends_ns, parent.expires_ns))
        )
        self._sessions[_hash(made)] = session
        return NewToken(caller.name, made, session.expires_ns)

    async def list(self) -> tuple[TokenView, ...]:
        """Return every token without its secret, oldest first, and then the keys of the configuration.

        Raises:
            JournalError: If they are in a database that does not answer.
        """
        made = sorted(self._tokens.values(), key=lambda kept: kept.created_ns)
        return (*map(view_of, made), *self._configured())

    def list_also(self, configured: Callable[[], Iterable[TokenView]]) -> None:
        """List the keys of the configuration too, as they are at the time."""
        self._configured = configured

    def _write(self, tokens: Iterable[KeptToken]) -> None:
        """Replace the file whole, so that a crash leaves the old one or the new one."""
        if self._file is None:
            return
        write_private(self._file, msgspec.json.encode([token for token in tokens if token.name != OWNER]))


def kept_tokens(state: Path) -> list[KeptToken]:
    """Return the tokens that a state folder holds beside the first one.

    Raises:
        ConfigError: If they cannot be read, or others could read them.
    """
    path = state / _BOOK_FILE
    try:
        with explained(path):
            return msgspec.json.decode(read_private(path), type=list[KeptToken]) if os.path.lexists(path) else []
    except msgspec.MsgspecError as error:
        raise ConfigError(f"the tokens cannot be read: {error}", where=str(path)) from None


def name_taken(name: str) -> ConfigError:
    """Return the refusal of a second token of a name."""
    return ConfigError(f"there is a token {name!r} already; revoke it first, or choose another name")


def view_of(kept: KeptToken) -> TokenView:
    """Return a token as it is shown: without the hash."""
    return TokenView(
        name=kept.name,
        scopes=kept.scopes,
        created_ns=kept.created_ns,
        expires_ns=kept.expires_ns,
        limits=kept.limits,
        labels=kept.labels,
    )


def limited(token: KeptToken, limits: Limits | None) -> KeptToken:
    """Return a token with other limits.

    Raises:
        ConfigError: If they would bind nothing.
    """
    _check_bounds(token.scopes, limits, None)
    return replace(token, limits=limits)


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


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
