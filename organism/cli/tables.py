"""Rows and cells that several commands show: threads, usage, states."""

from collections.abc import Sequence
from datetime import UTC, datetime

from organism.amounts import NS_PER_S, format_usd
from organism.amounts.account import thread_account
from organism.cli.terminal import Markup, Table, markup
from organism.control.views import ThreadSummary
from organism.text.plain_text import counted
from organism.usage.totals import UsageTotals

USAGE_HEADINGS = ("calls", "input", "output", "total", "tools", "cost", "p95")
"""Headings of :func:`usage_row`."""

_STATE_STYLE = {
    "open": "green",
    "running": "green",
    "blocked": "red",
    "failed": "red",
    "paused": "yellow",
    "terminated": "yellow",
    "draining": "yellow",
    "free": "yellow",
    "stopped": "red",
    "silent": "red",
}


def thread_table(first: str, last: str) -> Table:
    """Return a table for rows of :func:`thread_row`, with a last column of the caller's."""
    return state_table(first, "state", "tokens", "cost", "calls", "waits", last)


def state_table(*headings: str) -> Table:
    """Return a table whose first column is never broken, and whose states and labels are words."""
    return Table(*headings, left=("state", "waits", "labels"), title_column=True)


def word_table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """Return a table of words whose cells are broken rather than shortened."""
    table = Table(*headings, left=headings, fold=True)
    for row in rows:
        table.add_row(*row)
    return table


def thread_row(thread: ThreadSummary) -> tuple[str, ...]:
    """Return what a list of threads shows of one: id, state, tokens, cost, calls, and how many messages wait where."""
    spent = thread.budget.spent
    cost = known_cost(spent.cost_nanousd, thread.budget.unpriced_calls)
    queued = ", ".join(f"{agent} {count}" for agent, count in thread.queued.items())
    why = wait_text(thread)
    waits = f"{queued} for {why}" if queued and why else queued or why
    return thread.thread_id, styled_state(thread.state), f"{spent.tokens:,}", cost, f"{spent.calls:,}", waits


def wait_text(thread: ThreadSummary) -> str:
    """Say what a thread waits for, with the id that lets it go on: a person, a limit, a child, a provider."""
    if thread.approvals:
        return f"a person: {', '.join(thread.approvals)}"
    if (refusal := thread.blocked_by) is not None:
        if refusal.cause != "limit":
            return refusal.note.partition("; ")[0]  # what to do is said where one thread is shown
        own = refusal.account == thread_account(thread.thread_id)
        return refusal.dimension if own else f"{refusal.dimension} of {refusal.account}"
    if thread.children:
        return f"its child {', '.join(thread.children)}"
    return "a provider" if thread.waiting == "provider" else ""


def usage_row(totals: UsageTotals) -> tuple[str, ...]:
    """Return calls, tokens by direction, paid runs of tools, cost and the 95th percentile of latency."""
    tokens = token_cells(totals)
    tools = f"{totals.tool_uses:,}" if totals.tool_uses else ""
    return (
        *tokens,
        tools,
        cost_text(totals),
        f"{totals.latency.p95_ns / NS_PER_S:.2f} s" if totals.latency.p95_ns else "",
    )


def token_cells(totals: UsageTotals) -> tuple[str, ...]:
    """Return calls, and tokens read, written and in all."""
    usage = totals.usage
    return f"{totals.calls:,}", f"{usage.input_total:,}", f"{usage.output_total:,}", f"{usage.total:,}"


def known_cost(cost_nanousd: int, unpriced_calls: int) -> str:
    """Write a cost; ``~`` marks a lower bound, because the price of some calls is unknown."""
    return ("~" if unpriced_calls else "") + format_usd(cost_nanousd)


def cost_text(totals: UsageTotals) -> str:
    """Write what usage has cost; see :func:`known_cost`."""
    return known_cost(totals.cost_nanousd, totals.unpriced_calls)


def used_text(totals: UsageTotals) -> str:
    """Write what was used in a few words: cost, tokens, calls."""
    tokens, calls = counted(totals.usage.total, "token"), counted(totals.calls, "call")
    return f"{cost_text(totals)} and {tokens} in {calls}"


def labels_text(thread: ThreadSummary) -> str:
    """Write a thread's labels as they are typed: ``name=value name=value``."""
    return " ".join(f"{name}={value}" for name, value in thread.labels.items())


def styled_state(state: str) -> Markup:
    """Return a state in its colour."""
    style = _STATE_STYLE.get(state)
    return markup("[{style}]{}[/]", state, style=style) if style else markup("{}", state)


def instant_text(time_ns: int) -> str:
    """Write a time in UTC to the second."""
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
