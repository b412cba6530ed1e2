"""A process that may use a part of a provider's limits lets in no more than that, and goes on when it gets more."""

import anyio

from organism.router.limits.limiter import ProviderLimiter
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.limits.provider_share import NOTHING, ProviderShare
from organism.router.limits.rate_limit import RateLimits
from organism.testing import VirtualClock, run

HOUR_S = 3600.0
SETTINGS = ProviderSettings(concurrency=8, rates=RateLimits(requests=60, tokens=1000))


def share(concurrency: int = 8, requests: int = 60, tokens: int = 1000, until_s: float = 1e9) -> ProviderShare:
    return ProviderShare(concurrency=concurrency, rates=RateLimits(requests=requests, tokens=tokens), until_s=until_s)


def test_a_request_larger_than_the_share_waits_until_the_share_is_larger() -> None:
    """It is not refused, for it fits into the limit; nothing enters without a share, and who waits says so."""

    async def main() -> tuple[list[str], int, int]:
        limiter = ProviderLimiter("p", SETTINGS, VirtualClock())
        asked: list[int] = []
        entered: list[str] = []
        limiter.share(NOTHING, lambda: asked.append(1))

        async def enter(name: str, tokens: int) -> None:
            await limiter.take().enter(tokens, anyio.current_time() + HOUR_S)
            entered.append(name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter, "large", 900)
            tasks.start_soon(enter, "small", 10)
            await anyio.sleep(100)
            demand = limiter.demand()
            assert (entered, demand.waiting, demand.waiting_tokens, demand.first_tokens) == ([], 2, 910, 900)
            assert demand.waited_s == 100
            limiter.share(share(tokens=500), lambda: asked.append(1))
            await anyio.sleep(100)
            assert entered == []
            limiter.share(share(concurrency=1), lambda: asked.append(1))
            await anyio.sleep(100)
            first = len(entered)
            limiter.share(share(), lambda: asked.append(1))
        return entered, first, len(asked)

    entered, first, asked = run(main)
    assert (entered, first) == (["large", "small"], 1)
    assert asked >= 3


def test_a_share_that_is_over_lets_nothing_in() -> None:
    """A process that was not told in time that it has the share still begins nothing, and goes on when it is."""

    async def main() -> list[float]:
        limiter = ProviderLimiter("p", SETTINGS, VirtualClock())
        began_s, entered = anyio.current_time(), list[float]()
        limiter.share(share(until_s=began_s + 10), lambda: None)

        async def enter() -> None:
            await limiter.take().enter(1, began_s + HOUR_S)
            entered.append(anyio.current_time() - began_s)

        await enter()
        await anyio.sleep(10)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter)
            await anyio.sleep(20)
            limiter.share(share(until_s=began_s + 100), lambda: None)
        return entered

    assert run(main) == [0, 30]
