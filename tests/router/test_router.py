"""Where calls go, how often they are tried, and what is held meanwhile; in virtual time."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from organism.amounts import Limits
from organism.budget.holds import Spender
from organism.budget.policy import Ask
from organism.budget.scopes import BudgetPlan, Per, ScopedLimits
from organism.errors import (
    BudgetExhaustedError,
    ProviderError,
    RejectedError,
    StoppedError,
    TooLargeError,
    UncertainError,
    UnpricedError,
)
from organism.pricing.rates import Rates, flat_rates
from organism.router.call import RouterSettings
from organism.router.limits.backoff import Backoff
from organism.router.limits.provider_settings import ProviderSettings, Timeouts
from organism.router.limits.rate_limit import RateLimits
from organism.router.planning.plan import Degrade, ModelPlan, Route
from organism.testing import ScriptedAnswer, ScriptedProvider, run
from organism.usage.events import BudgetExceeded, LLMFailover, LLMRetry, ModelDegraded, UsageEvent

MakeRouter = Callable[..., Any]
"""See ``conftest.py``."""

OVERLOADED = ScriptedAnswer(error=RejectedError("p", "overloaded", status=503, again=True))
BUSY = ScriptedAnswer(error=RejectedError("p", "slow down", status=429, again=True, retry_after_s=20))
REFUSED = ScriptedAnswer(error=RejectedError("p", "no such model", status=404))
LATE = ScriptedAnswer(error=UncertainError("p", "gateway timeout", status=504))


def provider(name: str, *script: str | ScriptedAnswer, latency_s: float = 0.0) -> ScriptedProvider:
    return ScriptedProvider(script or (f"I am {name}",), name=name, latency_s=latency_s)


def rate(nanousd: int) -> Rates:
    """Return a price of so many nano-USD a token."""
    return flat_rates(input=nanousd * 1_000_000, output=nanousd * 1_000_000, source="test")


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Turn an async test into one that runs in virtual time under several orders of events."""

    def runner(make_router: object) -> None:
        for seed in range(3):
            run(test, make_router, seed=seed)

    runner.__doc__ = test.__doc__
    return runner


# -- failover and retry -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_next_provider_takes_over_at_once(make_router: MakeRouter) -> None:
    """When a provider refuses for now, the next one is asked without a pause, and events say so."""
    a, b = provider("a", OVERLOADED), provider("b")
    async with make_router(a, b) as it:
        answer = await it.ask()

    assert answer.text == "I am b"
    assert anyio.current_time() == 0
    (retry,) = it.of(LLMRetry)
    assert (retry.provider, retry.next_provider, retry.delay_s, retry.attempt) == ("a", "b", 0, 1)
    (failover,) = it.of(LLMFailover)
    assert (failover.from_provider, failover.to_provider, failover.model) == ("a", "b", "main")
    assert "overloaded" in failover.reason
    assert [(event.provider, event.outcome, event.attempt) for event in it.of(UsageEvent)] == [
        ("a", "released", 1),
        ("b", "settled", 2),
    ]


@in_virtual_time
async def test_provider_is_left_alone_as_long_as_it_asked(make_router: MakeRouter) -> None:
    """Retry-After is kept to, and other providers are asked meanwhile."""
    a, b = provider("a", BUSY, "back again"), provider("b", OVERLOADED)
    async with make_router(a, b) as it:
        answer = await it.ask()

    assert answer.text == "back again"
    assert 20 <= anyio.current_time() <= 20.5
    assert [len(p.requests) for p in (a, b)] == [2, 1]


@in_virtual_time
async def test_attempts_are_bounded(make_router: MakeRouter) -> None:
    """A call is tried three times in all; what it could not get it says with the provider's own word."""
    a = provider("a", OVERLOADED)
    async with make_router(a) as it:
        with pytest.raises(RejectedError, match="overloaded"):
            await it.ask()

    assert len(a.requests) == 3
    assert 0.75 <= anyio.current_time() <= 1.5, "half a second, then a second, each at least by half"
    assert it.registry.budget("t").spent.tokens == 0


@pytest.mark.parametrize("answer", [REFUSED, LATE])
def test_what_does_not_help_is_not_tried_again(make_router: MakeRouter, answer: ScriptedAnswer) -> None:
    """A request refused for good, and one that may have been billed, are not sent again to anybody."""

    async def main() -> None:
        a, b = provider("a", answer), provider("b")
        async with make_router(a, b) as it:
            with pytest.raises(ProviderError, match=r"no such model|gateway timeout"):
                await it.ask()
        assert (len(a.requests), len(b.requests)) == (1, 0)
        assert it.of(LLMRetry) == []

    run(main)


@in_virtual_time
async def test_uncertain_attempts_are_tried_again_only_if_wished_and_each_is_charged(make_router: MakeRouter) -> None:
    """Who would rather pay twice than fail can say so; every attempt is held and charged on its own."""
    a = provider("a", LATE, "at last")
    async with make_router(a, settings=RouterSettings(retry_uncertain=True)) as it:
        assert (await it.ask()).text == "at last"

    assert [event.outcome for event in it.of(UsageEvent)] == ["worst_case", "settled"]
    assert it.registry.budget("t").spent.calls == 2


@in_virtual_time
async def test_whole_call_stays_within_its_deadline(make_router: MakeRouter) -> None:
    """However often it is tried and however long providers ask us to wait, a call ends in time."""
    settings = RouterSettings(attempts=100, deadline_s=50)
    async with make_router(provider("a", BUSY), settings=settings) as it:
        with pytest.raises(RejectedError, match="slow down"):
            await it.ask()
        assert anyio.current_time() <= 50
        async with make_router(provider("b", latency_s=1000), settings=settings) as other:
            begun = anyio.current_time()
            with pytest.raises(UncertainError, match="no answer within 50 s"):
                await other.ask()
            assert anyio.current_time() - begun == 50
    assert it.registry.statistics().open_holds == 0


@in_virtual_time
async def test_waiting_for_budget_counts_towards_the_deadline(make_router: MakeRouter) -> None:
    """A call that stands in line for a sibling's hold is given up in time, and leaves the line."""
    async with make_router(provider("a"), settings=RouterSettings(deadline_s=10), limits=Limits(calls=1)) as it:
        sibling = await it.registry.reserve(Spender("t", "other", "main"), Ask(input_tokens=1, output_cap=1))
        with pytest.raises(RejectedError, match="deadline came while it waited for budget"):
            await it.ask()

        assert anyio.current_time() == 10
        assert it.registry.statistics().waiting == 0
        assert [hold.hold_id for hold in it.registry.open_holds()] == [sibling.hold_id]


@in_virtual_time
async def test_pauses_are_bounded_by_the_settings(make_router: MakeRouter) -> None:
    """The longest pause is configured, and a provider that asks for more does not get it."""
    settings = RouterSettings(backoff=Backoff(first_s=0.5, max_s=10))
    async with make_router(provider("a", BUSY), settings=settings) as it:
        with pytest.raises(RejectedError, match="slow down"):
            await it.ask()

    assert all(event.delay_s <= 10 for event in it.of(LLMRetry))
    assert anyio.current_time() == 20


# -- strategies -------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_round_robin_spreads_calls(make_router: MakeRouter) -> None:
    """Calls go to the providers in turn."""
    a, b = provider("a"), provider("b")
    async with make_router(a, b, strategy="round_robin") as it:
        for _ in range(4):
            await it.ask()

    assert (len(a.requests), len(b.requests)) == (2, 2)


@in_virtual_time
async def test_least_loaded_goes_where_nobody_waits(make_router: MakeRouter) -> None:
    """Calls that come while a slow provider is busy go to the other one."""
    slow, quick = provider("a", latency_s=100), provider("b", latency_s=1)
    async with make_router(slow, quick, strategy="least_loaded") as it, anyio.create_task_group() as tasks:
        for place in range(6):
            tasks.start_soon(it.ask)
            await anyio.sleep(0.01 if place == 0 else 2)

    assert (len(slow.requests), len(quick.requests)) == (1, 5)


@in_virtual_time
async def test_cheapest_asks_the_lowest_known_price(make_router: MakeRouter) -> None:
    """An unknown price is not taken for none."""
    a, b, c = provider("a"), provider("b"), provider("c")
    prices = {"a": None, "b": rate(9), "c": rate(1)}
    async with make_router(a, b, c, strategy="cheapest", prices=prices) as it:
        assert (await it.ask()).text == "I am c"


def degrading(at: int = 80) -> tuple[ModelPlan, ...]:
    return (
        ModelPlan(name="main", routes=(Route("dear", "m"),), degrade=Degrade(at, "small")),
        ModelPlan(name="small", routes=(Route("cheap", "s"),)),
    )


@in_virtual_time
async def test_cheaper_model_takes_over_when_the_budget_runs_low(make_router: MakeRouter) -> None:
    """From the threshold on calls go to the other model, are charged to its limits, and say so."""
    dear, cheap = provider("dear", "one two three four five"), provider("cheap", "one")
    plan = BudgetPlan(thread=Limits(calls=5), models={"small": ScopedLimits(Limits(calls=10))})
    async with make_router(dear, cheap, models=degrading(), limits=plan) as it:
        for _ in range(5):
            await it.ask()

        assert (len(dear.requests), len(cheap.requests)) == (4, 1)
        (event,) = it.of(ModelDegraded)
        assert (event.model, event.to_model, event.account, event.dimension) == ("main", "small", "thread:t", "calls")
        assert it.of(UsageEvent)[-1].model == "small"
        assert it.registry.state("model:small@thread:t").spent.calls == 1


@in_virtual_time
async def test_nothing_degrades_where_nothing_is_enforced(make_router: MakeRouter) -> None:
    """Mode audit watches and changes nothing of what is done."""
    dear, cheap = provider("dear"), provider("cheap")
    async with make_router(dear, cheap, models=degrading(), limits=Limits(calls=2), mode="audit") as it:
        for _ in range(5):
            await it.ask()

    assert len(dear.requests) == 5


@in_virtual_time
async def test_nothing_degrades_to_a_model_that_a_usd_limit_refuses(make_router: MakeRouter) -> None:
    """Without a price every call there would be refused: calls stay where they are, and one notice says what to do."""
    dear, cheap = provider("dear", "one two"), provider("cheap")
    prices = {"dear": rate(10), "cheap": None}
    limits = Limits(cost_nanousd=1_000)
    with capture_logs() as logs:
        async with make_router(dear, cheap, models=degrading(5), limits=limits, prices=prices) as it:
            for _ in range(3):
                await it.ask()

            assert it.registry.state("thread:t").spent.cost_nanousd > 50
            assert it.of(ModelDegraded) == []
    assert (len(dear.requests), len(cheap.requests)) == (3, 0)
    (notice,) = (each for each in logs if each["event"] == "not_degraded")
    assert (notice["model"], notice["to_model"]) == ("main", "small")
    assert "under 'prices:'" in notice["reason"]


@in_virtual_time
async def test_a_model_without_a_price_takes_over_where_calls_are_made_there(
    make_router: MakeRouter,
) -> None:
    """One route with a price is enough; without a limit in USD, or where they are recorded, calls need none."""
    main, small = degrading(10)
    models = (main, replace(small, routes=(Route("cheap", "s"), Route("other", "s"))))
    in_usd, recorded = Limits(calls=9, cost_nanousd=1_000_000), RouterSettings(refuse_unpriced=False)
    for limits, other_price, how in (
        (in_usd, rate(1), RouterSettings()),
        (Limits(calls=9), None, RouterSettings()),
        (in_usd, None, recorded),
    ):
        dear, cheap, other = provider("dear"), provider("cheap"), provider("other")
        prices = {"cheap": None, "other": other_price}
        async with make_router(dear, cheap, other, models=models, limits=limits, prices=prices, settings=how) as it:
            for _ in range(3):
                await it.ask()

            assert len(it.of(ModelDegraded)) == len(cheap.requests) + len(other.requests) == 2


# -- what each provider takes -----------------------------------------------------------------------------------------


def settings(**options: object) -> RouterSettings:
    return RouterSettings(providers={"a": ProviderSettings(**options)})  # type: ignore[arg-type]


@in_virtual_time
async def test_no_more_attempts_at_a_time_than_a_provider_takes(make_router: MakeRouter) -> None:
    """Calls beyond the concurrency wait their turn, and the budget holds them meanwhile."""
    a = provider("a", latency_s=10)
    async with make_router(a, settings=settings(concurrency=2)) as it, anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(it.ask)
        await anyio.sleep(5)
        health = it.router.statistics().providers["a"]
        assert (health.in_flight, health.waiting) == (2, 4)
        assert len(a.requests) == 2
        assert it.registry.statistics().open_holds == 6

    assert anyio.current_time() == 30
    assert it.router.statistics().providers["a"].in_flight == 0


@in_virtual_time
async def test_no_more_requests_in_a_minute_than_a_provider_takes(make_router: MakeRouter) -> None:
    """The eleventh request of a minute leaves when the first has left it."""
    a = provider("a")
    async with make_router(a, settings=settings(rates=RateLimits(requests=10))) as it:
        for _ in range(11):
            await it.ask()

    assert 60 <= anyio.current_time() <= 61


@in_virtual_time
async def test_no_more_tokens_in_a_minute_than_a_provider_takes(make_router: MakeRouter) -> None:
    """The worst case counts until the real usage is known, and no longer."""
    a = provider("a", "one")
    async with make_router(a, settings=settings(rates=RateLimits(tokens=200))) as it:
        for _ in range(20):
            await it.ask(cap=100)
        assert anyio.current_time() == 0, "two real tokens a call fit easily, one call after the other"
        with pytest.raises(TooLargeError, match="'tokens_per_minute' is 200") as caught:
            await it.ask(cap=200)

    assert caught.value.tokens > 200
    assert it.registry.budget("t").held.tokens == 0
    assert len(a.requests) == 20


@in_virtual_time
async def test_request_too_large_for_one_provider_goes_to_another(make_router: MakeRouter) -> None:
    """Only a request that nobody can take is refused."""
    a, b = provider("a"), provider("b")
    async with make_router(a, b, settings=settings(rates=RateLimits(tokens=50))) as it:
        assert (await it.ask(cap=100)).text == "I am b"


@in_virtual_time
async def test_turn_that_does_not_come_before_the_deadline_is_refused(make_router: MakeRouter) -> None:
    """A call that waits for its minute longer than it may fails clearly, and gives its hold back."""
    limited = RouterSettings(deadline_s=30, providers={"a": ProviderSettings(rates=RateLimits(requests=1))})
    async with make_router(provider("a"), settings=limited) as it:
        await it.ask()
        with pytest.raises(RejectedError, match="no turn before the call's deadline"):
            await it.ask()

        assert anyio.current_time() == 30
        assert it.registry.statistics().open_holds == 0


@in_virtual_time
async def test_call_of_an_organism_that_a_reload_of_its_node_did_not_reach_ends(make_router: MakeRouter) -> None:
    """Its partition has ended: it waits for no limiter that nobody admits to any more, and the loop goes on."""
    a = provider("a", BUSY, "never asked")

    async def ask() -> None:
        with pytest.raises(StoppedError, match="takes no new work"):
            await it.ask()

    async with make_router(a) as it, anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(1)
        it.router._config.limiters.retire()  # as a reload does that makes the next ones for the other partitions
    assert len(a.requests) == 1
    assert it.registry.statistics().open_holds == 0


@in_virtual_time
async def test_waiting_call_that_is_cancelled_leaves_nothing_behind(make_router: MakeRouter) -> None:
    """Its hold, its place in line and its passage are free again."""
    a = provider("a", latency_s=10)
    async with make_router(a, settings=settings(concurrency=1)) as it, anyio.create_task_group() as tasks:
        tasks.start_soon(it.ask)
        await anyio.sleep(1)
        with anyio.move_on_after(2):
            await it.ask()
        assert it.registry.statistics().open_holds == 1
        assert it.router.statistics().providers["a"].waiting == 0
        assert it.router._config.limiters["a"].load == 1, "it counts no more for who is least loaded"

    assert len(a.requests) == 1


# -- circuits ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_provider_that_keeps_failing_is_not_asked_while_another_works(make_router: MakeRouter) -> None:
    """Five failures open its circuit: calls go straight to the next provider, and an event says why."""
    a, b = provider("a", OVERLOADED), provider("b")
    async with make_router(a, b) as it:
        for _ in range(8):
            await it.ask()

        assert (len(a.requests), len(b.requests)) == (5, 8)
        assert it.router.statistics().providers["a"].circuit == "open"
        assert "overloaded" in (it.router.statistics().providers["a"].last_failure or "")
        assert "failed too often" in it.of(LLMFailover)[-1].reason

        await anyio.sleep(31)
        await it.ask()
        assert len(a.requests) == 6, "one probe"


@in_virtual_time
async def test_outage_of_the_only_provider_is_a_pause(make_router: MakeRouter) -> None:
    """Calls wait until the provider may be asked again; one probes, the others follow when it is back."""
    down = iter([OVERLOADED] * 5)
    a = ScriptedProvider(lambda request: next(down, "up again"), name="a")
    async with make_router(a, settings=RouterSettings(attempts=10)) as it:
        answers: list[str] = []

        async def ask() -> None:
            answers.append((await it.ask()).text)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)

    assert answers == ["up again"] * 5
    assert len(a.requests) == 10
    assert 29.9 <= anyio.current_time() <= 31.5


@in_virtual_time
async def test_refusals_of_requests_are_no_outage(make_router: MakeRouter) -> None:
    """A wrong request or a full minute says nothing against the provider."""
    a = provider("a", REFUSED)
    async with make_router(a) as it:
        for _ in range(20):
            with pytest.raises(RejectedError, match="no such model"):
                await it.ask()

    assert it.router.statistics().providers["a"].circuit == "closed"
    assert it.router.statistics().providers["a"].failures == 0


@in_virtual_time
async def test_callers_who_give_up_say_nothing_against_the_provider(make_router: MakeRouter) -> None:
    """An attempt that was abandoned and cut off is charged, but is no failure of the provider."""
    async with make_router(provider("a", latency_s=60)) as it:
        for _ in range(6):
            with anyio.move_on_after(1):
                await it.ask()
        await it.router.wait_idle("t")

        assert it.registry.budget("t").spent.calls == 6
        health = it.router.statistics().providers["a"]
        assert (health.circuit, health.failures) == ("closed", 0)


# -- timeouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeouts", "latency_s", "after_s", "phrase"),
    [
        (Timeouts(call_s=7), 100, 7, "no answer within 7 s"),
        (Timeouts(first_token_s=3), 100, 3, "no sign of an answer within 3 s"),
        (Timeouts(first_token_s=30, between_tokens_s=4), 100, 24, "silent for 4 s"),
    ],
)
def test_each_timeout_ends_an_attempt_at_its_time(
    make_router: MakeRouter, timeouts: Timeouts, latency_s: float, after_s: float, phrase: str
) -> None:
    """A streamed answer is given up when it does not begin, stops, or takes too long in all; the hold is charged."""

    async def main() -> None:
        a = provider("a", "one two three four five", latency_s=latency_s)
        async with make_router(a, settings=settings(timeouts=timeouts)) as it:
            pieces: list[str] = []
            with pytest.raises(UncertainError, match=phrase):
                await it.ask(on_text=pieces.append)
            assert anyio.current_time() == after_s
            assert it.of(UsageEvent)[0].outcome == "worst_case"
            assert it.registry.budget("t").spent.tokens >= a.billed.total

    run(main)


@in_virtual_time
async def test_steady_stream_may_take_longer_than_any_silence(make_router: MakeRouter) -> None:
    """Every piece begins the silence anew."""
    a = provider("a", " ".join(["w"] * 50), latency_s=100)
    async with make_router(a, settings=settings(timeouts=Timeouts(first_token_s=5, between_tokens_s=3))) as it:
        answer = await it.ask(cap=50, on_text=lambda piece: None)

    assert len(answer.text.split()) == 50


# -- prices -----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_answer_of_an_unknown_model_costs_what_was_asked_for(make_router: MakeRouter) -> None:
    """A provider that answers under another name does not make its call free, nor cheaper by an assumed price."""
    a = provider("a", ScriptedAnswer(text="one", model="a-strange-name"))
    assumed = replace(rate(1), assumed=True)
    async with make_router(a, prices={"a": rate(7)}) as it:
        it.prices.by_model["a-strange-name"] = assumed
        await it.ask()
        it.prices.by_model["a-strange-name"] = rate(9)
        await it.ask()

    first, second = it.of(UsageEvent)
    assert first.cost_nanousd == 7 * first.usage.total
    assert second.cost_nanousd == 9 * second.usage.total, "a known price of the model that answered counts"


@in_virtual_time
async def test_price_of_a_request_is_held_and_charged(make_router: MakeRouter) -> None:
    """What a request costs beside its tokens counts against a limit before it is sent."""
    a = provider("a")
    async with make_router(a, limits=Limits(cost_nanousd=1500), prices={"a": replace(rate(0), request=1000)}) as it:
        await it.ask()
        assert it.registry.budget("t").spent.cost_nanousd == 1000
        with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
            await it.ask()

    assert len(a.requests) == 1


# -- scopes of the provider -------------------------------------------------------------------------------------------


@in_virtual_time
async def test_exhausted_provider_limit_sends_calls_to_the_next_provider(make_router: MakeRouter) -> None:
    """A limit on one provider is a reason to go elsewhere, not to stop."""
    a, b = provider("a"), provider("b")
    plan = BudgetPlan(thread=Limits(), providers={"a": ScopedLimits(Limits(calls=2))})
    async with make_router(a, b, limits=plan) as it:
        for _ in range(5):
            await it.ask()

        assert (len(a.requests), len(b.requests)) == (2, 3)
        assert it.registry.state("provider:a@thread:t").spent.calls == 2
        assert it.of(BudgetExceeded)[0].shortfall.account == "provider:a@thread:t"
        assert "provider:a" in it.of(LLMFailover)[0].reason


SOONEST: list[tuple[Per, Per, str]] = [
    ("day", "thread", "provider:a@day:"),
    ("thread", "day", "provider:b@day:"),
    ("month", "day", "provider:b@day:"),
    ("day", "month", "provider:a@day:"),
    ("thread", "thread", "provider:b@thread:t"),
]


@in_virtual_time
async def test_refusal_that_passes_soonest_is_told_of_all_routes(make_router: MakeRouter) -> None:
    """Where each provider is at its own limit, the caller hears of the one that is free again first."""
    for per_a, per_b, named in SOONEST:
        a, b = provider("a"), provider("b")
        providers = {"a": ScopedLimits(Limits(calls=1), per_a), "b": ScopedLimits(Limits(calls=1), per_b)}
        async with make_router(a, b, limits=BudgetPlan(thread=Limits(), providers=providers)) as it:
            await it.ask()
            await it.ask()
            with pytest.raises(BudgetExhaustedError) as refused:
                await it.ask()

        assert refused.value.shortfall.account.startswith(named)
        assert (refused.value.relief is None) == (per_a == per_b == "thread")


@in_virtual_time
async def test_every_attempt_is_admitted_anew_where_it_goes(make_router: MakeRouter) -> None:
    """A failover to a dearer provider is held at that one's price, and refused if that does not fit."""
    a, b = provider("a", OVERLOADED), provider("b")
    prices = {"b": rate(1000)}
    async with make_router(a, b, limits=Limits(cost_nanousd=1000), prices=prices) as it:
        with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
            await it.ask()

    assert (len(a.requests), len(b.requests)) == (1, 0)
    assert it.registry.budget("t").held.cost_nanousd == 0


@in_virtual_time
async def test_route_without_a_price_is_passed_over(make_router: MakeRouter) -> None:
    """With a limit in USD a call goes to a route whose price is known, and is refused only if there is none."""
    a, b = provider("a"), provider("b")
    async with make_router(a, b, limits=Limits(cost_nanousd=1000), prices={"a": None}) as it:
        assert (await it.ask()).text == "I am b"
    async with make_router(a, limits=Limits(cost_nanousd=1000), prices={"a": None}) as it:
        with pytest.raises(UnpricedError, match="no price is known"):
            await it.ask()

    assert a.requests == []


@in_virtual_time
async def test_stream_that_goes_on_is_cut_by_no_total(make_router: MakeRouter) -> None:
    """A long answer that keeps coming may take longer than one that comes whole."""
    a = provider("a", " ".join(["w"] * 50), latency_s=1000)
    async with make_router(a, settings=RouterSettings(timeout_s=60)) as it:
        answer = await it.ask(cap=50, on_text=lambda piece: None)
        with pytest.raises(UncertainError, match="no answer within 60 s"):
            await it.ask(cap=50)

    assert len(answer.text.split()) == 50


@pytest.mark.parametrize("silence_s", [66, 180, 290])
def test_model_may_reason_for_minutes(make_router: MakeRouter, silence_s: int) -> None:
    """By default a model may be silent for minutes before it answers, and between what it says."""

    async def main() -> None:
        async with make_router(provider("a", "one two", latency_s=2 * silence_s)) as it:
            answer = await it.ask(on_text=lambda piece: None)
        assert answer.text == "one two"

    run(main)
