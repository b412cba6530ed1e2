"""Events for those outside: no gap, no silence about a gap, and no harm from a reader that is slow."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import httpx2
import pytest

from organism import Limits
from organism.api import streams
from organism.stores.memory import MemoryJournal

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]


async def frames(response: httpx2.Response) -> AsyncIterator[dict[str, str]]:
    """Read server-sent events as the standard says."""
    frame: dict[str, str] = {}
    async for line in response.aiter_lines():
        if not line and frame:
            yield frame
            frame = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            frame[name] = value


async def run_threads(client: httpx2.AsyncClient, organism: Any, count: int) -> None:
    for _ in range(count):
        thread = (await client.post("/v1/threads", json={"text": "go"})).json()["thread_id"]
        await organism.wait(thread)


async def test_follower_goes_on_after_the_last_event_it_has_seen(served: Served) -> None:
    """With Last-Event-ID a reader gets what it has missed, each event once, in order, and then what happens."""
    async with served() as (organism, client):
        await run_threads(client, organism, 3)
        stored = [event.id for event in await organism.events_after("")]
        headers = {"last-event-id": stored[2]}
        got: list[str] = []
        async with client.stream("GET", "/v1/events", headers=headers) as response:
            events = frames(response)
            got += [(await anext(events))["id"] for _ in stored[3:]]
            await run_threads(client, organism, 1)
            got += [(await anext(events))["id"] for _ in range(4)]
        assert got == [event.id for event in await organism.events_after(stored[2])]


async def test_events_come_in_cloudevents_envelopes(served: Served) -> None:
    """Each event names its organism and journal, its kind with a version, its thread and its time."""
    async with served(name="essay") as (organism, client):
        await run_threads(client, organism, 1)
        page = (await client.get("/v1/events/page", params={"type": "UsageEvent"})).json()
        (envelope,) = page["events"]
        assert envelope["specversion"] == "1.0"
        assert envelope["source"].startswith("urn:organism:essay:in_")
        assert envelope["type"] == "dev.organism.llm.usage.v1"
        assert envelope["subject"] == envelope["data"]["thread_id"]
        assert envelope["id"] == envelope["data"]["id"]
        assert envelope["time"].endswith("Z")
        assert envelope["data"]["usage"]["output"] == 3


async def test_pages_lead_through_all_events_and_wait_for_more(served: Served) -> None:
    """A billing job that reads page after page sees every event once, and a new one as soon as it is there."""
    async with served() as (organism, client):
        await run_threads(client, organism, 3)
        seen, after = [], "0"
        while True:
            page = (await client.get("/v1/events/page", params={"after": after, "limit": "5"})).json()
            seen += [event["id"] for event in page["events"]]
            after = page["next"]
            if not page["more"]:
                break
        assert seen == [event.id for event in await organism.events_after("")]
        waited: list[dict[str, Any]] = []

        async def wait() -> None:
            answer = await client.get("/v1/events/page", params={"after": after, "wait_seconds": "30"})
            waited.append(answer.json())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await run_threads(client, organism, 1)
        assert waited[0]["events"][0]["data"]["type"] == "ThreadOpened"
        nothing = await client.get("/v1/events/page", params={"after": (await organism.events_after(""))[-1].id})
        assert nothing.json()["events"] == []


async def test_filtered_page_moves_on_past_what_it_leaves_out(served: Served) -> None:
    """A reader that wants one kind of event does not read the others again and again."""
    async with served() as (organism, client):
        await run_threads(client, organism, 2)
        page = (await client.get("/v1/events/page", params={"type": "ThreadClosed"})).json()
        assert [event["data"]["type"] for event in page["events"]] == ["ThreadClosed"] * 2
        assert page["next"] == (await organism.events_after(""))[-1].id


async def test_events_that_are_not_kept_are_gone_not_skipped(served: Served) -> None:
    """A reader that has missed events is told 410 and where what is kept begins."""
    async with served(journal=MemoryJournal(capacity=4)) as (organism, client):
        await run_threads(client, organism, 3)
        oldest = (await organism.events_after(""))[0].id
        for path in ("/v1/events", "/v1/events/page"):
            answer = await client.get(path, params={"after": "1"})
            assert (answer.status_code, answer.json()["code"]) == (410, "events_gone")
            assert oldest in answer.json()["detail"]


@pytest.mark.parametrize("after", ["999", "abc", "-1", "1e3", "٣"])
async def test_id_of_another_journal_is_told_apart(served: Served, after: str) -> None:
    """An id that this journal never gave is refused: waiting for it would be a silent gap."""
    async with served() as (organism, client):
        await run_threads(client, organism, 1)
        for path in ("/v1/events", "/v1/events/page"):
            answer = await client.get(path, params={"after": after})
            assert answer.status_code == (410 if after == "999" else 400)


async def test_slow_follower_is_cut_off_and_goes_on_without_a_gap(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that does not read is let go; when it comes back it gets everything from where it was."""
    async with served() as (organism, client):
        reader = streams.Reader(organism.control)
        monkeypatch.setattr("organism.usage.tracker.Subscription.put_nowait", _full)
        stream = await reader.follow(None, streams.EventFilter(frozenset(), None))
        assert await anext(stream) == b": listening\n\n"
        await run_threads(client, organism, 1)
        last = b""
        async for line in stream:
            last = line
        assert b"cut off" in last
        assert reader.followers == 0
        monkeypatch.undo()
        again = await reader.follow("0", streams.EventFilter(frozenset(), None))
        assert await anext(again) == b": listening\n\n"
        ids = [(await anext(again)).split(b"\n")[0] for _ in range(4)]
        assert ids == [b"id: %b" % event.id.encode() for event in await organism.events_after("")]
        await again.aclose()


def _full(subscription: Any, event: object) -> bool:
    """Be a subscription that has no room."""
    subscription._overflowed = True
    subscription._wake.set()
    return False


async def test_followers_are_counted_and_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """More streams than the bound are refused with what to do, and a stream that ends makes room."""
    monkeypatch.setattr(streams, "FOLLOWERS_MAX", 1)
    async with served() as (_, client):
        async with client.stream("GET", "/v1/events") as first:
            lines = first.aiter_lines()
            assert await anext(lines) == ": listening"
            second = await client.get("/v1/events")
            assert (second.status_code, second.json()["code"]) == (429, "too_many_followers")
        with anyio.fail_after(60):
            status = 429
            while status == 429:
                async with client.stream("GET", "/v1/events") as response:
                    status = response.status_code


async def test_what_agents_say_is_told_live_and_only_when_asked(served: Served) -> None:
    """Content needs to be asked for by somebody who may see it, and is stored nowhere."""
    async with served(limits=Limits(tokens=1000)) as (organism, client):
        secret = (await client.post("/v1/tokens", json={"name": "eye", "scopes": ["read"]})).json()["secret"]
        eye = {"authorization": f"Bearer {secret}"}
        refused = await client.get("/v1/events", params={"content": "true"}, headers=eye)
        assert refused.status_code == 403
        async with client.stream("GET", "/v1/events", params={"content": "true"}) as response:
            events = frames(response)
            await run_threads(client, organism, 1)
            said: dict[str, Any] = {}
            while said.get("event") != "AgentSaid":
                said = await anext(events)
        assert json.loads(said["data"])["data"]["text"] == "one two three"
        assert "id" not in said
        everything = json.dumps((await client.get("/v1/events/page")).json())
        assert "one two three" not in everything


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/page"])
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"type": "UsageEvents"}, 422, "unknown_event_type"),
        ({"type": ["UsageEvent", "none"]}, 422, "unknown_event_type"),
        ({"thread": "th_nobody"}, 404, "unknown_thread"),
        ({"thread": ""}, 404, "unknown_thread"),
        ({"kind": "UsageEvent"}, 422, "unknown_parameter"),
    ],
)
async def test_filter_that_nothing_can_meet_is_refused(
    served: Served, path: str, query: dict[str, Any], status: int, code: str
) -> None:
    """A misspelt kind of event, thread or parameter is an error, and no stream that is empty for ever."""
    async with served() as (_, client):
        answer = await client.get(path, params=query)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
