"""Requests at every path of the API and the gateway, with headers, cookies and names that nobody means.

They go straight into the application behind the server, so that headers may be what no client would send.
"""

import json
import random
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import anyio
import msgspec

from organism import Context, Limits, Organism, Text, agent
from organism.api.application import Options, build_api, build_application
from organism.api.tokens.token_book import TokenBook
from organism.gateway.request_handler import Gateway
from organism.gateway.routes import COUNTS, FORMATS, GOOGLE, gateway_group
from organism.gateway.settings import Key, Settings
from organism.testing import ScriptedProvider
from tests.fuzz.campaign import Check
from tests.fuzz.client_bodies import GOOD
from tests.fuzz.junk import Json, broken, damaged, some_junk, written

TOKEN, KEY = "the-first-token-of-the-made-up-requests", "sk-of-the-made-up-requests"
SECRET = "sk-upstream-that-nobody-is-told"
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
OWN: dict[str, Json] = {
    "/v1/conversations": {"items": [ITEM], "metadata": {"topic": "tides"}},
    "/v1/conversations/{id}": {"metadata": {"topic": "tides"}},
    "/v1/conversations/{id}/items": {"items": [ITEM, {"type": "reasoning", "id": "r", "summary": []}]},
    "/v1/threads": {"text": "go", "to": "writer", "limits": {"tokens": 500}, "labels": {"a": "b"}, "thread_id": "t"},
    "/v1/threads/{id}/messages": {"message": {"type": "Text", "text": "go"}, "to": "writer"},
    "/v1/budgets/{id}/limits": {"tokens": 500, "usd": "1.5", "calls": 3, "seconds": 10},
    "/v1/budgets/{id}/move": {"tokens": 5, "reason": "x"},
    "/v1/tokens": {"name": "n", "scopes": ["send"], "limits": {"tokens": 5}, "labels": {"a": "b"}},
}
"""Bodies of paths that are no format of a provider's."""

NOT_WALKED = ("/v1/stop", "/v1/drain", "/v1/reload", "/v1/freeze", "/v1/tokens/{name}", "/v1/events")
"""What would end the run, or takes the keys away that it is made with, or has no end."""

OPEN = (
    "/healthz",
    "/readyz",
    "/livez",
    "/",
    "/dashboard",
    "/schema",
    "/favicon.ico",
    "/v1/schema",
    "/assets",
    "/answer",
)
HEADERS: dict[str, tuple[str, ...]] = {
    "content-type": ("application/json", "application/json; charset=utf-16", "text/plain", "", "application/JSON;;;"),
    "content-encoding": ("gzip", "identity", "br", "gzip, gzip", "\x00", "deflate"),
    "content-length": ("0", "-1", "99999999999999999999", "1e3", "", "٣"),
    "transfer-encoding": ("chunked", "gzip"),
    "cookie": ("a=b", "organism=1; session=" + "x" * 500, "=;=;", "\xe9=\xff", f"token={TOKEN}",
        f"authorization=Bearer {TOKEN}"),
    "organism-thread": ("t", "../x", "\x80", "", "key-ci", "x" * 300, "organism@day:x", "t,t"),
    "organism-forwarded": ("x.y", ".", "e30.", "\xff." + "0" * 64),
    "idempotency-key": ("k", "k" * 256, "\x7f", "\xe9", ""),
    "traceparent": ("zz", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-" + "a" * 32 + "-" + "b" * 16 + "-ff"),
    "origin": ("null", "http://evil.example", "http://localhost", "://", "\xff"),
    "sec-fetch-site": ("cross-site", "same-origin", "none", "x"),
    "host": ("localhost", "localhost:99999", "evil.example", "", "[::1]", "localhost@evil", "LOCALHOST"),
    "range": ("bytes=0-", "bytes=9-1"), "accept": ("text/html", "*/*;q=x", "\xff"), "if-none-match": ("*",),
    "last-event-id": ("-1", "9" * 40, "x", "1,2"), "x-request-id": ("\r\nset-cookie: a=b", "x" * 999),
    "anthropic-beta": ("a,b", ",", "\xe9"), "anthropic-version": ("2023-06-01", "x"), "expect": ("100-continue",),
    "upgrade": ("websocket",), "x-forwarded-for": ("127.0.0.1", "\xff"), "openai-organization": ("o",),
    "x-stainless-retry-count": ("3", "x"),
}  # fmt: skip
QUERIES = (
    "alt=sse", "alt=json", "limit=5", "limit=-1", "limit=%D9%A5", "order=asc", "order=x", "after=%00", "after=x",
    "after[]=1",
    "include=x", "include[]=a&include[]=b", "by=x&state=x&label==", "reason=%0a%1b", "%&&==&%%%", "cursor=e30", "key=x",
    "since=1e9", "search=%ff", "scope=x&scope=y", "stream=true", f"key={TOKEN}", f"access_token={TOKEN}",
)  # fmt: skip
NAMES = (
    "t",
    "%00",
    "\xff",
    "..",
    "a/b",
    "\n\x1b[2J",
    "x" * 2000,
    "organism@day:x",
    "agent:a@thread:b",
    "conv_",
    "main",
)
GOOGLE_VERBS = (
    *("generateContent", "streamGenerateContent", "countTokens") * 3,
    "embedContent",
    "",
    ":",
    "generateContent:x",
)


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Answer with one call."""
    return Text((await ctx.llm.complete(message.text, max_output_tokens=8)).text)


class Sent(msgspec.Struct):
    """A request, and whether it carries what lets it in."""

    method: str
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    known: bool

    @property
    def told(self) -> str:
        """It, for people."""
        return f"{self.method} {self.path[:300]!r}?{self.query}\n{self.headers}\n{self.body[:2000]!r}"


class Heard(msgspec.Struct):
    """An answer."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = []
    body: bytes = b""


class Requests:
    """A served application, and requests to it.

    Args:
        organism: What is served.
    """

    def __init__(self, organism: Organism) -> None:
        self._organism = organism
        tokens = TokenBook(organism.clock.now_ns)
        tokens.know("owner", TOKEN, ("admin",))
        keys = (Key(name="ci", sha256=sha256(KEY.encode()).hexdigest()),)
        group = gateway_group(Gateway(organism.control, Settings(models=("m",), keys=keys)), tokens)
        self._app = build_api(organism.control, tokens, Options(groups=(group,), failures_per_minute=10**6))
        application = build_application(organism.control, TokenBook(organism.clock.now_ns), (group,))
        walked = {
            (method, route.path)
            for route in application.routes
            for each in getattr(route, "route_handlers", ())
            for method in each.http_methods
            if not route.path.startswith(NOT_WALKED)
        }
        self._routes = sorted(walked)
        self._bodies = {**GOOD, **OWN, **{path: GOOD[of] for path, (of, _beside) in COUNTS.items()}}
        in_path = ("model", "stream")
        self._bodies[GOOGLE] = {name: value for name, value in GOOD[GOOGLE].items() if name not in in_path}
        self._kept = ["t"]

    def some_request(self, chance: random.Random) -> Sent:
        """Return a request; half of them are for a path of a body that is known."""
        if chance.randrange(2):
            path = chance.choice(list(self._bodies))
            method = "POST"
        else:
            method, path = chance.choice(self._routes)
        if chance.randrange(15) == 0:
            method = chance.choice(("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"))
        body = self._body(path, chance)
        known = chance.randrange(8) > 0
        headers = self._headers(path, chance, known=known)
        return Sent(method, self._filled(path, chance), self._query(path, chance), headers, body, known)

    def _filled(self, path: str, chance: random.Random) -> str:
        if path.startswith(GOOGLE):
            model = "m" if chance.randrange(4) else chance.choice(NAMES)
            return f"{GOOGLE}/{model}:{chance.choice(GOOGLE_VERBS)}"
        name = chance.choice(self._kept) if chance.randrange(3) else chance.choice(NAMES)
        filled = "/".join(name if part.startswith("{") else part for part in path.split("/"))
        return filled + ("/" if chance.randrange(40) == 0 else "")

    def _query(self, path: str, chance: random.Random) -> str:
        if path.startswith(GOOGLE) and chance.randrange(2):
            return "alt=sse"
        return "&".join(chance.choice(QUERIES) for _ in range(chance.choice((0, 0, 1, 2))))

    def _body(self, path: str, chance: random.Random) -> bytes:
        body: Any = self._bodies.get(path, {})
        if chance.randrange(3) and isinstance(body, dict):
            kept = {"model", "messages", "input", "contents", "prompt", "max_tokens", "items", "text", "to"}
            body = {name: value for name, value in body.items() if name in kept or chance.randrange(4) == 0}
        if path.startswith("/v1/responses") and isinstance(body, dict):
            refers = {"conversation": chance.choice(self._kept), "previous_response_id": chance.choice(self._kept)}
            body = {**body, **{name: value for name, value in refers.items() if chance.randrange(3) == 0}}
            if chance.randrange(6) == 0:
                body["input"] = [{"type": "item_reference", "id": chance.choice(self._kept)}, ITEM]
        if path.startswith(GOOGLE) and chance.randrange(3) == 0:
            body = {"generateContentRequest": body if chance.randrange(2) else some_junk(chance)}
        for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
            body = broken(body, chance)
        raw = written(body, chance).encode("utf-8", "surrogatepass")
        return damaged(raw, chance) if chance.randrange(12) == 0 else raw

    def _headers(self, path: str, chance: random.Random, *, known: bool) -> list[tuple[bytes, bytes]]:
        gateway = path.startswith((*FORMATS, GOOGLE, "/v1/conversations", "/v1/models"))
        way = chance.choice(("authorization", "x-api-key", "x-goog-api-key")) if gateway else "authorization"
        secret = KEY if gateway else TOKEN
        if not known:
            secret = chance.choice(("", "x", TOKEN[:-1], KEY + "x", "\xe9", "x" * 9000))
        said = f"{'Bearer ' if known else chance.choice(('Bearer ', 'Basic ', 'bearer', ''))}{secret}"
        headers = {"host": "localhost", "content-type": "application/json"}
        headers[way] = said if way == "authorization" else secret
        for _ in range(chance.choice((0, 0, 1, 2, 5))):
            name = chance.choice(list(HEADERS))
            headers[name] = chance.choice(HEADERS[name])
        found = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        if chance.randrange(20) == 0:
            found.append(chance.choice(found))
        if chance.randrange(60) == 0:
            found += [(b"x-more", b"y" * 1000)] * 40
        return found

    async def faults_of(self, chance: random.Random) -> list[str]:
        """Say what is wrong with how a request is answered: in its shape, for who may, and holding nothing after it."""
        sent = self.some_request(chance)
        heard = await self._heard(sent)
        faults = [fault async for fault in self._faults(sent, heard)]
        return [f"{fault}\n{sent.told}\n{heard.status} {heard.headers}\n{heard.body[:1000]!r}" for fault in faults]

    async def _heard(self, sent: Sent) -> Heard:
        heard, ended, given = Heard(), anyio.Event(), False

        async def receive() -> MutableMapping[str, Any]:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": sent.body, "more_body": False}
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                heard.status, heard.headers = message["status"], list(message.get("headers", ()))
            else:
                heard.body += message.get("body", b"")
                if not message.get("more_body", False) or len(heard.body) > 1_000_000:
                    ended.set()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": sent.method,
            "path": sent.path,
            "raw_path": quote(sent.path, safe="/%:").encode(),
            "query_string": sent.query.encode(),
            "root_path": "",
            "headers": sent.headers,
            "scheme": "http",
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 5),
            "state": {},
        }
        with anyio.move_on_after(20) as limit:
            await self._app(scope, receive, send)
        if limit.cancelled_caught:
            heard.status = 0
        return heard

    async def _faults(self, sent: Sent, heard: Heard) -> AsyncIterator[str]:
        if not heard.status:
            yield "no answer"
            return
        if heard.status >= 500:
            yield f"answered with {heard.status}"
        if not sent.known and heard.status < 400 and not sent.path.startswith(OPEN[4:]) and sent.path not in OPEN:
            yield "let in, whoever it was"
        said = b"\n".join([*(value for _name, value in heard.headers), heard.body])
        if any(secret.encode() in said for secret in (TOKEN, KEY, SECRET)):
            yield "tells a secret"
        if any(b"\r" in value or b"\n" in value for _name, value in heard.headers):
            yield "a line break in a header"
        kind = dict(heard.headers).get(b"content-type", b"").decode("latin-1")
        if "json" in kind and heard.body and sent.method != "HEAD":
            value = json.loads(heard.body)
            self._remember(value)
            if heard.status >= 400 and not (value.get("code") or value.get("error")):
                yield "an error without its words"
        elif kind.startswith("text/event-stream"):
            heard.body.decode()
        with anyio.move_on_after(5):
            while self._held():  # noqa: ASYNC110 - nobody tells when a call is settled
                await anyio.sleep(0.01)
        if held := self._held():
            yield f"holds that nobody gives back: {held}"

    def _held(self) -> list[object]:
        return [hold for hold in self._organism.control.components.budgets.open_holds() if hold.call is not None]

    def _remember(self, value: Any) -> None:
        found = value.get("id") if isinstance(value, dict) else None
        if isinstance(found, str) and found.startswith(("conv_", "resp_")):
            self._kept = [*self._kept[-30:], found]


@asynccontextmanager
async def served() -> AsyncIterator[Check]:
    """Serve an organism, and yield the check of one request to it."""
    organism = Organism(
        [writer],
        models={"m": "up/m"},
        providers={"up": ScriptedProvider(["one two three"])},
        provider_kinds={"up": "local"},
        limits=Limits(tokens=100_000_000),
    )
    async with organism:
        yield Requests(organism).faults_of
