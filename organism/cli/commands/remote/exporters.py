"""``organism exporters``: events that another system refused."""

from cyclopts import App

from organism.cli import exit_codes
from organism.cli.client import path_to
from organism.cli.options import DAEMON, DaemonOptions, Json
from organism.cli.output import print_answer, print_json
from organism.cli.terminal import Terminal
from organism.control.views import OrderDone
from organism.text.plain_text import counted
from organism.usage.cursors import SetAside

app = App(name="exporters")


@app.default
def list_set_aside(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """List events that were set aside because the receiving system refused them, with its answer."""
    found = daemon.client().ask(list[SetAside], "/v1/exporters/set-aside")
    if json:
        return print_json(found)
    console = Terminal()
    for aside in found:
        console.say("[bold]{}[/] event {}", aside.exporter, aside.event_id)
        console.say("    {}", aside.reason)
    if not found:
        console.say("nothing is set aside")
    return exit_codes.OK


@app.command
def retry(exporter: str, *, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Retry an exporter's events that were set aside; those refused again stay in the list.

    Args:
        exporter: The exporter's name in the configuration.
    """
    done = daemon.client().order(OrderDone, "POST", path_to("exporters", exporter, "retry"))
    offered = counted(len(done.changed), "event is offered again", "events are offered again")
    return print_answer(done, offered, as_json=json)
