"""``organism top``: budgets as they are used up, and keys to act on them.

Keys: up/down or j/k choose a thread, r raises its limits by a quarter after a y, p pauses or resumes it, t
ends it after a y, tab shows threads, agents or models, q leaves.
"""

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

from organism.amounts import BudgetState, format_usd, format_usd_estimate
from organism.budget.thresholds import DEFAULT_THRESHOLDS
from organism.cli import exit_codes
from organism.cli.budget_bars import bar, budget_lines
from organism.cli.burn_rate import busiest, tightest, time_left_s, time_text
from organism.cli.client import Client, RefusedError, path_to
from organism.cli.options import DAEMON, DaemonOptions, Json
from organism.cli.output import print_json
from organism.cli.tables import cost_text, styled_state
from organism.cli.terminal import Drawn, Live, Table, Terminal, drawn, markup, underlined
from organism.control.views import Burn, OrderDone, OrganismStatus, ThreadPage, ThreadSummary
from organism.text.plain_text import counted

_REFRESH_S = 1.0
_ROWS_MAX = 20
_RAISE_PERCENT = 25
_WIDE = 110
"""From so many columns on, bars are long."""
_FORMS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (_WIDE, 24, ("cost", "calls", "left")),
    (78, 8, ("cost", "left")),
    (0, 6, ()),
)
"""From so many columns on: the width of a thread's bar, and what stands behind it. A thread's id is always whole."""
_KEYS = {"\x1b[A": "k", "\x1b[B": "j", "\x03": "q"}

View = Literal["thread", "agent", "model"]
_NEXT: dict[View, View] = {"thread": "agent", "agent": "model", "model": "thread"}


class Screen:
    """What is seen, what is chosen, and what a key does.

    Args:
        client: Talks to the daemon.
        width: Columns there are.
    """

    def __init__(self, client: Client, width: int) -> None:
        self._client = client
        self._bar, self._columns = 24 if width >= _WIDE else 10, width
        self._view: View = "thread"
        self._chosen = ""
        self._sure: Callable[[], None] | None = None
        self._note = ""
        self.ended = False
        self.refresh()

    def refresh(self) -> None:
        """Ask the daemon for its status and its threads."""
        self._status = self._client.ask(OrganismStatus, "/v1/status")
        page = self._client.ask(ThreadPage, "/v1/threads", limit=500)
        self._threads = busiest(page.threads, self._status.burn)[:_ROWS_MAX]
        ids = [thread.thread_id for thread in self._threads]
        if self._chosen not in ids:
            self._chosen, self._sure = (ids[0] if ids else ""), None

    def press(self, key: str) -> None:
        """Do what a key says; what the daemon refuses is shown."""
        sure, self._sure, self._note = self._sure, None, ""
        try:
            match key:
                case "q":
                    self.ended = True
                case "j" | "k":
                    self._move(1 if key == "j" else -1)
                case "\t":
                    self._view = _NEXT[self._view]
                case "r" | "p" | "t" if self._chosen:
                    self._act(key)
                case "y" if sure is not None:
                    sure()
                case _:
                    return
            self.refresh()
        except RefusedError as error:
            self._note = str(error)

    def _move(self, by: int) -> None:
        ids = [thread.thread_id for thread in self._threads]
        if ids:
            place = ids.index(self._chosen) if self._chosen in ids else 0
            self._chosen = ids[max(0, min(len(ids) - 1, place + by))]

    def _act(self, key: str) -> None:
        chosen = self._chosen
        if key == "p":
            paused = next((one.state == "paused" for one in self._threads if one.thread_id == chosen), False)
            self._client.order(OrderDone, "POST", path_to("threads", chosen, "resume" if paused else "pause"))
            self._note = f"{chosen} {'resumed' if paused else 'paused'}"
            return
        what = f"raise every limit of {chosen} by {_RAISE_PERCENT} %" if key == "r" else f"end {chosen}"
        self._sure = partial(self._raise if key == "r" else self._end, chosen)
        self._note = f"{what}? y to do it, any other key to leave it"

    def _raise(self, thread_id: str) -> None:
        body = {"percent": _RAISE_PERCENT}
        self._client.order(BudgetState, "POST", path_to("budgets", thread_id, "move"), body)
        self._note = f"limits of {thread_id} raised by {_RAISE_PERCENT} %"

    def _end(self, thread_id: str) -> None:
        self._client.order(BudgetState, "DELETE", path_to("threads", thread_id), reason="ended from organism top")
        self._note = f"{thread_id} ended"

    def parts(self) -> list[Drawn]:
        """Return what is drawn, from the top."""
        status, whole = self._status, self._status.burn[0]
        counts = status.threads
        lines: list[Drawn] = [
            markup(
                "[bold]{}[/] {}  {} open  [red]{} blocked[/]  [yellow]{} paused[/]  {}",
                status.name,
                status.mode,
                counts.open,
                counts.blocked,
                counts.paused,
                counted(status.dead_letters, "dead letter"),
            ),
            markup(
                "{} in {}  burning {}/h and {:,} tokens/min",
                cost_text(status.usage),
                counted(status.usage.calls, "call"),
                format_usd_estimate(whole.cost_nanousd * 3600 // whole.seconds),
                whole.tokens * 60 // whole.seconds,
            ),
        ]
        for state in status.windows:
            left = time_left_s(state, status.burn)
            lasts = "" if left is None else f"lasts {time_text(left)}"
            room = self._columns - len(lasts) - 2
            lines += [markup("{}  [dim]{}[/]", line, lasts) for line in budget_lines([state], room, self._bar)]
        lines.append(
            fitting_threads(self._threads, self._chosen, status.burn, self._columns)
            if self._view == "thread"
            else self._burn_table()
        )
        if self._note:
            lines.append(markup("[bold yellow]{}[/]", self._note))
        lines.append(markup("[dim]j/k choose  r raise 25 %  p pause/resume  t end  tab other view  q leave[/]"))
        return lines

    def _burn_table(self) -> Table:
        table = Table(self._view, "calls", "tokens", "cost", "tokens/min", "cost/h")
        for line in self._status.burn:
            kind, _, name = line.name.partition(":")
            if kind == self._view:
                table.add_row(
                    name,
                    f"{line.calls:,}",
                    f"{line.tokens:,}",
                    format_usd(line.cost_nanousd),
                    f"{line.tokens * 60 // line.seconds:,}",
                    format_usd_estimate(line.cost_nanousd * 3600 // line.seconds),
                )
        return table


def top(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Watch budgets live, and raise, pause or end threads from the keyboard.

    Where there is no terminal, and with --json, it prints once and ends.
    """
    client = daemon.client()
    if json:
        return print_json(client.ask(OrganismStatus, "/v1/status"))
    console = Terminal()
    screen = Screen(client, console.width)
    if not (sys.stdin.isatty() and console.is_terminal):
        console.show(*screen.parts())
        return exit_codes.OK
    with _keys() as descriptor, Live(drawn(screen.parts()), console=console, screen=True, auto_refresh=False) as live:
        while not screen.ended:
            live.update(drawn(screen.parts()), refresh=True)
            if (key := _read_key(descriptor, _REFRESH_S)) is None:
                screen.refresh()
            else:
                screen.press(key)
    return exit_codes.OK


def fitting_threads(threads: Iterable[ThreadSummary], chosen: str, burn: Iterable[Burn], columns: int) -> Table:
    """Return threads with the limit that is nearest, and as much else as there is room for.

    Args:
        chosen: The id of the thread that keys act on.
        burn: How fast it is going.
        columns: The width of the terminal.
    """
    bar_width, shown = next((size, names) for width, size, names in _FORMS if columns >= width)
    headings = ("thread", "state", "nearest limit", *shown)
    table = Table(*headings, left=headings, title_column=True)
    pace = tuple(burn)
    for thread in threads:
        is_chosen = thread.thread_id == chosen
        spent = thread.budget.spent
        figures = {
            "cost": format_usd(spent.cost_nanousd),
            "left": time_text(time_left_s(thread.budget, pace)),
            "calls": f"{spent.calls:,}",
        }
        table.add_row(
            f"{'>' if is_chosen else ' '} {thread.thread_id}",
            styled_state(thread.state),
            _bar(thread, bar_width),
            *map(figures.__getitem__, shown),
            style="reverse" if is_chosen else "",
        )
    return table


def _bar(thread: ThreadSummary, width: int) -> Drawn:
    """Draw the limit that is nearest, with marks where warnings are given."""
    nearest = tightest(thread.budget)
    if nearest is None:
        return markup("[dim]no limit[/]")
    dimension, spent, held, limit = nearest
    line = markup("{} [dim]{}[/]", bar(spent, held, limit, width), dimension)
    return underlined(line, (threshold * width // 100 for threshold in DEFAULT_THRESHOLDS))


@contextmanager
def _keys() -> Iterator[int]:
    """Have keys arrive one by one and unseen; the terminal is as before afterwards, whatever happens."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _read_key(descriptor: int, within_s: float) -> str | None:
    ready, _, _ = select.select([descriptor], [], [], within_s)
    if not ready:
        return None
    pressed = os.read(descriptor, 16).decode("utf-8", "replace")
    return _KEYS.get(pressed, pressed[:1]) or "q"  # nothing at all is the end of the input
