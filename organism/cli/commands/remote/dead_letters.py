"""``organism dead-letters``: messages that could not be delivered or handled."""

from cyclopts import App

from organism.cli import exit_codes
from organism.cli.client import path_to
from organism.cli.options import DAEMON, DaemonOptions, Json
from organism.cli.output import print_answer, print_json
from organism.cli.terminal import Terminal
from organism.control.views import Accepted, Letter, OrderDone

app = App(name="dead-letters")


@app.default
def list_letters(*, content: bool = False, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """List messages that could not be delivered or handled, with the reason.

    Args:
        content: Also what they say.
    """
    # What the errors say is for the operator in any case; what the messages say only if asked for.
    found = daemon.client().ask(list[Letter], "/v1/dead-letters", content=content or not json or None)
    if json:
        return print_json(found)
    console = Terminal()
    for letter in found:
        way = "[bold]{}[/] {} -> {} [red]{}[/]"
        console.say(way, letter.message_id, letter.sender, letter.recipient, letter.reason)
        console.say("    {}", f"{letter.detail} ({letter.where})" if letter.where else letter.detail)
        if content and letter.text is not None:
            console.quote(letter.text)
    if not found:
        console.say("no dead letters")
    return exit_codes.OK


@app.command
def retry(message: str, *, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Send the message again: in its thread, or in a new one if that has ended.

    Args:
        message: The message's id.
    """
    accepted = daemon.client().order(Accepted, "POST", path_to("dead-letters", message, "retry"))
    return print_answer(accepted, accepted.thread_id, as_json=json)


@app.command
def discard(message: str, *, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Delete the dead letter.

    Args:
        message: The message's id.
    """
    done = daemon.client().order(OrderDone, "DELETE", path_to("dead-letters", message))
    return print_answer(done, "discarded", as_json=json)
