"""Emits the events of model calls: charges, warnings, refusals, retries, failovers."""

from collections.abc import Callable

import msgspec

from organism.amounts import ZERO, BudgetState
from organism.budget.holds import Settlement, Spender
from organism.concurrency.safe_log import safe_logger
from organism.errors import ProviderError, Refusal
from organism.ledger.entries import CallRecord
from organism.messages import BudgetWarning
from organism.router.answers.charge import Charge
from organism.router.attempt import Attempt
from organism.router.call import Call
from organism.router.call_state import CallState
from organism.router.planning.plan import Degraded
from organism.tracing import current_trace, trace_id_of
from organism.usage.events import (
    BudgetExceeded,
    LLMFailover,
    LLMRetry,
    ModelDegraded,
    ThresholdCrossed,
    UsageEvent,
)
from organism.usage.outbox import Outbox

_log = safe_logger("organism.router")

CallSink = Callable[[Call], None]
"""Called with each call that is about to be held; must not block."""

WarningSink = Callable[[Spender, BudgetWarning], None]
"""Delivers a warning to the agent whose call crossed a threshold; must not block."""


class CallEvents:
    """Emits events, and calls those who subscribed to calls and warnings."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._warning_sinks: tuple[WarningSink, ...] = ()
        self._call_sinks: tuple[CallSink, ...] = ()
        self._told_unpriced: set[str] = set()  # models to degrade to: names of the configuration, so few

    def subscribe_calls(self, count: CallSink) -> None:
        """Have a function called with each call before it is held; not with calls whose answer is paid already."""
        self._call_sinks = (*self._call_sinks, count)

    def begin(self, call: Call) -> None:
        """Announce a call that is about to be held to the subscribers; no event."""
        for count in self._call_sinks:
            count(call)

    def subscribe_warnings(self, deliver: WarningSink) -> None:
        """Have a function called with each warning, and who made the call that crossed the threshold."""
        self._warning_sinks = (*self._warning_sinks, deliver)

    def emit_usage(
        self,
        record: CallRecord,
        charge: Charge,
        settled: Settlement | tuple[BudgetState, ...],
        *,
        latency_ns: int,
        labels: dict[str, str],
        abandoned: bool,
    ) -> None:
        """Emit the usage of an attempt that has been settled or released, with the accounts' new states."""
        whole = settled if isinstance(settled, Settlement) else Settlement(ZERO, (), settled)
        self._outbox.emit(
            UsageEvent(
                thread_id=record.thread_id,
                root_thread_id=record.root_thread_id,
                agent=record.agent,
                call_id=record.call_id,
                attempt=record.attempt,
                provider=record.provider,
                model=record.model,
                request_model=record.request_model,
                response_model=charge.response_model,
                usage=charge.usage,
                cost_nanousd=0 if charge.outcome == "released" else charge.cost_nanousd,
                price_source=charge.price_source,
                latency_ns=latency_ns,
                outcome=charge.outcome,
                error=charge.error,
                overrun=whole.overrun,
                budgets=whole.budgets,
                labels=labels,
                trace_id=trace_id_of(current_trace()),
                abandoned=abandoned,
                operation=record.operation,
                usage_note=charge.usage_note,
                tool=record.tool,
                truncated=charge.truncated,
                message_id=record.message_id,
            )
        )

    def emit_warning(self, record: CallRecord, warning: BudgetWarning) -> None:
        """Emit that spend has reached a threshold, and deliver the warning."""
        self._outbox.emit(
            ThresholdCrossed(
                thread_id=record.thread_id,
                root_thread_id=record.root_thread_id,
                agent=record.agent,
                **msgspec.structs.asdict(warning),
            )
        )
        for deliver in self._warning_sinks:
            deliver(Spender(record.thread_id, record.agent, record.model), warning)

    def emit_exceeded(self, record: CallRecord, shortfall: Refusal, *, enforced: bool) -> None:
        """Emit that a limit has refused a call, or would have in another mode."""
        self._outbox.emit(
            BudgetExceeded(
                thread_id=record.thread_id,
                root_thread_id=record.root_thread_id,
                agent=record.agent,
                shortfall=shortfall,
                enforced=enforced,
                model=record.model,
            )
        )

    def emit_retry(self, state: CallState, attempt: Attempt, error: ProviderError, delay_s: float) -> None:
        """Emit that an attempt has failed and another follows."""
        spender = state.call.spender
        self._outbox.emit(
            LLMRetry(
                thread_id=spender.thread_id,
                root_thread_id=state.call.root_thread_id,
                agent=spender.agent,
                call_id=state.call_id,
                attempt=attempt.record.attempt,
                provider=attempt.route.provider,
                delay_s=delay_s,
                next_provider=state.next_provider,
                reason=str(error),
            )
        )

    def emit_failover(self, state: CallState, from_provider: str, to_provider: str, reason: str) -> None:
        """Emit that a call goes to another provider than it would have."""
        spender = state.call.spender
        self._outbox.emit(
            LLMFailover(
                thread_id=spender.thread_id,
                root_thread_id=state.call.root_thread_id,
                agent=spender.agent,
                call_id=state.call_id,
                model=state.plan.name,
                from_provider=from_provider,
                to_provider=to_provider,
                reason=reason,
            )
        )

    def emit_degraded(
        self, call: Call, call_id: str, steps: tuple[Degraded, ...], stayed: Degraded | None = None
    ) -> None:
        """Emit that a call is made with another model than was asked for, because of what has been spent.

        Args:
            stayed: A step that is due and not taken, as the cheaper model has no price.
        """
        for step in steps:
            self._outbox.emit(
                ModelDegraded(
                    thread_id=call.spender.thread_id,
                    root_thread_id=call.root_thread_id,
                    agent=call.spender.agent,
                    call_id=call_id,
                    model=step.model,
                    to_model=step.to_model,
                    account=step.account,
                    dimension=step.dimension,
                    threshold=step.threshold,
                )
            )
        if stayed is not None:
            self._tell_stayed(stayed)

    def _tell_stayed(self, step: Degraded) -> None:
        """Log, once for each cheaper model without a price, that calls do not degrade to it."""
        if step.to_model in self._told_unpriced:
            return
        self._told_unpriced.add(step.to_model)
        _log.warning(
            "not_degraded",
            model=step.model,
            to_model=step.to_model,
            account=step.account,
            threshold=step.threshold,
            reason=f"no price is known for {step.to_model!r}, and a limit in USD is in force: calls stay with "
            f"{step.model!r}; add what {step.to_model!r} is served by under 'prices:'",
        )
