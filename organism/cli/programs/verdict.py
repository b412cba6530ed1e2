"""How did a program's run end, and what did it cost? What is said of it while it runs and after."""

import termios
from contextlib import suppress
from typing import Literal

import msgspec
from msgspec.structs import replace

from organism.amounts.units import format_amount
from organism.cli import exit_codes
from organism.cli.output import complain
from organism.cli.run_view import crossed_text
from organism.errors import Refusal
from organism.usage.activity import Activity, CallEnded
from organism.usage.events import AnyEvent, BudgetExceeded, ThresholdCrossed
from organism.usage.run_report import RunReport, build_report

Ending = Literal["completed", "failed", "terminated", "blocked"]


class ProgramReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole account of a program's run.

    Attributes:
        exit_code: What ``organism exec`` exits with.
        program_exit_code: What the program has ended with, as a shell counts it.
        command: The program and its arguments.
        state: The folder where its ledger lies.
        failure: What its last call has failed with, if that was no limit.
        run: What it used; ``outcome`` is ``completed``, ``failed``, ``terminated`` by a signal, or ``blocked``.
    """

    exit_code: int
    program_exit_code: int
    command: tuple[str, ...]
    state: str
    failure: str | None
    run: RunReport


class Refusals:
    """Whether a budget has the last word: the last call was refused, and none that began later was answered.

    Attributes:
        last: What has refused the last call; ``None`` if one was answered after.
        failure: What the last call has failed with for another reason, as ``Type: text``; ``None`` likewise.
    """

    def __init__(self) -> None:
        self.last: Refusal | None = None
        self.failure: str | None = None
        self._since_ns = 0

    def see(self, activity: Activity) -> None:
        """Take note of what has just been done."""
        if not isinstance(activity, CallEnded):
            return
        if activity.shortfall is not None:
            self.last, self._since_ns = activity.shortfall, activity.started_ns + activity.duration_ns
        elif activity.error is not None:
            self.failure = activity.error
        elif activity.started_ns >= self._since_ns:
            self.last = self.failure = None


class Notices:
    """Tells of thresholds and refusals on standard error as they happen."""

    def on_event(self, event: AnyEvent) -> None:
        """Say what a person wants to know at once."""
        match event:
            case ThresholdCrossed(dimension=dimension):
                left = format_amount(dimension, max(0, event.limit - event.spent))
                self._say(f"{crossed_text(event)}, {left} left")
            case BudgetExceeded(shortfall=shortfall, enforced=enforced):
                self._say(f"{'budget exhausted' if enforced else 'would be refused'}: {shortfall}")
            case _:
                pass

    def _say(self, text: str) -> None:
        if not _is_drawn_on():
            complain(text)


def _is_drawn_on() -> bool:
    """Whether a program has the terminal to itself and draws on it: a line of ours would spoil the picture."""
    local_modes = 3
    with suppress(termios.error):  # no terminal at all
        return not termios.tcgetattr(2)[local_modes] & termios.ICANON
    return False


def report_of(events: list[AnyEvent], thread_id: str, code: int, refused: Refusal | None) -> tuple[int, RunReport]:
    """Return what to exit with, and the account of the run.

    A budget has ended a program that was refused and got no answer after: whatever it then exits with, its work is not
    what it would have been. What a signal has ended, the budget has not.

    Args:
        events: Its thread's events.
        thread_id: Its thread.
        code: What the program has exited with.
        refused: What has refused its last call.
    """
    signal = code - exit_codes.BY_SIGNAL
    ending: Ending = "terminated" if signal > 0 else "blocked" if refused else "failed" if code else "completed"
    reason = {"terminated": f"signal {signal}", "failed": f"exit code {code}"}.get(ending)
    if ending == "blocked":
        reason = f"budget exhausted: {refused}"
    report = replace(build_report(events, thread_id), outcome=ending, reason=reason)
    return exit_codes.EXHAUSTED if ending == "blocked" else code, report
