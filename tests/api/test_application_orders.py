"""Orders over the API: each once under its key, audited, and refused as a whole where they cannot be carried out."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

from organism import BudgetExhaustedError, BudgetPlan, Limits
from organism.stores.memory import MemoryJournal

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]


async def test_same_key_and_body_is_one_order(served: Served) -> None:
    """An order sent again with its key gets its first answer and has no second effect."""
    async with served() as (organism, client):
        key = {"idempotency-key": "order-1"}
        first = await client.post("/v1/threads", json={"text": "wait"}, headers=key)
        again = await client.post("/v1/threads", json={"text": "wait"}, headers=key)

        assert again.status_code == first.status_code == 202
        assert again.json() == first.json()
        assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
        assert organism.statistics().threads == 1
        other = await client.post("/v1/threads", json={"text": "other"}, headers=key)
        assert (other.status_code, other.json()["code"]) == (422, "key_reused")


async def test_same_key_of_another_caller_is_another_key(served: Served) -> None:
    """Nobody gets another's answer, or is refused, because both have called their orders by the same name."""
    async with served() as (organism, client):
        token = (await client.post("/v1/tokens", json={"name": "other", "scopes": ["send"]})).json()["secret"]
        key = {"idempotency-key": "order-1"}
        mine = await client.post("/v1/threads", json={"text": "wait"}, headers=key)
        theirs = await client.post(
            "/v1/threads", json={"text": "wait"}, headers=key | {"authorization": f"Bearer {token}"}
        )

        assert (mine.status_code, theirs.status_code) == (202, 202)
        assert mine.json()["thread_id"] != theirs.json()["thread_id"]
        assert organism.statistics().threads == 2


async def test_key_is_honoured_at_the_same_time_and_after_a_restart(served: Served) -> None:
    """Two at once are one order, and so are two with a restart in between on the same journal."""
    journal = MemoryJournal()
    key = {"idempotency-key": "order-1"}
    answers: list[str] = []
    async with served(journal=journal) as (organism, client):

        async def send() -> None:
            answers.append((await client.post("/v1/threads", json={"text": "go"}, headers=key)).json()["thread_id"])

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(send)
        await organism.wait(answers[0])
        source = organism.control.source
    async with served(journal=journal) as (organism, client):
        answer = await client.post("/v1/threads", json={"text": "go"}, headers=key)
        assert answer.status_code == 202, answer.text
        answers.append(answer.json()["thread_id"])
        assert len(set(answers)) == 1
        assert organism.control.source == source
        assert organism.statistics().threads == 0


async def test_refused_order_may_be_tried_again_under_its_key(served: Served) -> None:
    """Only what was carried out is remembered."""
    async with served() as (_, client):
        key = {"idempotency-key": "order-1"}
        assert (await client.post("/v1/threads/t/pause", headers=key)).status_code == 404
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "t"})
        assert (await client.post("/v1/threads/t/pause", headers=key)).status_code == 200


@pytest.mark.parametrize("verb", ["resume", "unpause"])
async def test_what_is_paused_goes_on_by_either_name(served: Served, verb: str) -> None:
    """The command line says unpause, for its resume goes on with a run; the API takes both words."""
    async with served() as (_organism, client):
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "t"})
        await client.post("/v1/threads/t/pause")
        await client.post("/v1/agents/writer/pause")

        thread = await client.post(f"/v1/threads/t/{verb}")
        agent = await client.post(f"/v1/agents/writer/{verb}")

        assert (thread.status_code, thread.json()["changed"]) == (200, ["t"])
        assert (agent.status_code, agent.json()["changed"]) == (200, ["writer"])


async def test_every_mutation_leaves_an_audit_row(served: Served) -> None:
    """What was done, by which token, to what, and how it was before and after, is in the events."""
    async with served(limits=Limits(calls=3)) as (organism, client):
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "t"})
        await client.post("/v1/threads/t/messages", json={"text": "more"})
        await client.post("/v1/threads/t/pause")
        await client.post("/v1/threads/t/resume")
        await client.post("/v1/budgets/t/move", json={"calls": 2})
        await client.put("/v1/budgets/thread:t/limits", json={"calls": 9})
        await client.post("/v1/agents/writer/pause")
        await client.post("/v1/agents/writer/resume")
        await client.put("/v1/mode", json={"mode": "audit"})
        await client.post("/v1/tokens", json={"name": "ci", "scopes": ["read"]})
        await client.delete("/v1/tokens/ci")
        await client.post("/v1/tokens", json={"name": "app", "scopes": ["send"], "limits": {"calls": 7}})
        await client.patch("/v1/tokens/app", json={"limits": {"calls": 8}})
        await client.delete("/v1/threads/t")
        letter = (await client.get("/v1/dead-letters")).json()[0]["message_id"]
        await client.delete(f"/v1/dead-letters/{letter}")
        await client.post("/v1/drain", json={"within_seconds": 0})
        await client.post("/v1/stop")
        page = (await client.get("/v1/events/page", params={"type": "OperatorAction"})).json()

    rows = [event["data"] for event in page["events"]]
    assert [row["action"] for row in rows] == [
        "thread.open",
        "thread.send",
        "thread.pause",
        "thread.resume",
        "budget.limits",
        "budget.limits",
        "agent.pause",
        "agent.resume",
        "mode",
        "token.make",
        "token.revoke",
        "token.make",
        "token.limit",
        "thread.terminate",
        "letter.discard",
        "drain",
        "stop",
    ]
    assert {row["by"] for row in rows} == {"owner"}
    assert '"calls":3' in rows[4]["before"]
    assert '"calls":5' in rows[4]["after"]
    assert ('"calls":7' in rows[12]["before"], '"calls":8' in rows[12]["after"]) == (True, True)
    assert organism.control.stop_ordered.is_set()


async def test_budgets_of_every_scope_are_shown_and_moved(served: Served) -> None:
    """Windows are there before the first call, take new limits, and a lowered limit never goes below zero."""
    plan = BudgetPlan(thread=Limits(tokens=100), windows={"day": Limits(cost_nanousd=5_000_000_000)})
    async with served(limits=plan) as (_, client):
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "t"})
        accounts = {state["account"]: state for state in (await client.get("/v1/budgets")).json()}
        (day,) = (name for name in accounts if name.startswith("organism@day:"))
        assert accounts[day]["limits"]["cost_nanousd"] == 5_000_000_000
        raised = await client.post(f"/v1/budgets/{day}/move", json={"usd": "0.50"})
        assert raised.json()["limits"]["cost_nanousd"] == 5_500_000_000
        half = await client.post("/v1/budgets/t/move", json={"percent": -50})
        assert half.json()["limits"]["tokens"] == 50
        none = await client.post("/v1/budgets/t/move", json={"tokens": -500})
        assert none.json()["limits"]["tokens"] == 0
        more = await client.post("/v1/budgets/t/move", json={"percent": 25})
        assert (more.status_code, "by an amount" in more.json()["detail"]) == (400, True)
        unlimited = await client.post("/v1/budgets/t/move", json={"usd": "1"})
        assert (unlimited.status_code, "not limited" in unlimited.json()["detail"]) == (400, True)
        assert (await client.get("/v1/budgets/organism@day:1999-01-01")).status_code == 404
        odd = await client.post("/v1/budgets/t/move", json={"tokens": -(2**63) - 1})
        assert (odd.status_code, odd.json()["detail"][:7]) == (400, "tokens:")
        assert (await client.get("/v1/status")).json()["windows"][0]["account"] == day


async def test_dead_letter_is_sent_again_in_its_thread_or_a_new_one(served: Served) -> None:
    """A message that was given up on can be tried again, also when its thread has ended meanwhile."""
    async with served() as (organism, client):
        thread = (await client.post("/v1/threads", json={"text": "wait"})).json()["thread_id"]
        await client.delete(f"/v1/threads/{thread}")
        (letter,) = (await client.get("/v1/dead-letters", params={"content": "true"})).json()
        assert (letter["reason"], letter["text"]) == ("thread_terminated", "wait")

        again = await client.post(f"/v1/dead-letters/{letter['message_id']}/retry")

        assert again.status_code == 202
        fresh = again.json()["thread_id"]
        assert fresh != thread
        assert organism.thread(fresh).queued == {"writer": 1}
        assert (await client.get("/v1/dead-letters")).json() == []
        assert (await client.post(f"/v1/dead-letters/{letter['message_id']}/retry")).status_code == 404


async def test_agents_show_their_state_and_what_waits(served: Served) -> None:
    """A paused agent keeps its messages, says so, and goes on with them."""
    async with served() as (organism, client):
        await client.post("/v1/agents/writer/pause")
        thread = (await client.post("/v1/threads", json={"text": "go"})).json()["thread_id"]
        (view,) = (await client.get("/v1/agents")).json()
        assert (view["state"], view["mailbox"]) == ("paused", 1)
        await client.post("/v1/agents/writer/resume")
        assert (await organism.wait(thread)).outcome == "completed"
        assert (await client.post("/v1/agents/nobody/pause")).status_code == 404


async def test_drained_organism_is_not_ready_and_takes_nothing(served: Served) -> None:
    """A draining daemon says so to its supervisor and to its callers."""
    async with served() as (_, client):
        assert (await client.get("/readyz")).status_code == 200
        drained = await client.post("/v1/drain", json={"within_seconds": 0})
        assert drained.json()["accepting"] is False
        assert (await client.get("/readyz")).status_code == 503
        refused = await client.post("/v1/threads", json={"text": "go"})
        assert (refused.status_code, refused.json()["code"]) == (503, "stopping")
        assert (await client.post("/v1/reload")).status_code == 400


async def test_drain_can_be_undone_until_the_process_ends(served: Served) -> None:
    """New threads are taken again; once the daemon has been told to stop, no order makes it take more."""
    async with served() as (organism, client):
        await client.post("/v1/drain", json={"within_seconds": 0})
        assert (await client.delete("/v1/drain")).json()["accepting"] is True
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/v1/threads", json={"text": "go"})).status_code == 202
        await client.post("/v1/stop")
        await organism.drain(0)
        refused = await client.delete("/v1/drain")
        assert (refused.status_code, refused.json()["code"]) == (503, "stopping")
        assert (await client.get("/readyz")).status_code == 503


async def test_metrics_are_for_those_with_the_token(served: Served) -> None:
    """A scraper with the token gets Prometheus' text format, one without gets nothing."""
    async with served() as (organism, client):
        await organism.run("go")
        answered = await client.get("/metrics")
        assert answered.headers["content-type"].startswith("text/plain")
        assert 'organism_threads_total{outcome="completed"} 1.0' in answered.text
        assert (await client.get("/metrics", headers={"authorization": "Bearer wrong"})).status_code == 401


async def test_a_correction_of_spend_is_booked_once_audited_and_lets_go_on(served: Served) -> None:
    """A correction counts where the thread's calls do, once under its key, and what waits for it goes on."""
    plan = BudgetPlan(thread=Limits(calls=1), windows={"day": Limits(cost_nanousd=5_000_000_000)})
    async with served(limits=plan) as (organism, client):
        await client.post("/v1/agents/writer/pause")
        await client.post("/v1/threads", json={"text": "one", "thread_id": "t"})
        await client.post("/v1/threads/t/messages", json={"text": "two"})
        await client.post("/v1/agents/writer/resume")
        with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
            await organism.wait("t")
        key, refund = {"idempotency-key": "refund-17"}, {"calls": -1, "usd": "0.25", "reason": "refund 17"}
        first = await client.post("/v1/budgets/t/adjust", json=refund, headers=key)
        again = await client.post("/v1/budgets/t/adjust", json=refund, headers=key)
        result = await organism.wait("t")
        story = (await client.get("/v1/budgets/t/story")).json()
        page = (await client.get("/v1/events/page", params={"type": "BudgetAdjusted"})).json()
        rows = (await client.get("/v1/events/page", params={"type": "OperatorAction"})).json()

    assert first.status_code == 200, first.text
    assert again.json() == first.json()
    thread, day = first.json()["budgets"]
    assert (thread["account"], thread["spent"]["calls"], thread["spent"]["cost_nanousd"]) == (
        "thread:t",
        0,
        250_000_000,
    )
    assert (day["account"][:13], day["spent"]) == ("organism@day:", thread["spent"])
    assert (result.budget.spent.calls, result.budget.spent.cost_nanousd) == (1, 250_000_000)
    assert [note["text"] for note in story["notes"] if "adjusted" in note["text"]] == [
        "adjusted by +$0.25, -1 call: owner: refund 17"
    ]
    assert [event["data"]["amounts"]["calls"] for event in page["events"]] == [-1]
    row = rows["events"][-1]["data"]
    assert (row["action"], row["target"], "refund 17" in row["after"]) == ("budget.adjust", "thread:t", True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"reason": "r"}, "nothing is to change"),
        ({"usd": "1"}, "reason"),
        ({"usd": "1", "reason": "  "}, "give a reason"),
        ({"tokens": -5, "reason": "r"}, "thread:t has spent 0 tokens; 5 tokens cannot be taken off"),
        ({"tokens": 2**63, "reason": "r"}, "tokens"),
    ],
)
async def test_a_correction_that_cannot_be_changes_nothing(served: Served, body: object, said: str) -> None:
    """Without a reason or an amount, or below zero, nothing is booked; and it takes more than an operator's token."""
    async with served(limits=Limits(tokens=100)) as (organism, client):
        await client.post("/v1/threads", json={"text": "wait", "thread_id": "t"})
        made = await client.post("/v1/tokens", json={"name": "op", "scopes": ["operate"]})
        operator = {"authorization": f"Bearer {made.json()['secret']}"}

        refused = await client.post("/v1/budgets/t/adjust", json=body)
        forbidden = await client.post("/v1/budgets/t/adjust", json={"tokens": 1, "reason": "r"}, headers=operator)

        assert (refused.status_code, said in refused.json()["detail"]) == (400, True), refused.text
        assert forbidden.status_code == 403
        assert organism.budgets.budget("t").spent.tokens == 0
