"""``organism status`` and ``organism agents``: the daemon at this instant."""

from collections.abc import Mapping, Sequence

from organism.amounts import format_usd
from organism.amounts.account import thread_of
from organism.cli import exit_codes
from organism.cli.budget_bars import budget_lines
from organism.cli.burn_rate import busiest, time_left_s, time_text
from organism.cli.client import UnreachableError
from organism.cli.options import DAEMON, DaemonOptions, Json, pasteable
from organism.cli.output import print_json
from organism.cli.recorded_state import RecordedState, recorded_now
from organism.cli.tables import (
    USAGE_HEADINGS,
    labels_text,
    state_table,
    styled_state,
    thread_row,
    thread_table,
    usage_row,
    used_text,
)
from organism.cli.terminal import Terminal, markup
from organism.control.views import AgentView, OrganismStatus, ThreadPage, ThreadSummary
from organism.text.plain_text import counted

_BUSIEST = 10


def status(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Show budgets, the busiest threads and stopped agents.

    Without a daemon the journal of the state folder is read: what was open, what was used and each budget.
    """
    try:
        client = daemon.client()
        found = client.ask(OrganismStatus, "/v1/status")
    except UnreachableError:
        recorded = recorded_now(daemon)
        if recorded is None:
            raise
        return _print_recorded(recorded, as_json=json)
    if json:
        return print_json(found)
    threads = client.ask(ThreadPage, "/v1/threads", limit=500).threads
    agents = client.ask(list[AgentView], "/v1/agents", content=True)
    console = Terminal()
    _print_head(console, found, daemon)
    console.show(*budget_lines((*found.windows, *found.scoped), console.columns))
    _print_busiest(console, threads, found)
    for agent in agents:
        if agent.state != "running":
            console.say("agent {} {} {}", agent.name, styled_state(agent.state), agent.reason or "")
    return exit_codes.OK


def _print_recorded(recorded: RecordedState, *, as_json: bool) -> int:
    """Show what a daemon has left behind."""
    usage, threads, budgets = recorded.usage("agent"), recorded.threads(), recorded.budgets()
    if as_json:
        return print_json({"running": False, "usage": usage.total, "threads": threads, "budgets": budgets})
    console, spent = Terminal(), usage.total
    opened = counted(len(threads), "thread is open", "threads are open")
    console.say("no daemon runs; {}", opened)
    console.say("{}", used_text(spent))
    shown = [state for state in budgets if thread_of(state.account) is None]
    console.show(*budget_lines(shown, console.columns))
    table = thread_table("thread", "labels")
    for thread in threads[:_BUSIEST]:
        table.add_row(*thread_row(thread), labels_text(thread))
    if table.row_count:
        console.show(table)
    return exit_codes.OK


def _print_head(console: Terminal, status: OrganismStatus, daemon: DaemonOptions) -> None:
    console.say(
        "[bold]{}[/] mode {}, up {}, {} open, {} blocked, {} paused, {}{}",
        status.name,
        status.mode,
        time_text((status.now_ns - status.started_ns) // 10**9),
        status.threads.open,
        status.threads.blocked,
        status.threads.paused,
        counted(status.dead_letters, "dead letter"),
        "" if status.accepting else markup(" [red]takes no new threads[/]"),
    )
    for scope, happens in status.thresholds.items():
        at = ", ".join(
            f"{action} at {' and '.join(str(threshold) for threshold in sorted(thresholds))} %"
            for action, thresholds in _by_action(happens).items()
        )
        ahead = (
            f", warned ahead of the last {counted(status.warn_ahead, 'call')}"
            if scope == "limits" and status.warn_ahead
            else ""
        )
        console.say("{}: {}{}", scope, at, ahead)
    if status.given_up:
        hung = ", ".join(f"{agent} ({count})" for agent, count in sorted(status.given_up.items()))
        busy, of = status.busy_threads, status.worker_threads
        console.say("[red]{} of {} worker threads busy[/]; given up on and not returned: {}", busy, of, hung)
    if status.handlers_waiting:
        at_work, most = status.handlers, status.handlers_max
        waiting = counted(status.handlers_waiting, "message waits", "messages wait")
        console.say("{} of {} handlers at work, {}", at_work, most, waiting)
    if status.limits_not_kept:
        console.say("[yellow]counted from zero after a restart:[/] {}", ", ".join(status.limits_not_kept))
    if status.set_aside:
        console.say("[red]{} set aside[/]: {}", counted(status.set_aside, "event"), daemon.command("exporters"))
    if status.approvals:
        questions = counted(status.approvals, "question waits", "questions wait")
        console.say("{} for a person: {}", questions, daemon.command("approvals"))
    for freeze in status.freezes:
        console.say("[red]{}[/]", pasteable(str(freeze), daemon))
    burn = status.burn[0]
    console.say(
        "{}; last {} min: {}, {}",
        used_text(status.usage),
        burn.seconds // 60,
        format_usd(burn.cost_nanousd),
        counted(burn.tokens, "token"),
    )


def _by_action(happens: Mapping[int, str]) -> dict[str, list[int]]:
    """Return the thresholds of each action, the lowest first."""
    found: dict[str, list[int]] = {}
    for threshold, action in sorted(happens.items()):
        found.setdefault(action, []).append(threshold)
    return found


def _print_busiest(console: Terminal, threads: Sequence[ThreadSummary], status: OrganismStatus) -> None:
    table = thread_table("busiest", "left at this pace")
    for thread in busiest(threads, status.burn)[:_BUSIEST]:
        table.add_row(*thread_row(thread), time_text(time_left_s(thread.budget, status.burn)))
    if table.row_count:
        console.show(table)


def agents(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """List agents with their state, mailbox and usage."""
    found = daemon.client().ask(list[AgentView], "/v1/agents")
    if json:
        return print_json(found)
    table = state_table("agent", "state", "waits", *USAGE_HEADINGS)
    for agent in found:
        row = usage_row(agent.usage) if agent.usage is not None else ("",) * len(USAGE_HEADINGS)
        table.add_row(agent.name, styled_state(agent.state), f"{agent.mailbox} of {agent.mailbox_max:,}", *row)
    Terminal().show(table)
    return exit_codes.OK
