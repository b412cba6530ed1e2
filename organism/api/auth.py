"""Who may talk to the daemon: a bearer token on every request, and only requests that mean this host.

The check stands in front of the whole application, before routing and before a byte of a body is read. There is no
anonymous mode on loopback either: a web page in a browser of the same machine can send requests there too.
"""

import hmac
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_FILE = "token"  # noqa: S105 - a file name
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_BODY_MAX = 1_048_576
_OPEN_PATHS = ("/healthz",)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The one shape of every error answer, after RFC 9457.

    Attributes:
        status: The HTTP status again.
        code: What went wrong, for programs: stable, in snake case.
        title: What went wrong, for people.
        detail: What to do about it.
    """

    status: int
    code: str
    title: str
    detail: str


def load_or_make_token(state: Path) -> str:
    """Return the daemon's token, made at the first start and kept in a file that only its owner can read.

    Raises:
        OSError: If the folder cannot be written.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state / TOKEN_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        token = secrets.token_urlsafe(32)
        file.write(token + "\n")
    return token


class Gate:
    """Lets through what carries the token and means this host.

    Args:
        app: The application behind it.
        token: The secret; only its hash is kept.
        hosts: Host names, without port, that requests may mean.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str] = LOOPBACK_HOSTS) -> None:
        self._app = app
        self._token_hash = sha256(token.encode()).digest()
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        problem = self._refuse(scope["path"], headers)
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await answer(send, problem)

    def _refuse(self, path: str, headers: dict[str, str]) -> Problem | None:
        if _host_of(headers.get("host", "")) not in self._hosts:
            return Problem(status=421, code="wrong_host", title="this is not that host", detail="use the daemon's URL")
        origin = headers.get("origin")
        if headers.get("sec-fetch-site") == "cross-site" or (
            origin and _host_of(_authority(origin)) not in self._hosts
        ):
            return Problem(status=403, code="cross_site", title="cross-site request", detail="call from a program")
        if path in _OPEN_PATHS:
            return None
        kind, _, presented = headers.get("authorization", "").partition(" ")
        matches = hmac.compare_digest(sha256(presented.strip().encode()).digest(), self._token_hash)
        if kind.lower() != "bearer" or not matches:
            return Problem(
                status=401,
                code="unauthorized",
                title="no valid token",
                detail="send 'Authorization: Bearer TOKEN' with the token from the daemon's state directory",
            )
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > _BODY_MAX:
            return Problem(
                status=413, code="too_large", title="body too large", detail=f"send at most {_BODY_MAX} bytes"
            )
        return None


async def answer(send: Send, problem: Problem) -> None:
    """Send an error without the application."""
    body = msgspec.json.encode(problem)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if problem.status == 401:  # noqa: PLR2004
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _authority(origin: str) -> str:
    return origin.partition("://")[2]


def _host_of(authority: str) -> str:
    """Strip the port: of ``[::1]:80`` remains ``[::1]``."""
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0].lower()
