"""What spans say, in OpenTelemetry's GenAI names and, where those have none, under ``organism.``. Pure.

Nothing here is content except :func:`content_attributes`, which is asked only when content is wanted.
"""

from collections.abc import Sequence

import msgspec

from organism.amounts import NANOUSD_PER_USD, NS_PER_S, BudgetState, TokenUsage
from organism.amounts.account import Account
from organism.amounts.units import DIMENSIONS, amount_of, limit_of
from organism.telemetry.conventions import Conventions
from organism.text.redaction import headline
from organism.usage.activity import CallContent, CallEnded, HandlerRan
from organism.usage.events import ThreadClosed, UsageEvent

Attributes = dict[str, str | int | float | bool | Sequence[str]]


def thread_attributes(event: ThreadClosed, workflow: str, conventions: Conventions) -> Attributes:
    """Describe a thread that has ended."""
    name_key = "gen_ai.workflow.name" if conventions.names == "old" else "gen_ai.agent.name"
    attributes: Attributes = {
        "gen_ai.operation.name": "invoke_workflow",
        name_key: workflow,
        "gen_ai.conversation.id": event.thread_id,
        "organism.thread.root": event.root_thread_id,
        "organism.thread.entry": event.entry,
        "organism.thread.outcome": event.outcome,
        "organism.thread.tokens": event.budget.spent.tokens,
        "organism.thread.calls": event.budget.spent.calls,
        **_cost(event.budget.spent.cost_nanousd),
        **_budget([event.budget]),
    }
    return attributes | {f"organism.label.{key}": value for key, value in event.labels.items()}


def handler_attributes(run: HandlerRan) -> Attributes:
    """Describe one run of a handler."""
    attributes: Attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": run.agent,
        "gen_ai.conversation.id": run.thread_id,
        "organism.message.id": run.message_id,
        "organism.message.type": run.message_type,
        "organism.message.sender": run.sender,
        "organism.message.hops": run.hops,
        "organism.run.attempt": run.attempt,
        "organism.run.outcome": run.outcome,
        "organism.run.queued_seconds": run.queued_ns / NS_PER_S,
    }
    return attributes | _error(run.error)


def call_attributes(call: CallEnded, attempts: Sequence[UsageEvent], conventions: Conventions) -> Attributes:
    """Describe a model call over all its attempts; its tokens and cost are what it was charged for all of them."""
    usage = sum((attempt.usage for attempt in attempts), TokenUsage())
    written = "cache_creation" if conventions.names == "old" else "cache_write"
    attributes: Attributes = {
        "gen_ai.operation.name": call.operation,
        "gen_ai.conversation.id": call.thread_id,
        "gen_ai.agent.name": call.agent,
        "gen_ai.request.max_tokens": call.output_cap,
        "gen_ai.request.stream": call.streamed,
        "organism.call.id": call.call_id,
        "organism.model": call.model,
        "organism.call.attempts": len(attempts),
        "organism.call.waited_seconds": max(0, call.duration_ns - call.provider_ns) / NS_PER_S,
    }
    if attempts:
        last = attempts[-1]
        attributes |= {
            "gen_ai.provider.name": conventions.provider(last.provider),
            "gen_ai.request.model": last.request_model,
            "gen_ai.usage.input_tokens": usage.input_total,
            "gen_ai.usage.output_tokens": usage.output_total,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_input,
            f"gen_ai.usage.{written}.input_tokens": usage.cache_write,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
            "organism.budget.outcome": last.outcome,
            **_budget(last.budgets),
        }
        if last.response_model is not None:
            attributes["gen_ai.response.model"] = last.response_model
        if any(attempt.cost_nanousd is None for attempt in attempts):
            attributes["organism.cost.unpriced"] = True
        attributes |= _cost(sum(attempt.cost_nanousd or 0 for attempt in attempts))
    elif call.shortfall is not None:
        attributes |= {
            "organism.budget.outcome": "refused",
            "organism.budget.scope": Account.parse(call.shortfall.account).metric_label,
            "organism.budget.dimension": call.shortfall.dimension,
            "organism.budget.limit": call.shortfall.limit,
            "organism.budget.spent": call.shortfall.spent,
            "organism.budget.reserved": call.shortfall.held,
            "organism.budget.remaining": call.shortfall.available,
        }
    if call.finish_reason is not None:
        attributes["gen_ai.response.finish_reasons"] = (call.finish_reason,)
    return attributes | _error(call.error)


def attempt_attributes(event: UsageEvent, conventions: Conventions) -> Attributes:
    """Describe one attempt."""
    attributes: Attributes = {
        "organism.attempt": event.attempt,
        "organism.event.id": event.id,
        "organism.budget.outcome": event.outcome,
        "organism.attempt.seconds": event.latency_ns / NS_PER_S,
        "gen_ai.provider.name": conventions.provider(event.provider),
        "gen_ai.request.model": event.request_model,
        "gen_ai.usage.input_tokens": event.usage.input_total,
        "gen_ai.usage.output_tokens": event.usage.output_total,
        **({} if event.cost_nanousd is None else _cost(event.cost_nanousd)),
    }
    return attributes if event.error is None else attributes | {"error.message": headline(event.error)}


def content_attributes(content: CallContent, finish_reason: str | None) -> Attributes:
    """Write prompts and answer in the conventions' JSON."""

    def message(role: str, text: str) -> dict[str, object]:
        return {"role": role, "parts": [{"type": "text", "content": text}]}

    answer = message("assistant", content.answer) | {"finish_reason": finish_reason or "error"}
    return {
        "gen_ai.input.messages": msgspec.json.encode([message(*turn) for turn in content.prompt]).decode(),
        "gen_ai.output.messages": msgspec.json.encode([answer]).decode(),
    }


def _cost(cost_nanousd: int) -> Attributes:
    """Say a cost twice: in dollars to read, in nano-USD to add up without an error."""
    return {"organism.cost.usd": cost_nanousd / NANOUSD_PER_USD, "organism.cost.nanousd": cost_nanousd}


def _error(error: str | None) -> Attributes:
    """Name the kind of an error; its text may hold content."""
    return {} if error is None else {"error.type": error.partition(":")[0]}


def _budget(budgets: Sequence[BudgetState]) -> Attributes:
    """Describe the limit that is nearest to running out."""
    tightest: tuple[float, Attributes] | None = None
    for state in budgets:
        for dimension in DIMENSIONS:
            limit = limit_of(state.limits, dimension)
            if not limit:
                continue
            spent = amount_of(state.spent, dimension, state.elapsed_ns)
            held = 0 if dimension == "seconds" else amount_of(state.held, dimension)
            part = (spent + held) / limit
            if tightest is None or part > tightest[0]:
                tightest = (
                    part,
                    {
                        "organism.budget.scope": Account.parse(state.account).metric_label,
                        "organism.budget.dimension": dimension,
                        "organism.budget.limit": limit,
                        "organism.budget.spent": spent,
                        "organism.budget.reserved": held,
                        "organism.budget.remaining": max(0, limit - spent - held),
                    },
                )
    return {} if tightest is None else tightest[1]
