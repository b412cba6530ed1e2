"""The end of a budget: what is said, with every number and the remedy, and when the same call fits by itself."""

import shlex
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import openai
import pytest

from organism import Limits
from organism.amounts import NS_PER_S, Dimension
from organism.budget.scopes import BudgetPlan, ScopedLimits, ScopeRule
from organism.errors import BudgetExhaustedError, Refusal, Relief
from organism.gateway.exhausted import exhausted
from organism.testing import HTTPStep, ManualClock
from tests.gateway.conftest import KEY, OTHER_KEY, key

Serve = Callable[..., AbstractAsyncContextManager[Any]]
HI = [{"role": "user", "content": "hi there"}]
NOW = datetime(2026, 11, 24, 18, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
DAY_END = datetime(2026, 11, 25, tzinfo=BERLIN)
MONTH_END = datetime(2026, 12, 1, tzinfo=BERLIN)
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "main", "messages": HI, "max_tokens": 10},
    "/v1/responses": {"model": "main", "input": "hi there", "max_output_tokens": 10},
    "/v1/messages": {"model": "main", "messages": HI, "max_tokens": 10},
}
ONE = Limits(calls=1)


@pytest.mark.parametrize(
    ("relief", "status", "code", "again", "resets_at"),
    [
        (None, 402, "insufficient_quota", None, None),
        (Relief(), 429, "budget_held", 10, None),
        (Relief(int(NOW.timestamp()) + 7200), 402, "insufficient_quota", 7200, "2026-11-24T20:30:00+00:00"),
        (Relief(int(NOW.timestamp()) + 86400 * 6), 402, "insufficient_quota", 518400, "2026-11-30T18:30:00+00:00"),
        (Relief(int(NOW.timestamp()) + 60), 429, "budget_resets", 60, "2026-11-24T18:31:00+00:00"),
        (Relief(int(NOW.timestamp())), 429, "budget_resets", 1, "2026-11-24T18:30:00+00:00"),
    ],
    ids=["never", "held", "in two hours", "in days", "in a minute", "just now"],
)
def test_refusal_says_when_it_passes_and_only_then(
    relief: Relief | None, status: int, code: str, again: int | None, resets_at: str | None
) -> None:
    """Clients are asked to wait only for what comes back soon; all else stops them, with the time if there is one."""
    if relief is not None and relief.at_ns is not None:
        relief = Relief(relief.at_ns * NS_PER_S)
    short = Refusal("organism@day:2026-11-24", "tokens", 1000, 900, 40, 160)
    fault = exhausted(BudgetExhaustedError(short, "key-ci", relief), NOW)

    assert (fault.status, fault.code, fault.retry_after_s) == (status, code, again)
    assert fault.retry is (False if status == 402 else None)
    assert fault.refusal is not None
    assert (fault.refusal.retry_after, fault.refusal.resets_at) == (again, resets_at)
    for part in ("key-ci", "organism@day:2026-11-24", "60 tokens left of 1,000", "900", "40", "160",
                 "organism budget raise organism@day:2026-11-24 --tokens 100"):  # fmt: skip
        assert part in fault.message
    assert ("2026-11-24 20:30:00+00:00 on, in 2:00:00" in fault.message) == (again == 7200)


def test_time_is_said_in_the_zone_in_which_days_begin() -> None:
    """A person reads the time at which their own day begins."""
    relief = Relief(int(datetime(2026, 11, 25, tzinfo=BERLIN).timestamp()) * NS_PER_S)
    error = BudgetExhaustedError(Refusal("organism@day:2026-11-24", "calls", 1, 1, 0, 1), "t", relief)
    fault = exhausted(error, NOW.astimezone(BERLIN))

    assert fault.refusal is not None
    assert fault.refusal.resets_at == "2026-11-25T00:00:00+01:00"
    assert fault.refusal.retry_after == 4.5 * 3600


@pytest.mark.parametrize(
    ("dimension", "limit", "spent", "held", "needed", "final_reserve_percent", "by"),
    [
        ("tokens", 1000, 900, 40, 160, 0, "--tokens 100"),
        ("tokens", 1000, 1500, 0, 160, 0, "--tokens 660"),
        ("tokens", 1000, 900, 0, 160, 5, None),
        ("calls", 3, 3, 0, 1, 0, "--calls 1"),
        ("usd", 10**9, 10**9, 0, 1, 0, "--usd 0.01"),
        ("usd", 10**9, 999_999_999, 0, 1_000_000_002, 0, "--usd 1.01"),
        ("usd", 2 * 10**9, 2 * 10**9, 0, 10**9, 5, None),
        ("seconds", 60 * NS_PER_S, 61 * NS_PER_S, 0, 1, 0, "--seconds 62"),
        ("seconds", 0, NS_PER_S, 0, 1, 0, "--seconds 62"),
        ("tokens", 0, 0, 0, 66, 5, "--tokens 10000"),
        ("tokens", 0, 0, 0, 30_000, 5, "--tokens 60000"),
        ("usd", 0, 0, 0, 17_100, 5, "--usd 1.00"),
    ],
)
def test_command_in_the_sentence_is_enough(
    dimension: Dimension, limit: int, spent: int, held: int, needed: int, final_reserve_percent: int, by: str | None
) -> None:
    """Whoever runs it is not told the same again: also above a limit, and where a slice is kept of the new one."""
    kept = limit * final_reserve_percent // 100
    short = Refusal("thread:t", dimension, limit, spent, held, needed, kept)
    command = exhausted(BudgetExhaustedError(short, "t"), NOW).message.rpartition("organism budget raise thread:t ")[2]

    assert by is None or command == by
    option, amount = shlex.split(command)
    unit = {"--usd": 10**9, "--seconds": NS_PER_S}.get(option, 1)
    limit += round(float(amount) * unit)
    assert spent + held + needed <= limit - limit * final_reserve_percent // 100


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("limits", "scope", "resets"),
    [
        pytest.param({"windows": {"day": ONE}}, "organism@day:", DAY_END, id="day"),
        pytest.param({"windows": {"month": ONE}}, "organism@month:", MONTH_END, id="month"),
        pytest.param({"agents": {"ci": ScopedLimits(ONE, "day")}}, "agent:ci@day:", DAY_END, id="key per day"),
        pytest.param({"models": {"main": ScopedLimits(ONE, "month")}}, "model:main@month:", MONTH_END, id="model"),
        pytest.param({"providers": {"double": ScopedLimits(ONE, "day")}}, "provider:double@", DAY_END, id="provider"),
        pytest.param({"thread": ONE}, "thread:key-ci", None, id="thread"),
        pytest.param({"agents": {"ci": ScopedLimits(ONE)}}, "agent:ci@thread:key-ci", None, id="key per thread"),
        pytest.param({"windows": {"day": Limits(tokens=5)}}, "organism@day:", None, id="too large for a day"),
    ],
)
async def test_spent_window_says_when_it_begins_anew_and_nothing_else_does(
    served: Serve, limits: dict[str, Any], scope: str, resets: datetime | None
) -> None:
    """In headers, body and sentence of each format, whole or streamed; and then the same call goes through."""
    clock = ManualClock(int(NOW.timestamp()) * NS_PER_S)
    plan = BudgetPlan(**({"thread": Limits()} | limits), time_zone=BERLIN)
    async with served(limits=plan, clock=clock) as gateway:
        await gateway.http.post("/v1/messages", json=PATHS["/v1/messages"])
        for path, stream in product(PATHS, (False, True)):
            body = PATHS[path] | {"stream": stream}
            refused = await gateway.http.post(path, json=body)

            error = refused.json()["error"]
            numbers = error["organism"]
            assert (refused.status_code, refused.headers["x-should-retry"]) == (402, "false")
            assert numbers["scope"].startswith(scope)
            assert f"organism budget raise {numbers['scope']} --" in error["message"]
            if resets is None:
                assert "retry-after" not in refused.headers
                assert (numbers["resets_at"], numbers["retry_after"]) == (None, None)
                continue
            assert numbers["resets_at"] == refused.headers["organism-budget-resets-at"] == resets.isoformat()
            assert resets.isoformat(" ") in error["message"]
        if resets is not None:
            clock.advance(int(refused.headers["retry-after"]) - 1)
            assert (await gateway.http.post(path, json=body)).status_code == 429
            clock.advance(1)
            assert (await gateway.http.post(path, json=body)).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "limits"),
    [
        ("/v1/chat/completions", {"thread": Limits(tokens=100)}),
        ("/v1/responses", {"windows": {"day": Limits(tokens=100)}}),
        ("/v1/messages", {"agents": {"ci": ScopedLimits(Limits(tokens=100))}}),
        ("/v1/chat/completions", {"models": {"main": ScopedLimits(Limits(tokens=100), "day")}}),
        ("/v1/messages", {"providers": {"double": ScopedLimits(Limits(tokens=100), "month")}}),
    ],
    ids=["thread", "day", "key", "model", "provider"],
)
async def test_budget_that_calls_under_way_hold_is_worth_another_try(
    served: Serve, path: str, limits: dict[str, Any]
) -> None:
    """What others hold may come back in a moment: 429 with Retry-After, and the same numbers and command."""
    plan = BudgetPlan(**({"thread": Limits()} | limits), final_reserve_percent=0)
    asked = anyio.Event()
    more = anyio.Event()

    def script(_request: object) -> HTTPStep:
        asked.set()
        return HTTPStep(text="one two", delay_s=0.3)

    async with served(script, limits=plan, wait_s=0.05) as gateway, anyio.create_task_group() as tasks:
        body = PATHS[path]

        async def first() -> None:
            large = body | {"max_output_tokens" if path == "/v1/responses" else "max_tokens": 85}
            assert (await gateway.http.post(path, json=large)).status_code == 200
            more.set()

        tasks.start_soon(first)
        with anyio.fail_after(60):
            await asked.wait()
            refused = await gateway.http.post(path, json=body)
            await more.wait()

        error = refused.json()["error"]
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
        assert "x-should-retry" not in refused.headers
        assert error.get("code", error["organism"].get("code")) == "budget_held"
        assert (error["organism"]["retry_after"], error["organism"]["resets_at"]) == (10, None)
        assert error["organism"]["held"] > 0
        assert "organism budget raise" in error["message"]
        assert (await gateway.http.post(path, json=body)).status_code == 200


@pytest.mark.anyio
async def test_two_keys_on_one_spent_thread_hear_the_same(served: Serve) -> None:
    """A thread that several keys pay from is refused to each of them, under its own name."""
    keys = (key("ci", KEY, thread="team"), key("other", OTHER_KEY, thread="team"))
    async with served(limits=ONE, gateway={"keys": keys}) as gateway:
        body = PATHS["/v1/messages"]
        await gateway.http.post("/v1/messages", json=body)
        for secret in (KEY, OTHER_KEY):
            refused = await gateway.http.post("/v1/messages", json=body, headers={"authorization": f"Bearer {secret}"})
            assert refused.status_code == 402
            assert "organism budget raise thread:team --calls 1" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [("freeze", "lift the freeze"), ("breaker", "let it go on"), ("approval", "raise the limit")],
)
def test_what_no_limit_has_refused_is_said_as_it_is(cause: Any, remedy: str) -> None:
    """A program hears why in the operator's own words, stops, and is not sent to raise what is no limit."""
    refusal = Refusal(cause, "calls", 0, 0, 0, 1, cause=cause, note="the reason")
    fault = exhausted(BudgetExhaustedError(refusal, "th_1"), datetime(2026, 11, 24, tzinfo=UTC))

    assert (fault.status, fault.retry, fault.retry_after_s) == (402, False, None)
    assert fault.message == "thread th_1 waits: the reason"
    assert fault.refusal is not None
    assert remedy in fault.refusal.remedy


APPROVE = ScopeRule(thresholds=(100,), actions=((50, "approve"),))


@pytest.mark.anyio
@pytest.mark.parametrize("scope", ["thread", "day"])
async def test_call_that_a_person_must_allow_names_the_question(served: Serve, scope: str) -> None:
    """Id, command and time are in sentence, body and headers of each format; after the answer the call goes through."""
    two, free = Limits(calls=2), Limits(tokens=100_000)
    plan = (
        BudgetPlan(thread=two, rules={"thread": APPROVE}, final_reserve_percent=0)
        if scope == "thread"
        else BudgetPlan(thread=free, windows={"day": two}, rules={"day": APPROVE})
    )
    async with served(limits=plan) as gateway:
        path, body = "/v1/messages", PATHS["/v1/messages"]
        assert (await gateway.http.post(path, json=body)).status_code == 200
        for each, stream in product(PATHS, (False, True)):
            refused = await gateway.http.post(each, json=PATHS[each] | {"stream": stream})

            (asked,) = (await gateway.operator.get("/v1/approvals")).json()
            error = refused.json()["error"]
            assert (refused.status_code, refused.headers["x-should-retry"]) == (402, "false")
            assert refused.headers["organism-approval"] == error["organism"]["approval"] == asked["id"]
            assert error["message"].endswith(f"with: organism approvals allow {asked['id']}")
            assert ("retry-after" in refused.headers) == (scope == "day")
            assert ("without an answer it fits again from" in error["message"]) == (scope == "day")
        done = await gateway.operator.post(f"/v1/approvals/{asked['id']}", json={"allowed": True})
        assert done.status_code == 200
        assert (await gateway.http.post(path, json=body)).status_code == 200


@pytest.mark.anyio
async def test_clients_of_a_question_stop_at_once(served: Serve) -> None:
    """The official SDK makes one request and raises; it does not try for minutes while a person thinks."""
    plan = BudgetPlan(thread=Limits(calls=2), rules={"thread": APPROVE}, final_reserve_percent=0)
    async with served(limits=plan) as gateway:
        ask = gateway.client.chat.completions.create
        await ask(model="main", messages=HI, max_tokens=10)  # type: ignore[call-overload]
        with anyio.fail_after(60), pytest.raises(openai.APIStatusError, match="organism approvals allow") as caught:
            await ask(model="main", messages=HI, max_tokens=10)  # type: ignore[call-overload]
        assert caught.value.status_code == 402
        assert caught.value.request.headers["x-stainless-retry-count"] == "0"
        assert len(gateway.provider.requests) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("action", ["park", "refuse"])
@pytest.mark.parametrize(
    ("window", "seconds"),
    [("day", (DAY_END - NOW).total_seconds()), ("6h", 6 * 3600 + 60), (None, None)],
    ids=["day", "rolling", "thread"],
)
async def test_end_below_the_limit_says_when_it_passes_and_what_is_enough(
    served: Serve, action: Any, window: Any, seconds: float | None
) -> None:
    """A limit that ends at 50 % comes back and is raised by what lies below that, and not below the whole."""
    clock = ManualClock(int(NOW.timestamp()) * NS_PER_S)
    rule = ScopeRule(thresholds=(100,), actions=((50, action),))
    two, free = Limits(calls=2), Limits(tokens=100_000)
    plan = (
        BudgetPlan(thread=two, rules={"thread": rule}, final_reserve_percent=0)
        if window is None
        else BudgetPlan(thread=free, windows={window: two}, rules={window: rule}, time_zone=BERLIN)
    )
    async with served(limits=plan, clock=clock) as gateway:
        path, body = "/v1/messages", PATHS["/v1/messages"]
        assert (await gateway.http.post(path, json=body)).status_code == 200
        refused = await gateway.http.post(path, json=body)

        message = refused.json()["error"]["message"]
        assert "which is 50 % of its limit" in message
        again = refused.headers.get("retry-after")
        assert (again is None) == (seconds is None)
        assert again is None or abs(int(again) - (seconds or 0)) <= 60
        command = shlex.split(message[message.index("organism budget raise") :])
        change = {command[4].removeprefix("--"): int(command[5])}
        raised = await gateway.operator.post(f"/v1/budgets/{command[3]}/move", json=change)
        assert raised.status_code == 200, raised.text
        assert (await gateway.http.post(path, json=body)).status_code == 200
