"""Each route says what its caller must be allowed to do; one that does not say so is open to nobody."""

from hashlib import sha256
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from organism.api.auth_middleware import CALLER
from organism.api.problems import Problem, ProblemError
from organism.api.tokens.token_book import Caller, TokenScope
from organism.control.idempotency import Order

_KEY_MAX = 255


def needs(scope: TokenScope) -> dict[str, TokenScope]:
    """Return a route's ``opt``: its caller needs this scope."""
    return {"scope": scope}


OPEN = {"scope": "none"}
"""The ``opt`` of a route that holds no secret and asks for no token."""


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse a caller that lacks the scope of a route. Nothing here waits, but what is not async is run in a thread.

    Raises:
        ProblemError: If so, or if the route has none.
    """
    scope = handler.opt.get("scope")
    if scope != OPEN["scope"]:
        check_scope(connection.scope.get(CALLER), scope)  # type: ignore[arg-type]


def check_scope(caller: Caller | None, scope: TokenScope | None) -> None:
    """Refuse a caller that lacks a scope; everybody lacks one that is not declared.

    Raises:
        ProblemError: If so.
    """
    if caller is None or scope is None or scope not in caller.scopes:
        raise ProblemError(
            Problem(
                status=403,
                code="scope_missing",
                title="the token may not do this",
                detail=f"use a token with the scope {scope or 'that this route has not declared'!r}",
            )
        )


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Return who makes a request that has passed the gate."""
    caller: Caller = request.scope[CALLER]  # type: ignore[literal-required]
    return caller


async def order_of(request: Request[Any, Any, Any]) -> Order:
    """Return who orders, and under which idempotency key.

    Raises:
        ProblemError: If the key is no key.
    """
    caller = caller_of(request)
    key = request.headers.get("idempotency-key", "")
    if len(key) > _KEY_MAX or not key.isprintable() or not key.isascii():
        detail = f"use at most {_KEY_MAX} printable ASCII characters, such as a UUID"
        raise ProblemError(Problem(status=400, code="bad_key", title="no idempotency key", detail=detail))
    target = f"{request.method} {request.url.path}?{request.url.query}"
    said = target.encode() + b"\0" + await request.body()
    return Order(
        by=caller.name, key=key, fingerprint=sha256(said).hexdigest() if key else "", owner_only=caller.owner_only
    )


def may_read_content(request: Request[Any, Any, Any], *, asked: bool) -> bool:
    """Whether to show what agents say: if it was asked for, and the caller may see it.

    Raises:
        ProblemError: If it was asked for and the caller may not.
    """
    if asked and "operate" not in caller_of(request).scopes:
        detail = "use a token with the scope 'operate', or leave 'content' out"
        raise ProblemError(
            Problem(status=403, code="scope_missing", title="content is not for this token", detail=detail)
        )
    return asked
