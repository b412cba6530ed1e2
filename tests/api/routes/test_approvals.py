"""Approvals over the API: who may see what is asked, who may answer, and that an answer is one audited order."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import Context, Organism, Text, agent
from organism.stores.sqlite import SqliteJournal
from organism.threads.approvals import ApprovalNeededError, Decision
from organism.usage.events import OperatorAction

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]


@agent()
async def careful(message: Text, ctx: Context) -> Text:
    """Ask before doing anything."""
    decision = await ctx.approval("send", message.text)
    return Text(f"{decision.allowed} {decision.note}")


async def waiting(organism: Organism) -> str:
    """Open a thread that waits for a person, and return its id."""
    thread = await organism.open_thread("Dear all")
    with anyio.fail_after(60), pytest.raises(ApprovalNeededError, match="waits for a person"):
        await organism.wait(thread)
    return thread


async def test_person_sees_what_is_asked_and_answers(served: Served) -> None:
    """The list shows what waits; the answer lets it go on, is in the audit, and cannot be given twice."""
    async with served(Organism([careful])) as (organism, client):
        thread = await waiting(organism)
        audit: list[OperatorAction] = []
        organism.usage.subscribe(audit.append, OperatorAction)
        (asked,) = (await client.get("/v1/approvals", params={"content": "true"})).json()
        assert (asked["what"], asked["detail"], asked["agent"]) == ("send", "Dear all", "careful")

        path, answer = f"/v1/approvals/{asked['id']}", {"allowed": False, "note": "not today"}
        done = await client.post(path, json=answer)
        again = await client.post(path, json=answer)
        other = await client.post(path, json={"allowed": True})
        unknown = await client.post("/v1/approvals/none", json=answer)

        assert (done.status_code, done.json()) == (200, {"changed": [thread]})
        assert (again.status_code, again.json()) == (200, {"changed": [thread]})
        assert (other.status_code, other.json()["code"]) == (409, "approval_answered")
        assert "was denied before, and that answer counts" in other.json()["detail"]
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_approval")
        assert (await organism.wait(thread)).outputs == (Text("False not today"),)
        assert (await client.get("/v1/approvals")).json() == []
        assert [(action.action, action.target) for action in audit] == [("approval.decide", asked["id"])]


async def test_answer_that_is_given_twice_at_once_counts_once(served: Served, tmp_path: Path) -> None:
    """The second asks before the first is in the file, and is told the same."""
    async with served(Organism([careful], journal=SqliteJournal(tmp_path / "j.db"))) as (organism, client):
        thread = await waiting(organism)
        audit: list[OperatorAction] = []
        organism.usage.subscribe(audit.append, OperatorAction)
        (asked,) = (await client.get("/v1/approvals")).json()
        decision = Decision(allowed=True)
        done: list[tuple[str, ...]] = []

        async def decide() -> None:
            done.append((await organism.control.decide(asked["id"], decision)).changed)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(decide)

        assert done == [(thread,)] * 3
        assert len(audit) == 1


async def test_list_can_be_of_some_threads_and_of_the_oldest(served: Served) -> None:
    """A page of threads asks for its own questions, and a page of questions for as many as it shows."""
    async with served(Organism([careful])) as (organism, client):
        threads = [await waiting(organism) for _ in range(3)]

        async def asked(**query: object) -> list[str]:
            answer = await client.get("/v1/approvals", params=query)
            return [each["thread_id"] for each in answer.json()]

        assert await asked() == threads
        assert await asked(limit=2) == threads[:2]
        assert await asked(thread=[threads[2], threads[0], "th_none"]) == [threads[0], threads[2]]
        assert await asked(thread="th_none") == []
        assert (await client.get("/v1/approvals", params={"limit": 0})).status_code == 400


async def test_what_exactly_is_asked_is_content(served: Served) -> None:
    """Without asking for content nobody sees the words or the arguments, in no list and no thread."""
    async with served(Organism([careful])) as (organism, client):
        thread = await waiting(organism)

        for path in ("/v1/approvals", "/v1/threads", f"/v1/threads/{thread}"):
            assert "Dear all" not in (await client.get(path)).text, path
        (asked,) = (await client.get("/v1/approvals")).json()
        assert (asked["what"], asked["detail"]) == ("send", "")


async def test_answer_needs_the_right_to_operate(served: Served) -> None:
    """A token that may only read may look at what waits, not answer it; nonsense is no answer."""
    async with served(Organism([careful])) as (organism, client):
        await waiting(organism)
        (asked,) = (await client.get("/v1/approvals")).json()
        made = await client.post("/v1/tokens", json={"name": "viewer", "scopes": ["read"]})
        viewer = {"authorization": f"Bearer {made.json()['secret']}"}

        assert (await client.get("/v1/approvals", headers=viewer)).status_code == 200
        refused = await client.post(f"/v1/approvals/{asked['id']}", json={"allowed": True}, headers=viewer)
        nonsense = await client.post(f"/v1/approvals/{asked['id']}", json={"allowed": "perhaps"})

        assert refused.status_code == 403
        assert nonsense.status_code == 400
        assert len(organism.approvals.waiting()) == 1
