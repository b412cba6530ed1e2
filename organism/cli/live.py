"""What ``organism run`` shows while it runs: who says what, and the budget as it fills."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from organism.amounts import BudgetState, format_amount
from organism.cli.summary import budget_lines
from organism.usage.events import (
    AgentSaid,
    AgentStopped,
    AnyEvent,
    BudgetExceeded,
    DeadLetterEvent,
    LLMFailover,
    LLMRetry,
    ModelDegraded,
    ThreadBlocked,
    ThresholdCrossed,
    UsageEvent,
)

_TAIL = 90
"""So many characters of an answer being written are shown, on one line per agent."""


class LiveView:
    """Prints each event as a line; in a terminal, keeps answers being written and the budget below them.

    Args:
        console: Where to.
        quiet: Print nothing: the result will be one JSON document.
    """

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._writing: dict[str, str] = {}
        self._budget: BudgetState | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(self._render(), console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def progress(self, line: str) -> None:
        """Say what takes long."""
        self._print(f"[dim]{escape(line)}[/]")

    def on_text(self, _thread_id: str, agent: str, piece: str) -> None:
        """Take a piece of an answer being written."""
        self._writing[agent] = (self._writing.get(agent, "") + piece)[-_TAIL * 2 :]
        self._refresh()

    def on_event(self, event: AnyEvent) -> None:
        """Print an event, if it is one that a person wants to see."""
        match event:
            case AgentSaid(agent=agent, recipient=recipient, text=text):
                self._writing.pop(agent, None)
                self._print(f"[bold cyan]{agent}[/] [dim]->[/] [cyan]{recipient}[/]  {escape(_one_line(text))}")
            case UsageEvent(agent=agent, usage=usage, outcome=outcome, error=error, budgets=budgets):
                self._writing.pop(agent, None)
                self._budget = budgets[0] if budgets else self._budget
                note = "" if outcome == "settled" else f" [yellow]{outcome}: {escape(error or '')}[/]"
                self._print(f"[dim]{agent}: {usage.input_total} in, {usage.output_total} out[/]{note}")
            case ThresholdCrossed(agent=agent, threshold=threshold, account=account, dimension=dimension):
                left = format_amount(dimension, max(0, event.limit - event.spent))
                self._print(
                    f"[bold yellow]! {threshold} % of {escape(account)} used, {left} left: warning sent to {agent}[/]"
                )
            case BudgetExceeded(agent=agent, shortfall=shortfall, enforced=enforced):
                verb = "refused" if enforced else "would be refused"
                self._print(f"[bold red]{agent} {verb}:[/] {escape(str(shortfall))}")
            case ThreadBlocked(agent=agent):
                self._print(f"[bold red]{agent} waits for budget[/]")
            case LLMRetry(agent=agent, delay_s=delay_s, reason=reason):
                self._print(f"[yellow]{agent}: again in {delay_s:g} s, because {escape(reason)}[/]")
            case LLMFailover(agent=agent, to_provider=to_provider, reason=reason):
                self._print(f"[yellow]{agent}: goes to {escape(to_provider)}, because {escape(reason)}[/]")
            case ModelDegraded(agent=agent, to_model=to_model, account=account, threshold=threshold):
                why = f"{threshold} % of {account} used"
                self._print(f"[yellow]{agent}: goes on with {escape(to_model)}, because of {escape(why)}[/]")
            case DeadLetterEvent(recipient=recipient, detail=detail):
                self._print(f"[red]{recipient} gave up:[/] {escape(detail)}")
            case AgentStopped(reason=reason):
                self._print(f"[bold red]{escape(reason)}[/]")
            case _:
                pass
        self._refresh()

    def _print(self, markup: str) -> None:
        if not self._quiet:
            self._console.print(markup, highlight=False)

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._render())

    def _render(self) -> RenderableType:
        lines: list[RenderableType] = [
            Text.assemble((f"{agent} ", "bold cyan"), (f"… {_one_line(text)[-_TAIL:]}", "dim"))
            for agent, text in self._writing.items()
        ]
        if self._budget is not None:
            lines += [Text.from_markup(line) for line in budget_lines(self._budget)]
        return Group(*lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())
