"""What one conversation cost and how it ended, computed from its events. Pure; the CLI only draws it."""

from collections.abc import Iterable

import msgspec

from organism.amounts import BudgetState, TokenUsage
from organism.amounts.account import thread_account, thread_of
from organism.errors import Refusal
from organism.usage.events import (
    AgentSaid,
    AnyEvent,
    ApprovalRequested,
    BudgetExceeded,
    DeadLetterEvent,
    ThreadBlocked,
    ThreadClosed,
    ThreadResumed,
    ThresholdCrossed,
    UsageEvent,
)
from organism.usage.totals import RunningTotals, UsageTotals


class AgentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's part.

    Attributes:
        share_permille: Its tokens per thousand of the thread's.
    """

    agent: str
    totals: UsageTotals
    share_permille: int


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole account of a thread and its descendants.

    Attributes:
        outcome: ``completed``, ``failed``, ``terminated``, ``blocked``, ``waiting`` for a person, or ``paused`` by a
            breaker or a person; ``open`` while it goes on.
        reason: Why it ended so.
        answer: What it sent to the user, as text.
        agents: Each agent's part, the largest first.
        totals: All of it.
        average_agent_tokens: Tokens per agent, rounded.
        largest_agent: The agent with the most tokens.
        output_percent: Output tokens per hundred of input; ``None`` without input.
        largest_prompt_tokens: The longest input of a single call.
        thresholds: Thresholds that were crossed, in order.
        refusals: Calls that a limit refused, or would have in mode ``audit``.
        dead_letters: Messages that were given up on, in words.
        budgets: Every account that limited it, as last seen; its own first.
        duration_ns: From its first event to its last.
    """

    thread_id: str
    outcome: str
    reason: str | None
    answer: str
    agents: tuple[AgentLine, ...]
    totals: UsageTotals
    average_agent_tokens: int
    largest_agent: str | None
    output_percent: int | None
    largest_prompt_tokens: int
    thresholds: tuple[ThresholdCrossed, ...]
    refusals: tuple[Refusal, ...]
    dead_letters: tuple[str, ...]
    budgets: tuple[BudgetState, ...]
    duration_ns: int


def build_report(events: Iterable[AnyEvent], thread_id: str, budgets: Iterable[BudgetState] = ()) -> RunReport:
    """Compute the report of a thread.

    Args:
        events: Its events and its descendants', in order.
        budgets: What limits it now, while it is open; events tell only of accounts that were charged.
    """
    own = [event for event in events if thread_id in (event.thread_id, event.root_thread_id)]
    total = RunningTotals()
    by_agent: dict[str, RunningTotals] = {}
    largest_prompt = 0
    for event in own:
        if isinstance(event, UsageEvent):
            total.add(event)
            by_agent.setdefault(event.agent, RunningTotals()).add(event)
            largest_prompt = max(largest_prompt, event.usage.input_total)
    totals = total.snapshot()
    lines = sorted(
        (_line(agent, running.snapshot(), totals.usage) for agent, running in by_agent.items()),
        key=lambda line: -line.totals.usage.total,
    )
    outcome, reason = _ending(own, thread_id)
    usage = totals.usage
    return RunReport(
        thread_id=thread_id,
        outcome=outcome,
        reason=reason,
        answer="\n\n".join(
            event.text
            for event in own
            if isinstance(event, AgentSaid) and event.output and event.thread_id == thread_id
        ),
        agents=tuple(lines),
        totals=totals,
        average_agent_tokens=round(usage.total / len(lines)) if lines else 0,
        largest_agent=lines[0].agent if lines else None,
        output_percent=usage.output_total * 100 // usage.input_total if usage.input_total else None,
        largest_prompt_tokens=largest_prompt,
        thresholds=tuple(event for event in own if isinstance(event, ThresholdCrossed)),
        refusals=tuple(event.shortfall for event in own if isinstance(event, BudgetExceeded)),
        dead_letters=tuple(
            f"{event.recipient} gave up on a message from {event.sender}: {event.detail}"
            for event in own
            if isinstance(event, DeadLetterEvent)
        ),
        budgets=_budgets(own, thread_id, budgets),
        duration_ns=own[-1].time_ns - own[0].time_ns if own else 0,
    )


def _line(agent: str, totals: UsageTotals, of: TokenUsage) -> AgentLine:
    share = (totals.usage.total * 2000 + of.total) // (2 * of.total) if of.total else 0
    return AgentLine(agent=agent, totals=totals, share_permille=share)


def _ending(events: list[AnyEvent], thread_id: str) -> tuple[str, str | None]:
    """Find how the thread itself ended, and why."""
    outcome, reason = "open", None
    for event in events:
        match event:
            case ThreadBlocked(shortfall=shortfall, agent=agent):
                outcome, reason = "blocked", f"{agent} was refused: {shortfall}"
            case ApprovalRequested(agent=agent, what=what):
                outcome, reason = "waiting", f"{agent} waits for a person: {what}"
            case ThreadResumed():
                outcome, reason = "open", None
            case ThreadClosed() if event.thread_id == thread_id:
                return event.outcome, event.reason
            case _:
                pass
    return outcome, reason


def _budgets(events: list[AnyEvent], thread_id: str, now: Iterable[BudgetState]) -> tuple[BudgetState, ...]:
    """Find the last word on each account that limited the thread; its children's own accounts went with them."""
    last: dict[str, BudgetState] = {}
    for event in events:
        match event:
            case UsageEvent(budgets=charged):
                last |= {state.account: state for state in charged}
            case ThreadClosed(budget=final):
                last[final.account] = final
            case _:
                pass
    last |= {state.account: state for state in now}
    own = thread_account(thread_id)
    shown = [state for account, state in last.items() if thread_of(account) in (None, thread_id)]
    return tuple(sorted(shown, key=lambda state: state.account != own))
