"""Resolves holds of calls that were under way when the process ended: charged if dispatched, else released.

The fate of a dispatched call is unknown, so its whole hold is charged: the ledger never has less than the bill.
"""

from collections.abc import Callable, Mapping

from organism.amounts import TokenUsage
from organism.budget.holds import GrantedHold, Spender
from organism.budget.registry import ThreadBudgetRegistry
from organism.ledger.entries import CallRecord, Hold
from organism.messages import BudgetWarning
from organism.router.answers.charge import Charge
from organism.router.call_events import CallEvents
from organism.usage.outbox import Outbox

_WHY = "the process ended while the call was under way"


def resolve_orphans(
    registry: ThreadBudgetRegistry,
    outbox: Outbox,
    labels_of: Callable[[str], Mapping[str, str]],
    warn: Callable[[Spender, BudgetWarning], None],
) -> int:
    """Resolve every open hold of a call in a replayed ledger, and return how many there were.

    Args:
        labels_of: Returns the labels of a thread.
        warn: Delivers the warnings of thresholds that this crosses.
    """
    call_events = CallEvents(outbox)
    resolved = 0
    for hold in registry.open_holds():
        if hold.call is None:
            continue  # a carved child's limit: it is returned when the child ends
        resolved += 1
        if not hold.dispatched:
            registry.release(hold.hold_id)
            continue
        record = hold.call
        settlement = registry.settle(_held(hold, record), hold.amounts, _worst_case(hold, record).cost, record.agent)
        labels = dict(labels_of(record.thread_id))
        call_events.emit_usage(
            record, _worst_case(hold, record), settlement, latency_ns=0, labels=labels, abandoned=True
        )
        for warning in settlement.warnings:
            call_events.emit_warning(record, warning)
            warn(Spender(record.thread_id, record.agent, record.model), warning)
    return resolved


def _held(hold: Hold, record: CallRecord) -> GrantedHold:
    return GrantedHold(hold_id=hold.hold_id, accounts=hold.accounts, amounts=hold.amounts, output_cap=record.output_cap)


def _worst_case(hold: Hold, record: CallRecord) -> Charge:
    return Charge(
        outcome="worst_case",
        usage=TokenUsage(input=record.input_tokens, output=record.output_cap),
        cost_nanousd=hold.amounts.cost_nanousd if record.price_source is not None else None,
        price_source=record.price_source,
        error=_WHY,
    )
