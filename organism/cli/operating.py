"""What an operator does from the command line: each function asks or orders once, and prints the answer."""

import sys
from itertools import starmap
from typing import Any, Literal

import msgspec

from organism.amounts import BudgetState, TokenUsage, format_usd
from organism.api.tokens import NewToken, TokenView
from organism.cli import exits
from organism.cli.client import Client, RefusedError
from organism.cli.options import Step
from organism.cli.output import agreed, note, print_answer, print_csv, print_json
from organism.cli.pace import busiest, time_left_s, time_text
from organism.cli.summary import budget_lines, cost_text
from organism.cli.terminal import Markup, Table, Terminal, markup
from organism.control.views import (
    AgentView,
    Corrected,
    Done,
    Reloaded,
    Status,
    ThreadDetail,
    ThreadPage,
    ThreadSummary,
    Usage,
)
from organism.errors import ConfigError
from organism.usage.totals import UsageTotals

_ENDED = ("completed", "failed", "terminated")
_OPEN = ("open", "blocked", "paused", "closing")
_STATE_STYLE = {
    "open": "green",
    "running": "green",
    "blocked": "red",
    "failed": "red",
    "paused": "yellow",
    "terminated": "yellow",
}


def list_threads(client: Client, *, ended: bool, label: str | None, as_json: bool) -> int:
    """Print threads, newest first."""
    states = [*_OPEN, *_ENDED] if ended else None
    after: str | None = None
    found: list[ThreadSummary] = []
    while True:
        page = client.ask(ThreadPage, "/v1/threads", state=states, label=label, after=after, limit=500)
        found += page.threads
        if (after := page.next) is None:
            break
    if as_json:
        return print_json(found)
    table = _table("thread", "state", "tokens", "cost", "calls", "waits", "labels")
    for thread in found:
        table.add_row(*_thread_row(thread))
    Terminal().show(table if found else markup("no threads"))
    return exits.OK


def show_thread(client: Client, thread: str, *, content: bool, as_json: bool) -> int:
    """Print a thread with its budgets and messages."""
    # Why it ended is for the operator in any case; what its messages say only if asked for.
    detail = client.ask(ThreadDetail, f"/v1/threads/{thread}", content=content or not as_json or None)
    if as_json:
        return print_json(detail)
    console = Terminal()
    summary = detail.thread
    console.say("[bold]{}[/] {} {}", summary.thread_id, styled_state(summary.state), _labels(summary))
    if summary.blocked_by is not None:
        console.say("[red]waits for budget:[/] {}", summary.blocked_by)
    if summary.reason:
        console.say("[yellow]{}[/]", summary.reason)
    console.show(*budget_lines(detail.budgets))
    for child in detail.tree:
        cost = format_usd(child.budget.spent.cost_nanousd)
        console.say("  child {} {} {}", child.thread_id, styled_state(child.state), cost)
    for hop in detail.messages:
        cost = markup("  {}, {:,} tokens", format_usd(hop.cost_nanousd), hop.tokens) if hop.calls else ""
        if hop.recalled:
            console.say("[bold cyan]{}[/] [dim]before the daemon was started anew{}[/]", hop.sender, cost)
        else:
            way = "[bold cyan]{}[/] [dim]->[/] [cyan]{}[/] [dim]{}{}[/]"
            console.say(way, hop.sender, hop.recipient, hop.message_type, cost)
        if content and hop.text is not None:
            console.say("    {}", hop.text)
    return exits.OK


def show_status(client: Client, *, as_json: bool) -> int:
    """Print the organism at this instant."""
    status = client.ask(Status, "/v1/status")
    if as_json:
        return print_json(status)
    threads = client.ask(ThreadPage, "/v1/threads", limit=500).threads
    agents = client.ask(list[AgentView], "/v1/agents", content=True)
    console = Terminal()
    console.say(
        "[bold]{}[/] mode {}, up {}, {} open, {} blocked, {} paused, {} dead letters{}",
        status.name,
        status.mode,
        time_text((status.now_ns - status.started_ns) // 10**9),
        status.threads.open,
        status.threads.blocked,
        status.threads.paused,
        status.dead_letters,
        "" if status.accepting else markup(" [red]takes no new threads[/]"),
    )
    if status.given_up:
        hung = ", ".join(f"{agent} ({count})" for agent, count in sorted(status.given_up.items()))
        busy, of = status.busy_threads, status.worker_threads
        console.say("[red]{} of {} worker threads busy[/]; given up on and not returned: {}", busy, of, hung)
    if status.set_aside:
        console.say("[red]{} events set aside[/]: organism exporters", status.set_aside)
    burn = status.burn[0]
    console.say(
        "{} and {:,} tokens in {} calls; last {} min: {}, {:,} tokens",
        cost_text(status.usage),
        status.usage.usage.total,
        status.usage.calls,
        burn.seconds // 60,
        format_usd(burn.cost_nanousd),
        burn.tokens,
    )
    console.show(*budget_lines(status.windows))
    table = _table("busiest", "state", "tokens", "cost", "calls", "waits", "left at this pace")
    for thread in busiest(threads, status.burn)[:10]:
        *cells, _ = _thread_row(thread)
        table.add_row(*cells, time_text(time_left_s(thread.budget, status.burn)))
    if table.row_count:
        console.show(table)
    for agent in agents:
        if agent.state != "running":
            console.say("agent {} {} {}", agent.name, styled_state(agent.state), agent.reason or "")
    return exits.OK


def show_usage(client: Client, by: str, form: Literal["table", "json", "csv"]) -> int:
    """Print sums since the start of the daemon."""
    usage = client.ask(Usage, "/v1/usage", by=by)
    if form == "json":
        return print_json(usage)
    if form == "csv":
        head = [by, "calls", *TokenUsage.__struct_fields__, "cost_nanousd", "unpriced_calls"]
        return print_csv([head, *starmap(_csv_row, usage.groups.items())])
    table = _table(by, "calls", "input", "output", "total", "cost", "p95")
    for name, totals in sorted(usage.groups.items(), key=lambda item: -item[1].cost_nanousd):
        table.add_row(name, *_totals_row(totals))
    table.add_section()
    table.add_row("all", *_totals_row(usage.total), style="bold")
    Terminal().show(table)
    return exits.OK


def show_budgets(client: Client, account: str | None, *, as_json: bool) -> int:
    """Print one budget, or all that have a limit."""
    states = (
        client.ask(list[BudgetState], "/v1/budgets")
        if account is None
        else [client.ask(BudgetState, f"/v1/budgets/{account}")]
    )
    if as_json:
        return print_json(states if account is None else states[0])
    console = Terminal()
    for state in states:
        console.say("[bold]{}[/] [dim]revision {}[/]", state.account, state.revision)
        for line in budget_lines([state]) or [markup("  no limit")]:
            console.say("  {}", line)
    return exits.OK


def move(client: Client, account: str, by: Step, *, as_json: bool) -> int:
    """Raise or lower a budget and print it."""
    state = client.order(BudgetState, "POST", f"/v1/budgets/{account}/move", msgspec.to_builtins(by))
    if as_json:
        return print_json(state)
    Terminal().show(*budget_lines([state]))
    return exits.OK


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """How spend is to be corrected, and why."""

    tokens: int
    usd: str | None
    calls: int
    reason: str

    def in_words(self) -> str:
        """Return what is to change."""
        usd = f"{self.usd} dollars" if self.usd is not None else ""
        tokens = f"{self.tokens:+,} tokens" if self.tokens else ""
        calls = f"{self.calls:+,} calls" if self.calls else ""
        return ", ".join(part for part in (usd, tokens, calls) if part) or "nothing"


def adjust(client: Client, account: str, by: Correction, *, confirmed: bool, as_json: bool) -> int:
    """Correct what an account has spent, once somebody has said yes to it, and print every account that changed.

    Raises:
        ConfigError: If nobody can be asked, and nobody has said yes ahead.
    """
    if not confirmed and not _agreed(f"correct what {account} has spent by {by.in_words()} ({by.reason})"):
        note("nothing was changed")
        return exits.FAILED
    corrected = client.order(Corrected, "POST", f"/v1/budgets/{account}/adjust", msgspec.to_builtins(by))
    if as_json:
        return print_json(corrected)
    console = Terminal()
    for state in corrected.budgets:
        spent = state.spent
        cost = ("~" if state.unpriced_calls else "") + format_usd(spent.cost_nanousd)
        console.say("{} has spent {:,} tokens, {}, {:,} calls", state.account, spent.tokens, cost, spent.calls)
    return exits.OK


def _agreed(what: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"nobody can be asked whether to {what}; say --yes", where="--yes")
    return agreed(what)


def terminate(client: Client, thread: str, reason: str, *, as_json: bool) -> int:
    """End a thread and print what it has used."""
    state = client.order(BudgetState, "DELETE", f"/v1/threads/{thread}", reason=reason)
    return print_answer(state, f"{thread} ended: {format_usd(state.spent.cost_nanousd)}", as_json=as_json)


def hold(client: Client, verb: Literal["pause", "resume"], name: str, *, agent: bool, as_json: bool) -> int:
    """Pause or resume a thread or an agent."""
    done = client.order(Done, "POST", f"/v1/{'agents' if agent else 'threads'}/{name}/{verb}")
    return print_answer(done, "\n".join(done.changed) or "nothing to change", as_json=as_json)


def list_agents(client: Client, *, as_json: bool) -> int:
    """Print agents with what waits for them."""
    agents = client.ask(list[AgentView], "/v1/agents")
    if as_json:
        return print_json(agents)
    table = _table("agent", "state", "waits", "calls", "input", "output", "total", "cost", "p95")
    for agent in agents:
        row = _totals_row(agent.usage) if agent.usage is not None else ("",) * 6
        table.add_row(agent.name, styled_state(agent.state), f"{agent.mailbox} of {agent.mailbox_max:,}", *row)
    Terminal().show(table)
    return exits.OK


def set_mode(client: Client, mode: str, *, as_json: bool) -> int:
    """Change the mode."""
    status = client.order(Status, "PUT", "/v1/mode", {"mode": mode})
    return print_answer(status, f"mode {status.mode}", as_json=as_json)


def reload(client: Client, *, as_json: bool) -> int:
    """Have the configuration read again."""
    done = client.order(Reloaded, "POST", "/v1/reload")
    return print_answer(done, "\n".join(done.changes) or "nothing has changed", as_json=as_json)


def drain(client: Client, *, undo: bool, as_json: bool) -> int:
    """Have the daemon take no new threads, or take them again."""
    if undo:
        return print_answer(client.order(Status, "DELETE", "/v1/drain"), "takes new threads", as_json=as_json)
    status = client.order(Status, "POST", "/v1/drain", {"within_seconds": 0})
    left = status.threads.open + status.threads.blocked + status.threads.paused
    return print_answer(status, f"takes no new threads; {left} are left", as_json=as_json)


def stop(client: Client, *, as_json: bool) -> int:
    """Stop the daemon and wait until it has stopped."""
    stream = client.follow(types=["none"])
    next(stream)
    status = client.order(Status, "POST", "/v1/stop")
    try:
        for _ in stream:
            pass
    except RefusedError:
        pass  # its connections are cut at its end
    return print_answer(status, "stopped", as_json=as_json)


def dashboard_link(client: Client, *, as_json: bool) -> int:
    """Print a link that opens the dashboard. What follows the # never leaves the browser."""
    session = client.order(NewToken, "POST", "/v1/sessions")
    link = f"{client.url}/#session={session.secret}"
    return print_answer({"url": link, "expires_ns": session.expires_ns}, link, as_json=as_json)


def make_token(client: Client, name: str, scopes: list[Any], days: int | None, *, as_json: bool) -> int:
    """Make a token and print its secret."""
    body = {"name": name, "scopes": scopes} | ({"days": days} if days is not None else {})
    made = client.order(NewToken, "POST", "/v1/tokens", body)
    return print_answer(made, made.secret, as_json=as_json)


def list_tokens(client: Client, *, as_json: bool) -> int:
    """Print tokens without their secrets."""
    found = client.ask(list[TokenView], "/v1/tokens")
    return print_answer(found, "\n".join(f"{one.name}: {', '.join(one.scopes)}" for one in found), as_json=as_json)


def revoke_token(client: Client, name: str, *, as_json: bool) -> int:
    """Revoke a token."""
    return print_answer(client.order(Done, "DELETE", f"/v1/tokens/{name}"), f"{name} revoked", as_json=as_json)


def _thread_row(thread: ThreadSummary) -> tuple[str, ...]:
    spent = thread.budget.spent
    cost = ("~" if thread.budget.unpriced_calls else "") + format_usd(spent.cost_nanousd)
    waits = ", ".join(f"{agent} {count}" for agent, count in thread.queued.items())
    return (
        thread.thread_id,
        styled_state(thread.state),
        f"{spent.tokens:,}",
        cost,
        f"{spent.calls:,}",
        waits,
        _labels(thread),
    )


def _csv_row(name: str, totals: UsageTotals) -> tuple[object, ...]:
    tokens = msgspec.structs.astuple(totals.usage)
    return (name, totals.calls, *tokens, totals.cost_nanousd, totals.unpriced_calls)


def _totals_row(totals: UsageTotals) -> tuple[str, ...]:
    usage = totals.usage
    tokens = (f"{usage.input_total:,}", f"{usage.output_total:,}", f"{usage.total:,}")
    return (f"{totals.calls:,}", *tokens, cost_text(totals), f"{totals.latency.p95_ns / 10**9:.2f} s")


def _labels(thread: ThreadSummary) -> str:
    return " ".join(f"{name}={value}" for name, value in thread.labels.items())


def styled_state(state: str) -> Markup:
    """Return a state in its colour."""
    style = _STATE_STYLE.get(state)
    return markup("[{style}]{}[/]", state, style=style) if style else markup("{}", state)


def _table(first: str, *others: str) -> Table:
    return Table(first, *others, left=("state", "waits", "labels"), title_column=True)
