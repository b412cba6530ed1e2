"""Who may talk to the daemon: a token on every request, and only requests that mean this host.

The gate stands in front of the whole application: nothing is routed, parsed or looked up before it. There is no
anonymous mode on loopback either, because a web page in a browser of the same machine can send requests there too.
"""

import asyncio
import re
import secrets
from codecs import BOM_UTF8
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from itertools import chain
from typing import Any

import msgspec

from organism.amounts import NS_PER_S
from organism.api.encodings import PLAIN, BodyTooLargeError, UnreadableError, unpacked
from organism.api.json_limits import deeper_than, more_values_than
from organism.api.problems import MEDIA_TYPE, SAY, Problem, headers_beside, no_such_path, wrong_method
from organism.api.tokens.token_book import Caller
from organism.api.tokens.token_errors import TokensAwayError

ASGIScope = MutableMapping[str, Any]
ASGIReceive = Callable[[], Awaitable[MutableMapping[str, Any]]]
ASGISend = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[ASGIScope, ASGIReceive, ASGISend], Awaitable[None]]
Carry = Callable[[ASGIApp, ASGIScope, ASGIReceive, ASGISend], Awaitable[None]]
"""Hands a request to an application: to this one, or elsewhere."""

RequestHeaders = Mapping[str, str]
Authenticate = Callable[[RequestHeaders], Caller | None]
"""Says who makes a request, from its headers; ``None`` for nobody known."""

CALLER = "organism.caller"
"""Where a request's scope says who makes it; not there for what everybody may ask for."""

HEADERS = "organism.headers"
"""Where it has its headers, by lower-case names; of one that comes twice the last."""

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
HEAD_MAX = 16_384
"""Bytes of a request's line and headers together."""

BODY_MAX = 1_048_576
DEPTH_MAX = 32
VALUES_MAX = 500_000
"""Values and names in JSON: each takes dozens of times the bytes it is written in, and time in which nobody else is
served. A long conversation has some thousands."""

RECEIVE_S = 10.0
FAILURES_PER_MINUTE = 5
_ADDRESSES_MAX = 10_000
_LENGTH = re.compile(r"[0-9]{1,18}")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?)(?::([0-9]{1,5}))?")
"""A host and a port, and nothing else: in ``127.0.0.1:1@evil.example`` a browser sees a user's name and a host."""

_PORT_MAX = 65_535
_CREDENTIALS = ("authorization", "x-api-key", "x-goog-api-key")
_METHODS_WITH_EFFECT = ("POST", "PUT", "PATCH", "DELETE")
_CONTENT_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FORM_POLICY = _CONTENT_POLICY.replace(b"form-action 'none'", b"form-action 'self'")
_SAFE_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", _CONTENT_POLICY),
)
_FORM_HEADERS = (
    *(header for header in _SAFE_HEADERS if header[0] not in (b"referrer-policy", b"content-security-policy")),
    (b"referrer-policy", b"same-origin"),  # with none, a browser says "Origin: null" where it sends the form
    (b"content-security-policy", _FORM_POLICY),
)


class RequestBounds(msgspec.Struct, frozen=True, kw_only=True):
    """How large a request may be, and how long it may take to come.

    Attributes:
        body: Bytes of its body.
        depth: Levels of nested JSON.
        values: Values and names in it.
        receive_s: Seconds until all of it is there.
    """

    body: int = BODY_MAX
    depth: int = DEPTH_MAX
    values: int = VALUES_MAX
    receive_s: float = RECEIVE_S


class AccessRule(msgspec.Struct, frozen=True):
    """Who may use some paths.

    Attributes:
        paths: A path, or with a star at its end everything that begins so; of several that fit an exact one counts,
            or else the longest.
        authenticate: Says who makes a request; ``None`` lets everybody in: for what holds no secret.
        say: Turns a refusal into the body and media type that callers of these paths expect.
        bounds: How large requests may be.
        answers: Answers POST at this one path in the place of the application: for what comes many times a second.
        form: Whether these are pages with a form that goes to themselves, and links elsewhere may lead to them.
        methods: All that there are, which tells a stranger no more than the path does: another one is no bad token.
    """

    paths: str
    authenticate: Authenticate | None
    say: Callable[[Problem], tuple[bytes, str]] = lambda problem: (msgspec.json.encode(problem), MEDIA_TYPE)
    bounds: RequestBounds = RequestBounds()
    answers: ASGIApp | None = None
    form: bool = False
    methods: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        """Whether the rule is about this path."""
        return path.startswith(self.paths[:-1]) if self.paths.endswith("*") else path == self.paths


_NO_RULE = AccessRule("*", lambda _headers: None)
"""For paths that no rule covers: nobody may use them."""


def bearer(find: Callable[[str], Caller | None]) -> Authenticate:
    """Return the usual way of saying who one is: ``Authorization: Bearer TOKEN``."""

    def authenticate(headers: RequestHeaders) -> Caller | None:
        presented = bearer_of(headers)
        return find(presented) if presented else None

    return authenticate


def bearer_of(headers: RequestHeaders) -> str:
    """Return the token that a request presents in the usual way; empty if none."""
    kind, _, presented = headers.get("authorization", "").partition(" ")
    return presented.strip() if kind.lower() == "bearer" else ""


class AuthMiddleware:
    """Lets through what carries a token and means this host, and hands the whole body on at once.

    Args:
        app: The application behind it; finds the caller in its scope under :data:`CALLER`.
        rules: Who may use which paths; what no rule covers is refused.
        hosts: Host names, without port, that requests may mean.
        now_ns: A steady clock.
        unserved: Returns the rule by which it is said that nothing is served at a path; ``None`` where something is.
        carry: Takes each request that is let through to the application that answers it.
        failures_per_minute: Different bad tokens from one address, before it gets 429.
    """

    def __init__(
        self,
        app: ASGIApp,
        rules: Iterable[AccessRule],
        *,
        hosts: Iterable[str] = LOOPBACK_HOSTS,
        now_ns: Callable[[], int],
        failures_per_minute: int = FAILURES_PER_MINUTE,
        unserved: Callable[[str], AccessRule | None] = lambda _path: None,
        carry: Carry | None = None,
    ) -> None:
        self._app = app
        listed = sorted(rules, key=lambda rule: -len(rule.paths))
        self._exact = {rule.paths: rule for rule in reversed(listed) if not rule.paths.endswith("*")}
        self._beginnings = [rule for rule in listed if rule.paths.endswith("*")]
        self._hosts = frozenset(map(str.lower, hosts))
        self._now_ns = now_ns
        self._unserved = unserved
        self._carry = carry
        self._failures_max = failures_per_minute
        self._failures: OrderedDict[str, deque[tuple[int, int]]] = OrderedDict()

    async def __call__(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Answer an ASGI request, or hand it on."""
        if scope["type"] != "http":
            raise ValueError(f"only requests come through the gate, no {scope['type']}")
        headers = scope[HEADERS] = _headers_of(scope)
        request_id = scope["organism.request_id"] = secrets.token_hex(8)
        rule = self._rule_for(scope["path"])
        guarded = _with_safe_headers(send, request_id, _FORM_HEADERS if rule.form else _SAFE_HEADERS)
        # A rule for one path stands for a route; only for the others is it asked whether there is any.
        unserved = self._unserved(scope["path"]) if rule.paths.endswith("*") else None
        rule = unserved or rule
        problem = self._misdirected(scope, headers, rule) or (
            no_such_path(scope["path"]) if unserved is not None else self._refuse(scope, headers, rule)
        )
        if problem is None:
            # What everybody may ask for needs no body. Waiting for one would let a stranger hold a connection.
            body = await _whole_body(receive, rule.bounds, headers) if rule.authenticate is not None else b""
            if not isinstance(body, Problem):
                scope[SAY] = rule.say
                if headers.get("content-encoding", "") not in PLAIN:
                    scope = _as_plain(scope)
                app, replayed = self._answers(rule, scope), _replay(body, receive)
                if self._carry is None:
                    await app(scope, replayed, guarded)
                else:
                    await self._carry(app, scope, replayed, guarded)
                return
            problem = body
        await _answer(guarded, msgspec.structs.replace(problem, request_id=request_id), rule)

    def _rule_for(self, path: str) -> AccessRule:
        """Return the rule for a path: that for it alone, or else the one with the longest beginning."""
        if (exact := self._exact.get(path)) is not None:
            return exact
        return next((rule for rule in self._beginnings if rule.covers(path)), _NO_RULE)

    def answering(self, scope: ASGIScope) -> ASGIApp:
        """Return the application that answers a request that another gate has let through, and prepare its scope."""
        scope[HEADERS] = _headers_of(scope)
        rule = self._rule_for(scope["path"])
        scope[SAY] = rule.say
        return self._answers(rule, scope)

    def _answers(self, rule: AccessRule, scope: ASGIScope) -> ASGIApp:
        return rule.answers if rule.answers is not None and scope["method"] == "POST" else self._app

    def _misdirected(self, scope: ASGIScope, headers: RequestHeaders, rule: AccessRule) -> Problem | None:
        """Refuse what does not mean this host, or comes from a page of another."""
        if head_size(scope) > HEAD_MAX:
            detail = f"send at most {HEAD_MAX} bytes of request line and headers"
            return Problem(status=431, code="head_too_large", title="headers too large", detail=detail)
        host = headers.get("host", "")
        if _name_of(host) not in self._hosts:
            return Problem(status=421, code="wrong_host", title="this is not that host", detail="use the daemon's URL")
        origin = headers.get("origin")
        followed = rule.form and scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not followed
        if foreign or (origin is not None and origin.partition("://")[2].lower() != host.lower()):
            return Problem(status=403, code="cross_site", title="cross-site request", detail="call from a program")
        return None

    def _refuse(self, scope: ASGIScope, headers: RequestHeaders, rule: AccessRule) -> Problem | None:
        if rule.methods and scope["method"] not in (*rule.methods, "OPTIONS"):
            return wrong_method(rule.methods)
        if rule.authenticate is not None:
            try:
                caller = rule.authenticate(headers)
            except TokensAwayError as error:
                return Problem(status=503, code="tokens_unavailable", title="tokens are away", detail=str(error))
            if caller is None:
                return self._failed(
                    str((scope.get("client") or ("", 0))[0]), hash(tuple(map(headers.get, _CREDENTIALS)))
                )
            scope[CALLER] = caller
            return _bad_form(scope["method"], headers, rule.bounds)
        return _unwanted_body(headers)

    def _failed(self, address: str, presented: int) -> Problem:
        """Refuse a bad token. A good one is never made to wait, so that nobody can lock out the operator.

        The same again is no further guess: clients try on with a revoked key, and would wait before they say so.
        """
        now_ns = self._now_ns()
        failures = self._failures.setdefault(address, deque())
        self._failures.move_to_end(address)
        if len(self._failures) > _ADDRESSES_MAX:
            self._failures.popitem(last=False)
        while failures and now_ns - failures[0][0] > 60 * NS_PER_S:
            failures.popleft()
        is_new = all(presented != earlier for _, earlier in failures)
        if is_new and len(failures) >= self._failures_max:
            detail = "wait a minute, then try again"
            return Problem(status=429, code="too_many_failures", title="too many bad tokens", detail=detail)
        if is_new:
            failures.append((now_ns, presented))
        return Problem(
            status=401,
            code="unauthorized",
            title="no valid token",
            detail="send 'Authorization: Bearer TOKEN' with the token from the daemon's state directory",
        )


def _headers_of(scope: ASGIScope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def head_size(scope: ASGIScope) -> int:
    """Return about how many bytes a request's line and headers were, with what separates them."""
    line = (scope["method"], scope.get("raw_path") or b"", scope.get("query_string") or b"")
    return sum(map(len, chain(line, *scope["headers"]))) + len(scope["headers"]) * len(": \r\n")


def _bad_form(method: str, headers: RequestHeaders, bounds: RequestBounds) -> Problem | None:
    length = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(length) or int(length) > bounds.body:
        return _too_large(bounds)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method in _METHODS_WITH_EFFECT and _has_body(headers) and kind != "application/json":
        return Problem(
            status=415, code="not_json", title="not JSON", detail="send the body as 'Content-Type: application/json'"
        )
    return None


def _has_body(headers: RequestHeaders) -> bool:
    return headers.get("content-length", "0").strip("0") != "" or "transfer-encoding" in headers


def _unwanted_body(headers: RequestHeaders) -> Problem | None:
    if not _has_body(headers):
        return None
    return Problem(status=413, code="no_body_here", title="no body is taken here", detail="send no body here")


async def _whole_body(receive: ASGIReceive, bounds: RequestBounds, headers: RequestHeaders) -> bytes | Problem:
    """Receive a body within its bounds of size, time and depth; one that is compressed is bounded unpacked."""
    received = bytearray()
    try:
        # Not AnyIO's scope, which costs four times as much: the body is here already as a rule.
        async with asyncio.timeout(bounds.receive_s):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return bytes(received)
                received += message.get("body", b"")
                if len(received) > bounds.body:
                    return _too_large(bounds)
                more = message.get("more_body", False)
        body = unpacked(bytes(received), headers.get("content-encoding", ""), bounds.body)
    except TimeoutError:
        detail = f"send a request within {bounds.receive_s:g} s"
        return Problem(status=408, code="too_slow", title="too slow", detail=detail)
    except BodyTooLargeError:
        return _too_large(bounds)
    except UnreadableError as error:
        return Problem(status=415, code="unreadable_encoding", title="not to be read", detail=str(error))
    # What editors and shells of Windows begin files with is no part of JSON (RFC 8259, 8.1: it may be ignored).
    body = body.removeprefix(BOM_UTF8)
    return _bad_structure(body, bounds) or body


def _as_plain(scope: ASGIScope) -> ASGIScope:
    """Return a request without what was said of how its body came, which is unpacked."""
    gone = {b"content-encoding", b"content-length"}
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name.lower() not in gone]}


def _bad_structure(body: bytes, bounds: RequestBounds) -> Problem | None:
    """Refuse JSON that would take much more memory and time than its bytes."""
    if more_values_than(body, bounds.values):
        detail = f"send at most {bounds.values:,} values at a time"
        return Problem(status=413, code="too_many_values", title="too many values", detail=detail)
    if deeper_than(body, bounds.depth):
        detail = f"nest at most {bounds.depth} levels"
        return Problem(status=400, code="too_deep", title="nested too deep", detail=detail)
    return None


def _too_large(bounds: RequestBounds) -> Problem:
    return Problem(status=413, code="too_large", title="body too large", detail=f"send at most {bounds.body} bytes")


def _replay(body: bytes, receive: ASGIReceive) -> ASGIReceive:
    """Give the application the body that was received, and then what happens to the connection."""
    given = False

    async def replayed() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _with_safe_headers(send: ASGISend, request_id: str, safe: Iterable[tuple[bytes, bytes]]) -> ASGISend:
    async def guarded(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = [(name, value) for name, value in message.get("headers", ()) if name.lower() != b"cache-control"]
            message["headers"] = [*own, *safe, (b"x-request-id", request_id.encode())]
        await send(message)

    return guarded


async def _answer(send: ASGISend, problem: Problem, rule: AccessRule) -> None:
    body, media_type = rule.say(problem)
    plain = ((b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode()))
    headers = [*plain, *headers_beside(problem.status, rule.methods)]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _name_of(authority: str) -> str:
    """Strip the port: of ``[::1]:80`` remains ``[::1]``; nothing of what is no host."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None or int(found[2] or 0) > _PORT_MAX:
        return ""
    return found[1].lower()
