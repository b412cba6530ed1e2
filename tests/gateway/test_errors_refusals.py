"""What a program hears when there is no answer, in its vendor's own words; and what is said of budgets beside one."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import httpx2
import openai
import pytest

from organism import Limits
from organism.router.call import RouterSettings
from organism.router.limits.backoff import Backoff
from organism.testing import HTTPStep
from organism.usage.events import UsageEvent
from tests.gateway.conftest import KEY, NO_TLS, UPSTREAM

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
HI = [{"role": "user", "content": "hi there"}]


@asynccontextmanager
async def counted(gateway: Any) -> AsyncIterator[tuple[openai.AsyncOpenAI, list[str]]]:
    """Hand out the SDK as it comes, retries and all, and a list of the requests it has really sent."""
    sent: list[str] = []

    async def note(request: httpx2.Request) -> None:
        sent.append(str(request.url))

    http = httpx2.AsyncClient(event_hooks={"request": [note]}, verify=NO_TLS, timeout=60)
    async with openai.AsyncOpenAI(api_key=KEY, base_url=gateway.client.base_url, http_client=http) as client:
        yield client, sent


@pytest.mark.parametrize("stream", [False, True])
async def test_a_spent_budget_is_a_402_with_every_number_and_is_not_tried_again(served: Serve, stream: bool) -> None:
    """The refusal is OpenAI's own shape, streamed or not; the official client asks once and pays nothing."""
    async with served(limits=Limits(tokens=60)) as gateway, counted(gateway) as (client, sent):
        with pytest.raises(openai.APIStatusError) as refused:
            await client.chat.completions.create(model="main", messages=HI, max_tokens=30, stream=stream)

        assert len(sent) == 1
        assert gateway.provider.requests == []
        error = refused.value
        assert (error.status_code, error.code, error.type) == (402, "insufficient_quota", "invalid_request_error")
        assert "organism budget raise thread:key-ci --tokens" in error.message
        numbers = error.body["organism"]
        assert numbers["scope"] == "thread:key-ci"
        assert (numbers["unit"], numbers["limit"], numbers["used"], numbers["held"]) == ("tokens", 60, 0, 0)
        assert (numbers["thread"], numbers["needed"] > numbers["available"]) == ("key-ci", True)
        assert "organism budget raise thread:key-ci --tokens" in numbers["remedy"]
        assert error.response.headers["organism-thread"] == "key-ci"
        assert error.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("agent", "stream", "status"),
    [
        ("codex_exec/0.171.0 (Debian 13; x86_64)", True, 200),
        ("codex_cli_rs/0.98.0", True, 200),
        ("codex_vscode/0.171.0", True, 200),
        ("Codex-TUI/1.0", True, 200),
        ("codex_exec/0.171.0", False, 402),
        ("OpenAI/Python 3.57.0", True, 402),
        ("", True, 402),
    ],
)
async def test_codex_is_told_in_the_stream_where_it_stops_at_once(
    served: Serve, agent: str, stream: bool, status: int
) -> None:
    """Who tries again after any status hears of the end in the stream, in words upon which it shows the sentence."""
    async with served(limits=Limits(tokens=10)) as gateway:
        body = {"model": "main", "input": "hi there", "stream": stream}
        answer = await gateway.http.post("/v1/responses", json=body, headers={"user-agent": agent})

        assert answer.status_code == status
        assert answer.headers["organism-thread"] == "key-ci"
        assert "organism budget raise thread:key-ci --tokens" in answer.text
        if status == 200:
            *_, last = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
            assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
            assert last["response"]["error"]["code"] == "invalid_prompt"
            assert last["response"]["error"]["message"].startswith("budget exhausted in thread key-ci")
        assert gateway.provider.requests == []


async def test_what_is_left_and_what_runs_low_stands_in_headers(served: Serve) -> None:
    """Each answer says how much is left on the tightest limit, and from the first threshold on it warns."""
    async with served(limits=Limits(calls=4, cost_nanousd=2_500_000_000, tokens=1000)) as gateway:
        told = []
        for _ in range(4):
            raw = await gateway.client.chat.completions.with_raw_response.create(model="main", messages=HI)
            told.append({k[9:]: v for k, v in raw.headers.items() if k.startswith("organism-")})

        assert [each["budget-remaining-calls"] for each in told] == ["3", "2", "1", "0"]
        assert [each["budget-used-percent"] for each in told] == ["25", "50", "75", "100"]
        assert [each.get("warning") for each in told] == [None, "75", "75", "95"]  # ahead: two calls are left
        assert told[0]["budget-remaining-tokens"] == "995"
        assert told[0]["budget-remaining-usd"] == "2.500000000"


async def test_the_model_is_told_once_if_that_is_wished(served: Serve) -> None:
    """After a threshold the next request ends in a note, each threshold is told once, and its tokens are paid."""
    async with served(limits=Limits(calls=8), gateway={"inject_note": True}) as gateway:
        for _ in range(8):
            await gateway.client.chat.completions.create(model="main", messages=HI)
        await gateway.operator.put("/v1/threads/key-ci/limits", json={"calls": 10})
        await gateway.client.chat.completions.create(model="main", messages=HI)

        notes = [
            [turn["content"] for turn in request.body["messages"] if "[Note: " in turn["content"]]
            for request in gateway.provider.requests
        ]
        assert [len(each) for each in notes] == [0, 0, 0, 0, 0, 0, 1, 0, 1]
        assert notes[6][0].startswith("hi there\n\n[Note: 75 % of the budget is used; 2 calls left.")
        assert gateway.organism.usage.total.usage.total == gateway.provider.billed.total


async def test_the_last_call_is_made_from_what_is_kept_for_it(served: Serve) -> None:
    """A call that does not fit beside the slice for a last word is that last word, and the model is told so."""
    dear = HTTPStep(usage='{"prompt_tokens": 2, "completion_tokens": 1848}')
    options = {"inject_note": True, "limits": Limits(tokens=2000)}
    async with served([dear, "that is all"], gateway=options, wait_s=0.1) as gateway:
        create = gateway.client.chat.completions.create
        await create(model="main", messages=HI, max_tokens=1900)
        last = await create(model="main", messages=HI, max_tokens=100)
        longer = [{"role": "user", "content": "and one more thing " * 20}]
        with pytest.raises(openai.APIStatusError, match="budget exhausted in thread key-ci"):
            await create(model="main", messages=longer, max_tokens=100)

        assert last.choices[0].message.content == "that is all"
        note = gateway.provider.requests[-1].body["messages"][-1]
        assert note["role"] == "user"
        assert "Give your final answer now" in note["content"]
        assert gateway.organism.budgets.budget("key-ci").spent.tokens <= 2000


@pytest.mark.parametrize(
    ("step", "status", "code", "attempts"),
    [
        (HTTPStep(status=401, body='{"error": {"message": "Incorrect API key: sk-upst"}}'), 502, "upstream_forbids", 1),
        (HTTPStep(status=404, body='{"error": {"message": "no such model"}}'), 502, "upstream_forbids", 1),
        (HTTPStep(status=400, body='{"error": {"message": "too long"}}'), 400, "upstream_refused", 1),
        (HTTPStep(status=501, body='{"error": {"message": "never"}}'), 400, "upstream_refused", 1),
        (HTTPStep(status=503, body='{"error": {"message": "overloaded"}}'), 503, "upstream_unavailable", 2),
        (HTTPStep(status=502, body="bad gateway"), 502, "upstream_uncertain", 1),
        (HTTPStep(status=504, body="too late"), 504, "upstream_uncertain", 1),
        (HTTPStep(body="this is no JSON"), 502, "upstream_uncertain", 1),
        (HTTPStep(fault="reset"), 502, "upstream_uncertain", 1),
    ],
    ids=["401", "404", "400", "501", "503", "502", "504", "garbage", "reset"],
)
async def test_a_providers_failure_is_passed_on_by_its_meaning(
    served: Serve, step: HTTPStep, status: int, code: str, attempts: int
) -> None:
    """A bad key of ours is never the caller's; what was charged is not tried again by the client of its own accord."""
    router = RouterSettings(attempts=2, backoff=Backoff(first_s=0.01, max_s=0.01))
    async with served([step], router=router) as gateway, counted(gateway) as (client, sent):
        with pytest.raises(openai.APIStatusError) as failed:
            await client.with_options(max_retries=0 if status == 503 else 2).chat.completions.create(
                model="main", messages=HI
            )

        assert (failed.value.status_code, failed.value.code) == (status, code)
        assert len(sent) == 1
        assert len(gateway.provider.requests) == attempts
        assert "sk-upst" not in failed.value.response.text
        recorded = gateway.organism.budgets.budget("key-ci").spent.tokens
        assert recorded >= gateway.provider.billed.total


async def test_a_providers_rate_limit_is_the_callers_too(served: Serve) -> None:
    """A 429 from the provider is a 429 with its Retry-After, and no budget's refusal."""
    step = HTTPStep(status=429, body='{"error": {"message": "slow down"}}', headers={"retry-after": "7"})
    async with served([step], router=RouterSettings(attempts=1)) as gateway:
        with pytest.raises(openai.RateLimitError) as failed:
            await gateway.client.with_options(max_retries=0).chat.completions.create(model="main", messages=HI)

        assert failed.value.code == "rate_limit_exceeded"
        assert failed.value.response.headers["retry-after"] == "7"
        assert "organism" not in failed.value.body


async def test_a_failure_in_the_middle_of_a_stream_is_an_error_event(served: Serve) -> None:
    """A program that has heard the beginning is told that there will be no end; the call is charged all the same."""
    async with served([HTTPStep(text="one two three four", fault="cut", fault_after=3)]) as gateway:
        stream = await gateway.client.chat.completions.create(model="main", messages=HI, stream=True)
        heard: list[str] = []

        async def listen() -> None:
            async for chunk in stream:
                heard.extend(choice.delta.content for choice in chunk.choices if choice.delta.content)

        with pytest.raises(openai.APIError) as failed:
            await listen()

        assert heard[:1] == ["one"]
        assert failed.value.code == "upstream_uncertain"
        assert gateway.organism.budgets.budget("key-ci").spent.tokens >= gateway.provider.billed.total


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_has_its_call_settled(served: Serve, stream: bool) -> None:
    """Whoever goes in the middle leaves nothing held: the call is brought to its end and charged for what it was."""
    step = HTTPStep(text="one two three four", delay_s=0.0 if stream else 1.0, drip_s=0.002 if stream else 0.0)
    asked = anyio.Event()

    def script(_request: object) -> HTTPStep:
        asked.set()
        return step

    async with served(script) as gateway:
        body = {"model": "main", "messages": HI, "stream": stream}
        async with gateway.organism.usage.subscribe() as events:
            if stream:
                async with gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
                    await anext(answer.aiter_lines())
            else:
                async with anyio.create_task_group() as calls:
                    calls.start_soon(partial(gateway.http.post, "/v1/chat/completions", json=body))
                    await asked.wait()
                    calls.cancel_scope.cancel()
            with anyio.fail_after(60):
                settled = await anext(event async for event in events if isinstance(event, UsageEvent))

        assert settled.abandoned
        budget = gateway.organism.budgets.budget("key-ci")
        assert (budget.spent.calls, budget.spent.tokens) == (1, gateway.provider.billed.total)
        assert budget.held.calls == 0


async def test_the_end_of_a_thread_cuts_its_call_short(served: Serve) -> None:
    """An operator who ends a thread does not wait for the program: it is told, and the call is charged."""
    asked = anyio.Event()

    def script(_request: object) -> HTTPStep:
        asked.set()
        return HTTPStep(fault="hang")

    async with served(script, router=RouterSettings(drain_s=0.1)) as gateway:
        answers: list[httpx2.Response] = []
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                body = {"model": "main", "messages": HI}
                answers.append(await gateway.http.post("/v1/chat/completions", json=body))

            tasks.start_soon(ask)
            with anyio.fail_after(60):
                await asked.wait()
                final = (await gateway.operator.delete("/v1/threads/key-ci")).json()

        assert answers[0].json()["error"]["code"] == "thread_not_open"
        assert final["spent"]["tokens"] >= gateway.provider.billed.total > 0


async def test_an_organism_that_drains_takes_no_calls(served: Serve) -> None:
    """A program is told to come back later, and a standing thread does not hold up the end."""
    async with served() as gateway:
        await gateway.client.chat.completions.create(model="main", messages=HI)
        with anyio.fail_after(60):
            assert await gateway.organism.drain(within_s=60)
        with pytest.raises(openai.InternalServerError) as refused:
            await gateway.client.chat.completions.create(model="main", messages=HI)

        assert (refused.value.status_code, refused.value.code) == (503, "stopping")


async def test_nothing_of_prompts_and_keys_is_in_events(served: Serve) -> None:
    """Events of the gateway's calls have names and numbers; what is said and what is secret is in none of them."""
    async with served() as gateway:
        words = [{"role": "user", "content": "the secret plan"}]
        await gateway.client.chat.completions.create(model="main", messages=words)
        with pytest.raises(openai.BadRequestError, match="n: Expected `int` <= 128"):
            await gateway.client.chat.completions.create(model="main", messages=words, n=200)

        told = (await gateway.operator.get("/v1/events/page?after=0")).text
        assert "ThreadOpened" in told
        for secret in ("secret plan", "one two three", KEY, UPSTREAM):
            assert secret not in told


@pytest.mark.parametrize("stream", [False, True])
async def test_waiting_for_a_place_counts_towards_a_call_s_deadline(served: Serve, stream: bool) -> None:
    """However many requests come on one key at once, each is answered or refused when its own deadline is over."""
    router = RouterSettings(direct_calls_in_flight=1, deadline_s=1.5)
    statuses: list[int] = []

    async with served([HTTPStep(text="one two", delay_s=0.3)], router=router) as gateway:

        async def ask() -> None:
            body = {"model": "main", "messages": HI, "max_tokens": 10, "stream": stream}
            answer = await gateway.http.post("/v1/chat/completions", json=body)
            statuses.append(answer.status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(ask)

    assert 200 in statuses
    assert statuses.count(200) < 8, "eight calls one after another take 2.4 s at least, and each has 1.5"


OF_NO_ROUTE = [
    "/chat/completions",
    "/v1/v1/chat/completions",
    "/v1/files",
    "/v1/batches/batch_1",
    "/v1/threads/t/unheard-of",
    "/api/tags",
    "/favicon.ico",
    "/v1/messages/batches",
]


@pytest.mark.parametrize("secret", [KEY, "nobody's", None])
async def test_path_of_no_route_is_404_whatever_the_key(served: Serve, secret: str | None) -> None:
    """A program with a wrong address is told so, in the shape it can read; a 401 would send people after their key."""
    async with served() as gateway:
        headers = {"authorization": f"Bearer {secret}"} if secret is not None else {}
        async with httpx2.AsyncClient(verify=NO_TLS, timeout=60) as stranger:
            for path in OF_NO_ROUTE:
                url = str(gateway.http.base_url).rstrip("/") + path
                answers = [await stranger.get(url, headers=headers), await stranger.post(url, headers=headers, json={})]
                assert [answer.status_code for answer in answers] == [404, 404], path
                assert all(path in answer.json()["error"]["message"] for answer in answers)


async def test_key_of_the_gateway_opens_nothing_of_the_api(served: Serve) -> None:
    """What the operator alone may see or do stays refused to whoever has a key for calls."""
    async with served() as gateway:
        for path in ("/v1/threads", "/v1/status", "/v1/budgets", "/v1/tokens", "/v1/events"):
            assert (await gateway.http.get(path)).status_code == 401


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/files", "/v1/batches/b_1/cancel", "/v1/messages/batches"])
async def test_who_asks_for_batches_is_told_what_to_do_instead(served: Serve, path: str) -> None:
    """A batch is refused by its name, in the words of the format whose it is, key or no key."""
    async with served() as gateway:
        answer = await gateway.http.post(path, json={"input_file_id": "f"})
        error = answer.json()["error"]
        assert answer.status_code == 404
        assert "make their calls side by side" in error["message"]
        assert error["type"] == ("not_found_error" if "messages" in path else "invalid_request_error")
