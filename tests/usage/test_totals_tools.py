"""Paid runs of tools in all that is made of usage events: sums, reports, bills, metrics; none counts as a call."""

from datetime import date
from typing import Any

import msgspec

from organism.amounts import ZERO, BudgetState, Limits, TokenUsage
from organism.billing.bill import BillLine
from organism.billing.billing_formats import lago
from organism.billing.period import Period, report_period
from organism.billing.reconciliation import reconcile
from organism.ledger.entries import CallRecord, decode_entry
from organism.telemetry.conventions import Conventions
from organism.telemetry.metrics.metric_mapping import measure_event
from organism.usage.cloudevents import CloudEvent
from organism.usage.events import UsageEvent, decode_event
from organism.usage.totals import RunningTotals, SumRecord
from organism.usage.tracker import UsageTracker

DAY = date(2026, 1, 1)
NOON_NS = 1_767_268_800 * 10**9


def event(tool: str = "", cost: int = 7, **more: Any) -> UsageEvent:
    model = "" if tool else "m"
    return UsageEvent(
        **{
            "id": "1", "time_ns": NOON_NS, "thread_id": "t", "root_thread_id": "t", "agent": "a",
            "call_id": tool or "c", "attempt": 1, "provider": "" if tool else "p",
            "model": model, "request_model": model, "response_model": None,
            "usage": TokenUsage() if tool else TokenUsage(input=3, output=2), "cost_nanousd": cost, "price_source": "x",
            "latency_ns": 10**9, "outcome": "settled", "labels": {"tenant": "acme"}, "tool": tool,
            "budgets": (BudgetState("thread:t", Limits(), ZERO, ZERO),),
            "operation": "execute_tool" if tool else "chat",
        } | more
    )  # fmt: skip


def test_sums_tell_tools_from_calls() -> None:
    """Their cost is in the cost, their number is their own; what was given back is neither."""
    running = RunningTotals()
    for each in (event(), event("ocr"), event("ocr", 5), event("ocr", 9, outcome="released")):
        running.add(each)

    sums = running.snapshot()
    assert (sums.calls, sums.attempts, sums.cost_nanousd, sums.tool_uses, sums.tool_nanousd) == (1, 1, 19, 2, 12)
    assert RunningTotals.of(running.record("agent", "a")).snapshot() == sums


def test_sums_of_an_older_journal_are_taken_up() -> None:
    """Sums, events and entries that an earlier version has kept know of no tools, and read as they were."""
    kept = msgspec.to_builtins(RunningTotals().record("agent", "a"))
    del kept["tool_uses"], kept["tool_nanousd"]
    assert RunningTotals.of(msgspec.convert(kept, SumRecord)).snapshot().tool_uses == 0
    told = msgspec.json.decode(msgspec.json.encode(event()))
    del told["tool"]
    assert decode_event(msgspec.json.encode(told)) == event()
    old = {
        "kind": "Reserved", "seq": 1, "time_ns": 0, "hold_id": "h", "accounts": ["thread:t"],
        "amounts": {"tokens": 1, "cost_nanousd": 0, "calls": 1},
        "call": {"thread_id": "t", "root_thread_id": "t", "agent": "a", "message_id": "", "call_id": "c", "attempt": 1,
                 "provider": "p", "model": "m", "request_model": "m", "input_tokens": 1, "output_cap": 1,
                 "price_source": None},
    }  # fmt: skip
    entry = decode_entry(msgspec.json.encode(old))
    assert isinstance(record := getattr(entry, "call", None), CallRecord)
    assert record.tool == ""


def test_a_tracker_sums_by_tool() -> None:
    """Tools have sums of their own, and are among no models."""
    tracker = UsageTracker()
    for each in (event(), event("ocr"), event("search", 5)):
        tracker.publish(each)

    assert {name: sums.tool_nanousd for name, sums in tracker.by_tool().items()} == {"ocr": 7, "search": 5}
    assert list(tracker.by_model()) == ["m"]
    assert tracker.total.cost_nanousd == 19


def test_a_report_of_a_period_has_a_table_of_tools() -> None:
    """What tools cost is in the total and in a table of its own; models and providers show calls alone."""
    report = report_period([event(), event("ocr", id="2")], Period())

    assert [(cut.name, cut.totals.tool_uses, cut.totals.cost_nanousd) for cut in report.by_tool] == [("ocr", 1, 7)]
    assert ([cut.name for cut in report.by_model], [cut.name for cut in report.by_provider]) == (["m"], ["p/m"])
    assert report.totals.cost_nanousd == 14


def test_a_vendor_s_bill_is_compared_with_calls_alone() -> None:
    """A vendor of models bills no tool of ours; what tools cost must not hide what it bills too much."""
    (line,) = reconcile([event(), event("ocr", 1000)], [BillLine(DAY, None, 7, None)], Period())

    assert (line.billed_nanousd, line.recorded_nanousd) == (7, 7)


def test_a_customer_is_billed_for_tools() -> None:
    """A billing system gets the tool's name where a call has its model's."""
    envelope = CloudEvent(id="1", source="s", type="x", subject="t", time="2026-01-01T12:00:00Z", data=event("ocr"))
    (request,) = lago("tenant")([envelope])

    (line,) = msgspec.json.decode(request.body)["events"]
    assert (line["properties"]["model"], line["precise_total_amount_cents"]) == ("ocr", "0.0000007")


def test_metrics_count_tools_as_tools() -> None:
    """A run of a tool counts its cost and its use, and on budgets; on no model, provider or vendor's convention."""
    counted = {each.instrument.name: (each.value, each.labels) for each in measure_event(event("ocr"), Conventions())}

    assert set(counted) == {
        "organism.tool.uses",
        "organism.tool.cost",
        "organism.budget.spent",
        "organism.budget.spent_tokens",
    }
    assert counted["organism.tool.cost"] == (7e-9, ("a", "ocr", "settled"))
    assert counted["organism.budget.spent"] == (7e-9, ("thread", "a", ""))
    released = [each.instrument.name for each in measure_event(event("ocr", outcome="released"), Conventions())]
    assert released == ["organism.tool.uses"]
