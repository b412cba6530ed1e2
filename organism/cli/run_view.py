"""What ``organism run`` shows: who says what and the budgets as they fill, then the report of the run."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from organism.amounts import NS_PER_S, BudgetState, format_usd
from organism.amounts.units import format_amount
from organism.budget.guards.breakers import WHAT_FOLLOWS
from organism.cli.budget_bars import budget_lines
from organism.cli.tables import cost_text, token_cells
from organism.cli.terminal import Live, Markup, Table, Terminal, drawn, markup
from organism.text.plain_text import counted, one_line
from organism.threads.approvals import asking
from organism.usage.events import (
    AgentSaid,
    AgentStopped,
    AnyEvent,
    ApprovalRequested,
    BreakerTripped,
    BudgetExceeded,
    DeadLetterEvent,
    LLMFailover,
    LLMRetry,
    ModelDegraded,
    ThreadBlocked,
    ThresholdCrossed,
    UsageEvent,
)
from organism.usage.run_report import RunReport

_TAIL = 90
"""So many characters of an answer being written are shown, on one line per agent."""

_REFRESH_S = 0.125

Budgets = Callable[[], tuple[BudgetState, ...]]


class LiveView:
    """Prints each event as a line; in a terminal, keeps answers being written and the budgets below them.

    Args:
        console: Where to.
        quiet: Print nothing: the result will be one JSON document.
    """

    def __init__(self, console: Terminal, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._writing: dict[str, str] = {}
        self._said: tuple[str, str] | None = None
        self._budgets: Budgets = tuple

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(drawn(self._parts()), console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    async def follow(self, budgets: Budgets) -> None:
        """Draw budgets, holds included, as they are at every moment, until cancelled.

        Args:
            budgets: Returns the budgets of now; nothing once their thread has ended.
        """
        self._budgets = budgets
        while self._live is not None:
            self._live.update(drawn(self._parts()), refresh=True)
            await anyio.sleep(_REFRESH_S)

    def progress(self, line: str) -> None:
        """Say what takes long."""
        self._print("[dim]{}[/]", line)

    def on_text(self, _thread_id: str, agent: str, piece: str) -> None:
        """Take a piece of an answer being written."""
        self._writing[agent] = (self._writing.get(agent, "") + piece)[-_TAIL * 2 :]

    def on_event(self, event: AnyEvent) -> None:
        """Print an event, if it is one that a person wants to see."""
        match event:
            case AgentSaid(agent=agent, recipient=recipient):
                self._writing.pop(agent, None)
                self._print("[bold cyan]{}[/] [dim]->[/] [cyan]{}[/]  {}", agent, recipient, self._words(event))
            case UsageEvent():
                self._writing.pop(event.agent, None)
                self._used(event)
            case ThresholdCrossed(agent=agent, threshold=threshold, account=account, dimension=dimension):
                left = format_amount(dimension, max(0, event.limit - event.spent))
                percent = min(threshold, event.spent * 100 // event.limit)  # a warning may come ahead
                used = "[bold yellow]! {} % of {} used, {} left: warning sent to {}[/]"
                self._print(used, percent, account, left, agent)
            case BudgetExceeded() | ThreadBlocked() | BreakerTripped():
                self._refused(event)
            case ApprovalRequested(agent=agent, what=what):
                self._print("[bold yellow]{} {}, and waits for a person[/]", agent, asking(what))
            case LLMRetry(agent=agent, delay_s=delay_s, reason=reason) if event.provider == event.next_provider:
                self._print("[yellow]{}: again in {:.1f} s, because {}[/]", agent, delay_s, reason)
            case LLMFailover(agent=agent, to_provider=to_provider, reason=reason):
                self._print("[yellow]{}: goes to {}, because {}[/]", agent, to_provider, reason)
            case ModelDegraded(agent=agent, to_model=to_model, account=account, threshold=threshold):
                why = f"{threshold} % of {account} used"
                self._print("[yellow]{}: goes on with {}, because of {}[/]", agent, to_model, why)
            case DeadLetterEvent(recipient=recipient, detail=detail):
                self._print("[red]{} gave up:[/] {}", recipient, detail)
            case AgentStopped(reason=reason):
                self._print("[bold red]{}[/]", reason)
            case _:
                pass

    def _refused(self, event: BudgetExceeded | ThreadBlocked | BreakerTripped) -> None:
        match event:
            case BudgetExceeded(agent=agent, shortfall=shortfall, enforced=enforced):
                verb = "refused" if enforced else "would be refused"
                self._print("[bold red]{} {}:[/] {}", agent, verb, shortfall)
            case ThreadBlocked(agent=agent, shortfall=shortfall) if shortfall.cause == "limit":
                self._print("[bold red]{} waits for budget[/]", agent)
            case BreakerTripped(agent=agent, action=action, text=text) if action:
                self._print("[bold yellow]{} goes round:[/] {}; {}", agent, text, WHAT_FOLLOWS[action])
            case _:
                pass

    def _used(self, event: UsageEvent) -> None:
        note = "" if event.outcome == "settled" else markup(" [yellow]{}: {}[/]", event.outcome, event.error or "")
        if event.tool:
            cost = format_usd(event.cost_nanousd or 0)
            self._print("[dim]{}: {} for {}[/]{}", event.agent, cost, event.tool, note)
            return
        usage = event.usage
        self._print("[dim]{}: {} in, {} out[/]{}", event.agent, usage.input_total, usage.output_total, note)

    def _words(self, event: AgentSaid) -> str:
        """Return what an agent says; to its second recipient it is not repeated."""
        said = (event.agent, event.text)
        again, self._said = said == self._said, said
        return markup("[dim](the same)[/]") if again else event.text

    def _print(self, template: str, *values: object) -> None:
        """Print a line. Once one cannot be written nothing more is shown: the run is paid for, so it goes on.

        The report after it meets the same error, and that ends the command.
        """
        if self._quiet:
            return
        try:
            self._console.say(template, *values)
        except OSError:
            self._quiet = True

    def _parts(self) -> list[Markup]:
        """Return what is drawn below: answers being written, and budgets."""
        writing = [
            markup("[bold cyan]{}[/] [dim]… {}[/]", agent, one_line(text)[-_TAIL:])
            for agent, text in self._writing.items()
        ]
        return writing + budget_lines(self._budgets(), self._console.columns)


def print_report(console: Terminal, report: RunReport, context_tokens: int | None) -> None:
    """Print everything there is to know about a run after its answer."""
    console.say("")
    console.show(_agents_table(report))
    usage = report.totals.usage
    if report.agents:
        longest = counted(report.largest_prompt_tokens, "token")
        if context_tokens:
            longest += f" of {context_tokens:,} ({report.largest_prompt_tokens * 100 // context_tokens} %)"
        console.say(
            "average {} per agent · largest {} · output {} % of input · longest prompt {}",
            counted(report.average_agent_tokens, "token"),
            report.largest_agent,
            report.output_percent or 0,
            longest,
        )
    console.show(*budget_lines(report.budgets, console.columns))
    for crossed in report.thresholds:
        console.say(
            "[yellow]![/] {} ({} of {})",
            crossed_text(crossed),
            format_amount(crossed.dimension, crossed.spent),
            format_amount(crossed.dimension, crossed.limit),
        )
    for letter in report.dead_letters:
        console.say("[red]x[/] {}", letter)
    console.say(
        "[bold]{}[/] in {:.1f} s: {}, {}, {}{}",
        report.outcome,
        report.duration_ns / NS_PER_S,
        counted(usage.total, "token"),
        cost_text(report.totals),
        counted(report.totals.calls, "call"),
        markup(" - {}", report.reason) if report.reason else "",
    )


def crossed_text(crossed: ThresholdCrossed) -> str:
    """Say what an agent was warned of: what is spent, or how little more fits where that comes ahead."""
    percent = f"{crossed.threshold} % of {crossed.account}"
    if (left := crossed.calls_left) is None:
        at_once = f", {crossed.limits_passed:,} whole limits at once" if crossed.limits_passed else ""
        return f"{crossed.agent} reached {percent}{at_once}"
    calls = "1 more call fits" if left == 1 else f"{left or 'no'} more calls fit"
    return f"{crossed.agent} was warned ahead of {percent}: {calls}"


def _agents_table(report: RunReport) -> Table:
    table = Table("agent", "calls", "input", "output", "total", "share", "cost")
    for line in report.agents:
        table.add_row(
            line.agent, *token_cells(line.totals), f"{line.share_permille / 10:.1f} %", cost_text(line.totals)
        )
    table.add_section()
    table.add_row("all", *token_cells(report.totals), "", cost_text(report.totals), style="bold")
    return table
