"""``organism send`` and ``organism ask``: a message into the daemon, and the answers."""

from collections.abc import Sequence

import msgspec

from organism.cli import exit_codes
from organism.cli.client import Client
from organism.cli.options import DAEMON, DaemonOptions, Json, Labels, named_labels
from organism.cli.output import complain, print_json, print_line, print_text
from organism.control.views import Accepted
from organism.errors import ConfigError
from organism.usage.events import AgentSaid, ApprovalRequested, ThreadBlocked, ThreadClosed


def send(
    text: str,
    *,
    daemon: DaemonOptions = DAEMON,
    to: str | None = None,
    thread: str | None = None,
    label: Labels = None,
    wait: bool = False,
    json: Json = False,
) -> int:
    """Send a message to the daemon and print its thread's id.

    Args:
        text: The message.
        to: The agent that gets it; the entry agent unless given.
        thread: An open thread to send it into; a new one unless given.
        wait: Wait for the thread's end and print its answers.
    """
    labels = _labels(label or (), thread)
    client = daemon.client()
    path, body = _request(text, to, thread, labels)
    if wait:
        return _send_and_wait(client, path, body, as_json=json)
    accepted = client.order(Accepted, "POST", path, body)
    return print_json(accepted) if json else print_line(accepted.thread_id)


def ask(
    text: str, *, daemon: DaemonOptions = DAEMON, to: str | None = None, label: Labels = None, json: Json = False
) -> int:
    """Send a message, wait for the thread to end, and print answers as they come.

    Args:
        text: The message.
        to: The agent that gets it; the entry agent unless given.
    """
    labels = _labels(label or ())
    return _send_and_wait(daemon.client(), *_request(text, to, None, labels), as_json=json)


def _request(text: str, to: str | None, thread: str | None, labels: dict[str, str]) -> tuple[str, dict[str, object]]:
    body: dict[str, object] = {"text": text} | ({"to": to} if to else {}) | ({"labels": labels} if labels else {})
    return f"/v1/threads/{thread}/messages" if thread else "/v1/threads", body


def _send_and_wait(client: Client, path: str, body: dict[str, object], *, as_json: bool) -> int:
    # Following begins before sending, so that nothing the thread says can be missed.
    stream = client.follow(content=True)
    next(stream)
    thread_id = client.order(Accepted, "POST", path, body).thread_id
    answers: list[str] = []
    for envelope in stream:
        if envelope is None or envelope.data.thread_id != thread_id:
            continue
        match envelope.data:
            case AgentSaid(output=True, text=said):
                answers.append(said)
                if not as_json:
                    print_text(said)
            case ThreadBlocked(shortfall=shortfall):
                what = " for budget" if shortfall.cause == "limit" else ""
                complain(f"thread {thread_id} waits{what}: {shortfall}")
                return exit_codes.EXHAUSTED
            case ApprovalRequested(agent=agent, what=what):
                complain(f"{agent} waits for you to allow {what}: organism approvals")
            case ThreadClosed(outcome=outcome, reason=reason):
                if as_json:
                    print_json({"answers": answers, **msgspec.to_builtins(envelope.data)})
                elif reason:
                    complain(f"{outcome}: {reason}")
                return exit_codes.OK if outcome == "completed" else exit_codes.FAILED
            case _:
                pass
    complain(f"the daemon stopped before thread {thread_id} ended")
    return exit_codes.FAILED


def _labels(written: Sequence[str], thread: str | None = None) -> dict[str, str]:
    """Return labels of a message; raises if it goes into a thread, which has labels of its own."""
    if written and thread:
        raise ConfigError("labels belong to a new thread; this message goes into one that has its own")
    return named_labels(written)
