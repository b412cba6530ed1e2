"""Counts the bytecode instructions of a workload by part: ``python -m bench.bytecodes [W1 ...]``.

A count is the same in every run and on every machine with the same Python, however busy, so it shows what a change does
where the clock only shows the weather. What runs in C inside of one instruction does not show: it is small here.
"""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath
from types import CodeType, FrameType
from typing import Any

import msgspec

from bench import budgets_ours, calls, messages_ours
from bench.stopwatch import Figures

PARTS = {
    "the handler's run: context, scope, timeout": (
        "handler_run.py",
        "handler_runtime.py",
        "cancel_scope.py",
        "context.py",
        "timers.py",
        "tracing.py",
    ),
    "the loop: take, check, complete": ("message_loop.py", "supervisor.py", "active_config.py", "activity.py"),
    "recipients, permissions, sizes": ("output_routing.py", "routing.py", "messages.py", "json_nesting.py", "agent.py"),
    "the envelope: id, instant": ("envelopes.py", "ids.py", "clock.py"),
    "mailbox and lane": ("delivery.py", "mailbox.py", "thread.py", "lanes.py"),
    "the journal": ("state_writer.py", "memory.py", "records.py", "memo.py", "tables.py"),
    "told to who listens": (
        "outbox.py",
        "tracker.py",
        "listeners.py",
        "sums.py",
        "history.py",
        "message_flow.py",
        "events.py",
    ),
    "does it go round and round": ("loop_breakers.py", "breakers.py"),
    "workers and places": ("handler_places.py", "scheduler.py", "lifecycle.py", "guard.py"),
    "opening and ending threads": ("pump.py", "registry.py", "ledger.py", "fold.py", "account_book.py", "app.py"),
    "asyncio and AnyIO": ("base_events.py", "events.py", "selectors.py", "wakeups.py", "_asyncio.py", "queues.py"),
}
"""What the modules are for that the workloads go through; the rest is shown together."""


class Count(msgspec.Struct):
    """Calls and instructions of one item."""

    calls: float = 0.0
    instructions: float = 0.0


def count(
    side: Callable[[int], Figures], size: int, part_of: Callable[[CodeType], str] | None = None
) -> dict[str, Count]:
    """Return what one item takes, by part: of twice the size, what is more than of the size."""
    part_of = part_of or _part
    side(size)  # what is done once only is not counted
    small, large = _traced(side, size), _traced(side, 2 * size)
    found: dict[str, Count] = {}
    for code, instructions in large[1].items():
        part = found.setdefault(part_of(code), Count())
        part.instructions += (instructions - small[1][code]) / size
        part.calls += (large[0][code] - small[0][code]) / size
    return found


def _traced(side: Callable[[int], Figures], size: int) -> tuple[Counter[CodeType], Counter[CodeType]]:
    calls: Counter[CodeType] = Counter()
    instructions: Counter[CodeType] = Counter()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "call":
            calls[frame.f_code] += 1
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            instructions[frame.f_code] += 1
        return trace

    sys.settrace(trace)
    try:
        side(size)
    finally:
        sys.settrace(None)
    return calls, instructions


def _part(code: CodeType) -> str:
    path = PurePath(code.co_filename)
    if path.parent.name == "bench":
        return "the workload itself"
    if path.parent.name == "asyncio":
        return "asyncio and AnyIO"
    return next((part for part, names in PARTS.items() if path.name in names), "the rest")


def _room(code: CodeType) -> str:
    """Return the room of organism that a piece of code is in: how calls and holds are split, which go through many."""
    path = PurePath(code.co_filename)
    if path.parent.name == "bench":
        return "the workload itself"
    if "organism" in path.parts:
        return path.stem if path.parent.name == "organism" else path.parent.name
    return "asyncio and AnyIO" if {"asyncio", "anyio"} & set(path.parts) else "the rest"


def table(found: dict[str, Count], items: int) -> list[str]:
    """Write counts as a table, for one of so many items that each of the workload's is made of."""
    whole = sum(part.instructions for part in found.values())
    lines = ["| part | calls | instructions | share |", "| --- | ---: | ---: | ---: |"]
    for name, part in sorted(found.items(), key=lambda item: -item[1].instructions):
        if part.instructions >= items:
            share = 100 * part.instructions / whole
            lines.append(f"| {name} | {part.calls / items:.1f} | {part.instructions / items:,.0f} | {share:.0f} % |")
    calls = sum(part.calls for part in found.values())
    return [*lines, f"| all | {calls / items:.1f} | {whole / items:,.0f} | 100 % |"]


WORKLOADS: dict[str, tuple[Callable[[int], Figures], int, int, Callable[[CodeType], str]]] = {
    "W1": (messages_ours.ping_pong, 300, 1, _part),
    "W2": (messages_ours.chains, 30, 10, _part),
    "W3": (messages_ours.fan_out, 5, 100, _part),
    "W4": (messages_ours.asks_alone, 300, 1, _part),
    "W6": (calls.without_network, 50, 1, _room),
    "W8": (budgets_ours.on_one_thread, 300, 1, _room),
    "W8-nested": (budgets_ours.nested, 300, 1, _room),
}
"""Which side, how large, how many of the table's items are in one of its, and what it is split by."""


def main() -> None:
    """Count what was asked for."""
    for name in sys.argv[1:] or WORKLOADS:
        side, size, items, part_of = WORKLOADS[name]
        print(f"\n**{name}**\n")
        print("\n".join(table(count(side, size, part_of), items)), flush=True)


if __name__ == "__main__":
    main()
