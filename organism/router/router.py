"""The one door to a model. Every call goes: plan, reserve, dispatch, call, settle; a retry begins again at reserve.

The router holds no balance and knows no wire format. It decides what each failure means for money, and it makes sure
that each hold it takes is resolved exactly once, whatever happens to the task that asked for it.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

import anyio
import anyio.abc
from msgspec.structs import replace

from organism.amounts import NS_PER_S, BudgetState
from organism.budget.estimate import input_tokens_strict, input_tokens_tight
from organism.budget.holds import HeldCall, Settlement, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock
from organism.errors import (
    BudgetExhaustedError,
    ConfigError,
    ProviderError,
    RejectedError,
    Shortfall,
    StoppedError,
    UncertainError,
    UnpricedError,
)
from organism.ids import IdSource
from organism.journal import Journal
from organism.messages import BudgetWarning
from organism.pricing import Rates
from organism.router.attempt import Attempt, Charge
from organism.router.call import Call, RouterSettings, RouterStatistics
from organism.router.observed import ObservedCall
from organism.router.plan import ModelPlan, Route, delay_s, route_for
from organism.router.provider import Completion, Provider, TextSink
from organism.tracing import current_trace, trace_id_of
from organism.usage.activity import ActivityFeed
from organism.usage.events import BudgetExceeded, LLMRetry, ThresholdCrossed, UsageEvent
from organism.usage.outbox import Outbox

WarningSink = Callable[[Spender, BudgetWarning], None]
"""Delivers a warning to the agent whose call crossed a threshold; must not block."""


class Prices(Protocol):
    """Where the router learns what a model costs."""

    def rates(self, provider: str, model: str) -> Rates | None:
        """Return the prices of a provider's model, or ``None`` when unknown, which is not zero."""
        ...


class LLMRouter:
    """Makes model calls within budgets. Use it as an async context manager: it owns the attempts' tasks.

    Args:
        models: The models agents may name.
        providers: The providers their routes name.
        registry: The budgets.
        prices: What models cost.
        journal: Committed before a call leaves.
        outbox: Takes the events.
        clock: Measures latency.
        ids: Makes call ids.
        settings: How calls are made.
        activity: Is told of every call.
    """

    def __init__(  # noqa: PLR0913 - the crossing of four rooms; everything is named at the one place that calls it
        self,
        *,
        models: Mapping[str, ModelPlan],
        providers: Mapping[str, Provider],
        registry: ThreadBudgetRegistry,
        prices: Prices,
        journal: Journal,
        outbox: Outbox,
        clock: Clock,
        ids: IdSource,
        settings: RouterSettings | None = None,
        activity: ActivityFeed | None = None,
    ) -> None:
        self.models = dict(models)
        self.settings = settings or RouterSettings()
        self.on_warning: WarningSink | None = None
        self._providers = providers
        self._registry = registry
        self._prices = prices
        self._journal = journal
        self._outbox = outbox
        self._clock = clock
        self._ids = ids
        self._activity = activity or ActivityFeed()
        self._calls_made = 0
        self._open: dict[str, set[Attempt]] = {}
        self._idle: dict[str, anyio.Event] = {}
        self._slots: dict[str, anyio.Semaphore] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give open attempts their time to learn what they cost, then stop."""
        tasks, self._tasks = self._tasks, None
        if tasks is None:
            return
        with anyio.CancelScope(shield=True):
            for thread_id in list(self._open):
                await self.wait_idle(thread_id)
        # The body's own error is not handed over: it would come out wrapped in a group with nothing else in it.
        await tasks.__aexit__(None, None, None)

    async def complete(self, call: Call, on_text: TextSink | None = None) -> Completion:
        """Make a call and charge it to its thread.

        Args:
            call: What to ask, and who pays.
            on_text: Called with each piece of the answer as it arrives.

        Raises:
            BudgetExhaustedError: A limit refused the call; nothing was sent or charged.
            UnpricedError: A USD limit is in force and the model has no price; nothing was sent or charged.
            UnboundedError: Nothing bounds what an image or a file costs; nothing was sent or charged.
            RejectedError: The provider refused; nothing was charged.
            UncertainError: No usable answer came, and the whole hold was charged.
            UnknownAccountError: The thread has no budget, because it is closed.
        """
        number = self._calls_made
        self._calls_made += 1
        call_id = self._ids.next("call")
        observed = ObservedCall(call, call_id, streamed=on_text is not None, feed=self._activity, clock=self._clock)
        with observed:
            async with self._slot(call.spender.thread_id):
                return observed.answered(await self._attempts(call, call_id, number, observed, on_text))

    async def _attempts(
        self, call: Call, call_id: str, number: int, observed: ObservedCall, on_text: TextSink | None
    ) -> Completion:
        """Try until one attempt answers, or none is left."""
        plan = self._plan(call.spender.model)
        for attempt_number in range(1, self.settings.attempts + 1):
            route = route_for(plan, number, attempt_number)
            attempt = await self._admit(call, route, attempt_number)
            with observed.attempt(attempt):
                result = await self._run(call, call_id, attempt, on_text)
            if isinstance(result, Completion):
                return result
            if not (isinstance(result, RejectedError) and result.again) or attempt_number == self.settings.attempts:
                raise result
            await self._back_off(call, call_id, attempt, result, route_for(plan, number, attempt_number + 1))
        raise AssertionError("a call ends within its attempts")

    async def wait_idle(self, thread_id: str) -> None:
        """Return when no attempt of the thread is open any more; abandoned ones get only their drain time."""
        for attempt in self._open.get(thread_id, ()):
            attempt.drain(self.settings.drain_s)
        while self._open.get(thread_id):
            await self._idle.setdefault(thread_id, anyio.Event()).wait()

    def statistics(self) -> RouterStatistics:
        """Count what is under way."""
        return RouterStatistics(
            attempts_open=sum(len(attempts) for attempts in self._open.values()), threads=len(self._open)
        )

    # -- steps of a call ------------------------------------------------------------------------------------------

    def _plan(self, model: str) -> ModelPlan:
        try:
            return self.models[model]
        except KeyError:
            known = ", ".join(sorted(self.models)) or "none"
            raise ConfigError(f"no model is called {model!r}; there are: {known}") from None

    def _slot(self, thread_id: str) -> anyio.Semaphore:
        """Return the thread's places in flight, made on first use and gone with its last attempt."""
        return self._slots.setdefault(thread_id, anyio.Semaphore(self.settings.calls_in_flight))

    async def _admit(self, call: Call, route: Route, number: int) -> Attempt:
        """Hold the worst case of an attempt, or raise why it may not be made."""
        spender, request = call.spender, call.request
        rates = self._prices.rates(route.provider, route.model)
        if rates is None:
            self._refuse_unpriced(spender, route)
        count = input_tokens_strict if self.settings.estimate == "strict" else input_tokens_tight
        ask = Ask(
            input_tokens=count(request.texts()) + self._providers[route.provider].extra_tokens(request),
            output_cap=request.max_output_tokens,
            output_min=self.settings.output_min,
            input_rate=rates.dearest_input() if rates is not None else 0,
            output_rate=rates.dearest_output() if rates is not None else 0,
        )
        held = await self._registry.reserve(spender, ask)
        if isinstance(held, Shortfall):
            self._say_exceeded(call, held, enforced=True)
            raise BudgetExhaustedError(held, spender.thread_id)
        if held.over is not None:
            self._say_exceeded(call, held.over, enforced=False)
        return Attempt(
            spender=spender,
            number=number,
            route=route,
            request=replace(request, model=route.model, max_output_tokens=held.output_cap),
            input_tokens=ask.input_tokens,
            held=held,
            rates=rates,
            timeout_s=self._timeout_s(held),
        )

    async def _run(
        self, call: Call, call_id: str, attempt: Attempt, on_text: TextSink | None
    ) -> Completion | ProviderError:
        """Let an attempt out and wait for its end; its settlement does not depend on our waiting."""
        try:
            self._registry.dispatch(attempt.held.hold_id)
            await self._journal.commit()
            if self._tasks is None:
                raise StoppedError
        except BaseException:
            self._registry.release(attempt.held.hold_id)  # nothing has left yet
            raise
        attempt.on_text = on_text
        attempt.started_ns = self._clock.monotonic_ns()
        self._open.setdefault(call.spender.thread_id, set()).add(attempt)
        self._tasks.start_soon(self._perform, call, call_id, attempt)
        try:
            await attempt.done.wait()
        except BaseException:
            attempt.drain(self.settings.drain_s)
            raise
        if attempt.result is None:
            return UncertainError(attempt.route.provider, "the exchange was cut off")
        return attempt.result

    async def _perform(self, call: Call, call_id: str, attempt: Attempt) -> None:
        """Run an attempt to its settlement; there is no await between its end and the ledger."""
        try:
            await attempt.exchange(self._providers[attempt.route.provider])
        finally:
            self._resolve(call, call_id, attempt)
            attempt.done.set()
            self._forget(attempt)

    def _resolve(self, call: Call, call_id: str, attempt: Attempt) -> None:
        charge = attempt.charge(self._prices.rates)
        latency_ns = self._clock.monotonic_ns() - attempt.started_ns
        if charge.outcome == "released":
            budgets = self._registry.release(attempt.held.hold_id)
            self._say_usage(call, call_id, attempt, charge, latency_ns, budgets)
            return
        settlement = self._registry.settle(
            attempt.held, charge.amounts, outcome=charge.outcome, priced=charge.cost_nanousd is not None
        )
        self._say_usage(call, call_id, attempt, charge, latency_ns, settlement)
        for warning in settlement.warnings:
            self._warn(call, warning)

    def _forget(self, attempt: Attempt) -> None:
        thread_id = attempt.spender.thread_id
        attempts = self._open[thread_id]
        attempts.discard(attempt)
        if not attempts:
            del self._open[thread_id]
            if (idle := self._idle.pop(thread_id, None)) is not None:
                idle.set()

    def close_thread(self, thread_id: str) -> None:
        """Free what is kept for a thread that has ended."""
        self._slots.pop(thread_id, None)

    async def _back_off(self, call: Call, call_id: str, attempt: Attempt, error: RejectedError, then: Route) -> None:
        wait_s = delay_s(attempt.number, error.retry_after_s, same_provider=then.provider == attempt.route.provider)
        self._outbox.emit(
            LLMRetry(
                thread_id=call.spender.thread_id,
                root_thread_id=call.root_thread_id,
                agent=call.spender.agent,
                call_id=call_id,
                attempt=attempt.number,
                delay_s=wait_s,
                provider=attempt.route.provider,
                next_provider=then.provider,
                reason=str(error),
            )
        )
        await anyio.sleep(wait_s)

    def _timeout_s(self, held: HeldCall) -> float:
        if held.time_left_ns is None:
            return self.settings.timeout_s
        return min(self.settings.timeout_s, held.time_left_ns / NS_PER_S)

    def _refuse_unpriced(self, spender: Spender, route: Route) -> None:
        if self._registry.mode != "enforce" or not self.settings.refuse_unpriced:
            return
        if any(state.limits.cost_nanousd is not None for state in self._registry.scopes_of(spender)):
            raise UnpricedError(route.model, route.provider)

    # -- what is told ---------------------------------------------------------------------------------------------

    def _warn(self, call: Call, warning: BudgetWarning) -> None:
        self._outbox.emit(
            ThresholdCrossed(
                thread_id=call.spender.thread_id,
                root_thread_id=call.root_thread_id,
                agent=call.spender.agent,
                account=warning.account,
                dimension=warning.dimension,
                threshold=warning.threshold,
                level=warning.level,
                limit=warning.limit,
                spent=warning.spent,
            )
        )
        if self.on_warning is not None:
            self.on_warning(call.spender, warning)

    def _say_exceeded(self, call: Call, shortfall: Shortfall, *, enforced: bool) -> None:
        if not self._registry.first_report(shortfall):
            return
        self._outbox.emit(
            BudgetExceeded(
                thread_id=call.spender.thread_id,
                root_thread_id=call.root_thread_id,
                agent=call.spender.agent,
                shortfall=shortfall,
                enforced=enforced,
            )
        )

    def _say_usage(
        self,
        call: Call,
        call_id: str,
        attempt: Attempt,
        charge: Charge,
        latency_ns: int,
        settled: Settlement | tuple[BudgetState, ...],
    ) -> None:
        event = UsageEvent(
            thread_id=call.spender.thread_id,
            root_thread_id=call.root_thread_id,
            agent=call.spender.agent,
            call_id=call_id,
            attempt=attempt.number,
            provider=attempt.route.provider,
            model=call.spender.model,
            request_model=attempt.request.model,
            response_model=charge.response_model,
            usage=charge.usage,
            cost_nanousd=0 if charge.outcome == "released" else charge.cost_nanousd,
            price_source=charge.price_source,
            latency_ns=latency_ns,
            outcome=charge.outcome,
            error=charge.error,
            labels=call.labels,
            trace_id=trace_id_of(current_trace()),
        )
        if isinstance(settled, Settlement):
            event = replace(event, overrun=settled.overrun, budgets=settled.budgets)
        else:
            event = replace(event, budgets=settled)
        self._outbox.emit(event)
