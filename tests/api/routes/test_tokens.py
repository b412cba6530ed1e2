"""Tokens with labels: a tenant's program opens threads of its own tenant, and of no other."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from organism import BudgetPlan, Limits
from organism.api.tokens.token_book import TokenBook
from organism.budget.scopes import LabelLimits, ScopedLimits

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]
TENANTS = BudgetPlan(labels={"tenant": LabelLimits(each=ScopedLimits(Limits(calls=1), "day"))})
OF_ACME = {"name": "ci", "scopes": ["send"], "labels": {"tenant": "acme"}}


async def made(client: Any) -> dict[str, str]:
    """Make a token of a tenant, and return what a request carries that uses it."""
    answer = await client.post("/v1/tokens", json=OF_ACME)
    assert answer.status_code == 201, answer.text
    return {"authorization": f"Bearer {answer.json()['secret']}"}


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ({}, {"tenant": "acme"}),
        ({"tenant": "acme"}, {"tenant": "acme"}),
        ({"shop": "b"}, {"shop": "b", "tenant": "acme"}),
    ],
)
async def test_threads_of_a_token_have_its_labels(
    served: Served, asked: dict[str, str], labels: dict[str, str]
) -> None:
    """Said or not, they are on the thread and count on its tenant's account; others may be added."""
    async with served(limits=TENANTS) as (organism, client):
        opened = await client.post("/v1/threads", json={"text": "hi", "labels": asked}, headers=await made(client))
        await organism.wait(opened.json()["thread_id"])
        assert (await client.get(f"/v1/threads/{opened.json()['thread_id']}")).json()["thread"]["labels"] == labels
        (account,) = [each for each in organism.budgets.states() if each.account.startswith("label:tenant=acme@day")]
        assert account.spent.calls == 1
        listed = (await client.get("/v1/tokens")).json()
        assert {each["name"]: each["labels"] for each in listed} == {"owner": {}, "ci": {"tenant": "acme"}}


async def test_token_opens_no_thread_of_another_tenant(served: Served) -> None:
    """It is refused with the label that it has, and nothing is opened."""
    async with served(limits=TENANTS) as (organism, client):
        body = {"text": "hi", "labels": {"tenant": "globex"}}
        refused = await client.post("/v1/threads", json=body, headers=await made(client))
        assert (refused.status_code, "tenant=acme and no other" in refused.text) == (400, True), refused.text
        assert organism.control.queries.threads().threads == ()


@pytest.mark.parametrize("scopes", [["operate"], ["admin"], ["read"], ["send", "operate"]])
async def test_labels_that_would_bind_nothing_are_refused(served: Served, scopes: list[str]) -> None:
    """A token that may operate can make others, and one that may only read opens nothing."""
    async with served() as (_, client):
        refused = await client.post("/v1/tokens", json=OF_ACME | {"scopes": scopes})
        assert (refused.status_code, "labels" in refused.json()["detail"]) == (400, True), refused.text
        assert len((await client.get("/v1/tokens")).json()) == 1


async def test_labels_outlive_the_daemon_and_hold_in_a_session(tmp_path: Path) -> None:
    """Neither a restart nor a browser's session takes them off."""
    made = await TokenBook.open(tmp_path / "state", lambda: 1).make("ci", ("send",), labels={"tenant": "acme"})
    book = TokenBook.open(tmp_path / "state", lambda: 1)
    caller = book.find(made.secret)
    assert caller is not None
    begun = book.begin_session(made.secret)
    session = begun and book.find(begun.secret)
    assert (caller.labels, session and session.labels) == ({"tenant": "acme"}, {"tenant": "acme"})
