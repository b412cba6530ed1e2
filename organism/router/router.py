"""Makes every model call: plan, reserve, dispatch, call, settle; a retry begins again at reserve.

The router holds no balance and knows no wire format. It decides what each failure means for money, and it makes sure
that each hold it takes is resolved exactly once, whatever happens to the task that asked for it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack, cast, overload

import anyio.abc
from msgspec.structs import replace

from organism.amounts import BudgetState
from organism.budget.calibration import Calibration
from organism.budget.holds import Settlement
from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock
from organism.concurrency.loop_time import loop_time
from organism.concurrency.safe_log import safe_logger
from organism.errors import ConfigError, ProviderError, RejectedError, StoppedError
from organism.ids import IdSource
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Answer, Provider, Request
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.router.adapters import Adapters
from organism.router.answers.charge import Charge
from organism.router.attempt import Attempt, OpenAttempts
from organism.router.call import Call, CallOptions, RouterSettings, RouterStatistics, direct_call
from organism.router.call_events import CallEvents, CallSink, WarningSink
from organism.router.call_observer import ObservedCall
from organism.router.call_state import CallState
from organism.router.hedge import Ended, first_answer
from organism.router.input_counting import InputCounting
from organism.router.limits.call_gate import CallGate
from organism.router.limits.concurrency import ThreadConcurrency
from organism.router.limits.limiter import ProviderLimiter, ReplacedError
from organism.router.memo import Memo
from organism.router.planning.plan import ModelPlan
from organism.router.planning.planner import Planned
from organism.router.planning.provider_limiters import ProviderLimiters, gone_providers
from organism.router.planning.request_checks import checked_request
from organism.router.router_config import RouterConfig, RouterServices, RouterSpec, check_providers
from organism.router.spending.expenses import Expenses
from organism.text.error_text import describe, shown
from organism.usage.activity import ActivityFeed
from organism.usage.outbox import Outbox

_log = safe_logger("organism.router")


class LLMRouter:
    """Makes model calls within budgets. Use it as an async context manager: it owns the attempts' tasks.

    Args:
        spec: Models, providers, prices and how calls are made.
        registry: The budgets.
        outbox: Takes the events; its journal is committed before a call leaves.
        clock: Measures latency.
        ids: Makes call ids.
        activity: Receives every call.
        chance: Gives random numbers from 0 up to 1, so that callers who failed together do not come back together.
        calibration: What is known of how many tokens text takes with which model; nothing unless given.
    """

    def __init__(
        self,
        spec: RouterSpec,
        *,
        registry: ThreadBudgetRegistry,
        outbox: Outbox,
        clock: Clock,
        ids: IdSource,
        activity: ActivityFeed | None = None,
        chance: Callable[[], float] = random.random,
        calibration: Calibration | None = None,
    ) -> None:
        self._registry, self._reservations = registry, registry.reservations
        self._journal = journal = outbox.journal
        self._call_events = CallEvents(outbox)
        self._clock, self._ids, self._chance = clock, ids, chance
        self._activity = activity or ActivityFeed()
        self.gate, known = CallGate(), Calibration() if calibration is None else calibration
        self._services = RouterServices(registry, self._call_events, clock, known, self.gate)
        self.expenses = Expenses(registry, self._call_events, journal, clock, ids)
        limiters = spec.limiters or ProviderLimiters(spec.providers, spec.settings.providers, clock)
        self._config = RouterConfig(spec, self._services, limiters)
        self._open = OpenAttempts()
        self._in_flight = ThreadConcurrency(self.settings.calls_in_flight, "bounds.calls_in_flight")
        self._direct = ThreadConcurrency(self.settings.direct_calls_in_flight, "gateway.calls_in_flight")
        self._adapters = Adapters()
        self._counting = InputCounting(self._adapters)
        self.memo = Memo(journal)
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
            for thread_id in self._open.threads:
                await self.wait_idle(thread_id)
        # The body's own error is not handed over: it would come out wrapped in a group of its own.
        await tasks.__aexit__(None, None, None)
        await self._adapters.end()

    @property
    def models(self) -> Mapping[str, ModelPlan]:
        """The models agents may name."""
        return self._config.models

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The providers that attempts go to from now on."""
        return self._config.providers

    @property
    def settings(self) -> RouterSettings:
        """How calls are made."""
        return self._config.settings

    def subscribe_calls(self, count: CallSink) -> None:
        """Have a function called with each call before it is held; see :meth:`CallEvents.subscribe_calls`."""
        self._call_events.subscribe_calls(count)

    def subscribe_warnings(self, deliver: WarningSink) -> None:
        """Have a function called with each warning and its spender; see :meth:`CallEvents.subscribe_warnings`."""
        self._call_events.subscribe_warnings(deliver)

    def replace(self, spec: RouterSpec) -> None:
        """Replace models, providers, prices and settings for the next attempts, in one step.

        Attempts under way settle with their provider. A provider that is the same object as before keeps its
        concurrency, rates and circuit; one that is gone is closed when its last attempt has ended. A call between two
        attempts is planned anew.
        """
        before, providers, settings = self._config, spec.providers, spec.settings
        if spec.limiters is None and self._tasks is None:
            raise StoppedError
        check_providers(providers)
        limiters = spec.limiters or before.limiters.succeeded(
            before.providers, providers, settings.providers, self._clock
        )
        self._config = RouterConfig(spec, self._services, limiters)
        self._in_flight.change(settings.calls_in_flight)
        self._direct.change(settings.direct_calls_in_flight)
        for name, provider in gone_providers(before.providers, providers).items():
            if self._tasks is not None and spec.limiters is None:
                self._tasks.start_soon(self._close_unused, before.limiters[name], provider)

    @overload
    async def complete(self, call: Call, on_text: DeltaSink | None = None) -> Completion: ...

    @overload
    async def complete(
        self, call: str | Sequence[ChatMessage], on_text: DeltaSink | None = None, **about: Unpack[CallOptions]
    ) -> Completion: ...

    async def complete(
        self, call: Call | str | Sequence[ChatMessage], on_text: DeltaSink | None = None, **about: Any
    ) -> Completion:
        """Make a call and charge it to its thread, or return the answer that an earlier run has paid for.

        Args:
            call: What to ask: text or a conversation, with ``model=`` and ``thread_id=``; or all of it spelled out.
            on_text: Called with each piece of the answer as it arrives.
            about: Who pays and what else is asked for; see :class:`~organism.router.call.CallOptions`.

        Raises:
            ConfigError: The request cannot be sent as it is; nothing was sent or charged.
            BudgetExhaustedError: A limit refused the call; nothing was sent or charged.
            UnpricedError, UnboundedError: No hold covers it for sure (no price, an image); nothing was sent or charged.
            RejectedError: The provider refused; nothing was charged.
            UncertainError: No usable answer came, and the whole hold was charged.
            UnknownAccountError: The thread has no budget, because it is closed.
        """
        call = call if isinstance(call, Call) else direct_call(call, **about)
        return cast("Completion", await self._answer(call, CompletionRequest, on_text))

    async def embed(self, call: Call) -> Embeddings:
        """Make vectors of texts, under the same rules as :meth:`complete`; raises the same.

        Raises:
            UnsupportedError: No provider of the model embeds; nothing was sent or charged.
        """
        return cast("Embeddings", await self._answer(call, EmbeddingRequest, None))

    async def input_count(self, model: str, request: Request) -> int:
        """Return about how many tokens of input a request has; nothing is held or charged."""
        planner, providers = self._config.planner, self.providers
        return await self._counting.count(request, planner.likely_input(model, request), providers)

    async def _answer(self, call: Call, kind: type[Request], on_text: DeltaSink | None) -> Answer:
        """Make a call, or return the paid answer of an earlier run."""
        if on_text is not None and not callable(on_text):
            raise ConfigError(f"it must be a function of a piece of the answer, not {shown(on_text)}", path="on_text")
        # The digest is of the request as asked: one with a granted cap would not find the answer that was paid.
        checked = checked_request(call.request, kind)
        call = replace(call, request=checked.request, digest=checked.digest)
        if (paid := self.memo.find(call.spender.thread_id, call.message_id, call.index, call.digest)) is not None:
            return paid
        self._call_events.begin(call)
        call_id = self._ids.next("call")
        observed = ObservedCall(call, call_id, streamed=on_text is not None, feed=self._activity, clock=self._clock)
        deadline_s = (loop_time() if call.asked_s is None else call.asked_s) + self.settings.deadline_s
        places = self._in_flight if call.message_id else self._direct
        with observed:
            place = await places.take(call.spender.thread_id, call.spender.model, deadline_s)
            try:
                state = CallState(call, call_id, self._plan(call, call_id), self._config.settings, deadline_s)
                return observed.answered(await self._attempts(state, observed, on_text))
            finally:
                place.release()

    def _plan(self, call: Call, call_id: str) -> Planned:
        config = self._config
        planned = config.planner.plan(call)
        self._call_events.emit_degraded(call, call_id, planned.degraded, planned.stayed)
        return planned

    async def _attempts(self, state: CallState, observed: ObservedCall, on_text: DeltaSink | None) -> Answer:
        """Make attempts until one answers or no other may follow."""
        config = self._config
        while True:
            # A reload may have come while it waited: the call is planned anew, attempts under way end as they began.
            await self.gate.enter()
            if config is not self._config:
                config = self._config
                state.replan(self._plan(state.call, state.call_id), config.settings)
            elif config.limiters.retired:  # others that share them were reloaded, and this router has ended
                raise StoppedError
            try:
                await self._counting.make_ready(state, config.estimator, config.providers)
                attempt, result = await self._attempt(config, state, observed, on_text)
            except ReplacedError:
                continue
            if isinstance(result, Answer):
                return result
            now_s = loop_time()
            if not state.goes_on(attempt.route, result, now_s=now_s, chance=self._chance()):
                raise result
            self._call_events.emit_retry(state, attempt, result, state.delay_s(now_s))

    def busy(self, thread_id: str) -> bool:
        """Whether a thread has an open attempt."""
        return self._open.busy(thread_id)

    async def wait_idle(self, thread_id: str) -> None:
        """Wait until a thread has no open attempt; its attempts get only their drain time."""
        for attempt in self._open.of(thread_id):
            attempt.drain(self._config.settings.drain_s)
        await self._open.wait_idle(thread_id)

    @property
    def open_attempts(self) -> tuple[Attempt, ...]:
        """The attempts under way, and those that wait for a permit."""
        return tuple(self._open)

    def statistics(self) -> RouterStatistics:
        """Return counts of what is under way."""
        limiters, attempts, threads = self._config.limiters, len(self.open_attempts), len(self._open.threads)
        return RouterStatistics(attempts_open=attempts, threads=threads, providers=limiters.health())

    async def _attempt(
        self, config: RouterConfig, state: CallState, observed: ObservedCall, on_text: DeltaSink | None
    ) -> Ended:
        """Make the next attempt, and a hedge beside it if the model is hedged and the attempt is slow."""

        async def run(attempt: Attempt, sink: DeltaSink | None) -> Ended:
            with observed.attempt(attempt):
                return attempt, await self._run(config, state, attempt, sink)

        async def hedge(sink: DeltaSink | None) -> Ended | None:
            try:
                await self._counting.make_ready(state, config.estimator, config.providers)
                second = await config.admission.hedge(state)
            except (ReplacedError, RejectedError):
                return None
            return None if second is None else await run(second, sink)

        first = partial(run, await config.admission.next_attempt(state))
        if state.plan.hedge_after_s is None:
            return await first(on_text)
        return await first_answer(first, hedge, state.plan.hedge_after_s, on_text)

    async def _run(
        self, config: RouterConfig, state: CallState, attempt: Attempt, on_text: DeltaSink | None
    ) -> Answer | ProviderError:
        """Dispatch an attempt and wait for its end; its settlement does not depend on this task."""
        # Before the wait for a permit: a thread that closes must wait for this hold to be resolved.
        self._open.add(attempt)
        try:
            await config.admission.enter(state, attempt)
            # Marked as dispatched, durably, before it is: after a crash a hold with the mark is charged, because the
            # provider may have been reached, and one without is released.
            self._registry.dispatch(attempt.held.hold_id)
            await self._journal.commit()
            if self._tasks is None:
                raise StoppedError
        except BaseException as error:  # a cancellation, too: its hold would stay until the process ends
            self._reservations.give_up(attempt.held)  # nothing has left yet
            attempt.permit.leave(tokens=0)
            self._open.remove(attempt)
            if isinstance(error, RejectedError):
                return error
            raise
        attempt.on_text = on_text
        attempt.started_ns = self._clock.monotonic_ns()
        # Not in the caller's task: a cancellation of that must not keep what the provider bills out of the ledger.
        end = partial(self._end, config, state.call, attempt)
        attempt.begin(partial(config.exchange, attempt, self._adapters), end)
        try:
            await attempt.done.wait()
            if attempt.listener_error is not None:
                raise attempt.listener_failure
        except BaseException:
            attempt.drain(config.settings.drain_s)
            raise
        return attempt.ended

    def _end(self, config: RouterConfig, call: Call, attempt: Attempt) -> None:
        """Settle an attempt, with no await between its end and the ledger, and wake its caller; never raises."""
        charge: Charge | None = None
        try:
            charge = self._resolve(config, call, attempt)
            config.learn(attempt, charge)
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            _log.exception("attempt_not_settled", call_id=attempt.record.call_id, error=describe(error))
        finally:
            # In this order: the caller that waits for `done` begins the next attempt, which needs this one's permit;
            # the one that waits for an idle thread closes its budget, which must be settled.
            tokens, failure = (None, None) if charge is None else (charge.usage.total, charge.error)
            attempt.permit.leave(attempt.health, tokens=tokens, failure=failure)
            attempt.done.set()
            self._open.remove(attempt)

    def _resolve(self, config: RouterConfig, call: Call, attempt: Attempt) -> Charge:
        """Charge or release, keep a paid answer and emit events in one step without await, so in one commit."""
        charge = attempt.charge(config.prices)
        settled: Settlement | tuple[BudgetState, ...] = (
            self._registry.release(attempt.held.hold_id)
            if charge.outcome == "released"
            else self._registry.settle(attempt.held, charge.amounts, charge.cost, call.spender.agent)
        )
        latency_ns = self._clock.monotonic_ns() - attempt.started_ns
        self._call_events.emit_usage(
            attempt.record, charge, settled, latency_ns=latency_ns, labels=call.labels, abandoned=attempt.abandoned
        )
        # In the commit of the settlement: kept later, a crash in between would have the answer paid twice; kept
        # earlier, it would be handed out unpaid.
        if isinstance(attempt.result, Answer) and call.message_id:
            self.memo.keep(call.spender.thread_id, call.message_id, call.index, call.digest, attempt.result)
        for warning in settled.warnings if isinstance(settled, Settlement) else ():
            self._call_events.emit_warning(attempt.record, warning)
        return charge

    async def close_provider(self, name: str, provider: Provider) -> None:
        """Close an adapter; never raises, and waits only so long."""
        await self._adapters.close(name, provider)

    async def _close_unused(self, limiter: ProviderLimiter, provider: Provider) -> None:
        """Close a provider that has been removed, once its last attempt has ended."""
        await limiter.wait_unused()
        await self.close_provider(limiter.provider, provider)

    def close_thread(self, thread_id: str) -> None:
        """Forget a thread that has ended."""
        self._in_flight.forget(thread_id)
        self._direct.forget(thread_id)
        self.memo.forget_thread(thread_id)
