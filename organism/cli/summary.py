"""Draw the report of a run for people: a table, totals, warnings, and why it ended."""

from collections.abc import Iterable

from organism.amounts import NS_PER_S, BudgetState, Dimension, format_amount, format_usd
from organism.budget.thresholds import amount_of, limit_of
from organism.cli.terminal import Markup, Table, Terminal, markup
from organism.usage.report import RunReport
from organism.usage.totals import UsageTotals

_FULL_PERCENT = 90
_HIGH_PERCENT = 75


def print_report(console: Terminal, report: RunReport, context_tokens: int | None) -> None:
    """Print everything there is to know about a run after its answer."""
    console.say("")
    console.show(_agents_table(report))
    usage = report.totals.usage
    if report.agents:
        longest = f"{report.largest_prompt_tokens:,} tokens"
        if context_tokens:
            longest += f" of {context_tokens:,} ({report.largest_prompt_tokens * 100 // context_tokens} %)"
        console.say(
            "average {:,} tokens per agent · largest {} · output {} % of input · longest prompt {}",
            report.average_agent_tokens,
            report.largest_agent,
            report.output_percent or 0,
            longest,
        )
    console.show(*budget_lines(report.budgets))
    for crossed in report.thresholds:
        used = min(crossed.threshold, crossed.spent * 100 // crossed.limit)
        console.say(
            "[yellow]![/] {} reached {} % of {} ({} of {})",
            crossed.agent,
            used,
            crossed.account,
            format_amount(crossed.dimension, crossed.spent),
            format_amount(crossed.dimension, crossed.limit),
        )
    for letter in report.dead_letters:
        console.say("[red]x[/] {}", letter)
    console.say(
        "[bold]{}[/] in {:.1f} s: {:,} tokens, {}, {} calls{}",
        report.outcome,
        report.duration_ns / NS_PER_S,
        usage.total,
        cost_text(report.totals),
        report.totals.calls,
        markup(" - {}", report.reason) if report.reason else "",
    )


def _agents_table(report: RunReport) -> Table:
    table = Table("agent", "calls", "input", "output", "total", "share", "cost")
    for line in report.agents:
        table.add_row(line.agent, *_figures(line.totals), f"{line.share_permille / 10:.1f} %", cost_text(line.totals))
    table.add_section()
    table.add_row("all", *_figures(report.totals), "", cost_text(report.totals), style="bold")
    return table


def _figures(totals: UsageTotals) -> tuple[str, ...]:
    usage = totals.usage
    return (str(totals.calls), f"{usage.input_total:,}", f"{usage.output_total:,}", f"{usage.total:,}")


def cost_text(totals: UsageTotals) -> str:
    """Write a cost; ``~`` says that some calls have no known price and the sum is a lower bound."""
    return ("~" if totals.unpriced_calls else "") + format_usd(totals.cost_nanousd)


def budget_lines(states: Iterable[BudgetState], width: int = 24) -> list[Markup]:
    """Draw a bar for each limit of each account; accounts without a limit need none."""
    dimensions: tuple[Dimension, ...] = ("tokens", "usd", "seconds", "calls")
    limited = [
        (state, dimension, limit)
        for state in states
        for dimension in dimensions
        if (limit := limit_of(state.limits, dimension)) is not None
    ]
    labels = [f"{scope_name(state.account)} {dimension}" for state, dimension, _ in limited]
    column = max(map(len, labels), default=0)
    lines = []
    for label, (state, dimension, limit) in zip(labels, limited, strict=True):
        spent = amount_of(state.spent, state.elapsed_ns, dimension)
        held = amount_of(state.held, 0, dimension)
        drawn = bar(spent, held, limit, width)
        lines.append(markup("{:<{column}} {} {}", label, drawn, share_text(dimension, spent, limit), column=column))
    return lines


def share_text(dimension: Dimension, spent: int, limit: int) -> str:
    """Say how much of a limit is used, its unit once: ``3 of 4 calls``, ``$0.10 of $1.00``."""
    used = f"{spent:,}" if dimension in ("tokens", "calls") else format_amount(dimension, spent)
    return f"{used} of {format_amount(dimension, limit)}"


def scope_name(account: str) -> str:
    """Name an account's scope for people: ``thread``, ``writer``, ``model main per day``, ``day``."""
    scope, _, over = account.partition("@")
    kind, _, name = scope.partition(":")
    period = over.partition(":")[0]
    if kind == "thread":
        return "thread"
    if kind == "organism":
        return period
    per = "" if period == "thread" else f" per {period}"
    return (name if kind == "agent" else f"{kind} {name}") + per


def bar(spent: int, held: int, limit: int, width: int) -> Markup:
    """Draw spent, held and free as a bar."""
    if limit <= 0:
        return markup("[dim]{}[/]", "-" * width)
    full = min(width, spent * width // limit)
    open_holds = min(width - full, -(-held * width // limit))
    percent = spent * 100 // limit
    color = "red" if percent >= _FULL_PERCENT else "yellow" if percent >= _HIGH_PERCENT else "green"
    return markup(
        "[{color}]{}[/][{color} dim]{}[/][dim]{}[/] {:>3} %",
        "█" * full,
        "░" * open_holds,
        "·" * (width - full - open_holds),
        percent,
        color=color,
    )
