"""What an adapter loads before its first call takes nothing of the call: no time, no budget, no charge."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from organism.errors import ConfigError, RejectedError, UncertainError
from organism.providers.openai import OpenAIProvider
from organism.router.adapters import WARM_UP_MAX_S
from organism.router.call import RouterSettings
from organism.testing import ScriptedHTTPProvider, ScriptedProvider, run
from organism.usage.events import LLMFailover, UsageEvent

MakeRouter = Callable[..., Any]
"""See ``conftest.py``."""


class Slow(ScriptedProvider):
    """A provider whose adapter does something before its first call."""

    def __init__(self, warm: Callable[[], Any], *, name: str = "p", latency_s: float = 0.0) -> None:
        super().__init__(name=name, latency_s=latency_s)
        self.warm = warm
        self.warmed = 0

    async def warm_up(self) -> None:
        """Do it."""
        self.warmed += 1
        made = self.warm()
        if asyncio.iscoroutine(made):
            await made


@pytest.mark.parametrize("seconds", [0.0, 1.0, 3.0, 29.0])
def test_loading_takes_nothing_of_the_first_calls_time(make_router: MakeRouter, seconds: float) -> None:
    """With two seconds for a call, one that takes nearly all of them is made however long the adapter has loaded."""

    async def main() -> None:
        provider = Slow(lambda: anyio.sleep(seconds), latency_s=1.9)
        async with make_router(provider, settings=RouterSettings(deadline_s=2)) as it:
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(it.ask)
                await anyio.sleep(seconds / 2)
                if seconds:
                    assert it.registry.budget("t").held.tokens == 0, "nothing is held for a call that cannot leave yet"
            assert anyio.current_time() == pytest.approx(seconds + 1.9)
            assert provider.warmed == 1
            assert [event.outcome for event in it.of(UsageEvent)] == ["settled"] * 5

    run(main)


FAILURES: dict[str, Callable[[], Any]] = {
    "an error": lambda: 1 / 0,
    "no module": lambda: __import__("no_such_module"),
    "SystemExit": sys.exit,
    "CancelledError": lambda: (_ for _ in ()).throw(asyncio.CancelledError),
    "refused": lambda: (_ for _ in ()).throw(RejectedError("p", "no model here")),
    "uncertain": lambda: (_ for _ in ()).throw(UncertainError("p", "broken")),
    "no configuration": lambda: (_ for _ in ()).throw(ConfigError("no")),
    "never": anyio.sleep_forever,
}


@pytest.mark.parametrize("what", FAILURES)
def test_adapter_that_cannot_load_costs_nothing_and_is_tried_again(make_router: MakeRouter, what: str) -> None:
    """The call fails as refused, in time and for nothing; the next one finds out whether it is still so."""

    async def main() -> None:
        provider = Slow(FAILURES[what])
        async with make_router(provider, settings=RouterSettings(deadline_s=2)) as it:
            with pytest.raises(RejectedError, match="provider 'p' failed: "):
                await it.ask()
            assert anyio.current_time() <= 2 + WARM_UP_MAX_S
            assert provider.requests == []
            assert it.of(UsageEvent) == []
            if what != "never":
                provider.warm = lambda: None
                await it.ask()
                assert provider.warmed == 2

    run(main)


@pytest.mark.parametrize("what", FAILURES)
def test_another_provider_takes_over_from_one_that_cannot_load(make_router: MakeRouter, what: str) -> None:
    """A model with two routes is served by the other, and the event says why."""

    async def main() -> None:
        first, second = Slow(FAILURES[what]), ScriptedProvider(name="q")
        async with make_router(first, second, settings=RouterSettings(deadline_s=2)) as it:
            await it.ask()
            assert len(second.requests) == 1
            (event,) = it.of(LLMFailover)
            assert event.reason

    run(main)


def test_http_adapters_load_their_client_before_the_first_call(make_router: MakeRouter) -> None:
    """What takes most of a second, in a process that has not loaded it, happens before anything is held."""

    async def main() -> None:
        async with ScriptedHTTPProvider(["ok"]) as server:
            adapter = OpenAIProvider("p", "k", f"{server.url}/v1")
            await adapter.warm_up()
            async with make_router(adapter) as it:
                assert (await it.ask()).text == "ok"
            await adapter.aclose()

    run(main)
