"""What waits for a person, from the command line: approvals to answer, and messages that were given up on."""

from organism.cli import exits
from organism.cli.client import Client
from organism.cli.output import print_answer, print_json
from organism.cli.terminal import Terminal
from organism.control.views import Accepted, Done, Letter
from organism.threads.approvals import Approval


def list_approvals(client: Client, *, as_json: bool) -> int:
    """Print what people are asked, with all that there is to decide by."""
    found = client.ask(list[Approval], "/v1/approvals", content=True)
    if as_json:
        return print_json(found)
    console = Terminal()
    for approval in found:
        console.say("[bold]{}[/] {} asks to use {}", approval.id, approval.agent, approval.what, one_piece=True)
        console.quote(approval.detail)
    if not found:
        console.say("nothing waits for a person")
    return exits.OK


def decide(client: Client, approval: str, *, allowed: bool, note: str, as_json: bool) -> int:
    """Answer what a person is asked."""
    done = client.order(Done, "POST", f"/v1/approvals/{approval}", {"allowed": allowed, "note": note})
    return print_answer(done, "allowed" if allowed else "denied", as_json=as_json)


def list_letters(client: Client, *, content: bool, as_json: bool) -> int:
    """Print dead letters."""
    # What the errors say is for the operator in any case; what the messages say only if asked for.
    found = client.ask(list[Letter], "/v1/dead-letters", content=content or not as_json or None)
    if as_json:
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
    return exits.OK


def retry_letter(client: Client, message: str, *, as_json: bool) -> int:
    """Send a dead letter's message again."""
    accepted = client.order(Accepted, "POST", f"/v1/dead-letters/{message}/retry")
    return print_answer(accepted, accepted.thread_id, as_json=as_json)


def discard_letter(client: Client, message: str, *, as_json: bool) -> int:
    """Forget a dead letter."""
    return print_answer(client.order(Done, "DELETE", f"/v1/dead-letters/{message}"), "discarded", as_json=as_json)
