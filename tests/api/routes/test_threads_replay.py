"""A replay over the API: asked with a reader's token, bounded, and refused where it makes no sense."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from organism import Limits

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]


async def test_a_replay_needs_a_reader_s_token_only_and_changes_nothing(served: Served) -> None:
    """Whoever may look may ask what would have been; the ledger is the same afterwards."""
    async with served(limits=Limits(tokens=1000)) as (organism, client):
        thread = (await client.post("/v1/threads", json={"text": "go"})).json()["thread_id"]
        await organism.wait(thread)
        secret = (await client.post("/v1/tokens", json={"name": "eye", "scopes": ["read"]})).json()["secret"]
        before = (await client.get("/v1/ledger/entries")).json()

        answer = await client.post(
            f"/v1/threads/{thread}/replay",
            json={"limits": {"calls": 0, "usd": "unlimited"}, "prices": {"m": {"input": "1", "output": "2.5"}}},
            headers={"authorization": f"Bearer {secret}"},
        )

        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["mode"], found["limits"]["calls"], found["limits"]["tokens"]) == ("enforce", 0, 1000)
        assert (found["stop"]["call"], found["stop"]["shortfall"]["dimension"]) == (1, "calls")
        assert (await client.get("/v1/ledger/entries")).json() == before


async def test_what_a_replay_would_cost_is_priced_by_the_request(served: Served) -> None:
    """Prices come as dollars per million tokens, as text, and a model may be another one of the configuration."""
    async with served() as (organism, client):
        thread = (await client.post("/v1/threads", json={"text": "go"})).json()["thread_id"]
        await organism.wait(thread)
        body = {"models": {"main": "scripted/n"}, "prices": {"scripted/n": [{"input": "1", "output": "1"}]}}
        found = (await client.post(f"/v1/threads/{thread}/replay", json=body)).json()

        assert found["mode"] == "audit"
        assert found["total"]["recorded"]["cost_nanousd"] == 0
        assert found["total"]["replayed"]["cost_nanousd"] == 1000 * found["total"]["replayed"]["tokens"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"limits": {"tokens": -1}}, 400, "tokens"),
        ({"limits": {"usd": "much"}}, 400, "not an amount of dollars"),
        ({"mode": "observe"}, 400, "mode"),
        ({"models": {"main": "nonesuch"}}, 400, "provider/model"),
        ({"prices": {"m": {"input": "2000000", "output": "1"}}}, 400, "beyond belief"),
        ({"prices": {"m": {"input": "NaN", "output": "1"}}}, 400, "not an amount of dollars"),
        ({"prices": {"a": "b", "b": "a"}}, 400, "circle"),
    ],
)
async def test_a_replay_that_cannot_be_is_refused(served: Served, body: object, status: int, said: str) -> None:
    """A limit, a model or a price that is none is answered with what is wrong."""
    async with served() as (organism, client):
        thread = (await client.post("/v1/threads", json={"text": "go"})).json()["thread_id"]
        await organism.wait(thread)

        answer = await client.post(f"/v1/threads/{thread}/replay", json=body)

        assert answer.status_code == status, answer.text
        assert said in answer.json()["detail"]
        assert (await client.post("/v1/threads/none/replay", json={})).status_code == 404
