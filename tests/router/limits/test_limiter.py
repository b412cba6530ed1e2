"""The way to one provider: who is let in, and in which order."""

import anyio
import pytest

from organism.errors import RejectedError
from organism.router.limits.limiter import ProviderLimiter
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.limits.rate_limit import RateLimits
from organism.testing import VirtualClock, run

HOUR_S = 3600.0


def test_a_small_request_does_not_pass_a_large_one_that_waits() -> None:
    """What waits for its minute is not overtaken by what would fit into the present one."""

    async def main() -> list[str]:
        limiter = ProviderLimiter("p", ProviderSettings(rates=RateLimits(tokens=100)), VirtualClock())
        entered: list[str] = []

        async def enter(name: str, tokens: int) -> None:
            await limiter.take().enter(tokens, anyio.current_time() + HOUR_S)
            entered.append(name)

        async with anyio.create_task_group() as tasks:
            await enter("first", 60)
            tasks.start_soon(enter, "large", 90)
            await anyio.sleep(1)
            tasks.start_soon(enter, "small", 10)
        return entered

    assert run(main) == ["first", "large", "small"]


def test_nothing_is_let_in_after_its_deadline() -> None:
    """An attempt whose call is over does not leave, though nothing else stands in its way."""

    async def main() -> None:
        limiter = ProviderLimiter("p", ProviderSettings(), VirtualClock())
        with pytest.raises(RejectedError, match="deadline"):
            await limiter.take().enter(1, anyio.current_time())

    run(main)
