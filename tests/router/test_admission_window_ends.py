"""A call that holds when its day or month ends, and has not left yet, is decided on the window in which it leaves."""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from organism.amounts import Limits
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan, ScopedLimits, Window
from organism.errors import BudgetExhaustedError, RejectedError
from organism.router.call import RouterSettings
from organism.router.limits.circuit import CircuitSettings
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.limits.rate_limit import RateLimits
from organism.testing import ScriptedAnswer, ScriptedProvider, run

MakeRouter = Callable[..., Any]
"""See ``conftest.py``."""

DAY_S = 86_400
ENDS: dict[Window, tuple[float, str, str]] = {
    "day": (DAY_S, "day:2026-01-01", "day:2026-01-02"),
    "month": (31 * DAY_S, "month:2026-01", "month:2026-02"),
}
"""When the window that is open at first ends, in seconds; its name; the name of the next."""

Ask = Callable[[], Awaitable[object]]


def provider(name: str, *script: str | ScriptedAnswer, latency_s: float = 100) -> ScriptedProvider:
    return ScriptedProvider(script or ("ok",), name=name, latency_s=latency_s)


def treated(**providers: ProviderSettings) -> RouterSettings:
    return RouterSettings(providers=providers, deadline_s=1e9)


ONE_PLACE = ProviderSettings(concurrency=1)


async def until(time_s: float) -> None:
    await anyio.sleep(time_s - anyio.current_time())


def check(registry: ThreadBudgetRegistry) -> None:
    """Nothing is held twice, and no account has promised more than it has."""
    calls = Counter((hold.call.call_id, hold.call.attempt) for hold in registry.open_holds() if hold.call is not None)
    assert all(count == 1 for count in calls.values())
    for state in registry.states():
        taken = state.spent + state.held
        assert state.limits.calls is None or taken.calls <= state.limits.calls
        assert state.limits.tokens is None or taken.tokens <= state.limits.tokens


# -- whatever it waits for ---------------------------------------------------------------------------------------------


def place() -> tuple[list[ScriptedProvider], dict[str, Any]]:
    return [provider("a")], {"settings": treated(a=ONE_PLACE)}


def minute() -> tuple[list[ScriptedProvider], dict[str, Any]]:
    return [provider("a", latency_s=1)], {"settings": treated(a=ProviderSettings(rates=RateLimits(requests=1)))}


def tokens_of_a_minute() -> tuple[list[ScriptedProvider], dict[str, Any]]:
    rates = RateLimits(tokens=100)
    return [provider("a", latency_s=40)], {"settings": treated(a=ProviderSettings(rates=rates))}


def hedge() -> tuple[list[ScriptedProvider], dict[str, Any]]:
    """The call itself is at ``a``, its hedge waits for the place at ``b``."""
    a = provider("a", ScriptedAnswer(text="ok", latency_s=500))
    return [a, provider("b")], {"settings": treated(b=ONE_PLACE), "hedge_after_s": 1.0}


def failover() -> tuple[list[ScriptedProvider], dict[str, Any]]:
    refused = RejectedError("a", "no such key", meaning="key")
    return [provider("a", ScriptedAnswer(error=refused)), provider("b")], {"settings": treated(b=ONE_PLACE)}


@pytest.mark.parametrize("window", ["day", "month"])
@pytest.mark.parametrize("scope", ["organism", "agent", "model", "provider"])
@pytest.mark.parametrize("situation", [place, minute, tokens_of_a_minute, failover])
def test_hold_moves_to_the_window_in_which_the_call_leaves(
    make_router: MakeRouter,
    situation: Callable[[], tuple[list[ScriptedProvider], dict[str, Any]]],
    scope: str,
    window: Window,
) -> None:
    """A call that waits over midnight for its provider is held, and charged, on the new day alone."""
    end_s, before, after = ENDS[window]
    each = ScopedLimits(Limits(calls=2), window)
    plan = BudgetPlan(
        thread=Limits(),
        windows={window: each.limits} if scope == "organism" else {},
        agents={"writer": each} if scope == "agent" else {},
        models={"main": each} if scope == "model" else {},
        providers={"a": each, "b": each} if scope == "provider" else {},
    )
    providers, options = situation()
    last = providers[-1].name
    account = {"agent": "agent:writer", "model": "model:main", "provider": f"provider:{last}"}.get(scope, "organism")

    async def main() -> None:
        async with make_router(*providers, limits=plan, on_entry=check, **options) as it:
            async with anyio.create_task_group() as tasks:
                await until(end_s - 20)
                tasks.start_soon(it.ask)
                await anyio.sleep(5)
                tasks.start_soon(it.ask)
                await until(end_s - 1)
                earlier = it.registry.state(f"{account}@{before}")
                assert (earlier.spent + earlier.held).calls == 2, "one has left, the other holds"
                await until(end_s + 200)
            assert it.registry.state(f"{account}@{before}").spent.calls == 1
            assert it.registry.state(f"{account}@{after}").spent.calls == 1
            assert it.registry.statistics().open_holds == 0

    run(main)


def test_hedge_that_waits_over_midnight_is_held_on_the_new_day(make_router: MakeRouter) -> None:
    """The attempt that was slow stays on the day on which it left; the one beside it counts on the day it leaves."""
    providers, options = hedge()
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(calls=4)})

    async def main() -> None:
        async with make_router(*providers, limits=plan, on_entry=check, **options) as it:
            async with anyio.create_task_group() as tasks:
                await until(DAY_S - 20)
                tasks.start_soon(it.ask)
                tasks.start_soon(it.ask)
                await until(DAY_S - 1)
                assert len(providers[1].requests) == 1, "one hedge has the place, the other waits for it"
                assert it.registry.state("organism@day:2026-01-01").held.calls == 4
            await it.router.wait_idle("t")
            assert it.registry.state("organism@day:2026-01-01").spent.calls == 3
            assert it.registry.state("organism@day:2026-01-02").spent.calls == 1

    run(main)


@pytest.mark.parametrize("waits_for", ["backoff", "circuit"])
def test_retry_after_midnight_is_held_on_the_new_day(make_router: MakeRouter, waits_for: str) -> None:
    """Between two attempts nothing is held; the next one counts on the day on which it leaves."""
    late = RejectedError("a", "busy", again=True, retry_after_s=60 if waits_for == "backoff" else None)
    a = provider("a", ScriptedAnswer(error=late), "ok", latency_s=1)
    circuit = CircuitSettings(failures=1 if waits_for == "circuit" else 5, open_s=60)
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(calls=1)})

    async def main() -> None:
        options = {"settings": treated(a=ProviderSettings(circuit=circuit))}
        async with make_router(a, limits=plan, on_entry=check, **options) as it:
            await until(DAY_S - 10)
            await it.ask()
            assert anyio.current_time() > DAY_S + 20
            assert it.registry.state("organism@day:2026-01-01").spent.calls == 0
            assert it.registry.state("organism@day:2026-01-02").spent.calls == 1

    run(main)


# -- in its place in line ----------------------------------------------------------------------------------------------


async def note(name: str, ask: Ask, ends: list[str]) -> None:
    try:
        await ask()
    except BudgetExhaustedError as error:
        ends.append(f"{name} refused by {error.shortfall.account}")
    else:
        ends.append(name)


def test_later_call_takes_no_room_of_those_that_held_before_midnight(make_router: MakeRouter) -> None:
    """Who waits for a provider over midnight comes first on the new day too, whoever asks before its turn has come."""
    a, ends = provider("a"), []  # type: ignore[var-annotated]
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(calls=3)})

    async def main() -> None:
        async with (
            make_router(a, limits=plan, on_entry=check, settings=treated(a=ONE_PLACE)) as it,
            anyio.create_task_group() as tasks,
        ):
            await until(DAY_S - 10)
            for name in ("first", "second", "third"):
                tasks.start_soon(note, name, it.ask, ends)
                await anyio.sleep(1)
            await until(DAY_S + 1)
            for name in ("fourth", "fifth"):
                tasks.start_soon(note, name, it.ask, ends)
                await anyio.sleep(1)
            assert it.registry.state("organism@day:2026-01-02").held.calls == 3

    run(main)
    # "fifth" waits in line for what "second" holds, and is refused after half a minute.
    refused = "fifth refused by organism@day:2026-01-02"
    assert ends == [refused, "first", "second", "third", "fourth"]


@pytest.mark.parametrize("seed", range(5))
def test_held_call_without_room_on_the_new_day_waits_before_later_ones(make_router: MakeRouter, seed: int) -> None:
    """Where a new day gives less, those that held wait in line for it in their order, and make way meanwhile."""
    a, ends = provider("a", "one", latency_s=12), []  # type: ignore[var-annotated]
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=1_000)})
    less = BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=100)})
    settings = treated(a=ProviderSettings(concurrency=2))

    async def main() -> None:
        async with (
            make_router(a, limits=plan, on_entry=check, settings=settings) as it,
            anyio.create_task_group() as tasks,
        ):
            await until(DAY_S - 10)
            for name in ("first", "second", "third", "fourth"):
                tasks.start_soon(note, name, partial(it.ask, cap=30), ends)
                await anyio.sleep(1)
            it.registry.replan(less, it.registry.thresholds)
            await until(DAY_S + 1)
            tasks.start_soon(note, "fifth", partial(it.ask, cap=30), ends)
            await anyio.sleep(1)
            new_day = it.registry.state("organism@day:2026-01-02")
            assert new_day.held.calls == 1, "the third; the fourth and the fifth wait in line"
            assert it.registry.statistics().waiting == 2
        assert it.router.statistics().providers["a"].in_flight == 0
        assert it.registry.statistics().open_holds == 0

    run(main, seed=seed)
    assert ends == ["first", "second", "third", "fourth", "fifth"]


def test_new_day_that_refuses_a_held_call_says_so(make_router: MakeRouter) -> None:
    """What no settlement can give room to is refused as any call is: with the numbers of the day that refuses it."""
    a, ends = provider("a", latency_s=20), []  # type: ignore[var-annotated]
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(calls=5)})
    less = BudgetPlan(thread=Limits(), windows={"day": Limits(calls=0)})

    async def main() -> None:
        async with make_router(a, limits=plan, on_entry=check, settings=treated(a=ONE_PLACE)) as it:
            async with anyio.create_task_group() as tasks:
                await until(DAY_S - 10)
                tasks.start_soon(note, "first", it.ask, ends)
                await anyio.sleep(1)
                tasks.start_soon(note, "second", it.ask, ends)
                await anyio.sleep(1)
                it.registry.replan(less, it.registry.thresholds)
            assert it.registry.statistics().open_holds == 0
            assert it.router.statistics().attempts_open == 0

    run(main)
    assert ends == ["first", "second refused by organism@day:2026-01-02"]
    assert len(a.requests) == 1


@pytest.mark.parametrize("again_s", [5, 30])
def test_caller_that_goes_while_its_call_waits_over_midnight_leaves_nothing(
    make_router: MakeRouter, again_s: float
) -> None:
    """A call that is given up gives back what it holds, on whichever day, and leaves the line."""
    a = provider("a", latency_s=20)
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=1_000)})
    less = BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=100)})

    async def main() -> None:
        async with make_router(
            a, limits=plan, on_entry=check, settings=treated(a=ProviderSettings(concurrency=2))
        ) as it:
            await until(DAY_S - 10)
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(partial(it.ask, cap=30))
                await anyio.sleep(1)
                it.registry.replan(less, it.registry.thresholds)
                await until(DAY_S + again_s)
                it.registry.serve_lines()
                tasks.cancel_scope.cancel()
            await it.router.wait_idle("t")
            assert it.registry.statistics().open_holds == it.registry.statistics().waiting == 0
            health = it.router.statistics().providers["a"]
            assert (health.in_flight, health.waiting) == (0, 0)

    run(main)


def test_limit_that_a_reload_adds_counts_for_calls_that_have_not_left(make_router: MakeRouter) -> None:
    """A call that waits for its provider is held on a scope that is limited meanwhile, before it leaves."""
    a = provider("a", latency_s=20)
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(calls=5)})
    more = BudgetPlan(thread=Limits(), windows={"day": Limits(calls=5)}, models={"main": ScopedLimits(Limits(calls=5))})

    async def main() -> None:
        async with make_router(a, limits=plan, on_entry=check, settings=treated(a=ONE_PLACE)) as it:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(it.ask)
                await anyio.sleep(1)
                tasks.start_soon(it.ask)
                await anyio.sleep(1)
                it.registry.replan(more, it.registry.thresholds)
            assert it.registry.state("model:main@thread:t").spent.calls == 1
            assert it.registry.state("organism@day:2026-01-01").spent.calls == 2

    run(main)


def test_answer_may_be_longer_where_the_new_day_has_more_room(make_router: MakeRouter) -> None:
    """A cap that yesterday's rest had cut is asked for as the new day allows, and so counted in the minute."""
    a = provider("a", " ".join(["word"] * 60), latency_s=20)
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(tokens=200)})

    async def main() -> None:
        async with make_router(a, limits=plan, on_entry=check, settings=treated(a=ONE_PLACE)) as it:
            await until(DAY_S - 10)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(it.ask, cap=50))
                await anyio.sleep(1)
                tasks.start_soon(partial(it.ask, cap=60))
            assert [request.max_output_tokens for request in a.requests] == [50, 60], "yesterday left 52 of the 60"

    run(main)
