"""Whatever a request says, its answer has a status and a shape of its own; nothing is taken for what it is not."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import pytest

from organism.api.application import build_application
from organism.api.tokens.token_book import TokenBook

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]

BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"{",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b'{"text": NaN}',
    b'{"text": "\\ud800"}',
    b'{"text": null, "to": 5}',
    b'{"text": "x", "text": "y", "thread_id": "../x"}',
    b'{"text": "x", "to": "a\\nb\\u001b"}',
    b'{"text": "x", "labels": {"a\\n": "\\u202e"}}',
    b'{"message": {"type": ["Text"]}}',
    b'{"message": {"type": "BudgetWarning"}}',
    b'{"tokens": 9223372036854775808}',
    b'{"calls": -9223372036854775809}',
    b'{"usd": "1e999999999"}',
    b'{"reason": "x", "tokens": 9223372036854775807}',
    b'{"seconds": 1e400}',
    b'{"allowed": "true"}',
    b'{"within_seconds": "0"}',
    b'{"name": "owner", "scopes": ["root"]}',
    b'{"model": "main", "messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"model": "main", "input": {"a": 1e400}}',
    b'{"prices": {"a": {"input": 1e999, "output": -1}}, "day": "2026-02-30"}',
    b"[" * 31 + b"]" * 31,
]
NAMES = ["%00", "%ff", "%2e%2e", "a%2fb", "%0a%1b%5b2J", "x" * 2000, "organism@day:x", "agent:a@thread:b", "::", "-1"]
QUERIES = [
    "limit=1.0",
    "limit=%D9%A5",
    "limit=1&limit=2",
    "after=%00",
    "after=99999999999999999999999",
    "by=x&state=x&label==&type=" + "&type=".join("a" * 40),
    "content=maybe",
    "reason=%0a%1b",
    "%&&==&%%%",
]
HEADERS = [
    {"content-type": "text/plain"},
    {"content-type": "application/json; charset=utf-16"},
    {"content-encoding": "gzip"},
    {"idempotency-key": "k" * 256},
    {"idempotency-key": "\x7f"},
    {"idempotency-key": "\xe9"},
    {"traceparent": "zz"},
    {"organism-thread": "../\x80"},
    {"range": "bytes=0-", "accept": "text/html", "if-none-match": "*"},
]
UNSAFE_TO_WALK = ("/v1/stop", "/v1/drain", "/v1/reload", "/v1/events")


async def every_route(organism: Any) -> list[tuple[str, str]]:
    application = build_application(organism.control, TokenBook(organism.clock.now_ns))
    found = {
        (method, route.path)
        for route in application.routes
        for handler in getattr(route, "route_handlers", ())
        for method in handler.http_methods
        if route.path not in UNSAFE_TO_WALK
    }
    gateway = ("/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/responses", "/v1/embeddings")
    return sorted(found | {("POST", path) for path in gateway})


def filled(path: str, name: str) -> str:
    return "/".join(name if part.startswith("{") else part for part in path.split("/"))


def check(answer: httpx2.Response, what: object) -> None:
    assert answer.status_code < 500, (what, answer.text)
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        said = answer.json()
        assert said.get("code") or said.get("error") or said.get("type") == "error", (what, answer.text)


@pytest.mark.thorough
async def test_no_junk_is_an_error_of_ours(served: Served) -> None:
    """Bodies, names, queries and headers that nobody would send are refused in words, on every route."""
    async with served() as (organism, client):
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "t"})
        for method, path in await every_route(organism):
            body = None if method == "GET" else b"{}"
            kind = {"content-type": "application/json"}
            for junk in BODIES if body is not None else BODIES[1:3]:
                check(await client.request(method, filled(path, "t"), content=junk, headers=kind), (path, junk))
            for name in NAMES if "{" in path else ():
                check(await client.request(method, filled(path, name), content=body, headers=kind), (path, name))
            for query in QUERIES:
                url = f"{filled(path, 'closed')}?{query}"
                check(await client.request(method, url, content=body, headers=kind), url)
            for headers in HEADERS:
                given = [(name.encode(), value.encode("latin-1")) for name, value in (kind | headers).items()]
                url = filled(path, "closed")
                check(await client.request(method, url, content=body, headers=given), (path, headers))
        for method in ("HEAD", "OPTIONS", "TRACE", "PATCH", "FOO"):
            for path in ("/", "/v1/threads", "/healthz", "/nope", "/v1/chat/completions", "/v1/schema/nope"):
                check(await client.request(method, path), (method, path))
        check(await client.get("/v1/schema/nope"), "a page of the framework's")


NO_AGENTS = ["user", "nobody", "organism", "operator", "runtime", "*", "writer ", "a\nb\x1b[2J"]


async def test_recipient_that_is_no_agent_is_refused(served: Served) -> None:
    """Nothing is opened or sent for whoever is no agent: not for the user, nor for names of the runtime's own."""
    async with served() as (organism, client):
        for to in NO_AGENTS:
            opened = await client.post("/v1/threads", json={"text": "go", "to": to})
            assert (opened.status_code, opened.json()["code"]) == (404, "unknown_recipient"), to
            assert organism.statistics().threads == 0, to
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "t"})
        for to in NO_AGENTS:
            sent = await client.post("/v1/threads/t/messages", json={"text": "go", "to": to})
            assert (sent.status_code, sent.json()["code"]) == (404, "unknown_recipient"), to


NOT_WHOLE = ['"5"', "5.0", "5e0", "true", '"\u0665"', "[5]", '{"a": 5}', "1e400", "-1", "9223372036854775808"]


@pytest.mark.parametrize("unit", ["tokens", "seconds", "calls"])
async def test_number_of_a_body_is_a_whole_number(served: Served, unit: str) -> None:
    """A limit that is written as text, as a fraction or out of range is refused, and changes nothing."""
    async with served() as (organism, client):
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "t", "limits": {"tokens": 77}})
        for number in NOT_WHOLE:
            for path, method in (("/v1/threads/t/limits", "PUT"), ("/v1/budgets/t/limits", "PUT")):
                answer = await client.request(method, path, content=f'{{"{unit}": {number}}}'.encode(), headers=JSON)
                assert answer.status_code == 400, answer.text
                assert unit in answer.json()["detail"], number
            opened = f'{{"text": "x", "limits": {{"{unit}": {number}}}}}'.encode()
            assert (await client.post("/v1/threads", content=opened, headers=JSON)).status_code == 400, number
            assert organism.control.queries.budget("t").limits.tokens == 77, number
            assert organism.statistics().threads == 1, number


JSON = {"content-type": "application/json"}


NO_DOLLARS: list[object] = ["\u0665", "\uff15", "1_000", "1e3", " 5", "5\n", "--5", "+-5", "", ".5", "5.", "0x5"]
NO_DOLLARS += ["NaN", "Infinity", "1,5", 5]


async def test_dollars_are_plain_digits(served: Served) -> None:
    """Digits of other scripts, exponents, separators and signs that somebody did not mean are no amount."""
    async with served() as (organism, client):
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "t"})
        before = organism.control.queries.budget("t").revision
        for usd in NO_DOLLARS:
            for path, method in (("/v1/budgets/t/limits", "PUT"), ("/v1/budgets/t/move", "POST")):
                answer = await client.request(method, path, content=json.dumps({"usd": usd}).encode(), headers=JSON)
                assert answer.status_code == 400, (usd, answer.text)
            assert organism.control.queries.budget("t").revision == before, usd


async def test_number_of_a_query_is_a_whole_number(served: Served) -> None:
    """What pages are asked for is read strictly too."""
    async with served() as (_, client):
        for limit in ("5.0", "5e0", "+5", "%205", "05", "0x5", "%D9%A5", "1_0", "", "5&limit=6"):
            for path in ("/v1/threads", "/v1/events/page", "/v1/ledger/entries"):
                answer = await client.get(f"{path}?limit={limit}")
                assert (answer.status_code, "limit" in answer.json()["detail"]) == (400, True), limit
