"""Whom the API lets in: the checklist of a service that spends money, walked over every route."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from organism import ConfigError, Organism
from organism.api.application import Options, build_api, build_application
from organism.api.auth_middleware import AccessRule, AuthMiddleware, RequestBounds, bearer
from organism.api.mounts import Mount
from organism.api.routes.pages import DASHBOARD
from organism.api.server import bind
from organism.api.tokens.token_book import Caller, TokenBook
from organism.control.control import Control
from organism.gateway.request_handler import Gateway
from organism.gateway.routes import gateway_group
from organism.gateway.settings import Key, Settings

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]
TOKEN = "the-first-token-of-the-tests-of-the-api"

HEADERS = {"authorization": f"Bearer {TOKEN}"}
OPEN = {"/healthz", "/readyz"}
BAD_CREDENTIALS = [
    ({}, 401),
    ({"authorization": "Bearer wrong"}, 401),
    ({"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
    ({"authorization": f"Bearer {TOKEN[:20]}"}, 401),
    ({"authorization": f"Bearer {TOKEN} {TOKEN}"}, 401),
    ({"authorization": f"Basic {TOKEN}"}, 401),
    ({"authorization": TOKEN}, 401),
    ({"authorization": "Bearer"}, 401),
    ({"authorization": "Bearer '; DROP TABLE tokens; --"}, 401),
    ({"cookie": f"token={TOKEN}"}, 401),
    ({"x-http-method-override": "GET"}, 401),
    (HEADERS | {"host": "evil.example"}, 421),
    (HEADERS | {"host": "127.0.0.1.evil.example"}, 421),
    (HEADERS | {"host": ""}, 421),
    (HEADERS | {"origin": "https://evil.example"}, 403),
    (HEADERS | {"origin": "http://127.0.0.1:1"}, 403),
    (HEADERS | {"origin": "null"}, 403),
    (HEADERS | {"sec-fetch-site": "cross-site"}, 403),
    (HEADERS | {"sec-fetch-site": "same-site"}, 403),
]


def anyone(_headers: object) -> Caller:
    """Let everybody in, to whatever stands behind the gate."""
    return Caller("anyone", frozenset({"send"}))


def gateway(control: Control) -> Mount:
    """Return the routes for programs from outside, which have an entrance of their own."""
    key = Key(name="ci", sha256=sha256(b"sk-of-the-build-servers").hexdigest())
    return gateway_group(
        Gateway(control, Settings(models=("main",), keys=(key,))), TokenBook(control.components.clock.now_ns)
    )


def routes(control: Control) -> set[tuple[str, str, str | None]]:
    """Return method, path and declared scope of every route of the application itself."""
    application = build_application(control, TokenBook(control.components.clock.now_ns), [gateway(control)])
    found = set()
    for route in application.routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in handler.http_methods:
                path = re.sub(r"\{\w+:\w+\}", "t", route.path)
                found.add((method, path, handler.opt.get("scope")))
    return found


async def test_every_route_refuses_every_bad_credential(organism: Organism) -> None:
    """No route but the health checks answers without a token, for another host or from another site."""
    book = TokenBook(organism.clock.now_ns)
    book.know("owner", TOKEN, ("admin",))
    groups = (DASHBOARD, gateway(organism.control))
    api = build_api(organism.control, book, Options(groups=groups, failures_per_minute=100_000))
    async with organism:
        known = {(method, path) for method, path, _ in routes(organism.control)}
        assert len(known) >= 25
        assert {path for _, path in known} >= {"/v1/chat/completions", "/v1/models", "/v1/models/t", "/v1/responses/t"}
        nowhere = {("GET", path) for path in ("/nope", "/V1/threads", "/healthz/x", "//v1/threads")}
        tricks = {("TRACE", "/v1/threads"), ("HEAD", "/v1/threads"), ("GET", "/v1/threads/")}
        tricks |= {("GET", "/v1/%74hreads")}
        tricks |= {("GET", "/v1/threads?token=" + TOKEN), ("GET", "/v1/events?token=" + TOKEN)}
        transport = httpx2.ASGITransport(api)  # a real server would make a thousand requests slow, and see the same
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8420", timeout=60) as bare:
            for method, path in known | tricks | nowhere:
                for headers, expected in BAD_CREDENTIALS:
                    answer = await bare.request(method, path, headers=headers)
                    if path in OPEN and expected == 401:
                        assert answer.status_code < 500
                    elif (method, path) in nowhere and expected == 401:
                        assert answer.status_code == 404  # for programs of the gateway: nothing is there for anybody
                    else:
                        assert answer.status_code == expected, (method, path, headers)
                        assert "access-control-allow-origin" not in answer.headers
            assert (await bare.get("/healthz")).text == "ok"
        assert organism.statistics().threads == 0


async def test_every_route_declares_a_scope_and_asks_for_it(served: Served) -> None:
    """A route without a declared scope does not exist, and a token without the scope of a route gets nowhere."""
    wanted = {"read": "send", "send": "read", "operate": "read", "admin": "operate"}
    async with served() as (organism, client):
        for scope in ("read", "send", "operate"):
            await client.post("/v1/tokens", json={"name": scope, "scopes": [scope]})
        secrets = {
            scope: (await client.post("/v1/tokens", json={"name": f"a{scope}", "scopes": [scope]})).json()["secret"]
            for scope in ("read", "send", "operate")
        }
        for method, path, declared in routes(organism.control):
            if method == "OPTIONS":  # the framework's own answer, which tells nothing
                continue
            if declared == "none":
                continue
            assert declared in wanted, (method, path)
            lesser = {"authorization": f"Bearer {secrets[wanted[declared]]}"}
            answer = await client.request(method, path, headers=lesser)
            assert answer.status_code == 403, (method, path)
            assert "scope_missing" in answer.text, "said in the shape that callers of this path expect"


async def test_token_that_may_only_send_reaches_only_its_own_threads(served: Served) -> None:
    """An agent's token writes into the threads it has opened and learns nothing about others."""
    async with served() as (organism, client):
        secret = (await client.post("/v1/tokens", json={"name": "bot", "scopes": ["send"]})).json()["secret"]
        bot = {"authorization": f"Bearer {secret}"}
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "theirs"})
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "own"}, headers=bot)

        own = await client.post("/v1/threads/own/messages", json={"text": "more"}, headers=bot)
        theirs = await client.post("/v1/threads/theirs/messages", json={"text": "more"}, headers=bot)
        never = await client.post("/v1/threads/never/messages", json={"text": "more"}, headers=bot)

        assert own.status_code == 202
        assert theirs.status_code == never.status_code == 404
        assert theirs.json()["code"] == never.json()["code"]
        assert organism.thread("theirs").queued == {"writer": 1}


async def test_revoked_and_expired_tokens_are_none(tmp_path: Path) -> None:
    """From the instant of its revocation or its end a token is refused, and its sessions with it."""
    now = [0]
    book = TokenBook.open(tmp_path / "state", lambda: now[0])
    made = await book.make("ci", ["read"], days=1)
    caller = book.find(made.secret)
    assert caller is not None
    session = book.begin_session(made.secret)
    assert session is not None
    assert book.begin_session(session.secret) is not None
    assert TokenBook.open(tmp_path / "state", lambda: now[0]).find(made.secret) == caller

    now[0] = 86_400 * 10**9
    assert book.find(made.secret) is None
    assert book.find(session.secret) is None
    now[0] = 0
    assert book.find(session.secret) == caller
    assert await book.revoke("ci") == ()
    assert book.find(made.secret) is None
    assert book.find(session.secret) is None
    assert book.begin_session(made.secret) is None  # a request that was let in before, and has come whole only now
    assert book.begin_session(session.secret) is None
    assert await book.revoke("owner") is None
    assert made.secret not in (tmp_path / "state" / "tokens.json").read_text()
    assert (tmp_path / "state" / "tokens.json").stat().st_mode & 0o077 == 0


async def test_session_is_not_made_to_last_by_sessions_of_it() -> None:
    """Who has taken a session has it for its hours: one that is begun with it ends when it does."""
    now = [0]
    book = TokenBook(lambda: now[0])
    made = await book.make("ci", ["read"])
    session = book.begin_session(made.secret)
    assert session is not None
    for _ in range(3):
        now[0] += 3 * 3600 * 10**9
        again = book.begin_session(session.secret)
        assert again is not None
        assert again.expires_ns == session.expires_ns == 12 * 3600 * 10**9
        session = again
    now[0] = 12 * 3600 * 10**9
    assert book.find(session.secret) is None
    assert book.begin_session(session.secret) is None


async def test_sessions_of_one_token_end_none_of_another() -> None:
    """They are bounded together, and who begins many has its own oldest end."""
    book = TokenBook(lambda: 0)
    boss, reader = await book.make("boss", ["admin"]), await book.make("reader", ["read"])
    kept, first = book.begin_session(boss.secret), book.begin_session(reader.secret)
    many = [book.begin_session(reader.secret) for _ in range(200)]
    assert kept is not None and first is not None  # noqa: PT018
    assert book.find(kept.secret) is not None
    assert book.find(first.secret) is None
    assert sum(each is not None and book.find(each.secret) is not None for each in many) == 63


def test_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The secret is made once in a file of its owner; a file that others can read stops the daemon."""
    state = tmp_path / "state"
    TokenBook.open(state, lambda: 0)
    assert state.stat().st_mode & 0o077 == 0
    assert (state / "token").stat().st_mode & 0o077 == 0
    assert len((state / "token").read_text().strip()) >= 40
    (state / "token").chmod(0o644)

    with pytest.raises(ConfigError, match="token: others can read it"):
        TokenBook.open(state, lambda: 0)


async def test_bad_tokens_are_told_to_wait_and_good_ones_are_not() -> None:
    """After five failures in a minute an address gets 429; a good token passes all the same."""

    async def application(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"in"})  # type: ignore[operator]

    now = [0]
    book = TokenBook(lambda: 0)
    book.know("owner", TOKEN, ("admin",))
    gate = AuthMiddleware(application, [AccessRule("/*", bearer(book.find))], now_ns=lambda: now[0])

    async def status(token: str) -> int:
        sent: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: object) -> None:
            sent.append(dict(message))  # type: ignore[call-overload]

        headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())]
        scope = {"type": "http", "path": "/", "method": "GET", "headers": headers, "client": ("127.0.0.1", 5)}
        await gate(scope, receive, send)
        return int(str(sent[0]["status"]))

    assert [await status("bad") for _ in range(9)] == [401] * 9, "the same one again is no further guess"
    assert [await status(f"guess {number}") for number in range(5)] == [401] * 4 + [429]
    assert await status("bad") == 401
    assert await status(TOKEN) == 200
    now[0] = 61 * 10**9
    assert await status("bad") == 401


async def test_answers_carry_headers_that_keep_browsers_careful(served: Served) -> None:
    """Nothing is cached, sniffed, framed or read by other sites."""
    async with served() as (_, client):
        for path in ("/healthz", "/v1/status", "/nope"):
            headers = (await client.get(path)).headers
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "server" not in headers


async def test_configured_host_and_its_own_origin_are_let_in(served: Served) -> None:
    """Behind a reverse proxy the public name is the host, and its pages are its own origin."""
    async with served() as (_, client):
        headers = {"host": "organism.example", "origin": "https://organism.example", "sec-fetch-site": "same-origin"}
        assert (await client.get("/v1/status", headers=headers)).status_code == 200


async def test_mutations_must_be_json(served: Served) -> None:
    """A form, which a foreign page can send without asking, is no order."""
    async with served() as (organism, client):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = await client.post("/v1/threads", content='{"text": "a"}', headers={"content-type": kind})
            assert answer.status_code == 415
        assert organism.statistics().threads == 0


@pytest.mark.parametrize(("body", "code"), [("[" * 99, "too_deep"), ("[" + "1," * 600_000, "too_many_values")])
async def test_body_that_would_cost_more_than_its_bytes_is_refused(served: Served, body: str, code: str) -> None:
    """JSON that is deep or crowded is refused by the gate, for the sake of everybody else who is served."""
    async with served(
        groups=(Mount((), (AccessRule("/v1/threads", anyone, bounds=RequestBounds(body=2_000_000)),)),)
    ) as (
        _,
        client,
    ):
        answer = await client.post("/v1/threads", content=body, headers={"content-type": "application/json"})
        assert answer.json()["code"] == code


async def test_request_that_does_not_come_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that opens a connection and sends half a header does not keep it."""
    monkeypatch.setattr("organism.api.protocol.HEAD_S", 0.2)
    async with served() as (_, client):
        url = client.base_url
        stream = await anyio.connect_tcp(str(url.host), int(url.port or 0))
        async with stream:
            await stream.send(b"GET /healthz HTTP/1.1\r\nHost: local")
            with anyio.fail_after(60), pytest.raises(anyio.EndOfStream):
                await stream.receive()
        assert (await client.get("/healthz")).status_code == 200


async def test_body_that_does_not_come_is_answered_408(served: Served) -> None:
    """A body that is promised and not sent is waited for so long as its paths allow and no longer."""
    impatient = AccessRule("/v1/threads", anyone, bounds=RequestBounds(receive_s=0.2))
    async with served(groups=(Mount((), (impatient,)),)) as (_, client):
        url = client.base_url
        async with await anyio.connect_tcp(str(url.host), int(url.port or 0)) as stream:
            head = f"POST /v1/threads HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {TOKEN}\r\n"
            await stream.send((head + "Content-Type: application/json\r\nContent-Length: 5\r\n\r\n{").encode())
            with anyio.fail_after(60):
                answer = await stream.receive()
    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])  # noqa: S104 - refused is the point
def test_other_than_loopback_is_refused(host: str) -> None:
    """The daemon never listens to the network by itself."""
    with pytest.raises(ConfigError, match="loopback only"):
        bind(host, 0)


async def test_openapi_document_is_behind_the_token_and_names_every_route(served: Served) -> None:
    """The document tells strangers nothing and tells the operator everything."""
    async with served() as (organism, client):
        bare = httpx2.AsyncClient(base_url=client.base_url, timeout=60)
        async with bare:
            assert (await bare.get("/v1/schema/openapi.json")).status_code == 401
        document = (await client.get("/v1/schema/openapi.json")).json()
        told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
        assert len(told) >= 25
        assert json.dumps(document).count("Traceback") == 0
        assert organism.statistics().threads == 0


async def test_no_order_names_code_files_or_addresses(served: Served) -> None:
    """The API has nothing to run, import, open or fetch: no field or parameter of it is called like such a thing."""
    async with served() as (_, client):
        document = (await client.get("/v1/schema/openapi.json")).json()
    names = {name for schema in document["components"]["schemas"].values() for name in schema.get("properties", ())}
    for path in document["paths"].values():
        names |= {one["name"] for operation in path.values() for one in operation.get("parameters", ())}
    assert len(names) > 50
    forbidden = {"path", "file", "filename", "folder", "url", "uri", "command", "module", "handler", "import", "code"}
    assert names & forbidden <= {"code"}, "an error has a code; nothing else is called like that"


async def test_files_are_given_out_whole_and_health_says_nothing_more(served: Served) -> None:
    """No ranges are cut out of what is given out, and whoever has no token learns only whether the daemon lives."""
    async with served() as (_, client):
        for path in ("/", "/dashboard/main.js"):
            answer = await client.get(path, headers={"range": "bytes=0-3,2-5"})
            assert (answer.status_code, "content-range" in answer.headers) == (200, False)
        client.headers.pop("authorization")
        assert (await client.get("/healthz")).text == (await client.get("/readyz")).text == "ok"
        for path in ("/docs", "/schema", "/openapi.json"):
            assert (await client.get(path)).status_code == 404
        for path in ("/v1/schema", "/v1/schema/swagger", "/v1/schema/redoc", "/v1/schema/openapi.json"):
            assert (await client.get(path)).status_code in (401, 404)
            assert "paths" not in (await client.get(path)).json()
