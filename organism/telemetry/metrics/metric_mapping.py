"""From events and activity to numbers. Pure: what each one counts as, whatever system the numbers go to."""

from collections.abc import Iterator

import msgspec

from organism.amounts import NANOUSD_PER_USD, NS_PER_S
from organism.amounts.account import Account
from organism.journal import GroupWritten
from organism.telemetry.conventions import Conventions
from organism.telemetry.metrics import instruments as i
from organism.telemetry.metrics.instruments import Instrument
from organism.usage import events
from organism.usage.activity import Activity, CallEnded, HandlerRan


class Measurement(msgspec.Struct, frozen=True, gc=False):
    """One number for one instrument.

    Attributes:
        instrument: The metric it counts on.
        value: In the instrument's unit.
        labels: One for each of the instrument's labels.
        trace_id: The trace it came from, for an exemplar.
    """

    instrument: Instrument
    value: float
    labels: tuple[str, ...] = ()
    trace_id: str | None = None


def measure_event(event: events.AnyEvent, conventions: Conventions) -> Iterator[Measurement]:
    """Yield what an event counts as."""
    match event:
        case events.UsageEvent():
            yield from _tool(event) if event.tool else _usage(event, conventions)
        case events.ThresholdCrossed(threshold=threshold, dimension=dimension, calls_left=calls_left):
            yield Measurement(i.WARNINGS, 1, (str(threshold), dimension))
            if calls_left is not None:
                yield Measurement(i.WARNING_CALLS_LEFT, calls_left, (dimension,))
        case events.BudgetExceeded(shortfall=shortfall, enforced=False):
            # Refusals that were enforced are counted call by call, when the call ends.
            yield Measurement(i.REFUSALS, 1, ("audit", shortfall.dimension))
        case events.LLMRetry() | events.LLMFailover() | events.ModelDegraded() | events.BreakerTripped():
            yield from _calls(event)
        case events.ApprovalRequested() | events.ApprovalDecided() | events.OperatorAction():
            yield from _people(event)
        case events.ThreadOpened() | events.ThreadBlocked() | events.ThreadResumed() | events.ThreadClosed():
            yield from _thread(event)
        case events.DeadLetterEvent() | events.EventLoopBlocked() | events.Reported():
            yield from _handled(event)
        case events.LimitChanged() | events.BudgetAdjusted():
            yield from _operated(event)
        case events.PartitionMoved(change=change):
            yield Measurement(i.PARTITION_MOVES, 1, (change,))
        case _:
            pass


def measure_activity(activity: Activity) -> Iterator[Measurement]:
    """Yield what an activity counts as."""
    match activity:
        case HandlerRan(agent=agent, trace=trace):
            trace_id = None if trace is None else trace[3:35]
            seconds = activity.duration_ns / NS_PER_S
            yield Measurement(i.HANDLER_DURATION, seconds, (agent, activity.outcome), trace_id)
            if activity.attempt == 1:
                yield Measurement(i.PHASES, activity.queued_ns / NS_PER_S, (agent, "queued"))
                yield Measurement(i.HOPS, activity.hops)
            else:
                yield Measurement(i.RESTARTS, 1, (agent,))
        case CallEnded(agent=agent):
            waited_ns = activity.duration_ns - activity.provider_ns
            yield Measurement(i.PHASES, max(0, waited_ns) / NS_PER_S, (agent, "waiting"))
            if activity.attempts:
                yield Measurement(i.PHASES, activity.provider_ns / NS_PER_S, (agent, "provider"))
            if activity.shortfall is not None:
                reason = "exhausted" if activity.shortfall.cause == "limit" else activity.shortfall.cause
                yield Measurement(i.REFUSALS, 1, (reason, activity.shortfall.dimension))
        case GroupWritten(records=records, write_ns=write_ns):
            yield Measurement(i.COMMIT_DURATION, write_ns / NS_PER_S)
            yield Measurement(i.GROUP_RECORDS, records)


def _handled(event: events.DeadLetterEvent | events.EventLoopBlocked | events.Reported) -> Iterator[Measurement]:
    match event:
        case events.DeadLetterEvent(reason=reason):
            yield Measurement(i.DEAD_LETTERS, 1, (reason,))
        case events.EventLoopBlocked(agent=agent, blocked_ns=blocked_ns):
            yield Measurement(i.LOOP_BLOCKED, blocked_ns / NS_PER_S, (agent,))
        case events.Reported(agent=agent, name=name, result=result):
            yield Measurement(i.DECISIONS, 1, (agent, name, result), event.trace_id)


def _calls(
    event: events.LLMRetry | events.LLMFailover | events.ModelDegraded | events.BreakerTripped,
) -> Iterator[Measurement]:
    match event:
        case events.LLMRetry(agent=agent, provider=provider):
            yield Measurement(i.RETRIES, 1, (agent, provider))
        case events.LLMFailover(from_provider=provider, to_provider=to_provider):
            yield Measurement(i.FAILOVERS, 1, (provider, to_provider))
        case events.ModelDegraded(model=model, to_model=to_model):
            yield Measurement(i.DEGRADED, 1, (model, to_model))
        case events.BreakerTripped(agent=agent, breaker=breaker, action=action):
            yield Measurement(i.BREAKERS, 1, (agent, breaker, action or "none"))


def _people(event: events.ApprovalRequested | events.ApprovalDecided | events.OperatorAction) -> Iterator[Measurement]:
    match event:
        case events.ApprovalRequested(agent=agent):
            yield Measurement(i.APPROVALS, 1, (agent, "requested"))
        case events.ApprovalDecided(agent=agent, allowed=allowed):
            yield Measurement(i.APPROVALS, 1, (agent, "allowed" if allowed else "denied"))
        case events.OperatorAction(action=action):
            yield Measurement(i.OPERATOR_ACTIONS, 1, (action,))


def _thread(
    event: events.ThreadOpened | events.ThreadBlocked | events.ThreadResumed | events.ThreadClosed,
) -> Iterator[Measurement]:
    match event:
        case events.ThreadOpened():
            yield Measurement(i.THREADS, 1, ("opened",), event.trace_id)
        case events.ThreadBlocked():
            yield Measurement(i.THREADS, 1, ("blocked",))
        case events.ThreadResumed():
            yield Measurement(i.THREADS, 1, ("resumed",))
        case events.ThreadClosed(outcome=outcome):
            yield Measurement(i.THREADS, 1, (outcome,))
            yield Measurement(i.THREAD_DURATION, max(0, event.time_ns - event.opened_ns) / NS_PER_S, (outcome,))


def _operated(event: events.LimitChanged | events.BudgetAdjusted) -> Iterator[Measurement]:
    if isinstance(event, events.LimitChanged):
        yield Measurement(i.LIMIT_CHANGES, 1)
        return
    # A counter never falls, so what was taken off is counted beside what was added.
    usd, tokens = event.amounts.cost_nanousd / NANOUSD_PER_USD, event.amounts.tokens
    for scope in dict.fromkeys(Account.parse(budget.account).metric_label for budget in event.budgets):
        for instrument, amount in ((i.ADJUSTED_USD, usd), (i.ADJUSTED_TOKENS, tokens)):
            if amount:
                yield Measurement(instrument, abs(amount), (scope, "added" if amount > 0 else "removed"))


def _usage(event: events.UsageEvent, conventions: Conventions) -> Iterator[Measurement]:
    yield from _genai(event, conventions)
    agent, model, provider, outcome = event.agent, event.model, event.provider, event.outcome
    yield Measurement(i.ATTEMPTS, 1, (agent, model, provider, outcome), event.trace_id)
    if outcome == "released":
        return
    usage, usd = event.usage, (event.cost_nanousd or 0) / NANOUSD_PER_USD
    yield Measurement(i.COST_USD, usd, (agent, model, provider, outcome), event.trace_id)
    yield from _spent(event)
    for kind in ("input", "cached_input", "cache_write", "output", "reasoning"):
        if tokens := getattr(usage, kind):
            yield Measurement(i.TOKENS_USED, tokens, (agent, model, kind), event.trace_id)
    if event.cost_nanousd is None:
        yield Measurement(i.UNPRICED, 1, (model, provider))
    if outcome != "settled":
        yield Measurement(i.INCOMPLETE, 1, (provider, outcome))
    if event.overrun.tokens:
        yield Measurement(i.OVERRUN_TOKENS, event.overrun.tokens, (provider,))


def _spent(event: events.UsageEvent) -> Iterator[Measurement]:
    """Yield what counts against budgets: a child's call is charged to its ancestors too; per scope it is still one."""
    usd = (event.cost_nanousd or 0) / NANOUSD_PER_USD
    for scope in dict.fromkeys(Account.parse(budget.account).metric_label for budget in event.budgets):
        yield Measurement(i.SPENT_USD, usd, (scope, event.agent, event.model))
        yield Measurement(i.SPENT_TOKENS, event.usage.total, (scope, event.agent, event.model))
        if not event.tool:
            yield Measurement(i.SPENT_CALLS, 1, (scope, event.agent, event.model))


def _tool(event: events.UsageEvent) -> Iterator[Measurement]:
    """Yield what a run of a tool, or another charge, counts as: it is no call of a model."""
    labels = (event.agent, event.tool, event.outcome)
    yield Measurement(i.TOOL_USES, 1, labels, event.trace_id)
    if event.outcome != "released":
        yield Measurement(i.TOOL_COST, (event.cost_nanousd or 0) / NANOUSD_PER_USD, labels, event.trace_id)
        yield from _spent(event)


def _genai(event: events.UsageEvent, conventions: Conventions) -> Iterator[Measurement]:
    """Yield what OpenTelemetry's conventions ask for; its input and output include cached and reasoning tokens."""
    operation = (event.operation, conventions.provider(event.provider), event.request_model)
    seconds, usage, trace_id = event.latency_ns / NS_PER_S, event.usage, event.trace_id
    failed = (event.outcome if event.error is not None else "",)
    if conventions.names == "old":
        yield Measurement(i.OLD_DURATION, seconds, (*operation, *failed), trace_id)
        if event.outcome != "released":
            yield Measurement(i.OLD_TOKEN_USAGE, usage.input_total, (*operation, "input"), trace_id)
            yield Measurement(i.OLD_TOKEN_USAGE, usage.output_total, (*operation, "output"), trace_id)
        return
    text = (*operation, "text")
    yield Measurement(i.NEW_DURATION, seconds, (*operation, *failed), trace_id)
    yield Measurement(i.NEW_INPUT, usage.input_total, text, trace_id)
    yield Measurement(i.NEW_OUTPUT, usage.output_total, text, trace_id)
    yield Measurement(i.NEW_CACHE_READ, usage.cached_input, text)
    yield Measurement(i.NEW_CACHE_WRITE, usage.cache_write, text)
    yield Measurement(i.NEW_REASONING, usage.reasoning, text)
    yield Measurement(i.NEW_INPUT_SIZES, usage.input_total, text)
    yield Measurement(i.NEW_OUTPUT_SIZES, usage.output_total, text)
