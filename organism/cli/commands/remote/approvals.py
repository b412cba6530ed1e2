"""``organism approvals``: what agents want to do and a person must allow."""

from cyclopts import App

from organism.cli import exit_codes
from organism.cli.client import path_to
from organism.cli.options import DAEMON, DaemonOptions, Json, Whole
from organism.cli.output import print_answer, print_json
from organism.cli.terminal import Terminal
from organism.control.views import OrderDone
from organism.threads.approvals import Approval, asking

app = App(name="approvals")


@app.default
def list_approvals(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """List what agents ask to do, with everything there is to decide by."""
    found = daemon.client().ask(list[Approval], "/v1/approvals", content=True)
    if json:
        return print_json(found)
    console = Terminal()
    for approval in found:
        asks, where = asking(approval.what), approval.thread_id
        console.say("[bold]{}[/] {} {} in {}", approval.id, approval.agent, asks, where, one_piece=True)
        console.quote(approval.detail)
    if not found:
        console.say("nothing waits for a person")
    return exit_codes.OK


@app.command
def allow(
    approval: str,
    *,
    note: str = "",
    usd: str | None = None,
    tokens: Whole | None = None,
    seconds: Whole | None = None,
    daemon: DaemonOptions = DAEMON,
    json: Json = False,
) -> int:
    """Allow it; the message that waits is handled.

    Args:
        approval: The approval's id.
        note: A remark for the log and the agent.
        usd: Where more budget is asked for: grant so many dollars, and not what is asked.
        tokens: Likewise, so many tokens.
        seconds: Likewise, for so long; what is not spent by then goes back.
    """
    amounts = {"usd": usd, "tokens": tokens, "seconds": seconds}
    given = {name: value for name, value in amounts.items() if value is not None}
    return _decide(daemon, approval, {"allowed": True, "note": note, **given}, as_json=json)


@app.command
def deny(approval: str, *, note: str = "", daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Deny it; the agent gets the answer and continues without.

    Args:
        approval: The approval's id.
        note: Why, or what to do instead; the agent reads it.
    """
    return _decide(daemon, approval, {"allowed": False, "note": note}, as_json=json)


def _decide(daemon: DaemonOptions, approval: str, body: dict[str, object], *, as_json: bool) -> int:
    done = daemon.client().order(OrderDone, "POST", path_to("approvals", approval), body)
    return print_answer(done, "allowed" if body["allowed"] else "denied", as_json=as_json)
