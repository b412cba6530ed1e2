"""Commands that talk to the running daemon: their words and options; :mod:`organism.cli.operating` does the work."""

from collections.abc import Callable
from typing import Annotated, Literal

from cyclopts import App, Parameter

from organism.cli.exporters import exporters
from organism.cli.options import DEFAULT_FILE, File, Json, State
from organism.cli.remote_groups import approvals, budget, letters, token

_COMMANDS: list[Callable[..., int]] = []


def register(app: App, usage: App) -> None:
    """Add these commands to the command line."""
    for command in _COMMANDS:
        app.command(command)
    for group in (budget, approvals, letters, exporters, token):
        app.command(group)
    usage.default(show_usage)


def _command(function: Callable[..., int]) -> Callable[..., int]:
    _COMMANDS.append(function)
    return function


Labels = Annotated[
    list[str] | None, Parameter(name="--label", help="Kept on the thread's usage, as name=value; may be repeated.")
]


@_command
def send(
    text: str,
    *,
    file: File = DEFAULT_FILE,
    state: State = None,
    to: str | None = None,
    thread: str | None = None,
    label: Labels = None,
    wait: bool = False,
    json: Json = False,
) -> int:
    """Send a message to the running daemon and print its thread's id.

    Args:
        text: The message.
        to: The agent it is for.
        thread: An open thread to send it into; a new one unless given.
        wait: Wait for the thread's end and print its answer.
    """
    from organism.cli import asking
    from organism.cli.client import Client

    labels = asking.labels_of(label or (), thread)
    return asking.send(Client.of(file, state), text, to=to, thread=thread, labels=labels, wait=wait, as_json=json)


@_command
def ask(
    text: str,
    *,
    file: File = DEFAULT_FILE,
    state: State = None,
    to: str | None = None,
    label: Labels = None,
    json: Json = False,
) -> int:
    """Send a message, wait for its thread's end, and print what agents answer as it comes.

    Args:
        text: The message.
        to: The agent it is for.
    """
    from organism.cli import asking
    from organism.cli.client import Client

    labels = asking.labels_of(label or ())
    return asking.send(Client.of(file, state), text, to=to, thread=None, labels=labels, wait=True, as_json=json)


@_command
def events(
    *,
    file: File = DEFAULT_FILE,
    state: State = None,
    follow: bool = False,
    after: str | None = None,
    thread: str | None = None,
    type: Annotated[list[str] | None, Parameter(help="Only events of this type; may be repeated.")] = None,  # noqa: A002
    content: bool = False,
    envelope: bool = False,
    json: Annotated[bool, Parameter(show=False)] = True,
) -> int:
    """Print the daemon's events, one JSON document a line: those it has, or as they happen.

    Args:
        follow: Print events as they happen, until interrupted.
        after: Begin after the event of this id.
        thread: Only events of this thread and its children.
        content: With --follow, also what agents say.
        envelope: Print each in its CloudEvents envelope.
    """
    from organism.cli import asking
    from organism.cli.client import Client

    del json  # events are JSON in any case; the option is there because every command has it
    wanted = asking.Wanted(thread=thread, types=tuple(type or ()), after=after, content=content, envelope=envelope)
    client = Client.of(file, state)
    return asking.follow_events(client, wanted) if follow else asking.print_events(client, wanted)


@_command
def threads(
    *,
    file: File = DEFAULT_FILE,
    state: State = None,
    all: Annotated[bool, Parameter(help="Also those that have ended.")] = False,  # noqa: A002
    label: str | None = None,
    json: Json = False,
) -> int:
    """List threads, newest first.

    Args:
        label: Only threads with this label: name=value, or name.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.list_threads(Client.of(file, state), ended=all, label=label, as_json=json)


@_command
def thread(
    thread: str, *, file: File = DEFAULT_FILE, state: State = None, content: bool = False, json: Json = False
) -> int:
    """Show a thread: its budgets, its messages with the cost of each, its children.

    Args:
        thread: Its id.
        content: Also what the messages say.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.show_thread(Client.of(file, state), thread, content=content, as_json=json)


@_command
def replay(
    thread: str,
    *,
    file: File = DEFAULT_FILE,
    state: State = None,
    mode: Literal["off", "audit", "enforce"] | None = None,
    limit: list[str] | None = None,
    model: list[str] | None = None,
    prices: str | None = None,
    calls: bool = False,
    json: Json = False,
) -> int:
    """Decide a recorded thread anew: what it would have cost, and where it would have warned, degraded and stopped.

    Without a daemon the journal of the state folder is read.

    Args:
        thread: The thread's id.
        mode: What a reached limit does; enforce with --limit, else audit, which refuses nothing and says where.
        limit: The thread's own limits, such as tokens=5000,usd=0.10,calls=9,seconds=60 or usd=unlimited.
        model: The model of every call, or OLD=NEW; one of the configuration, or provider/model. May be repeated.
        prices: A file with prices: as in an organism.yaml, which win; or a day such as 2026-01-31, whose prices hold.
        calls: Also every call, as it was and as it would have been.
    """
    from organism.cli import replaying

    what = replaying.wanted(mode, limit or (), model or (), prices)
    form = "json" if json else "calls" if calls else "table"
    return replaying.replay_thread(thread, what, file, state, form=form)


@_command
def status(*, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Show the organism: its windows as bars, its busiest threads, its agents."""
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.show_status(Client.of(file, state), as_json=json)


@_command
def top(*, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Watch budgets live, and raise, pause or end threads from the keyboard."""
    from organism.cli.client import Client
    from organism.cli.top import watch

    return watch(Client.of(file, state), as_json=json)


@_command
def terminate(
    thread: str,
    *,
    file: File = DEFAULT_FILE,
    state: State = None,
    reason: str = "terminated by order",
    json: Json = False,
) -> int:
    """End a thread and its children now; calls under way are charged what they cost.

    Args:
        thread: Its id.
        reason: Told in its last event.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.terminate(Client.of(file, state), thread, reason, as_json=json)


@_command
def pause(name: str, *, file: File = DEFAULT_FILE, state: State = None, agent: bool = False, json: Json = False) -> int:
    """Pause a thread with its children, or an agent everywhere: what runs is finished, nothing more is started.

    Args:
        name: The thread's id or the agent's name.
        agent: It is an agent.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.hold(Client.of(file, state), "pause", name, agent=agent, as_json=json)


@_command
def unpause(
    name: str, *, file: File = DEFAULT_FILE, state: State = None, agent: bool = False, json: Json = False
) -> int:
    """Let a paused thread go on, or an agent that was paused or has failed too often.

    Args:
        name: The thread's id or the agent's name.
        agent: It is an agent.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.hold(Client.of(file, state), "resume", name, agent=agent, as_json=json)


@_command
def agents(*, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """List agents with their state, what waits for them and what they have used."""
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.list_agents(Client.of(file, state), as_json=json)


@_command
def mode(
    mode: Literal["off", "audit", "enforce"], *, file: File = DEFAULT_FILE, state: State = None, json: Json = False
) -> int:
    """Change what a reached limit does, until the daemon is started anew.

    Args:
        mode: off only records, audit also says, enforce refuses.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.set_mode(Client.of(file, state), mode, as_json=json)


@_command
def reload(*, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Have the daemon read its configuration again: all of it is put in force, or nothing."""
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.reload(Client.of(file, state), as_json=json)


@_command
def drain(
    *,
    file: File = DEFAULT_FILE,
    state: State = None,
    undo: Annotated[bool, Parameter(help="Take new threads again.")] = False,
    json: Json = False,
) -> int:
    """Have the daemon take no new threads; the open ones go on, and it keeps running."""
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.drain(Client.of(file, state), undo=undo, as_json=json)


@_command
def stop(*, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Stop the daemon in good order: no new threads, open ones get 30 s, what runs is settled."""
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.stop(Client.of(file, state), as_json=json)


@_command
def dashboard(*, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Print a link that opens the dashboard; it holds a session of some hours, so keep it to yourself."""
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.dashboard_link(Client.of(file, state), as_json=json)


def show_usage(
    *,
    file: File = DEFAULT_FILE,
    state: State = None,
    by: Literal["agent", "model", "day", "thread", "label"] = "agent",
    json: Json = False,
    csv: bool = False,
) -> int:
    """Show what the daemon has used since it was started.

    Args:
        by: Broken down by this.
        csv: Print CSV.
    """
    from organism.cli import operating
    from organism.cli.client import Client

    return operating.show_usage(Client.of(file, state), by, "json" if json else "csv" if csv else "table")
