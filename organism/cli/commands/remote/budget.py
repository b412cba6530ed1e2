"""``organism budget``: limits and spend of accounts, and how an operator changes them."""

import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from organism.amounts import ZERO, Amounts, BudgetState, Limits, format_usd
from organism.amounts.account import thread_account
from organism.amounts.units import DIMENSIONS, UNITS, format_amount, format_limits, limit_of
from organism.cli import exit_codes
from organism.cli.budget_bars import budget_lines
from organism.cli.client import Client, UnreachableError, path_to
from organism.cli.completion import ThreadName, thread_ids
from organism.cli.ledger_sources import kept_entries
from organism.cli.options import DAEMON, NO_STEP, DaemonOptions, Json, Step, Whole
from organism.cli.output import agreed, note, print_json
from organism.cli.recorded_state import answer_of
from organism.cli.tables import instant_text, known_cost
from organism.cli.terminal import Table, Terminal, markup
from organism.control.accounts import usd_nano
from organism.control.listing.account_page import ACCOUNTS_MAX
from organism.control.views import AccountState, Corrected
from organism.errors import ConfigError
from organism.ledger.entries import decode_entry
from organism.ledger.explain import BudgetTrace, HoldTrace
from organism.ledger.explain import explain as explain_holds
from organism.text.plain_text import counted

app = App(name="budget")

Account = Annotated[
    str, Parameter(completer=thread_ids, help="A thread's id, or an account such as organism@day:2026-11-24.")
]


@app.command
def show(account: Account | None = None, *, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Show a budget, or all of them.

    Without a daemon the journal of the state folder is read.
    """
    if account is None:
        states = answer_of(daemon, _all_budgets, lambda found: found.budgets())
    else:
        own = path_to("budgets", account)
        states = [answer_of(daemon, lambda client: client.ask(AccountState, own), lambda found: found.budget(account))]
    if json:
        return print_json(states if account is None else states[0])
    console = Terminal()
    for state in states:
        console.say("[bold]{}[/] [dim]revision {}[/]", state.account, state.revision)
        for line in budget_lines([state], console.columns and console.columns - 2) or [markup("  no limit")]:
            console.say("  {}", line)
    return exit_codes.OK


def _all_budgets(client: Client) -> list[AccountState]:
    """Ask for one page after another, in the order of names; no account that stays open is missed."""
    found: list[AccountState] = []
    while True:
        cursor = {"cursor": found[-1].account} if found else {}
        page = client.ask(list[AccountState], "/v1/budgets", limit=ACCOUNTS_MAX, **cursor)
        found += page
        if len(page) < ACCOUNTS_MAX:
            return found


@app.command
def explain(thread: ThreadName, *, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Explain where a thread's budget has gone: every hold, its outcome, its price, and what was refused.

    Without a daemon the journal of the state folder is read.

    Args:
        thread: The thread's id.
    """
    try:
        story = daemon.client().ask(BudgetTrace, path_to("budgets", thread, "story"))
    except UnreachableError:
        with kept_entries(daemon, thread) as entries:
            story = explain_holds((decode_entry(stored.body.encode()) for stored in entries), thread)
    if not story.holds and not story.notes:
        raise ConfigError(f"the ledger knows no thread {thread!r}")
    if json:
        return print_json(story)
    print_trace(Terminal(), story)
    return exit_codes.OK


@app.command(name="raise")
def raise_budget(account: Account, *, by: Step = NO_STEP, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Raise a budget's limits; calls that wait for it continue."""
    _check_upward(by, ("raise", "lower"), account, daemon)
    return _move(daemon, account, by, as_json=json)


@app.command
def lower(
    account: Account,
    *,
    by: Step = NO_STEP,
    yes: Annotated[bool, Parameter(help="Do not ask before a limit becomes nothing.")] = False,
    daemon: DaemonOptions = DAEMON,
    json: Json = False,
) -> int:
    """Lower a budget's limits, never below zero."""
    _check_upward(by, ("lower", "raise"), account, daemon)
    client, down = daemon.client(), by.down()
    limits = client.ask(BudgetState, path_to("budgets", account)).limits
    gone = ", ".join(_spent_out(limits, down))
    if gone and not yes and not _agreed(f"lower the {gone} of {account} to nothing, so that it refuses every call"):
        note("nothing was changed")
        return exit_codes.FAILED
    return _move(daemon, account, down, as_json=json)


def _check_upward(by: Step, verbs: tuple[str, str], account: str, daemon: DaemonOptions) -> None:
    """Refuse a step whose sign says the opposite of its verb, the first of two.

    Raises:
        ConfigError: If it has one.
    """
    verb, other = verbs
    for unit in (*DIMENSIONS, "percent"):
        amount = getattr(by, unit)
        if str(amount).startswith("-"):
            way = daemon.command("budget", other, account, f"--{unit}", str(amount)[1:])
            raise ConfigError(
                f"{verb} takes amounts above zero, and {amount} is below; perhaps: {way}", where=f"--{unit}"
            )


def _spent_out(limits: Limits, down: Step) -> Iterator[str]:
    """Yield the units of which a step downwards leaves nothing, where there is something."""
    for unit in DIMENSIONS:
        limit, step = limit_of(limits, unit), getattr(down, unit)
        moved = usd_nano(step) or 0 if unit == "usd" else step * UNITS[unit].scale
        if limit and limit + moved + -(-limit * down.percent // 100) <= 0:
            yield unit


def _move(daemon: DaemonOptions, account: str, by: Step, *, as_json: bool) -> int:
    state = daemon.client().order(BudgetState, "POST", path_to("budgets", account, "move"), msgspec.to_builtins(by))
    if as_json:
        return print_json(state)
    console = Terminal()
    console.show(*budget_lines([state], console.columns))
    return exit_codes.OK


@app.command
def adjust(
    account: Account,
    *,
    reason: str,
    usd: str | None = None,
    tokens: Whole = 0,
    calls: Whole = 0,
    yes: bool = False,
    daemon: DaemonOptions = DAEMON,
    json: Json = False,
) -> int:
    """Correct what a budget has spent, after a provider's invoice or a refund.

    A thread's correction counts on the threads above it and on the organism's day and month too. Calls that fit
    afterwards continue.

    Args:
        reason: Why, such as the number of the invoice; recorded with the correction.
        usd: So many dollars more, or with a minus less, such as --usd=-0.50.
        tokens: So many tokens more or less.
        calls: So many calls more or less.
        yes: Do not ask.
    """
    by = {"tokens": tokens, "usd": usd, "calls": calls, "reason": reason}
    question = f"correct what {account} has spent by {_correction_text(tokens, usd, calls)} ({reason})"
    client = daemon.client()
    if not yes and not _agreed(question):
        note("nothing was changed")
        return exit_codes.FAILED
    corrected = client.order(Corrected, "POST", path_to("budgets", account, "adjust"), by)
    if json:
        return print_json(corrected)
    console = Terminal()
    for state in corrected.budgets:
        spent = state.spent
        cost = known_cost(spent.cost_nanousd, state.unpriced_calls)
        used = (counted(spent.tokens, "token"), cost, counted(spent.calls, "call"))
        console.say("{} has spent {}, {}, {}", state.account, *used)
    return exit_codes.OK


def _correction_text(tokens: int, usd: str | None, calls: int) -> str:
    parts = (
        f"{usd} dollars" if usd is not None else "",
        counted(tokens, "token", signed=True) if tokens else "",
        counted(calls, "call", signed=True) if calls else "",
    )
    return ", ".join(part for part in parts if part) or "nothing"


def _agreed(what: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"nobody can be asked whether to {what}; say --yes", where="--yes")
    return agreed(what)


def print_trace(console: Terminal, story: BudgetTrace) -> None:
    """Show the story of a thread's budget."""
    words = ("agent", "call", "state", "held", "charged", "price")
    table = Table("entry", *words, left=words)
    for hold in story.holds:
        table.add_row(*_hold_row(hold))
    console.show(table)
    for entry in story.notes:
        detail = f": {entry.shortfall}" if entry.shortfall is not None else _limits_text(entry.limits)
        where = "" if entry.account == thread_account(story.thread_id) else f"{entry.account} "
        console.say("{:>6} {} {}", entry.seq, instant_text(entry.time_ns), f"{where}{entry.text}{detail}")
    console.say("charged {}; held {}", _amounts_text(story.charged), _amounts_text(story.open_held))


def _hold_row(hold: HoldTrace) -> tuple[str, ...]:
    call = hold.call
    if call is None:
        amounts = _amounts_text(hold.held), _amounts_text(hold.charged)
        return str(hold.seq), "", "a child's limits", hold.state, *amounts, ""
    what = call.tool or f"{call.provider}/{call.request_model} #{call.attempt}"
    name = what + (" (last call)" if call.final_reserve_of else "")
    over = f", {_amounts_text(hold.overrun)} above the hold" if hold.overrun != ZERO else ""
    price = (hold.rates.source if hold.rates is not None else call.price_source) if hold.priced else "unknown"
    return (
        str(hold.seq),
        call.agent,
        name,
        f"{hold.state}, stopped in mid-stream" if hold.truncated else hold.state,
        _amounts_text(hold.held),
        _amounts_text(hold.charged) + over,
        price or "unknown",
    )


def _limits_text(limits: Limits | None) -> str:
    """Write limits, unit by unit; nothing for a note that is about something else."""
    if limits is None:
        return ""
    return f": {format_limits(limits) or 'unlimited'}"


def _amounts_text(amounts: Amounts) -> str:
    return f"{format_amount('tokens', amounts.tokens)}, {format_usd(amounts.cost_nanousd)}"
