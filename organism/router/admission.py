"""Turns a call into a held attempt: takes a permit of the next provider, and holds the worst case there.

Each attempt is admitted anew, at the price and on all scopes of its own route.
"""

import math

from msgspec.structs import replace

from organism.amounts import CALL_NANOUSD_MAX, NS_PER_S, ZERO, format_usd
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.relief import comes_sooner, leaves_little
from organism.budget.scopes import of_provider
from organism.errors import (
    BudgetError,
    BudgetExhaustedError,
    ConfigError,
    Refusal,
    RejectedError,
    UnboundedError,
    UnpricedError,
    UnsupportedError,
)
from organism.ledger.entries import CallRecord
from organism.llm.requests import CompletionRequest
from organism.router.attempt import Attempt
from organism.router.call import LastWord, RouterSettings, loop_of
from organism.router.call_events import CallEvents
from organism.router.call_state import CallState
from organism.router.limits.limiter import Permit, ReplacedError
from organism.router.limits.patience import Patience
from organism.router.planning.call_rates import RateSource, held_rates, needs_price, rates_for
from organism.router.planning.estimator import InputEstimator
from organism.router.planning.plan import Route
from organism.router.planning.provider_limiters import ProviderLimiters
from organism.router.planning.route_queue import RouteQueue
from organism.router.prepared_call import PreparedCall
from organism.router.spending.budget_answers import BudgetAnswers

_USEFUL_MIN, _USEFUL_MAX = 64, 256
"""Tokens that suffice for a tool call or a short final answer."""


class Admission:
    """Admits attempts.

    Args:
        estimator: Estimates the input of requests.
        call_events: Emits refusals and failovers.
    """

    def __init__(
        self,
        registry: ThreadBudgetRegistry,
        limiters: ProviderLimiters,
        prices: RateSource,
        estimator: InputEstimator,
        call_events: CallEvents,
        settings: RouterSettings,
    ) -> None:
        self._registry = registry
        self._reservations, self._last_calls = registry.reservations, registry.accounts.last_calls
        self._stops = registry.stops
        self._limiters = limiters
        self._prices = prices
        self._estimator = estimator
        self._call_events = call_events
        self._settings = settings
        self._answers = BudgetAnswers(registry, call_events)

    async def next_attempt(self, state: CallState) -> Attempt:
        """Hold an attempt at the next provider that has a permit and that the budget admits.

        A refusal that other providers may not share sends the call on to the next: a limit of the provider, an unknown
        price, an image without a bound, a kind of request that it does not serve.

        Raises:
            BudgetError: No attempt may be made: the refusal that frees itself soonest, else the last one.
            RejectedError: No provider has a permit before the call's deadline, or none serves such requests.
        """
        soonest: BudgetExhaustedError | None = None
        while True:
            # The provider is chosen before anything is held: a call that waits for a circuit to close holds no budget.
            route, permit = await self._limiters.take(state.queue, state.deadline_s)
            try:
                attempt = await self._admit(state, route, permit)
            except (BudgetExhaustedError, UnboundedError, UnpricedError, UnsupportedError) as error:
                permit.leave()
                soonest = _sooner(soonest, error)
                if not state.avoids(_routes_that_fail_alike(error, route, state.queue), str(error)):
                    if soonest is not None:
                        raise soonest from None
                    raise
            except BaseException:  # a cancellation, too: a probe that kept its permit would keep the circuit half open
                permit.leave()
                raise
            else:
                if (change := state.goes_to(route)) is not None:
                    self._call_events.emit_failover(state, change[0], route.provider, change[1])
                return attempt

    async def hedge(self, state: CallState) -> Attempt | None:
        """Hold a hedge of a slow attempt at the next provider, if there is room for it at once.

        A hedge does not wait in the reserve queue, and its refusal is neither reported nor a failure.
        """
        if state.attempts >= self._settings.attempts:
            return None
        route, permit = await self._limiters.take(state.queue, state.deadline_s)
        try:
            prepared = self._prepare(state, route)
            held = self._registry.reserve_now(prepared.spender, prepared.ask, prepared.record)
        except (BudgetError, ConfigError, UnsupportedError):
            held = None
        if held is None:
            permit.leave()
            return None
        attempt = self._attempt(state, permit, prepared, held)
        attempt.is_hedge = True
        return attempt

    async def enter(self, state: CallState, attempt: Attempt) -> None:
        """Wait until an attempt may enter its provider; renew its hold if a window has ended meanwhile.

        If the new window has no room, the attempt gives its place back and waits for budget first.

        Raises:
            BudgetExhaustedError: The new window refuses it, or spending was frozen meanwhile.
            ReplacedError: The new window refuses it, and another provider may be asked.
            RejectedError: If its turn does not come before the call's deadline.
        """
        while True:
            counted = attempt.held.output_cap
            await attempt.permit.enter(attempt.record.input_tokens + counted, attempt.patience.deadline_s)
            # Checked again: a freeze or the end of the thread may have come during the wait, and the engine does not
            # check attempts that have a hold.
            if (stopped := self._stops.stopped(attempt.record.thread_id)) is not None:
                raise BudgetExhaustedError(stopped, attempt.record.thread_id)
            held = self._reservations.present_hold(attempt.held)
            if held is attempt.held:
                return
            fits = held is not None and held.output_cap <= counted
            # No place at the provider is kept during a wait for budget: one exhausted thread would block it.
            if not fits:
                attempt.permit.step_back()
            attempt.grant(self._granted_again(state, attempt, held or await self._hold_again(attempt)))
            if fits:
                return

    async def _hold_again(self, attempt: Attempt) -> GrantedHold | Refusal | None:
        """Hold an attempt again whose window has ended, waiting for room; a hedge does not wait."""
        wait_s = 0 if attempt.is_hedge else self._registry.wait_s
        return await self._reservations.hold_again(attempt.held, wait_s, attempt.patience.deadline_s)

    def _granted_again(self, state: CallState, attempt: Attempt, answer: GrantedHold | Refusal | None) -> GrantedHold:
        if attempt.is_hedge and isinstance(answer, Refusal):
            raise BudgetExhaustedError(answer, attempt.record.thread_id)
        try:
            return self._granted(state, attempt.prepared, answer)
        except BudgetExhaustedError as error:
            if state.avoids(_routes_that_fail_alike(error, attempt.route, state.queue), str(error)):
                raise ReplacedError from error
            raise

    async def _admit(self, state: CallState, route: Route, permit: Permit) -> Attempt:
        prepared = self._prepare(state, route)
        self._answers.warn_before(prepared.spender, prepared.ask, prepared.record)
        answer = await self._registry.reserve(prepared.spender, prepared.ask, prepared.record, state.deadline_s)
        last_word = state.call.last_word
        # If only this provider's limit refuses, another provider may take the call: then it is not the last one.
        if (
            isinstance(answer, Refusal)
            and last_word is not None
            and answer.cause == "limit"
            and not _goes_elsewhere(state, prepared, answer)
        ):
            prepared, answer = await self._last_word(state, last_word, prepared, answer)
        return self._attempt(state, permit, prepared, self._granted(state, prepared, answer))

    async def _last_word(
        self, state: CallState, last_word: LastWord, prepared: PreparedCall, refusal: Refusal
    ) -> tuple[PreparedCall, GrantedHold | Refusal | None]:
        """Hold a final call that fits in place of one that no longer fits, or return that one's refusal.

        A call that only other calls' holds keep out waits for them instead.
        """
        if refusal.needed <= refusal.limit - refusal.spent - refusal.final_reserve:
            return prepared, refusal
        self._answers.warn(refusal, prepared.spender, prepared.ask, prepared.record)
        last, answer = await self._try_last_word(state, last_word, prepared)
        if isinstance(answer, Refusal) and answer.account != refusal.account:
            # The thread's own limit is near its end, too, and what it keeps opens with its own final warning.
            self._answers.warn(answer, last.spender, last.ask, last.record)
            last, answer = await self._try_last_word(state, last_word, prepared)
        if isinstance(answer, Refusal) and self._last_calls.of(loop_of(state.call)) != ZERO:
            # Others, who leave it nothing, have taken what it had left for itself: it takes what there is.
            last, answer = await self._try_last_word(state, last_word, prepared, beside_others=False)
        return (prepared, refusal) if isinstance(answer, Refusal) else (last, answer)

    async def _try_last_word(
        self, state: CallState, last_word: LastWord, prepared: PreparedCall, *, beside_others: bool = True
    ) -> tuple[PreparedCall, GrantedHold | Refusal | None]:
        """Hold the longest last call that fits, beside what other loops have left for theirs or not."""

        def prepare(request: CompletionRequest) -> PreparedCall:
            trial = self._prepare(state, prepared.route, request)
            return trial if beside_others else replace(trial, ask=replace(trial.ask, loop=None))

        def fits(request: CompletionRequest) -> bool:
            trial = prepare(request)
            useful = replace(trial.ask, output_min=_useful_output(trial.ask))
            return self._reservations.would_fit(trial.spender, useful)

        last = prepare(last_word(fits))
        return last, await self._registry.reserve(last.spender, last.ask, last.record, state.deadline_s)

    def _granted(self, state: CallState, prepared: PreparedCall, answer: GrantedHold | Refusal | None) -> GrantedHold:
        """Return the granted hold; report a refusal, also one of a mode that only watches.

        Raises:
            BudgetExhaustedError: If the budget has refused.
            RejectedError: If the call's deadline came first.
        """
        if answer is None:
            reason = "not asked: the call's deadline came while it waited for budget"
            raise RejectedError(prepared.route.provider, reason)
        elsewhere = isinstance(answer, Refusal) and _goes_elsewhere(state, prepared, answer)
        spender, ask, record = prepared.spender, prepared.ask, prepared.record
        return self._answers.granted(answer, spender, ask, record, raises=state.call.raises, elsewhere=elsewhere)

    def _prepare(self, state: CallState, route: Route, last: CompletionRequest | None = None) -> PreparedCall:
        """Prepare an attempt on a route, with its worst case.

        Args:
            last: The final request that is sent in place of the call's own.

        Raises:
            UnpricedError: If a limit in USD meets a model without a price.
            UnboundedError: If nothing bounds what a part of the request costs there.
            ConfigError: If it could cost more than any call may.
            UnsupportedError: If the provider serves no requests of this kind.
        """
        request = state.call.request if last is None else last
        spender = replace(state.call.spender, model=state.plan.name, provider=route.provider)
        rates = rates_for(self._prices, route.provider, route.model, request)
        if rates is None:
            self._refuse_unpriced(spender, route)
        estimate = self._estimator.estimate(route, request)
        held = held_rates(rates, request, route.model) if rates is not None else None
        ask = Ask(
            input_tokens=estimate.tokens,
            output_cap=request.output_at_most,
            output_min=max(self._settings.output_min, request.choices),
            input_rate=held.dearest_input() if held is not None else 0,
            output_rate=held.dearest_output() if held is not None else 0,
            request_cost=held.request if held is not None else 0,
            loop=loop_of(state.call) if state.call.last_word is not None else None,
        )
        if state.call.last_word is not None and last is None:
            useful = _useful_output(ask)
            ask = replace(ask, output_min=max(ask.output_min, useful), last_output=2 * useful)
        _check_worst_case(ask, route)
        record = CallRecord(
            thread_id=spender.thread_id,
            root_thread_id=state.call.root_thread_id,
            agent=spender.agent,
            message_id=state.call.message_id,
            call_id=state.call_id,
            attempt=state.attempts + 1,
            provider=route.provider,
            model=spender.model,
            request_model=route.model,
            input_tokens=ask.input_tokens,
            output_cap=ask.output_cap,
            price_source=rates.source if rates is not None else None,
            operation=request.operation,
            last_output=ask.last_output,
        )
        return PreparedCall(route, spender, ask, record, rates, estimate.guess, estimate.extra, last)

    def _attempt(self, state: CallState, permit: Permit, prepared: PreparedCall, held: GrantedHold) -> Attempt:
        state.attempts += 1
        timeouts = self._limiters[prepared.route.provider].settings.timeouts
        timeout_s = self._settings.timeout_s if timeouts.call_s is None else timeouts.call_s
        scopes = self._registry.scopes_of(prepared.spender)
        enforced = [scope for scope in scopes if self._registry.mode_of(scope.account) == "enforce"]
        left_s = math.inf if held.time_left_ns is None else held.time_left_ns / NS_PER_S
        return Attempt(
            prepared=prepared,
            request=(prepared.last or state.call.request).granted(prepared.route.model, held.output_cap),
            held=held,
            permit=permit,
            patience=Patience(
                timeout_s=min(timeout_s, left_s),
                stream_timeout_s=min(math.inf if timeouts.call_s is None else timeouts.call_s, left_s),
                first_token_s=timeouts.first_token_s,
                between_tokens_s=timeouts.between_tokens_s,
                deadline_s=state.deadline_s,
            ),
            stops_at_cap=bool(enforced),
            streams=leaves_little(enforced, held),
        )

    def _refuse_unpriced(self, spender: Spender, route: Route) -> None:
        if self._settings.refuse_unpriced and needs_price(self._registry, spender):
            raise UnpricedError(route.model, route.provider)


def _goes_elsewhere(state: CallState, prepared: PreparedCall, refusal: Refusal) -> bool:
    """Whether a limit of the provider refuses, and another provider may be asked."""
    return of_provider(refusal.account) and any(
        route.provider != prepared.route.provider for route in state.queue.routes
    )


def _useful_output(ask: Ask) -> int:
    """Return the tokens of output that a tool loop needs: more for a longer conversation."""
    return min(ask.output_cap, max(_USEFUL_MIN, min(_USEFUL_MAX, ask.input_tokens // 4)))


def _check_worst_case(ask: Ask, route: Route) -> None:
    """Refuse a call that could cost more than the ledger's sums can hold, before anything is held.

    Raises:
        ConfigError: If the call could cost too much.
    """
    if ask.amounts(ask.output_cap).cost_nanousd > CALL_NANOUSD_MAX:
        tokens, where = ask.input_tokens + ask.output_cap, f"{route.provider}/{route.model}"
        raise ConfigError(
            f"a call of up to {tokens:,} tokens to {where} could cost "
            f"more than {format_usd(CALL_NANOUSD_MAX)}, the most a call may; ask for fewer, or correct the price"
        )


def _sooner(soonest: BudgetExhaustedError | None, error: Exception) -> BudgetExhaustedError | None:
    """Return the refusal that frees itself soonest; ``None`` if none does."""
    if not isinstance(error, BudgetExhaustedError):
        return soonest
    return error if comes_sooner(error.relief, None if soonest is None else soonest.relief) else soonest


def _routes_that_fail_alike(
    error: BudgetExhaustedError | UnboundedError | UnpricedError | UnsupportedError, route: Route, queue: RouteQueue
) -> tuple[Route, ...]:
    """Return the routes that a refusal rules out: all, those of one provider, or one."""
    if isinstance(error, UnpricedError):
        return (route,)
    alike_everywhere = isinstance(error, BudgetExhaustedError) and not of_provider(error.refusal.account)
    return queue.routes if alike_everywhere else queue.through(route.provider)
