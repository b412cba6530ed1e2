"""The control API over real HTTP: what it does, and whom it lets in."""

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest

from organism import ConfigError, Context, Limits, Organism, Text, agent
from organism.api.application import build_application
from organism.api.auth import load_or_make_token
from organism.api.server import ControlServer, bind, url_of
from organism.exporters.prometheus import PrometheusExporter
from organism.testing import ScriptedProvider
from organism.usage.events import ThreadClosed

pytestmark = pytest.mark.anyio

TOKEN = "a-token-of-the-tests"
HEADERS = {"authorization": f"Bearer {TOKEN}"}


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Answer with one call; wait first if told to."""
    if message.text == "wait":
        await anyio.sleep_forever()
    answer = await ctx.llm.complete(message.text, max_output_tokens=16)
    return Text(answer.text)


@asynccontextmanager
async def served(**options: object) -> AsyncIterator[tuple[Organism, httpx2.AsyncClient]]:
    organism = Organism(
        [writer],
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(["one two three"])},
        provider_kinds={"scripted": "local"},
        **options,  # type: ignore[arg-type]
    )
    with bind("127.0.0.1", 0) as listener:
        server = ControlServer(organism, TOKEN, listener, PrometheusExporter(organism).render)
        async with anyio.create_task_group() as tasks:
            async with organism:
                tasks.start_soon(server.serve)
                async with httpx2.AsyncClient(base_url=url_of(listener), headers=HEADERS, timeout=10) as client:
                    yield organism, client
            server.stop()


async def test_thread_is_opened_followed_and_shown() -> None:
    """A message opens a thread, its events are told in order, and its sums are shown."""
    async with served(limits=Limits(tokens=1000)) as (_, client):
        async with client.stream("GET", "/v1/events") as events:
            lines = events.aiter_lines()
            assert await anext(lines) == ": listening"
            opened = await client.post("/v1/threads", json={"text": "secret words", "labels": {"tenant": "a"}})
            assert opened.status_code == 202
            names = []
            while "ThreadClosed" not in names:
                line = await anext(lines)
                assert "one two three" not in line
                if line.startswith("event: "):
                    names.append(line.removeprefix("event: "))
        assert names == ["ThreadOpened", "UsageEvent", "ThreadClosed"]
        usage = (await client.get("/v1/usage")).json()
        assert usage["by_agent"]["writer"]["usage"]["output"] == 3
        assert usage["total"]["usage"] == usage["by_model"]["main"]["usage"]
        assert (await client.get("/v1/threads")).json() == []


async def test_thread_out_of_budget_is_raised_and_goes_on() -> None:
    """A blocked thread says what blocks it, and goes on when its limit is raised."""
    async with served(limits=Limits(calls=0)) as (organism, client):
        thread = (await client.post("/v1/threads", json={"text": "go"})).json()["thread_id"]
        with anyio.fail_after(5):
            await organism.pump.wait_rest(thread)
        shown = (await client.get(f"/v1/threads/{thread}")).json()
        assert shown["thread"]["status"] == "blocked"
        assert shown["thread"]["blocked_by"]["dimension"] == "calls"
        assert shown["budgets"][0]["account"] == f"thread:{thread}"
        raised = await client.put(f"/v1/threads/{thread}/limits", json={"calls": 1, "usd": "0.50"})
        assert raised.json()["limits"]["cost_nanousd"] == 500_000_000
        assert (await organism.wait(thread)).outputs == (Text("one two three"),)


async def test_thread_is_written_to_and_ended() -> None:
    """An open thread takes messages and can be ended by order."""
    async with served() as (_, client):
        thread = (await client.post("/v1/threads", json={"text": "wait", "thread_id": "mine"})).json()["thread_id"]
        assert thread == "mine"
        sent = await client.post("/v1/threads/mine/messages", json={"message": {"type": "Text", "text": "more"}})
        assert sent.status_code == 202
        assert sent.json()["message_id"]
        ended = await client.delete("/v1/threads/mine")
        assert (ended.status_code, ended.json()["held"]["tokens"]) == (200, 0)
        assert (await client.get("/v1/threads/mine")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "phrase"),
    [
        ("nope", 400, "malformed"),
        ("{}", 400, "either 'text' or 'message'"),
        ('{"text": "a", "message": {}}', 400, "either 'text' or 'message'"),
        ('{"txt": "a"}', 400, "unknown field"),
        ('{"text": 5}', 400, "Expected"),
        ('{"text": "  "}', 400, "empty"),
        ('{"text": "a", "to": "nobody"}', 404, "there are: writer"),
        ('{"text": "a", "thread_id": "../etc"}', 400, "cannot be a thread's id"),
        ('{"text": "a", "limits": {"usd": "NaN"}}', 400, "not an amount"),
        ('{"text": "a", "limits": {"tokens": -1}}', 400, "tokens"),
        ('{"message": {"type": "os.system"}}', 400, "no message type"),
        ('{"message": {"type": "Text", "text": 5}}', 400, "not a valid Text"),
        ('{"text": "' + "x" * 1_100_000 + '"}', 413, "at most"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_bad_input_is_one_problem_and_opens_nothing(body: str, status: int, phrase: str) -> None:
    """Every mistake is answered in one shape that says what is wrong, and nothing is opened or charged."""
    async with served() as (organism, client):
        answer = await client.post("/v1/threads", content=body, headers={"content-type": "application/json"})

        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.json().keys() == {"status", "code", "title", "detail"}
        assert phrase in answer.json()["detail"]
        assert organism.statistics().threads == 0


BAD_CREDENTIALS = [
    ({}, 401),
    ({"authorization": "Bearer wrong"}, 401),
    ({"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
    ({"authorization": f"Basic {TOKEN}"}, 401),
    ({"authorization": TOKEN}, 401),
    ({"authorization": "Bearer"}, 401),
    (HEADERS | {"host": "evil.example"}, 421),
    (HEADERS | {"host": "127.0.0.1.evil.example"}, 421),
    (HEADERS | {"origin": "https://evil.example"}, 403),
    (HEADERS | {"origin": "null"}, 403),
    (HEADERS | {"sec-fetch-site": "cross-site"}, 403),
]


async def test_every_route_refuses_every_bad_credential() -> None:
    """No route but the health check answers without the token, for another host or from another site."""
    async with served() as (organism, client):
        routes = {
            (method, route.path.replace("{thread_id:str}", "t"))
            for route in build_application(organism, PrometheusExporter(organism).render).routes
            for method in getattr(route, "methods", ())
        }
        assert len(routes) >= 9
        bare = httpx2.AsyncClient(base_url=client.base_url, timeout=10)
        async with bare:
            for method, path in routes | {("GET", "/nope"), ("TRACE", "/v1/threads")}:
                for headers, expected in BAD_CREDENTIALS:
                    answer = await bare.request(method, path, headers=headers)
                    if path == "/healthz" and expected == 401:
                        assert answer.status_code < 500
                    else:
                        assert answer.status_code == expected, (method, path, headers)
            assert (await bare.get("/healthz")).text == "ok"
        assert organism.statistics().threads == 0


def test_token_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """The secret is made at the first start, kept, and not readable by others."""
    state = tmp_path / "state"

    token = load_or_make_token(state)

    assert len(token) >= 40
    assert load_or_make_token(state) == token
    assert stat.S_IMODE((state / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_other_than_loopback_is_refused() -> None:
    """The daemon never listens to the network by itself."""
    with pytest.raises(ConfigError, match="loopback only"):
        bind("0.0.0.0", 0)  # noqa: S104 - refused is the point


async def test_metrics_are_for_those_with_the_token() -> None:
    """A scraper with the token gets Prometheus' text format, one without gets nothing."""
    async with served() as (organism, client):
        await organism.run("go")
        answered = await client.get("/metrics")
        assert answered.headers["content-type"].startswith("text/plain")
        assert 'organism_threads_total{outcome="completed"} 1.0' in answered.text
        assert (await client.get("/metrics", headers={"authorization": "Bearer wrong"})).status_code == 401


async def test_trace_of_the_caller_is_kept() -> None:
    """A request with a ``traceparent`` makes its thread part of that trace; one that is malformed is no error."""
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    async with served() as (organism, client), organism.usage.subscribe(ThreadClosed) as closed:
        for sent in (trace, "nonsense"):
            opened = await client.post("/v1/threads", json={"text": "go"}, headers={"traceparent": sent})
            assert opened.status_code == 202
        parents = [(await anext(closed)).parent_trace for _ in range(2)]
    assert set(parents) == {trace, None}
