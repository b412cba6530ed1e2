"""A freeze over the API, the command line's way to it, and what a program at the gateway hears of it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from organism.errors import BudgetExhaustedError
from organism.usage.events import OperatorAction

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.mark.parametrize(
    "body",
    [
        {"label": "tenant=acme"},
        {"label": ["tenant=acme"]},
        {"labels": {"tenant": "acme"}},
        {"label": "label=tenant=acme"},
    ],
)
async def test_operator_freezes_a_label_and_lifts_it(served: Served, body: dict[str, Any]) -> None:
    """The answer says what is frozen and held; the status shows it; both orders are in the audit."""
    async with served() as (organism, client):
        audit: list[OperatorAction] = []
        organism.usage.subscribe(audit.append, OperatorAction)
        made = await client.post("/v1/freeze", json={**body, "reason": "unpaid"})
        assert made.status_code == 200
        assert made.json()["freezes"][0]["labels"] == {"tenant": "acme"}
        assert made.json()["held"] == {"tokens": 0, "cost_nanousd": 0, "calls": 0}

        thread = await organism.open_thread("hi", labels={"tenant": "acme"})
        with pytest.raises(BudgetExhaustedError, match="unpaid"):
            await organism.wait(thread)
        assert (await client.get("/v1/status")).json()["freezes"][0]["by"] == "owner"
        assert (await client.get("/v1/freeze", params={"label": "tenant=acme"})).json()["threads"] == [thread]
        detail = (await client.get(f"/v1/threads/{thread}")).json()["thread"]
        assert detail["blocked_by"]["cause"] == "freeze"
        assert "organism_budget_freezes 1.0" in (await client.get("/metrics")).text

        lifted = await client.delete("/v1/freeze", params={"label": "tenant=acme"})
        assert (lifted.status_code, lifted.json()["freezes"]) == (200, [])
        assert (await organism.wait(thread)).outcome == "completed"
        assert [(row.by, row.action, row.target) for row in audit if row.by == "owner"] == [
            ("owner", "freeze", "tenant=acme"),
            ("owner", "unfreeze", "tenant=acme"),
        ]


@pytest.mark.parametrize(
    "body", [{"label": "acme"}, {"labels": {"tenant": 1}}, {"labl": "tenant=acme"}, {"label": [1]}]
)
async def test_what_is_no_label_freezes_nothing(served: Served, body: dict[str, Any]) -> None:
    """A slip in an order to stop one tenant must not stop everybody."""
    async with served() as (_, client):
        assert (await client.post("/v1/freeze", json=body)).status_code in (400, 422)
        assert (await client.get("/v1/freeze")).json()["freezes"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "main", "messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/responses", {"model": "main", "input": "hi"}),
        ("/v1/messages", {"model": "main", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/completions", {"model": "main", "prompt": "hi"}),
    ],
)
async def test_a_program_is_told_in_its_own_format_and_stops(served: Served, path: str, body: dict[str, Any]) -> None:
    """A 402 that no client tries again, with who froze it and why; after the freeze the same request is answered."""
    async with served() as (organism, client):
        await organism.freeze(reason="unpaid")
        refused = await client.post(path, json=body)
        assert refused.status_code == 402
        assert refused.headers["x-should-retry"] == "false"
        error = refused.json()["error"]
        assert "unpaid" in error["message"]
        assert error["organism"]["scope"] == "freeze"
        assert organism.router.statistics().attempts_open == 0
        await organism.unfreeze()
        assert (await client.post(path, json=body)).status_code == 200
