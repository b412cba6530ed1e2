"""``organism exporters``: what the daemon's exporters have set aside, and offering it again."""

from cyclopts import App

from organism.cli import exits
from organism.cli.options import DEFAULT_FILE, File, Json, State

exporters = App(name="exporters", help="Events that another system will not take: list, offer again.")


@exporters.default
def list_set_aside(*, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """List events that were set aside because the other side refuses them, with what it said."""
    from organism.cli.client import Client
    from organism.cli.output import print_json
    from organism.cli.terminal import Terminal
    from organism.usage.cursors import SetAside

    found = Client.of(file, state).ask(list[SetAside], "/v1/exporters/set-aside")
    if json:
        return print_json(found)
    console = Terminal()
    for aside in found:
        console.say("[bold]{}[/] event {}", aside.exporter, aside.event_id)
        console.say("    {}", aside.reason)
    if not found:
        console.say("nothing is set aside")
    return exits.OK


@exporters.command(name="retry")
def retry_set_aside(exporter: str, *, file: File = DEFAULT_FILE, state: State = None, json: Json = False) -> int:
    """Have an exporter offer again what it has set aside; what is refused again stays in the list.

    Args:
        exporter: Its name in the configuration.
    """
    from organism.cli.client import Client
    from organism.cli.output import print_answer
    from organism.control.views import Done

    done = Client.of(file, state).order(Done, "POST", f"/v1/exporters/{exporter}/retry")
    return print_answer(done, f"{len(done.changed)} events are offered again", as_json=json)
