"""Counts a request's input: by the vendor's own endpoint where it has one, else by an estimate.

Used for clients that ask, and before the first hold of a long text with a model of which nothing is known.

Nothing is held, sent to a model or charged for it. A vendor that fails, or does not answer in time, is not asked again
for a while, and the estimate is used.
"""

from collections.abc import Awaitable, Callable, Mapping

import anyio
from msgspec.structs import replace

from organism.amounts import COUNTED_TOKENS_MAX
from organism.concurrency.foreign_code import ForeignTask
from organism.concurrency.loop_time import loop_time
from organism.errors import ProviderError
from organism.llm.provider import Provider, Request
from organism.llm.requests import CompletionRequest
from organism.router.adapters import Adapters
from organism.router.call_state import CallState
from organism.router.planning.estimator import InputEstimator
from organism.router.planning.plan import Route

COUNT_S = 3.0
"""Seconds within which a vendor must count: clients wait for it before they do anything else."""

REST_S = 60.0
"""Seconds after a failed count until the vendor is asked again."""

_NO_SUCH_PLACE_S = 3600.0
_NO_SUCH_PLACE = frozenset({404, 405, 410, 501})
_OF_THE_REQUEST = frozenset({400, 413, 422})
"""Statuses that concern only the request, so that the vendor is asked again for the next one."""


class InputCounting:
    """Has vendors count input.

    Args:
        adapters: Runs the adapters.
    """

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters
        self._rests_until_s: dict[str, float] = {}

    async def count(self, request: Request, likely: Mapping[Route, int], providers: Mapping[str, Provider]) -> int:
        """Return about how many tokens of input a request has: the largest count of its routes.

        Args:
            likely: The estimate for each route.
        """
        asked = {} if not isinstance(request, CompletionRequest) else self._ask(request, likely, providers)
        with anyio.move_on_after(COUNT_S):
            for task in asked.values():
                await task.wait()
        counts = dict(likely)
        for route, task in asked.items():
            if (count := await self._answer(route.provider, task)) is not None:
                counts[route] = count
        return max(counts.values())

    async def make_ready(self, state: CallState, estimator: InputEstimator, providers: Mapping[str, Provider]) -> None:
        """Prepare a call's next hold: warm up its adapter, and have its input counted if its model is not known.

        The first request of a coding agent has 30,000 tokens and would be held at twice that. Its vendor counts it for
        free, once for each model and kind of text.

        Args:
            state: The call; its deadline is extended by the time that this takes.
            estimator: The estimator, which learns from the count.

        Raises:
            RejectedError: No adapter can be made ready; see :meth:`organism.router.adapters.Adapters.make_ready`.
        """
        await self._adapters.make_ready(state, providers)
        route, request = state.queue.next(), state.call.request
        if route is None or not isinstance(request, CompletionRequest) or not _counter_of(providers[route.provider]):
            return
        if (guess := estimator.untaught(route, request)) is None:
            return
        begun_s = loop_time()
        if (task := self._ask(request, {route: guess.tokens}, providers).get(route)) is None:
            return
        with anyio.move_on_after(COUNT_S):
            await task.wait()
        if (count := await self._answer(route.provider, task)) is not None:
            estimator.learn(route, guess, count)
        state.deadline_s += loop_time() - begun_s

    def _ask(
        self, request: CompletionRequest, routes: Mapping[Route, int], providers: Mapping[str, Provider]
    ) -> dict[Route, ForeignTask]:
        now_s = loop_time()
        return {
            route: self._adapters.start(route.provider, _bound(count, replace(request, model=route.model)))
            for route in routes
            if self._rests_until_s.get(route.provider, 0.0) <= now_s
            and (count := _counter_of(providers.get(route.provider))) is not None
        }

    async def _answer(self, provider: str, task: ForeignTask) -> int | None:
        if not task.done:
            await task.stop()
            self._rest(provider, REST_S)
            return None
        if task.error is not None:
            status = task.error.status if isinstance(task.error, ProviderError) else None
            if status not in _OF_THE_REQUEST:
                self._rest(provider, _NO_SUCH_PLACE_S if status in _NO_SUCH_PLACE else REST_S)
            return None
        count: object = task.value
        return count if type(count) is int and 0 < count <= COUNTED_TOKENS_MAX else None

    def _rest(self, provider: str, seconds: float) -> None:
        self._rests_until_s[provider] = loop_time() + seconds


def _counter_of(provider: object) -> Callable[[CompletionRequest], Awaitable[int | None]] | None:
    """Return an adapter's ``count_input``; ``None`` if it has none."""
    try:
        found = getattr(provider, "count_input", None)
    except BaseException:  # noqa: BLE001 - a stranger's `__getattr__` may raise anything
        return None
    return found if callable(found) else None


def _bound(
    count: Callable[[CompletionRequest], Awaitable[int | None]], request: CompletionRequest
) -> Callable[[], object]:
    return lambda: count(request)
