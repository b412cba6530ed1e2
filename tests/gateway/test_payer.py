"""Who pays for a call from outside: a thread of the key's own, one it names, or one it is given. And nobody else's."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest

from organism import Limits, Text
from organism.budget.scopes import BudgetPlan, ScopedLimits
from organism.stores.sqlite import SqliteJournal
from organism.testing import ManualClock
from organism.usage.events import UsageEvent
from tests.gateway.conftest import KEY, OTHER_KEY, key

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
HI = [{"role": "user", "content": "hi there"}]


async def ask(client: openai.AsyncOpenAI, thread: str | None = None, **options: Any) -> Any:
    """Make a call and return the raw response, whose headers say who has paid."""
    headers = {"organism-thread": thread} if thread is not None else {}
    create = client.chat.completions.with_raw_response.create
    return await create(model="main", messages=HI, extra_headers=headers, **options)


async def test_each_key_has_a_thread_of_its_own_and_is_named_as_the_spender(served: Serve) -> None:
    """Calls of one key add up on one thread; another key's are on another; usage names the key like an agent."""
    async with served() as gateway:
        other = gateway.client.with_options(api_key=OTHER_KEY)
        for client, thread in ((gateway.client, "key-ci"), (gateway.client, "key-ci"), (other, "key-other")):
            assert (await ask(client)).headers["organism-thread"] == thread

        spent = {
            view.thread_id: gateway.organism.budgets.budget(view.thread_id).spent for view in gateway.organism.threads()
        }
        assert {name: (each.tokens, each.calls) for name, each in spent.items()} == {
            "key-ci": (10, 2),
            "key-other": (5, 1),
        }
        usage = (await gateway.operator.get("/v1/usage?by=agent")).json()
        assert {name: group["calls"] for name, group in usage["groups"].items()} == {"ci": 2, "other": 1}


async def test_fixed_key_spends_from_one_thread_whatever_is_named(served: Serve) -> None:
    """What is limited on the thread of a fixed key is limited for the key: no request names its way out."""
    ci = key("ci", KEY, thread="purse", fixed=True, limits=Limits(calls=2))
    async with served(gateway={"keys": (ci,)}) as gateway:
        for named in (None, "elsewhere"):
            assert (await ask(gateway.client, named)).headers["organism-thread"] == "purse"
        with pytest.raises(openai.APIStatusError, match="thread:purse has 0 calls left"):
            await ask(gateway.client, "another")


async def test_a_request_may_name_its_thread_and_gets_its_own_budget(served: Serve) -> None:
    """The header opens a thread per conversation, with the limits that threads of the gateway have."""
    async with served(gateway={"limits": Limits(tokens=500)}) as gateway:
        for thread in ("conversation-1", "conversation-2", "conversation-1"):
            answer = await ask(gateway.client, thread)
            assert answer.headers["organism-thread"] == thread

        budgets = [gateway.organism.budgets.budget(f"conversation-{n}") for n in (1, 2)]
        assert [(each.spent.calls, each.limits.tokens) for each in budgets] == [(2, 500), (1, 500)]


async def test_a_key_may_be_given_a_thread_that_others_pay_into_too(served: Serve) -> None:
    """Two keys that are given one thread share its budget, its labels are on their events, and both are told apart."""
    team = {"thread": "team", "limits": Limits(tokens=700), "labels": {"team": "blue"}}
    keys = (key("ci", KEY, **team), key("other", OTHER_KEY, **team))
    async with served(gateway={"keys": keys}) as gateway:
        for client in (gateway.client, gateway.client.with_options(api_key=OTHER_KEY)):
            assert (await ask(client)).headers["organism-thread"] == "team"

        assert gateway.organism.budgets.budget("team").spent.calls == 2
        assert gateway.organism.thread("team").labels == {"team": "blue"}
        assert set(gateway.organism.usage.by_agent()) == {"ci", "other"}


@pytest.mark.parametrize(
    ("configured", "of_key", "gets"),
    [
        (Limits(tokens=500, calls=9), None, Limits(tokens=500, calls=9)),
        (Limits(tokens=500, calls=9), Limits(), Limits(tokens=500, calls=9)),
        (Limits(tokens=500, calls=9), Limits(calls=3), Limits(tokens=500, calls=3)),
        (Limits(tokens=500, calls=9), Limits(tokens=9000), Limits(tokens=500, calls=9)),
        (Limits(tokens=500), Limits(elapsed_ns=10**12), Limits(tokens=500, elapsed_ns=10**12)),
        (None, Limits(tokens=9000), Limits(tokens=2000)),
    ],
)
async def test_a_key_has_its_own_limits_below_the_gateway_s(
    served: Serve, configured: Limits | None, of_key: Limits | None, gets: Limits
) -> None:
    """What is written for a key lowers what its threads have; a unit that it leaves out stays as it is."""
    keys = (key("ci", KEY, limits=of_key),)
    async with served(gateway={"limits": configured, "keys": keys}, limits=Limits(tokens=2000)) as gateway:
        for named in ("key-ci", "named"):
            await ask(gateway.client, "" if named == "key-ci" else named)
            assert gateway.organism.budgets.budget(named).limits == gets


@pytest.mark.parametrize("name", ["key-other", "token-owner", "theirs", "of-an-agent"])
async def test_nobody_spends_from_a_thread_that_is_somebody_elses(served: Serve, name: str) -> None:
    """Threads of other keys, of tokens and of agents are as good as not there, whether they are open or not yet."""
    async with served() as gateway:
        await ask(gateway.client.with_options(api_key=OTHER_KEY), "theirs")
        await gateway.organism.open_thread("wait", thread_id="of-an-agent")
        spent = gateway.provider.billed

        with pytest.raises(openai.PermissionDeniedError) as refused:
            await ask(gateway.client, name)

        assert refused.value.code == "thread_not_open"
        assert gateway.provider.billed == spent


@pytest.mark.parametrize("name", ["key-ci", "token-owner", "key-of-later", "team"])
async def test_nobody_opens_the_thread_of_a_key_before_the_key_does(served: Serve, name: str) -> None:
    """Who may write to agents cannot take a key's thread, choose its limits, and shut the key out by ending it."""
    async with served(gateway={"keys": (key("ci", KEY), key("other", OTHER_KEY, thread="team"))}) as gateway:
        made = (await gateway.operator.post("/v1/tokens", json={"name": "guest", "scopes": ["send"]})).json()
        taken = await gateway.operator.post(
            "/v1/threads",
            json={"text": "wait", "thread_id": name, "limits": {"tokens": 1}},
            headers={"authorization": f"Bearer {made['secret']}"},
        )

        assert (taken.status_code, "choose another name" in taken.json()["detail"]) == (400, True)
        assert gateway.organism.threads() == ()
        for secret, thread in ((KEY, "key-ci"), (OTHER_KEY, "team")):
            answer = await ask(gateway.client.with_options(api_key=secret))
            assert answer.headers["organism-thread"] == thread


async def test_a_token_may_be_a_key_if_it_may_send(served: Serve) -> None:
    """Tokens of the daemon work as keys, each with a thread of its own; one that may only read does not."""
    async with served() as gateway:
        made = {
            scope: (await gateway.operator.post("/v1/tokens", json={"name": f"may-{scope}", "scopes": [scope]})).json()
            for scope in ("send", "read")
        }
        sender = gateway.client.with_options(api_key=made["send"]["secret"])
        assert (await ask(sender)).headers["organism-thread"] == "token-may-send"
        with pytest.raises(openai.PermissionDeniedError, match="use a token with the scope 'send'"):
            await ask(gateway.client.with_options(api_key=made["read"]["secret"]))
        with pytest.raises(openai.AuthenticationError, match="no valid key"):
            await ask(gateway.client.with_options(api_key="sk-of-nobody"))
        assert gateway.organism.usage.total.calls == 1
    async with served(gateway={"tokens": False}) as gateway:
        assert (await gateway.operator.get("/v1/models")).status_code == 401


async def test_an_operator_charges_an_agents_own_thread(served: Serve) -> None:
    """With a token that may operate, a call is charged to a conversation of agents, whose budget it shares."""
    async with served() as gateway:
        await gateway.organism.open_thread(Text("wait"), thread_id="of-an-agent")
        headers = {"organism-thread": "of-an-agent"}
        answer = await gateway.operator.post(
            "/v1/chat/completions", json={"model": "main", "messages": HI}, headers=headers
        )

        assert answer.status_code == 200
        assert gateway.organism.budgets.budget("of-an-agent").spent.tokens == 5
        assert gateway.organism.usage.by_agent()["owner"].calls == 1


async def test_a_key_is_known_by_either_header(served: Serve) -> None:
    """The key may come as a bearer token or as x-api-key, as the official clients send it."""
    async with served() as gateway:
        bare = {"authorization": ""}
        assert (await gateway.http.get("/v1/models", headers=bare)).status_code == 401
        assert (await gateway.http.get("/v1/models", headers=bare | {"x-api-key": KEY})).status_code == 200


async def test_a_limit_of_a_key_per_day_counts_all_its_threads(served: Serve) -> None:
    """A key is limited like an agent: over all that it names, for a day."""
    plan = BudgetPlan(thread=Limits(tokens=10_000), agents={"ci": ScopedLimits(Limits(calls=2), per="day")})
    async with served(limits=plan) as gateway:
        await ask(gateway.client, "a")
        await ask(gateway.client, "b")
        with pytest.raises(openai.APIStatusError) as refused:
            await ask(gateway.client, "c")

        assert refused.value.body["organism"]["scope"].startswith("agent:ci@day:")
        assert (await ask(gateway.client.with_options(api_key=OTHER_KEY))).status_code == 200


async def test_names_are_bounded_in_form_and_number(served: Serve) -> None:
    """A key cannot fill the daemon's memory with threads, nor give one a name that is none."""
    async with served(gateway={"threads": 2}) as gateway:
        await ask(gateway.client)
        await ask(gateway.client, "one")
        with pytest.raises(openai.APIStatusError) as refused:
            await ask(gateway.client, "two")
        assert refused.value.code == "too_many_threads"
        with pytest.raises(openai.BadRequestError, match="'no/name' cannot be a thread's id"):
            await ask(gateway.client.with_options(api_key=OTHER_KEY), "no/name")
        assert len(gateway.organism.threads()) == 2


async def test_a_thread_that_nobody_uses_makes_room_for_another(served: Serve) -> None:
    """A key that names a thread for each conversation is not stuck: the one idle longest ends, if for an hour."""
    clock = ManualClock()
    async with served(gateway={"threads": 3}, clock=clock) as gateway:
        for name in ("first", "second", None):
            await ask(gateway.client, name)
            clock.advance(60)
        await ask(gateway.client, "first")
        with pytest.raises(openai.APIStatusError, match="3 threads open, each used lately"):
            await ask(gateway.client, "third")
        clock.advance(3601)
        await ask(gateway.client, "third")

        assert {view.thread_id for view in gateway.organism.threads()} == {"first", "third", "key-ci"}
        page = (await gateway.operator.get("/v1/threads?state=completed")).json()
        assert [(each["thread_id"], each["budget"]["spent"]["calls"]) for each in page["threads"]] == [("second", 1)]
        with pytest.raises(openai.PermissionDeniedError, match="thread 'second' has ended, or is not this key's"):
            await ask(gateway.client, "second")


async def test_a_paused_thread_does_not_keep_others_from_making_room(served: Serve) -> None:
    """Where the thread that is idle longest cannot end, because an operator looks at it, the next one does."""
    clock = ManualClock()
    async with served(gateway={"threads": 2}, clock=clock) as gateway:
        for name in ("first", "second"):
            await ask(gateway.client, name)
            clock.advance(60)
        await gateway.operator.post("/v1/threads/first/pause")
        clock.advance(3601)
        await ask(gateway.client, "third")

        assert {view.thread_id for view in gateway.organism.threads()} == {"first", "third"}


async def test_a_call_belongs_to_the_trace_of_whoever_makes_it(served: Serve) -> None:
    """A request's traceparent is on its usage event and goes on to the provider, whichever thread pays."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    async with served() as gateway, gateway.organism.usage.subscribe() as events:
        await ask(gateway.client)
        create = gateway.client.chat.completions.create
        await create(model="main", messages=HI, extra_headers=headers)
        told = (event async for event in events if isinstance(event, UsageEvent))
        _first, second = await anext(told), await anext(told)

        assert second.trace_id == trace
        assert gateway.provider.requests[-1].headers["traceparent"].startswith(f"00-{trace}-")


async def test_an_operator_raises_pauses_and_ends_it_like_any_thread(served: Serve) -> None:
    """What an operator does to a thread is felt by the program at once, in words that say what happened."""
    async with served(limits=Limits(calls=1)) as gateway:
        await ask(gateway.client)
        with pytest.raises(openai.APIStatusError, match="budget exhausted in thread key-ci"):
            await ask(gateway.client)
        shown = (await gateway.operator.get("/v1/threads")).json()["threads"][0]
        assert (shown["thread_id"], shown["state"], shown["budget"]["spent"]["calls"]) == ("key-ci", "open", 1)
        raised = await gateway.operator.put("/v1/threads/key-ci/limits", json={"calls": 5})
        assert raised.status_code == 200
        await ask(gateway.client)

        await gateway.operator.post("/v1/threads/key-ci/pause")
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await ask(gateway.client)
        assert refused.value.code == "thread_paused"
        await gateway.operator.post("/v1/threads/key-ci/resume")
        await ask(gateway.client)

        assert (await gateway.operator.delete("/v1/threads/key-ci")).status_code == 200
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await ask(gateway.client)
        assert refused.value.code == "thread_not_open"
        assert gateway.organism.threads() == ()
        assert len(gateway.provider.bill) == 3


async def test_what_was_spent_outlives_the_process(served: Serve, tmp_path: Path) -> None:
    """After a restart on the same journal the thread goes on where it was: same budget, same owner, same refusals."""
    limits = Limits(calls=2)
    async with served(limits=limits, journal=SqliteJournal(tmp_path / "journal.db")) as gateway:
        await ask(gateway.client)
        await ask(gateway.client, "named")
        await gateway.operator.post("/v1/threads/named/pause")
    async with served(limits=limits, journal=SqliteJournal(tmp_path / "journal.db")) as gateway:
        states = {view.thread_id: view.status for view in gateway.organism.threads()}
        assert states == {"key-ci": "open", "named": "paused"}
        await ask(gateway.client)
        with pytest.raises(openai.APIStatusError, match="budget exhausted in thread key-ci"):
            await ask(gateway.client)
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await ask(gateway.client.with_options(api_key=OTHER_KEY), "named")
        assert refused.value.code == "thread_not_open"
        assert gateway.organism.budgets.budget("key-ci").spent.calls == 2


async def test_many_at_once_never_spend_more_than_the_limit(served: Serve) -> None:
    """Fifty calls at the same time against a budget for some of them: bill and ledger agree and stay within it."""
    async with served(limits=Limits(tokens=400)) as gateway:
        refused = 0

        async def one() -> None:
            nonlocal refused
            try:
                await ask(gateway.client, max_tokens=20)
            except openai.APIStatusError:
                refused += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(one)

        spent = gateway.organism.budgets.budget("key-ci").spent
        assert spent.tokens == gateway.provider.billed.total <= 400
        assert spent.calls == 50 - refused == len(gateway.provider.requests)
        assert spent.calls > 0


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"tokens": 300}, Limits(tokens=300, calls=9)),
        ({"usd": "1.50", "calls": 2}, Limits(tokens=500, calls=2, cost_nanousd=1_500_000_000)),
        ({"tokens": 10_000, "calls": 100}, Limits(tokens=500, calls=9)),
        ({"seconds": 60}, Limits(tokens=500, calls=9, elapsed_ns=60 * 10**9)),
        ({}, Limits(tokens=500, calls=9)),
    ],
)
async def test_token_is_held_to_its_own_limits_wherever_it_opens_a_thread(
    served: Serve, limits: dict[str, Any], expected: Limits
) -> None:
    """By the gateway, by the API, by a session begun with it: never more than it was given, nor than is configured."""
    most = Limits(tokens=500, calls=9)
    async with served(gateway={"limits": most}, limits=most) as gateway:
        body = {"name": "guest", "scopes": ["send", "read"], "limits": limits}
        made = (await gateway.operator.post("/v1/tokens", json=body)).json()
        me = {"authorization": f"Bearer {made['secret']}"}
        session = (await gateway.http.post("/v1/sessions", headers=me)).json()["secret"]
        await ask(gateway.client.with_options(api_key=made["secret"]))
        await ask(gateway.client.with_options(api_key=session), "of-a-session")
        for name, asked in (("plain", None), ("greedy", {"tokens": 10**6, "calls": "unlimited"})):
            opened = {"text": "wait", "to": "writer", "thread_id": name} | ({"limits": asked} if asked else {})
            assert (await gateway.http.post("/v1/threads", json=opened, headers=me)).status_code == 202

        budgets = [gateway.organism.budgets.budget(name) for name in ("token-guest", "of-a-session", "plain", "greedy")]
        assert [each.limits for each in budgets] == [expected] * 4
        (listed,) = [each for each in (await gateway.operator.get("/v1/tokens")).json() if each["name"] == "guest"]
        assert "secret" not in listed
        page = (await gateway.operator.get("/v1/events/page", params={"type": "OperatorAction"})).text
        assert "token.make" in page
        assert made["secret"] not in page


@pytest.mark.parametrize("scopes", [["operate"], ["admin"], ["send", "operate"], ["read"]])
async def test_limits_that_would_bind_nothing_are_refused(served: Serve, scopes: list[str]) -> None:
    """Who may raise limits is not held by them, and who opens no thread has none to limit: that is said at once."""
    async with served() as gateway:
        body = {"name": "guest", "scopes": scopes, "limits": {"tokens": 5}}
        refused = await gateway.operator.post("/v1/tokens", json=body)
        assert (refused.status_code, "limits" in refused.json()["detail"]) == (400, True)


@pytest.mark.parametrize("scope", ["read", "send", "operate"])
async def test_only_an_admin_makes_and_revokes_tokens(served: Serve, scope: str) -> None:
    """No token gives more than it has: whoever is below an admin gives nothing at all, and sees nobody's."""
    async with served() as gateway:
        made = (await gateway.operator.post("/v1/tokens", json={"name": "low", "scopes": [scope]})).json()
        me = {"authorization": f"Bearer {made['secret']}"}
        answers = [
            await gateway.http.post("/v1/tokens", json={"name": "more", "scopes": [scope]}, headers=me),
            await gateway.http.request("DELETE", "/v1/tokens/low", headers=me),
            await gateway.http.get("/v1/tokens", headers=me),
        ]
        assert [answer.status_code for answer in answers] == [403, 403, 403]


async def test_keys_of_the_configuration_are_listed_and_neither_limited_nor_revoked(served: Serve) -> None:
    """Who looks at the tokens sees all that may call, without secrets and hashes; what a file says is changed there."""
    team = {"limits": Limits(tokens=700), "labels": {"team": "blue"}}
    async with served(gateway={"keys": (key("ci", KEY, **team),)}) as gateway:
        listed = await gateway.operator.get("/v1/tokens")
        tries = (
            await gateway.operator.patch("/v1/tokens/key:ci", json={"limits": {"calls": 1}}),
            await gateway.operator.delete("/v1/tokens/key:ci"),
            await gateway.operator.patch("/v1/tokens/owner", json={"limits": {"calls": 1}}),
            await gateway.operator.patch("/v1/tokens/nobody", json={"limits": None}),
        )
    assert [(one["name"], one["source"]) for one in listed.json()] == [("owner", "made"), ("key:ci", "configuration")]
    assert (listed.json()[1]["limits"]["tokens"], listed.json()[1]["labels"]) == (700, {"team": "blue"})
    assert sha256(KEY.encode()).hexdigest() not in listed.text
    assert [(each.status_code, each.json()["code"]) for each in tries] == [(404, "unknown_token")] * 4


async def test_other_limits_of_a_token_bind_what_it_opens_from_then_on(served: Serve) -> None:
    """A key is given more or less without a new secret: each conversation that it begins from then on has that."""
    async with served(gateway={"keys": ()}, limits=Limits(tokens=2000)) as gateway:
        body = {"name": "app", "scopes": ["send"], "limits": {"calls": 7}}
        secret = (await gateway.operator.post("/v1/tokens", json=body)).json()["secret"]
        client = gateway.client.with_options(api_key=secret)
        await ask(client, "first")
        changed = await gateway.operator.patch("/v1/tokens/app", json={"limits": {"calls": 9, "tokens": 900}})
        await ask(client, "second")
        await ask(client, "first")
        free = await gateway.operator.patch("/v1/tokens/app", json={"limits": None})
        await ask(client, "third")
        made = [gateway.organism.budgets.budget(name).limits for name in ("first", "second", "third")]
    assert (changed.json()["limits"]["calls"], free.json()["limits"]) == (9, None)
    assert made == [Limits(tokens=2000, calls=7), Limits(tokens=900, calls=9), Limits(tokens=2000)]


@pytest.mark.parametrize("scope", ["read", "operate", "admin"])
async def test_a_token_that_limits_would_not_bind_gets_none(served: Serve, scope: str) -> None:
    """Nobody believes a token to be bound that opens no threads, or could raise its limits itself."""
    async with served() as gateway:
        await gateway.operator.post("/v1/tokens", json={"name": "eye", "scopes": [scope]})
        refused = await gateway.operator.patch("/v1/tokens/eye", json={"limits": {"calls": 1}})
    assert (refused.status_code, "limits" in refused.json()["detail"]) == (400, True)
