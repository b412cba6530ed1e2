"""Two attempts at one call: the quicker answer counts, both are held and charged."""

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest

from organism.amounts import Limits
from organism.errors import RejectedError, UncertainError
from organism.router.call import RouterSettings
from organism.testing import ScriptedAnswer, ScriptedProvider, run
from organism.usage.activity import CallEnded
from organism.usage.events import BudgetExceeded, UsageEvent

MakeRouter = Callable[..., Any]
"""See ``conftest.py``."""


def provider(name: str, latency_s: float, answer: str | ScriptedAnswer = "one two three") -> ScriptedProvider:
    return ScriptedProvider([answer], name=name, latency_s=latency_s)


def failing(error: Exception, latency_s: float) -> ScriptedAnswer:
    return ScriptedAnswer(error=error, latency_s=latency_s)  # type: ignore[arg-type]


def test_no_hedge_unless_asked_for(make_router: MakeRouter) -> None:
    """A slow model costs patience, not money, unless one says otherwise."""

    async def main() -> None:
        a, b = provider("a", 100), provider("b", 1)
        async with make_router(a, b) as it:
            await it.ask()
        assert b.requests == []

    run(main)


def test_quick_answer_is_not_hedged(make_router: MakeRouter) -> None:
    """A hedge begins only when the first attempt is slow."""

    async def main() -> None:
        a, b = provider("a", 1), provider("b", 1)
        async with make_router(a, b, hedge_after_s=2.0) as it:
            await it.ask()
        assert b.requests == []

    run(main)


@pytest.mark.parametrize(("slow_s", "expected_s"), [(8, 4), (3, 3)])
def test_first_answer_counts_and_both_are_charged(make_router: MakeRouter, slow_s: float, expected_s: float) -> None:
    """Whoever is first is taken; the other is read to its end for its real usage, and charged for it."""

    async def main() -> None:
        a, b = provider("a", slow_s, "slow"), provider("b", 2, "quick one")
        async with make_router(a, b, hedge_after_s=2.0) as it:
            answer = await it.ask()
            assert anyio.current_time() == expected_s
            assert answer.text == ("quick one" if slow_s == 8 else "slow")
            assert it.registry.statistics().open_holds == 1, "the other still holds"
            await it.router.wait_idle("t")

            events = it.of(UsageEvent)
            assert sorted((event.provider, event.outcome, event.attempt) for event in events) == [
                ("a", "settled", 1),
                ("b", "settled", 2),
            ]
            assert len({event.call_id for event in events}) == 1
            assert it.registry.budget("t").spent.tokens == (a.billed + b.billed).total
            assert it.registry.budget("t").spent.calls == 2

    run(main)


def test_every_run_of_a_handler_gets_the_answer_that_was_first(make_router: MakeRouter) -> None:
    """What a handler was told once it is told again when it is run again, though the other answer was paid for too."""

    async def main() -> None:
        a, b = provider("a", 8, "slow"), provider("b", 2, "quick")
        async with make_router(a, b, hedge_after_s=2.0) as it:
            assert (await it.ask(message="msg_1")).text == "quick"
            await it.router.wait_idle("t")
            assert (await it.ask(message="msg_1")).text == "quick"
        assert len(a.requests) == len(b.requests) == 1

    run(main)


def test_streams_are_never_mixed(make_router: MakeRouter) -> None:
    """The text comes from whichever attempt speaks first, whole and from nobody else."""

    async def main() -> None:
        a, b = provider("a", 30, "a1 a2 a3"), provider("b", 9, "b1 b2 b3")
        async with make_router(a, b, hedge_after_s=5.0) as it:
            pieces: list[str] = []
            answer = await it.ask(on_text=pieces.append)
            assert "".join(pieces) == answer.text == "b1 b2 b3"
            assert anyio.current_time() == 14

    run(main)


def test_two_that_speak_in_the_same_instant_are_not_mixed(make_router: MakeRouter) -> None:
    """Whoever comes second by a hair is not heard, although it has not been let go yet."""

    async def main() -> None:
        a, b = provider("a", 30, "a1 a2 a3"), provider("b", 15, "b1 b2 b3")
        async with make_router(a, b, hedge_after_s=5.0) as it:
            pieces: list[str] = []
            answer = await it.ask(on_text=pieces.append)
            assert "".join(pieces) == answer.text

    for seed in range(5):
        run(main, seed=seed)


def test_stream_that_has_begun_is_not_hedged(make_router: MakeRouter) -> None:
    """An answer that is being written needs no second one."""

    async def main() -> None:
        a, b = provider("a", 30, "a1 a2 a3 a4 a5 a6"), provider("b", 1)
        async with make_router(a, b, hedge_after_s=6.0) as it:
            await it.ask(on_text=lambda piece: None)
        assert b.requests == []

    run(main)


def test_failure_of_one_is_no_failure_of_the_call(make_router: MakeRouter) -> None:
    """As long as one of the two answers there is an answer."""

    async def main() -> None:
        lost = failing(UncertainError("a", "reset"), 5)
        async with make_router(provider("a", 5, lost), provider("b", 9, "still"), hedge_after_s=1.0) as it:
            assert (await it.ask()).text == "still"
        busy = failing(RejectedError("b", "busy", again=True), 0)
        async with make_router(provider("a", 9, "still"), provider("b", 0, busy), hedge_after_s=1.0) as it:
            assert (await it.ask()).text == "still"

    run(main)


def test_hedge_that_does_not_fit_the_budget_is_not_made(make_router: MakeRouter) -> None:
    """The call itself was admitted and goes on; nobody is told of an exhausted budget's hedge as an error."""

    async def main() -> None:
        a, b = provider("a", 100, "slow"), provider("b", 1)
        async with make_router(a, b, hedge_after_s=1.0, limits=Limits(calls=1)) as it:
            assert (await it.ask()).text == "slow"
        assert b.requests == []

    run(main)


def test_hedge_takes_no_place_from_calls_that_wait(make_router: MakeRouter) -> None:
    """A hedge neither overtakes nor stands in line, nor is told of as an exhausted budget."""

    async def main() -> None:
        a, b = provider("a", 10, "slow"), provider("b", 1)
        limits = Limits(tokens=300)
        async with make_router(a, b, hedge_after_s=1.0, limits=limits) as it, anyio.create_task_group() as tasks:
            tasks.start_soon(it.ask)
            await anyio.sleep(0.5)
            tasks.start_soon(partial(it.ask, words=300))
            await anyio.sleep(5)
            assert it.registry.statistics().waiting == 1, "the large call, for which a hedge would leave less room"
            assert it.of(BudgetExceeded) == []
            tasks.cancel_scope.cancel()
        assert b.requests == []

    run(main)


def test_time_of_two_attempts_at_once_counts_once(make_router: MakeRouter) -> None:
    """What is told of a call's time at providers is never more than the call took."""

    async def main() -> None:
        ended: list[CallEnded] = []
        async with make_router(provider("a", 8), provider("b", 9), hedge_after_s=2.0) as it:
            it.router._activity.observe(ended.append)
            await it.ask()
        assert ended[0].provider_ns == ended[0].duration_ns == 8 * 10**9
        assert ended[0].attempts == 2

    run(main)


def test_hedge_counts_as_an_attempt(make_router: MakeRouter) -> None:
    """A call is never sent more often than its attempts allow, hedges included."""

    async def main() -> None:
        a, b = provider("a", 100), provider("b", 1)
        async with make_router(a, b, hedge_after_s=1.0, settings=RouterSettings(attempts=1)) as it:
            await it.ask()
        assert b.requests == []

    run(main)


def test_cancelled_caller_leaves_two_settled_attempts(make_router: MakeRouter) -> None:
    """Whoever gives up a hedged call owes for both attempts, and nothing stays held."""

    async def main() -> None:
        a, b = provider("a", 8), provider("b", 8)
        async with make_router(a, b, hedge_after_s=1.0) as it:
            with anyio.move_on_after(2):
                await it.ask()
            assert anyio.current_time() == 2
            await it.router.wait_idle("t")
            assert it.registry.budget("t").held.tokens == 0
            assert it.registry.budget("t").spent.tokens == (a.billed + b.billed).total

    run(main)
