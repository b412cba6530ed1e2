"""``organism events``: what has happened in the daemon, and what happens."""

from typing import Annotated

from cyclopts import Parameter

from organism.cli import exit_codes
from organism.cli.completion import ThreadName
from organism.cli.options import DAEMON, DaemonOptions
from organism.cli.output import print_json
from organism.usage.cloudevents import CloudEvent


def events(
    *,
    daemon: DaemonOptions = DAEMON,
    follow: bool = False,
    after: str | None = None,
    thread: ThreadName | None = None,
    type: Annotated[list[str] | None, Parameter(help="Only events of this type; may be repeated.")] = None,  # noqa: A002
    content: bool = False,
    envelope: bool = False,
    json: Annotated[bool, Parameter(show=False)] = True,
) -> int:
    """Print the daemon's events, one JSON document a line; --follow prints them as they happen.

    Args:
        follow: Print events as they happen, until interrupted.
        after: Begin after the event of this id.
        thread: Only events of this thread and its children.
        content: With --follow, also what agents say.
        envelope: Print each in its CloudEvents envelope.
    """
    del json  # events are JSON in any case; the option is there because every command has it
    client = daemon.client()
    types = tuple(type or ())
    if follow:
        for happened in client.follow(thread, types, content=content, after=after):
            if happened is not None:
                _print(happened, enveloped=envelope)
        return exit_codes.OK
    last, more = after or "", True
    while more:
        page = client.page(last, thread=thread, types=types)
        for kept in page.events:
            _print(kept, enveloped=envelope)
        last, more = page.next, page.more
    return exit_codes.OK


def _print(event: CloudEvent, *, enveloped: bool) -> None:
    print_json(event if enveloped else event.data)
