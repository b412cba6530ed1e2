"""What an operator does from the command line: each function asks or orders once, and prints the answer."""

import csv
import sys
from typing import Any, Literal

import msgspec
from rich.markup import escape
from rich.table import Table

from organism.amounts import BudgetState, TokenUsage, format_usd
from organism.api.tokens import NewToken, TokenView
from organism.bus.approvals import Approval
from organism.cli import exits
from organism.cli.client import Client, RefusedError
from organism.cli.options import Step
from organism.cli.pace import busiest, time_left_s, time_text
from organism.cli.summary import budget_lines, cost_text
from organism.cli.terminal import Terminal, one_line, plain
from organism.control.views import (
    Accepted,
    AgentView,
    Corrected,
    Done,
    Letter,
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
STATE_STYLE = {
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
        return _print_json(found)
    table = _table("thread", "state", "tokens", "cost", "calls", "waits", "labels")
    for thread in found:
        table.add_row(*_thread_row(thread))
    Terminal().print(table if found else "no threads")
    return exits.OK


def show_thread(client: Client, thread: str, *, content: bool, as_json: bool) -> int:
    """Print a thread with its budgets and messages."""
    detail = client.ask(ThreadDetail, f"/v1/threads/{thread}", content=content or None)
    if as_json:
        return _print_json(detail)
    console = Terminal()
    summary = detail.thread
    console.print(f"[bold]{summary.thread_id}[/] {_state(summary.state)} {escape(_labels(summary))}")
    if summary.blocked_by is not None:
        console.print(f"[red]waits for budget:[/] {escape(str(summary.blocked_by))}")
    if summary.reason:
        console.print(f"[yellow]{escape(one_line(summary.reason))}[/]")
    for line in budget_lines(detail.budgets):
        console.print(line)
    for child in detail.tree:
        console.print(f"  child {child.thread_id} {_state(child.state)} {format_usd(child.budget.spent.cost_nanousd)}")
    for hop in detail.messages:
        cost = f"  {format_usd(hop.cost_nanousd)}, {hop.tokens:,} tokens" if hop.calls else ""
        way = (
            "[dim]before the daemon was started anew" if hop.recalled else f"[dim]->[/] [cyan]{hop.recipient}[/] [dim]"
        )
        console.print(f"[bold cyan]{hop.sender}[/] {way}{hop.message_type}{cost}[/]")
        if hop.text is not None:
            console.print(f"    {one_line(hop.text)}", markup=False)
    return exits.OK


def show_status(client: Client, *, as_json: bool) -> int:
    """Print the organism at this instant."""
    status = client.ask(Status, "/v1/status")
    if as_json:
        return _print_json(status)
    threads = client.ask(ThreadPage, "/v1/threads", limit=500).threads
    agents = client.ask(list[AgentView], "/v1/agents", content=True)
    console = Terminal()
    taking = "" if status.accepting else " [red]takes no new threads[/]"
    up = time_text((status.now_ns - status.started_ns) // 10**9)
    console.print(
        f"[bold]{escape(status.name)}[/] mode {status.mode}, up {up}, {status.threads.open} open, "
        f"{status.threads.blocked} blocked, {status.threads.paused} paused, {status.dead_letters} dead letters{taking}"
    )
    if status.set_aside:
        console.print(f"[red]{status.set_aside} events set aside[/]: organism exporters")
    burn = status.burn[0]
    console.print(
        f"{cost_text(status.usage)} and {status.usage.usage.total:,} tokens in {status.usage.calls} calls; "
        f"last {burn.seconds // 60} min: {format_usd(burn.cost_nanousd)}, {burn.tokens:,} tokens"
    )
    for line in budget_lines(status.windows):
        console.print(line)
    table = _table("busiest", "state", "tokens", "cost", "calls", "waits", "left at this pace")
    for thread in busiest(threads, status.burn)[:10]:
        *cells, _ = _thread_row(thread)
        table.add_row(*cells, time_text(time_left_s(thread.budget, status.burn)))
    if table.row_count:
        console.print(table)
    stuck = [agent for agent in agents if agent.state != "running"]
    for agent in stuck:
        console.print(f"agent {agent.name} {_state(agent.state)} {escape(one_line(agent.reason or ''))}")
    return exits.OK


def show_usage(client: Client, by: str, form: Literal["table", "json", "csv"]) -> int:
    """Print sums since the start of the daemon."""
    usage = client.ask(Usage, "/v1/usage", by=by)
    if form == "json":
        return _print_json(usage)
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([by, "calls", *TokenUsage.__struct_fields__, "cost_nanousd", "unpriced_calls"])
        for name, totals in usage.groups.items():
            tokens = msgspec.structs.astuple(totals.usage)
            writer.writerow([name, totals.calls, *tokens, totals.cost_nanousd, totals.unpriced_calls])
        return exits.OK
    table = _table(by, "calls", "input", "output", "total", "cost", "p95")
    for name, totals in sorted(usage.groups.items(), key=lambda item: -item[1].cost_nanousd):
        table.add_row(escape(name), *_totals_row(totals))
    table.add_section()
    table.add_row("all", *_totals_row(usage.total), style="bold")
    Terminal().print(table)
    return exits.OK


def show_budgets(client: Client, account: str | None, *, as_json: bool) -> int:
    """Print one budget, or all that have a limit."""
    states = (
        client.ask(list[BudgetState], "/v1/budgets")
        if account is None
        else [client.ask(BudgetState, f"/v1/budgets/{account}")]
    )
    if as_json:
        return _print_json(states if account is None else states[0])
    console = Terminal()
    for state in states:
        console.print(f"[bold]{escape(state.account)}[/] [dim]revision {state.revision}[/]")
        for line in budget_lines([state]) or ["  no limit"]:
            console.print(f"  {line}")
    return exits.OK


def move(client: Client, account: str, by: Step, *, as_json: bool) -> int:
    """Raise or lower a budget and print it."""
    state = client.order(BudgetState, "POST", f"/v1/budgets/{account}/move", msgspec.to_builtins(by))
    if as_json:
        return _print_json(state)
    for line in budget_lines([state]):
        Terminal().print(line)
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
    if not confirmed and not _agreed(f"correct what {account} has spent by {by.in_words()} ({one_line(by.reason)})"):
        sys.stderr.write("nothing was changed\n")
        return exits.FAILED
    corrected = client.order(Corrected, "POST", f"/v1/budgets/{account}/adjust", msgspec.to_builtins(by))
    if as_json:
        return _print_json(corrected)
    console = Terminal()
    for state in corrected.budgets:
        spent = state.spent
        cost = ("~" if state.unpriced_calls else "") + format_usd(spent.cost_nanousd)
        console.print(f"{state.account} has spent {spent.tokens:,} tokens, {cost}, {spent.calls:,} calls", markup=False)
    return exits.OK


def _agreed(what: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"nobody can be asked whether to {what}; say --yes", where="--yes")
    sys.stderr.write(f"{what}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def terminate(client: Client, thread: str, reason: str, *, as_json: bool) -> int:
    """End a thread and print what it has used."""
    state = client.order(BudgetState, "DELETE", f"/v1/threads/{thread}", reason=reason)
    return _answer(state, f"{thread} ended: {format_usd(state.spent.cost_nanousd)}", as_json=as_json)


def hold(client: Client, verb: Literal["pause", "resume"], name: str, *, agent: bool, as_json: bool) -> int:
    """Pause or resume a thread or an agent."""
    done = client.order(Done, "POST", f"/v1/{'agents' if agent else 'threads'}/{name}/{verb}")
    return _answer(done, "\n".join(done.changed) or "nothing to change", as_json=as_json)


def list_agents(client: Client, *, as_json: bool) -> int:
    """Print agents with what waits for them."""
    agents = client.ask(list[AgentView], "/v1/agents")
    if as_json:
        return _print_json(agents)
    table = _table("agent", "state", "waits", "calls", "input", "output", "total", "cost", "p95")
    for agent in agents:
        row = _totals_row(agent.usage) if agent.usage is not None else ("",) * 6
        table.add_row(agent.name, _state(agent.state), f"{agent.mailbox} of {agent.mailbox_max:,}", *row)
    Terminal().print(table)
    return exits.OK


def set_mode(client: Client, mode: str, *, as_json: bool) -> int:
    """Change the mode."""
    status = client.order(Status, "PUT", "/v1/mode", {"mode": mode})
    return _answer(status, f"mode {status.mode}", as_json=as_json)


def reload(client: Client, *, as_json: bool) -> int:
    """Have the configuration read again."""
    done = client.order(Reloaded, "POST", "/v1/reload")
    return _answer(done, "\n".join(done.changes) or "nothing has changed", as_json=as_json)


def drain(client: Client, *, undo: bool, as_json: bool) -> int:
    """Have the daemon take no new threads, or take them again."""
    if undo:
        return _answer(client.order(Status, "DELETE", "/v1/drain"), "takes new threads", as_json=as_json)
    status = client.order(Status, "POST", "/v1/drain", {"within_seconds": 0})
    left = status.threads.open + status.threads.blocked + status.threads.paused
    return _answer(status, f"takes no new threads; {left} are left", as_json=as_json)


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
    return _answer(status, "stopped", as_json=as_json)


def dashboard_link(client: Client, *, as_json: bool) -> int:
    """Print a link that opens the dashboard. What follows the # never leaves the browser."""
    session = client.order(NewToken, "POST", "/v1/sessions")
    link = f"{client.url}/#session={session.secret}"
    return _answer({"url": link, "expires_ns": session.expires_ns}, link, as_json=as_json)


def list_approvals(client: Client, *, as_json: bool) -> int:
    """Print what people are asked, with all that there is to decide by."""
    found = client.ask(list[Approval], "/v1/approvals", content=True)
    if as_json:
        return _print_json(found)
    console = Terminal()
    for approval in found:
        console.print(f"[bold]{approval.id}[/] {approval.agent} asks to use {plain(approval.what)}", soft_wrap=True)
        console.print(f"    {plain(approval.detail)}", markup=False)
    if not found:
        console.print("nothing waits for a person")
    return exits.OK


def decide(client: Client, approval: str, *, allowed: bool, note: str, as_json: bool) -> int:
    """Answer what a person is asked."""
    done = client.order(Done, "POST", f"/v1/approvals/{approval}", {"allowed": allowed, "note": note})
    return _answer(done, "allowed" if allowed else "denied", as_json=as_json)


def list_letters(client: Client, *, content: bool, as_json: bool) -> int:
    """Print dead letters."""
    found = client.ask(list[Letter], "/v1/dead-letters", content=content or None)
    if as_json:
        return _print_json(found)
    console = Terminal()
    for letter in found:
        console.print(f"[bold]{letter.message_id}[/] {letter.sender} -> {letter.recipient} [red]{letter.reason}[/]")
        console.print(f"    {one_line(letter.detail)}", markup=False)
        if letter.text is not None:
            console.print(f"    {plain(letter.text)}", markup=False)
    if not found:
        console.print("no dead letters")
    return exits.OK


def retry_letter(client: Client, message: str, *, as_json: bool) -> int:
    """Send a dead letter's message again."""
    accepted = client.order(Accepted, "POST", f"/v1/dead-letters/{message}/retry")
    return _answer(accepted, accepted.thread_id, as_json=as_json)


def discard_letter(client: Client, message: str, *, as_json: bool) -> int:
    """Forget a dead letter."""
    return _answer(client.order(Done, "DELETE", f"/v1/dead-letters/{message}"), "discarded", as_json=as_json)


def make_token(client: Client, name: str, scopes: list[Any], days: int | None, *, as_json: bool) -> int:
    """Make a token and print its secret."""
    body = {"name": name, "scopes": scopes} | ({"days": days} if days is not None else {})
    made = client.order(NewToken, "POST", "/v1/tokens", body)
    return _answer(made, made.secret, as_json=as_json)


def list_tokens(client: Client, *, as_json: bool) -> int:
    """Print tokens without their secrets."""
    found = client.ask(list[TokenView], "/v1/tokens")
    return _answer(found, "\n".join(f"{one.name}: {', '.join(one.scopes)}" for one in found), as_json=as_json)


def revoke_token(client: Client, name: str, *, as_json: bool) -> int:
    """Revoke a token."""
    return _answer(client.order(Done, "DELETE", f"/v1/tokens/{name}"), f"{name} revoked", as_json=as_json)


def _answer(answer: object, text: str, *, as_json: bool) -> int:
    if as_json:
        return _print_json(answer)
    sys.stdout.write(text + "\n")
    return exits.OK


def _print_json(answer: object) -> int:
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return exits.OK


def _thread_row(thread: ThreadSummary) -> tuple[str, ...]:
    spent = thread.budget.spent
    cost = ("~" if thread.budget.unpriced_calls else "") + format_usd(spent.cost_nanousd)
    waits = ", ".join(f"{agent} {count}" for agent, count in thread.queued.items())
    return (
        thread.thread_id,
        _state(thread.state),
        f"{spent.tokens:,}",
        cost,
        f"{spent.calls:,}",
        waits,
        escape(_labels(thread)),
    )


def _totals_row(totals: UsageTotals) -> tuple[str, ...]:
    usage = totals.usage
    tokens = (f"{usage.input_total:,}", f"{usage.output_total:,}", f"{usage.total:,}")
    return (f"{totals.calls:,}", *tokens, cost_text(totals), f"{totals.latency.p95_ns / 10**9:.2f} s")


def _labels(thread: ThreadSummary) -> str:
    return " ".join(f"{name}={value}" for name, value in thread.labels.items())


def _state(state: str) -> str:
    style = STATE_STYLE.get(state)
    return f"[{style}]{state}[/]" if style else state


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="left" if heading in ("state", "waits", "labels") else "right")
    return table
