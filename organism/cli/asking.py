"""``organism send``, ``ask`` and ``events``: what goes into the daemon, and what comes out as it happens."""

from collections.abc import Sequence

import msgspec

from organism.cli import exits
from organism.cli.client import Client
from organism.cli.output import complain, print_json, print_line, print_text
from organism.control.views import Accepted
from organism.errors import ConfigError
from organism.usage.cloudevents import CloudEvent
from organism.usage.events import AgentSaid, ApprovalRequested, ThreadBlocked, ThreadClosed


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to print, and how."""

    thread: str | None
    types: tuple[str, ...]
    after: str | None
    content: bool
    envelope: bool


def labels_of(written: Sequence[str], thread: str | None = None) -> dict[str, str]:
    """Return labels that were written as ``name=value``.

    Raises:
        ConfigError: If one is written differently, or there is a thread already that they would be for.
    """
    pairs = [label.partition("=") for label in written]
    if wrong := next((name for name, equals, _ in pairs if not (name and equals)), None):
        raise ConfigError(f"write a label as name=value, not {wrong!r}")
    if pairs and thread:
        raise ConfigError("labels belong to a new thread; this message goes into one that has its own")
    return {name: value for name, _, value in pairs}


def send(
    client: Client, text: str, *, to: str | None, thread: str | None, labels: dict[str, str], wait: bool, as_json: bool
) -> int:
    """Send a message and print the thread's id, or with ``wait`` its answers as they come."""
    body = {"text": text} | ({"to": to} if to else {}) | ({"labels": labels} if labels else {})
    path = f"/v1/threads/{thread}/messages" if thread else "/v1/threads"
    if not wait:
        accepted = client.order(Accepted, "POST", path, body)
        return print_json(accepted) if as_json else print_line(accepted.thread_id)
    # Following begins before sending, so that nothing the thread says can be missed.
    stream = client.follow(content=True)
    next(stream)
    thread_id = client.order(Accepted, "POST", path, body).thread_id
    answers: list[str] = []
    for envelope in stream:
        if envelope is None or envelope.data.thread_id != thread_id:
            continue
        match envelope.data:
            case AgentSaid(recipient="user", text=said):
                answers.append(said)
                if not as_json:
                    print_text(said)
            case ThreadBlocked(shortfall=shortfall):
                complain(f"thread {thread_id} waits for budget: {shortfall}")
                return exits.EXHAUSTED
            case ApprovalRequested(agent=agent, what=what):
                complain(f"{agent} waits for you to allow {what}: organism approvals")
            case ThreadClosed(outcome=outcome, reason=reason):
                if as_json:
                    print_json({"answers": answers, **msgspec.to_builtins(envelope.data)})
                elif reason:
                    complain(f"{outcome}: {reason}")
                return exits.OK if outcome == "completed" else exits.FAILED
            case _:
                pass
    complain(f"the daemon has stopped before thread {thread_id} ended")
    return exits.FAILED


def follow_events(client: Client, wanted: Wanted) -> int:
    """Print events as lines of JSON until interrupted or the daemon stops."""
    for envelope in client.follow(wanted.thread, wanted.types, content=wanted.content, after=wanted.after):
        if envelope is not None:
            _print_event(envelope, wanted)
    return exits.OK


def print_events(client: Client, wanted: Wanted) -> int:
    """Print the events that the daemon has, oldest first, and end."""
    after, more = wanted.after or "", True
    while more:
        page = client.page(after, thread=wanted.thread, types=wanted.types)
        for envelope in page.events:
            _print_event(envelope, wanted)
        after, more = page.next, page.more
    return exits.OK


def _print_event(envelope: CloudEvent, wanted: Wanted) -> None:
    print_json(envelope if wanted.envelope else envelope.data)
