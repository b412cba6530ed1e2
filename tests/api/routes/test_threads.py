"""Threads over real HTTP: opened, followed, raised, paused, ended; and what a mistake is answered."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import msgspec
import pytest

from organism import Limits, Text
from organism.usage.events import ThreadClosed

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]


async def test_thread_is_opened_followed_and_shown(served: Served) -> None:
    """A message opens a thread, its events are told in order without what it says, and its sums are shown."""
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
                assert "secret words" not in line
                if line.startswith("event: "):
                    names.append(line.removeprefix("event: "))
        assert names == ["ThreadOpened", "OperatorAction", "UsageEvent", "ThreadClosed"]
        usage = (await client.get("/v1/usage", params={"by": "agent"})).json()
        assert usage["groups"]["writer"]["usage"]["output"] == 3
        by_label = (await client.get("/v1/usage", params={"by": "label"})).json()
        assert by_label["groups"]["tenant=a"]["usage"] == usage["total"]["usage"]
        assert (await client.get("/v1/threads")).json()["threads"] == []
        closed = (await client.get("/v1/threads", params={"state": "completed", "label": "tenant=a"})).json()
        assert [thread["state"] for thread in closed["threads"]] == ["completed"]


async def test_detail_shows_the_flow_with_its_cost_and_text_only_when_asked(served: Served) -> None:
    """The messages of a thread say who wrote to whom and what it took; what they say is for those who ask."""
    async with served() as (organism, client):
        thread = (await client.post("/v1/threads", json={"text": "secret words"})).json()["thread_id"]
        await organism.wait(thread)

        bare = (await client.get(f"/v1/threads/{thread}")).json()
        full = (await client.get(f"/v1/threads/{thread}", params={"content": "true"})).json()

    assert [(hop["sender"], hop["recipient"], hop["calls"]) for hop in bare["messages"]] == [
        ("user", "writer", 0),
        ("writer", "user", 1),
    ]
    assert [hop["text"] for hop in bare["messages"]] == [None, None]
    assert [hop["text"] for hop in full["messages"]] == ["secret words", "one two three"]


async def test_thread_out_of_budget_is_raised_and_goes_on(served: Served) -> None:
    """A blocked thread says what blocks it, and goes on when its limit is raised."""
    async with served(limits=Limits(calls=0)) as (organism, client):
        thread = (await client.post("/v1/threads", json={"text": "go"})).json()["thread_id"]
        with anyio.fail_after(60):
            await organism.pump.wait_rest(thread)
        shown = (await client.get(f"/v1/threads/{thread}")).json()
        assert shown["thread"]["state"] == "blocked"
        assert shown["thread"]["blocked_by"]["dimension"] == "calls"
        assert shown["budgets"][0]["account"] == f"thread:{thread}"
        moved = await client.post(f"/v1/budgets/{thread}/move", json={"calls": 1})
        assert moved.json()["limits"]["calls"] == 1
        assert (await organism.wait(thread)).outputs == (Text("one two three"),)


async def test_thread_is_written_to_and_ended(served: Served) -> None:
    """An open thread takes messages and can be ended by order, with a reason that is told."""
    async with served() as (_, client):
        thread = (await client.post("/v1/threads", json={"text": "wait", "thread_id": "mine"})).json()["thread_id"]
        assert thread == "mine"
        sent = await client.post("/v1/threads/mine/messages", json={"message": {"type": "Text", "text": "more"}})
        assert sent.status_code == 202
        assert sent.json()["message_id"]
        raised = await client.put("/v1/threads/mine/limits", json={"calls": 1, "usd": "0.50"})
        assert raised.json()["limits"]["cost_nanousd"] == 500_000_000
        ended = await client.delete("/v1/threads/mine", params={"reason": "no longer needed"})
        assert (ended.status_code, ended.json()["held"]["tokens"]) == (200, 0)
        assert (await client.get("/v1/threads/mine")).json()["thread"]["reason"] == "no longer needed"
        assert (await client.get("/v1/threads/never")).status_code == 404


async def test_threads_are_paged_newest_first(served: Served) -> None:
    """A long list comes in pages, and every thread is on exactly one of them."""
    async with served() as (_, client):
        for number in range(5):
            await client.post("/v1/threads", json={"text": "wait", "thread_id": f"t{number}"})
        seen, after = [], None
        while True:
            params = {"limit": "2"} | ({"after": after} if after else {})
            page = (await client.get("/v1/threads", params=params)).json()
            seen += [thread["thread_id"] for thread in page["threads"]]
            if (after := page["next"]) is None:
                break

        assert seen == ["t4", "t3", "t2", "t1", "t0"]


@pytest.mark.parametrize(
    ("body", "status", "phrase"),
    [
        ("nope", 400, "malformed"),
        ("{}", 400, "either 'text' or 'message'"),
        ('{"text": "a", "message": {}}', 400, "either 'text' or 'message'"),
        (b'{"text": "\xff"}', 400, "UTF-8"),
        ('{"txt": "a"}', 400, "unknown field"),
        ('{"text": 5}', 400, "Expected"),
        ('{"text": "  "}', 400, "empty"),
        ('{"text": "a", "to": "nobody"}', 404, "there are: writer"),
        ('{"text": "a", "thread_id": "../etc"}', 400, "cannot be a thread's id"),
        ('{"text": "a", "limits": {"usd": "NaN"}}', 400, "not an amount"),
        ('{"text": "a", "limits": {"usd": "-1"}}', 400, "not an amount"),
        ('{"text": "a", "limits": {"tokens": -1}}', 400, "tokens"),
        ('{"text": "a", "limits": {"seconds": 9223372036854775807}}', 400, "seconds"),
        ('{"message": {"type": "os.system"}}', 400, "no message type"),
        ('{"message": {"type": "Text", "text": 5}}', 400, "not a valid Text"),
        ('{"message": ' + '{"a":' * 40 + "1" + "}" * 40 + "}", 400, "at most 32 levels"),
        ('{"text": "' + "x" * 1_100_000 + '"}', 413, "at most"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_bad_input_is_one_problem_and_opens_nothing(
    served: Served, body: str | bytes, status: int, phrase: str
) -> None:
    """Every mistake is answered in one shape that says what is wrong, and nothing is opened or charged."""
    async with served() as (organism, client):
        answer = await client.post("/v1/threads", content=body, headers={"content-type": "application/json"})

        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.json().keys() == {"status", "code", "title", "detail", "request_id"}
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert phrase in answer.json()["detail"]
        assert organism.statistics().threads == 0


async def test_trace_of_the_caller_is_kept(served: Served) -> None:
    """A request with a ``traceparent`` makes its thread part of that trace; one that is malformed is no error."""
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    async with served() as (organism, client), organism.usage.subscribe(ThreadClosed) as closed:
        for sent in (trace, "nonsense"):
            opened = await client.post("/v1/threads", json={"text": "go"}, headers={"traceparent": sent})
            assert opened.status_code == 202
        parents = [(await anext(closed)).parent_trace for _ in range(2)]
    assert set(parents) == {trace, None}


UNSAID: dict[str, int | None] = {"tokens": 1000, "calls": 3, "elapsed_ns": None, "cost_nanousd": None}


@pytest.mark.parametrize(
    ("asked", "sender_gets", "operator_gets"),
    [
        ({}, {}, {}),
        ({"calls": 2}, {"calls": 2}, {"calls": 2}),
        ({"calls": 99}, {}, {"calls": 99}),
        ({"tokens": 9_000_000_000_000_000_000}, {}, {"tokens": 9_000_000_000_000_000_000}),
        ({"tokens": None}, {}, {"tokens": None}),
        ({"tokens": "unlimited", "calls": "unlimited"}, {}, {"tokens": None, "calls": None}),
        ({"usd": "0.50"}, {"cost_nanousd": 500_000_000}, {"cost_nanousd": 500_000_000}),
        ({"seconds": 7, "calls": 4}, {"elapsed_ns": 7 * 10**9}, {"elapsed_ns": 7 * 10**9, "calls": 4}),
    ],
    ids=str,
)
async def test_only_who_may_operate_opens_a_thread_with_more(
    served: Served, asked: dict[str, Any], sender_gets: dict[str, Any], operator_gets: dict[str, Any]
) -> None:
    """A token that may send gets at most what is configured, whatever it names, leaves out or calls unlimited."""
    async with served(limits=Limits(tokens=1000, calls=3)) as (organism, client):
        made = (await client.post("/v1/tokens", json={"name": "app", "scopes": ["send"]})).json()
        for headers, gets in (({"authorization": f"Bearer {made['secret']}"}, sender_gets), ({}, operator_gets)):
            body = {"text": "wait", "limits": asked}
            opened = await client.post("/v1/threads", json=body, headers=headers)
            limits = organism.budgets.budget(opened.json()["thread_id"]).limits
            assert msgspec.structs.asdict(limits) == {**UNSAID, **gets}


async def test_timeline_shows_what_was_said_only_to_who_may_operate(served: Served) -> None:
    """Any reader sees what happened in a thread and what it cost; what was said, only who asks and may operate."""
    async with served() as (organism, client):
        thread = (await client.post("/v1/threads", json={"text": "secret words"})).json()["thread_id"]
        await organism.wait(thread)
        path = f"/v1/threads/{thread}/timeline"
        bare, full = await client.get(path), await client.get(path, params={"content": "true"})
        reader = (await client.post("/v1/tokens", json={"name": "eye", "scopes": ["read"]})).json()["secret"]
        allowed = {"authorization": f"Bearer {reader}"}
        assert (await client.get(path, headers=allowed)).status_code == 200
        refused = await client.get(path, headers=allowed, params={"content": "true"})
        assert (await client.get("/v1/threads/nobody/timeline")).status_code == 404
    assert refused.status_code == 403
    assert "secret words" not in bare.text
    assert "secret words" in full.text
    assert {"at", "kind", "agent", "duration_ms", "cost_nanos", "tokens", "title", "detail"} <= bare.json()["items"][
        0
    ].keys()
