"""``organism threads``, ``thread``, ``pause``, ``unpause`` and ``terminate``."""

from typing import Annotated

from cyclopts import Parameter

from organism.amounts import BudgetState, format_usd
from organism.cli import exit_codes
from organism.cli.budget_bars import budget_lines
from organism.cli.client import Client, path_to
from organism.cli.completion import ThreadName
from organism.cli.options import DAEMON, DaemonOptions, Json, pasteable
from organism.cli.output import print_answer, print_json
from organism.cli.recorded_state import answer_of
from organism.cli.tables import labels_text, styled_state, thread_row, thread_table
from organism.cli.terminal import Terminal, markup
from organism.control.views import OrderDone, ThreadDetail, ThreadPage, ThreadSummary
from organism.text.plain_text import counted

_OPEN = ("open", "blocked", "paused", "closing")
_ENDED = ("completed", "failed", "terminated")

Agent = Annotated[bool, Parameter(help="NAME is an agent, not a thread.")]


def threads(
    *,
    daemon: DaemonOptions = DAEMON,
    all: Annotated[bool, Parameter(help="Also threads that have ended.")] = False,  # noqa: A002
    label: str | None = None,
    json: Json = False,
) -> int:
    """List threads, newest first.

    Without a daemon the journal of the state folder is read.

    Args:
        label: Only threads with this label: name=value, or name.
    """
    found = answer_of(
        daemon,
        lambda client: _listed(client, label, ended=all),
        lambda recorded: recorded.threads(ended=all, label=label),
    )
    if json:
        return print_json(found)
    table = thread_table("thread", "labels")
    for one in found:
        table.add_row(*thread_row(one), labels_text(one))
    if found:
        Terminal().show(table)
    else:
        nothing = "no threads yet" if all else "no threads are open; with --all those are listed that have ended"
        Terminal().say("{}", nothing if label is None else f"{nothing}, of those labelled {label}")
    return exit_codes.OK


def _listed(client: Client, label: str | None, *, ended: bool) -> list[ThreadSummary]:
    """Return all pages of the daemon's list."""
    states = [*_OPEN, *_ENDED] if ended else None
    cursor: str | None = None
    found: list[ThreadSummary] = []
    while True:
        page = client.ask(ThreadPage, "/v1/threads", state=states, label=label, cursor=cursor, limit=500)
        found += page.threads
        if (cursor := page.next_cursor) is None:
            return found


def thread(thread: ThreadName, *, daemon: DaemonOptions = DAEMON, content: bool = False, json: Json = False) -> int:
    """Show a thread: its budgets, its messages with the cost of each, its child threads.

    Args:
        thread: The thread's id.
        content: Also what the messages say.
    """
    # Why it ended is for the operator in any case; what its messages say only if asked for.
    detail = daemon.client().ask(ThreadDetail, path_to("threads", thread), content=content or not json or None)
    if json:
        return print_json(detail)
    _print_thread(detail, daemon, content=content)
    return exit_codes.OK


def _print_thread(detail: ThreadDetail, daemon: DaemonOptions, *, content: bool) -> None:
    console = Terminal()
    summary = detail.thread
    console.say("[bold]{}[/] {} {}", summary.thread_id, styled_state(summary.state), labels_text(summary))
    if summary.blocked_by is not None:
        waits = "waits for budget" if summary.blocked_by.cause == "limit" else "waits"
        console.say("[red]{}:[/] {}", waits, pasteable(str(summary.blocked_by), daemon))
    for approval in summary.approvals:
        console.say("[red]waits for a person (allow or deny):[/] {}", daemon.command("approvals", "allow", approval))
    if summary.reason:
        console.say("[yellow]{}[/]", summary.reason)
    console.show(*budget_lines(detail.budgets, console.columns))
    for child in detail.tree:
        cost = format_usd(child.budget.spent.cost_nanousd)
        console.say("  child {} {} {}", child.thread_id, styled_state(child.state), cost)
    for hop in detail.messages:
        cost = markup("  {}, {}", format_usd(hop.cost_nanousd), counted(hop.tokens, "token")) if hop.calls else ""
        if hop.recalled:
            console.say("[bold cyan]{}[/] [dim]before the daemon restarted{}[/]", hop.sender, cost)
        else:
            way = "[bold cyan]{}[/] [dim]->[/] [cyan]{}[/] [dim]{}{}[/]"
            console.say(way, hop.sender, hop.recipient, hop.message_type, cost)
        if content and hop.text is not None:
            console.say("    {}", hop.text)


def terminate(
    thread: ThreadName, *, daemon: DaemonOptions = DAEMON, reason: str = "terminated by order", json: Json = False
) -> int:
    """End a thread and its children now; calls in flight are charged.

    Args:
        thread: The thread's id.
        reason: Why; recorded in the thread's last event.
    """
    state = daemon.client().order(BudgetState, "DELETE", path_to("threads", thread), reason=reason)
    return print_answer(state, f"{thread} ended: {format_usd(state.spent.cost_nanousd)}", as_json=json)


def pause(name: ThreadName, *, daemon: DaemonOptions = DAEMON, agent: Agent = False, json: Json = False) -> int:
    """Pause a thread and its children, or an agent everywhere.

    Handlers and calls that run are finished; nothing more is started.

    Args:
        name: The thread's id or the agent's name.
    """
    return _pause_or_resume(daemon, "pause", name, agent=agent, as_json=json)


def unpause(name: ThreadName, *, daemon: DaemonOptions = DAEMON, agent: Agent = False, json: Json = False) -> int:
    """Let a paused thread continue, or an agent that is paused or has failed.

    Args:
        name: The thread's id or the agent's name.
    """
    return _pause_or_resume(daemon, "resume", name, agent=agent, as_json=json)


def _pause_or_resume(daemon: DaemonOptions, verb: str, name: str, *, agent: bool, as_json: bool) -> int:
    done = daemon.client().order(OrderDone, "POST", path_to("agents" if agent else "threads", name, verb))
    return print_answer(done, "\n".join(done.changed) or "nothing to change", as_json=as_json)
