"""``organism send`` and ``organism ask``: a message into the daemon, and the answers."""

from collections.abc import Sequence

import msgspec

from organism.budget.relief import amount_option, lacking
from organism.cli import exit_codes
from organism.cli.client import path_to
from organism.cli.completion import AgentName, ThreadName
from organism.cli.options import (
    DAEMON,
    NO_BUDGET,
    Budget,
    DaemonOptions,
    Json,
    Labels,
    TaskText,
    named_labels,
    pasteable,
    task_of,
)
from organism.cli.output import complain, print_json, print_line, print_text
from organism.control.views import Accepted
from organism.errors import ConfigError, Refusal
from organism.threads.approvals import asking
from organism.usage.events import AgentSaid, ApprovalRequested, ThreadBlocked, ThreadClosed


def send(
    text: TaskText = None,
    *,
    daemon: DaemonOptions = DAEMON,
    to: AgentName | None = None,
    thread: ThreadName | None = None,
    budget: Budget = NO_BUDGET,
    label: Labels = None,
    wait: bool = False,
    json: Json = False,
) -> int:
    """Send a message to the daemon and print its thread's id.

    Args:
        to: The agent that gets it; the entry agent unless given.
        thread: An open thread to send it into; a new one unless given.
        wait: Wait for the thread's end and print its answers.
    """
    path, body = _request(task_of(text), to, thread, _opening(label or (), budget, thread))
    if wait:
        return _send_and_wait(daemon, path, body, as_json=json)
    accepted = daemon.client().order(Accepted, "POST", path, body)
    return print_json(accepted) if json else print_line(accepted.thread_id)


def ask(
    text: TaskText = None,
    *,
    daemon: DaemonOptions = DAEMON,
    to: AgentName | None = None,
    budget: Budget = NO_BUDGET,
    label: Labels = None,
    json: Json = False,
) -> int:
    """Send a message, wait for the thread to end, and print answers as they come.

    Args:
        to: The agent that gets it; the entry agent unless given.
    """
    path, body = _request(task_of(text), to, None, _opening(label or (), budget))
    return _send_and_wait(daemon, path, body, as_json=json)


def _request(
    text: str, to: str | None, thread: str | None, opening: dict[str, object]
) -> tuple[str, dict[str, object]]:
    body: dict[str, object] = {"text": text} | ({"to": to} if to else {}) | opening
    return path_to("threads", thread, "messages") if thread else "/v1/threads", body


def _send_and_wait(daemon: DaemonOptions, path: str, body: dict[str, object], *, as_json: bool) -> int:
    client = daemon.client()
    # Following begins before sending, so that nothing the thread says can be missed.
    stream = client.follow(content=True)
    next(stream)
    thread_id = client.order(Accepted, "POST", path, body).thread_id
    answers: list[str] = []
    for envelope in stream:
        if envelope is None or envelope.data.root_thread_id != thread_id:
            continue
        match envelope.data:
            case AgentSaid(thread_id=said_in, output=True, text=said) if said_in == thread_id:
                answers.append(said)
                if not as_json:
                    print_text(said)
            case ThreadBlocked(thread_id=blocked, shortfall=shortfall) if blocked == thread_id:
                _tell_blocked(daemon, thread_id, shortfall)
                return exit_codes.EXHAUSTED
            case ApprovalRequested(agent=agent, what=what, approval_id=asked):
                answer = daemon.command("approvals", "allow", asked)
                complain(f"{agent} {asking(what)} and waits; to answer (allow or deny): {answer}")
            case ThreadClosed(thread_id=closed, outcome=outcome, reason=reason) if closed == thread_id:
                if as_json:
                    print_json({"answers": answers, **msgspec.to_builtins(envelope.data)})
                elif reason:
                    complain(f"{outcome}: {reason}")
                return exit_codes.OK if outcome == "completed" else exit_codes.FAILED
            case _:
                pass
    complain(f"the daemon stopped before thread {thread_id} ended")
    return exit_codes.FAILED


def _tell_blocked(daemon: DaemonOptions, thread_id: str, shortfall: Refusal) -> None:
    """Say what a thread waits for, and the commands that let it go on and show what it says then."""
    if shortfall.cause != "limit":
        complain(pasteable(f"thread {thread_id} waits: {shortfall}", daemon))
        return
    raised = daemon.command(
        "budget", "raise", shortfall.account, *amount_option(shortfall.dimension, lacking(shortfall))
    )
    shown = daemon.command("thread", thread_id, "--content")
    complain(f"thread {thread_id} waits for budget: {shortfall}; to go on: {raised}")
    complain(f"then see what it says: {shown}")


def _opening(labels: Sequence[str], budget: Budget, thread: str | None = None) -> dict[str, object]:
    """Return what a new thread is opened with; raises if the message goes into one that has its own."""
    if labels and thread:
        raise ConfigError("labels belong to a new thread; this message goes into one that has its own")
    limits = budget.written()
    if limits and thread:
        raise ConfigError("limits belong to a new thread; this message goes into one that has its own")
    named = named_labels(labels)
    return ({"labels": named} if named else {}) | ({"limits": limits} if limits else {})
