"""What ``organism run`` shows while it runs: who says what, and the budgets as they fill."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from organism.amounts import BudgetState, format_amount
from organism.cli.summary import budget_lines
from organism.cli.terminal import one_line
from organism.usage.events import (
    AgentSaid,
    AgentStopped,
    AnyEvent,
    ApprovalRequested,
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

_REFRESH_S = 0.125

Budgets = Callable[[], tuple[BudgetState, ...]]


class LiveView:
    """Prints each event as a line; in a terminal, keeps answers being written and the budgets below them.

    Args:
        console: Where to.
        quiet: Print nothing: the result will be one JSON document.
    """

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._writing: dict[str, str] = {}
        self._said: tuple[str, str] | None = None
        self._budgets: Budgets = tuple

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(self._render(), console=self._console, auto_refresh=False, transient=True)
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
            self._live.update(self._render(), refresh=True)
            await anyio.sleep(_REFRESH_S)

    def progress(self, line: str) -> None:
        """Say what takes long."""
        self._print(f"[dim]{escape(line)}[/]")

    def on_text(self, _thread_id: str, agent: str, piece: str) -> None:
        """Take a piece of an answer being written."""
        self._writing[agent] = (self._writing.get(agent, "") + piece)[-_TAIL * 2 :]

    def on_event(self, event: AnyEvent) -> None:
        """Print an event, if it is one that a person wants to see."""
        match event:
            case AgentSaid(agent=agent, recipient=recipient):
                self._writing.pop(agent, None)
                self._print(f"[bold cyan]{agent}[/] [dim]->[/] [cyan]{recipient}[/]  {self._words(event)}")
            case UsageEvent(agent=agent, usage=usage, outcome=outcome, error=error):
                self._writing.pop(agent, None)
                note = "" if outcome == "settled" else f" [yellow]{outcome}: {_safe(error or '')}[/]"
                self._print(f"[dim]{agent}: {usage.input_total} in, {usage.output_total} out[/]{note}")
            case ThresholdCrossed(agent=agent, threshold=threshold, account=account, dimension=dimension):
                left = format_amount(dimension, max(0, event.limit - event.spent))
                percent = min(threshold, event.spent * 100 // event.limit)  # the final warning may come early
                used = f"{percent} % of {_safe(account)} used, {left} left"
                self._print(f"[bold yellow]! {used}: warning sent to {agent}[/]")
            case BudgetExceeded(agent=agent, shortfall=shortfall, enforced=enforced):
                verb = "refused" if enforced else "would be refused"
                self._print(f"[bold red]{agent} {verb}:[/] {_safe(str(shortfall))}")
            case ThreadBlocked(agent=agent):
                self._print(f"[bold red]{agent} waits for budget[/]")
            case ApprovalRequested(agent=agent, what=what):
                self._print(f"[bold yellow]{agent} waits for a person to allow {_safe(what)}[/]")
            case LLMRetry(agent=agent, delay_s=delay_s, reason=reason) if event.provider == event.next_provider:
                self._print(f"[yellow]{agent}: again in {delay_s:g} s, because {_safe(reason)}[/]")
            case LLMFailover(agent=agent, to_provider=to_provider, reason=reason):
                self._print(f"[yellow]{agent}: goes to {_safe(to_provider)}, because {_safe(reason)}[/]")
            case ModelDegraded(agent=agent, to_model=to_model, account=account, threshold=threshold):
                why = f"{threshold} % of {account} used"
                self._print(f"[yellow]{agent}: goes on with {_safe(to_model)}, because of {_safe(why)}[/]")
            case DeadLetterEvent(recipient=recipient, detail=detail):
                self._print(f"[red]{recipient} gave up:[/] {_safe(detail)}")
            case AgentStopped(reason=reason):
                self._print(f"[bold red]{_safe(reason)}[/]")
            case _:
                pass

    def _words(self, event: AgentSaid) -> str:
        """Return what an agent says; to its second recipient it is not repeated."""
        said = (event.agent, event.text)
        again, self._said = said == self._said, said
        return "[dim](the same)[/]" if again else _safe(event.text)

    def _print(self, markup: str) -> None:
        if not self._quiet:
            self._console.print(markup, highlight=False)

    def _render(self) -> RenderableType:
        lines: list[RenderableType] = [
            Text.assemble((f"{agent} ", "bold cyan"), (f"… {one_line(text)[-_TAIL:]}", "dim"))
            for agent, text in self._writing.items()
        ]
        lines += [Text.from_markup(line) for line in budget_lines(self._budgets())]
        return Group(*lines)


def _safe(text: str) -> str:
    """Return text from outside as one line that is neither markup nor control characters."""
    return escape(one_line(text))
