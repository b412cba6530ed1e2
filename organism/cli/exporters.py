"""``organism exporters``: what the daemon's exporters have set aside, and offering it again."""

import sys

import msgspec
from cyclopts import App

from organism.cli import exits
from organism.cli.options import DEFAULT_FILE, File, Json, State

exporters = App(name="exporters", help="Events that another system will not take: list, offer again.")


@exporters.default
def list_set_aside(*, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """List events that were set aside because the other side refuses them, with what it said."""
    from organism.cli.client import Client
    from organism.cli.terminal import Terminal, one_line
    from organism.usage.cursors import SetAside

    found = Client.of(file, state).ask(list[SetAside], "/v1/exporters/set-aside")
    if json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return exits.OK
    console = Terminal()
    for aside in found:
        console.print(f"[bold]{aside.exporter}[/] event {aside.event_id}")
        console.print(f"    {one_line(aside.reason)}", markup=False)
    if not found:
        console.print("nothing is set aside")
    return exits.OK


@exporters.command(name="retry")
def retry_set_aside(exporter: str, *, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Have an exporter offer again what it has set aside; what is refused again stays in the list.

    Args:
        exporter: Its name in the configuration.
    """
    from organism.cli.client import Client
    from organism.control.views import Done

    done = Client.of(file, state).order(Done, "POST", f"/v1/exporters/{exporter}/retry")
    text = msgspec.json.encode(done).decode() if json else f"{len(done.changed)} events are offered again"
    sys.stdout.write(text + "\n")
    return exits.OK
