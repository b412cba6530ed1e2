"""What one route refuses by its meaning, and who is asked next."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from organism.errors import Meaning, RejectedError
from organism.testing import ScriptedAnswer, ScriptedProvider, run
from organism.usage.events import LLMRetry, UsageEvent

MakeRouter = Callable[..., Any]

ELSEWHERE: list[Meaning] = ["key", "credit", "model", "context", "address", "rate", "overloaded", "failed"]
FINAL: list[Meaning] = ["request", "policy"]


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Let time pass only when everybody waits."""

    def runner(make_router: MakeRouter, meaning: Meaning) -> None:
        run(test, make_router, meaning)

    runner.__doc__ = test.__doc__
    return runner


def refusing(name: str, meaning: Meaning) -> ScriptedProvider:
    return ScriptedProvider([ScriptedAnswer(error=RejectedError(name, "no", status=400, meaning=meaning))], name=name)


@pytest.mark.parametrize("meaning", ELSEWHERE)
@in_virtual_time
async def test_what_is_about_a_route_sends_the_call_to_the_next(make_router: MakeRouter, meaning: Meaning) -> None:
    """A key withdrawn, an account empty, a model gone, an outage: nothing is charged, and the healthy route answers."""
    async with make_router(refusing("a", meaning), ScriptedProvider(["fine"], name="b")) as it:
        answer = await it.ask()

    assert answer.text == "fine"
    assert [event.outcome for event in it.of(UsageEvent)] == ["released", "settled"]


@pytest.mark.parametrize("meaning", FINAL)
@in_virtual_time
async def test_what_is_about_the_request_is_final(make_router: MakeRouter, meaning: Meaning) -> None:
    """A request that is wrong, or not allowed, is not carried from door to door."""
    b = ScriptedProvider(["fine"], name="b")
    async with make_router(refusing("a", meaning), b) as it:
        with pytest.raises(RejectedError, match="provider 'a' answered 400: no"):
            await it.ask()

    assert not b.requests
    assert it.registry.budget("t").spent.tokens == 0


@pytest.mark.parametrize("meaning", ["key", "credit", "model", "context", "address"])
@in_virtual_time
async def test_only_route_is_not_asked_again_in_vain(make_router: MakeRouter, meaning: Meaning) -> None:
    """Where nobody else serves the model, a refusal that no pause will change is told at once."""
    a = refusing("a", meaning)
    async with make_router(a) as it:
        with pytest.raises(RejectedError, match="provider 'a' answered 400: no"):
            await it.ask()

    assert len(a.requests) == 1
    assert not it.of(LLMRetry)


@pytest.mark.parametrize("meaning", ["rate", "overloaded", "failed"])
@in_virtual_time
async def test_who_asks_for_more_than_all_pauses_is_left_out(make_router: MakeRouter, meaning: Meaning) -> None:
    """A quota of a day: the other route is asked at once, and where there is none the call ends at once."""
    tomorrow = RejectedError("a", "quota", meaning=meaning, retry_after_s=86_400)
    a, b = ScriptedProvider([ScriptedAnswer(error=tomorrow)], name="a"), refusing("b", meaning)
    async with make_router(a, ScriptedProvider(["fine"], name="b")) as it:
        assert (await it.ask()).text == "fine"
        assert [event.delay_s for event in it.of(LLMRetry)] == [0]
    async with make_router(a, b) as it:
        with pytest.raises(RejectedError, match="provider 'b' answered 400: no"):
            await it.ask()
    assert (len(a.requests), len(b.requests)) == (2, 2), "the pauses are those of the one that may help"
    async with make_router(a) as it:
        asked_s = anyio.current_time()
        with pytest.raises(RejectedError, match="quota") as refused:
            await it.ask()
        assert (anyio.current_time() - asked_s, refused.value.retry_after_s) == (0, 86_400)
    assert len(a.requests) == 3


@pytest.mark.parametrize("meaning", ["rate", "overloaded", "failed"])
@in_virtual_time
async def test_only_route_is_asked_again_after_a_pause(make_router: MakeRouter, meaning: Meaning) -> None:
    """What passes is waited for, as often as the settings say."""
    refusals = [ScriptedAnswer(error=RejectedError("a", "no", meaning=meaning)), "fine"]
    async with make_router(ScriptedProvider(refusals, name="a")) as it:
        answer = await it.ask()

    assert answer.text == "fine"
    assert len(it.of(LLMRetry)) == 1
