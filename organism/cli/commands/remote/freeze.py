"""``organism freeze`` and ``organism unfreeze``: all spending stopped at once, and let go on."""

from typing import Annotated

from cyclopts import Parameter

from organism.amounts import format_usd
from organism.budget.guards.freezes import Frozen, labels_of
from organism.cli import exit_codes
from organism.cli.options import DAEMON, DaemonOptions, Json, pasteable
from organism.cli.output import print_json
from organism.cli.terminal import Terminal
from organism.text.plain_text import counted

Labels = Annotated[
    list[str] | None,
    Parameter(name="--label", help="Only threads with this label, as name=value; with several, those that have all."),
]


def freeze(
    label: Labels = None,
    *,
    daemon: DaemonOptions = DAEMON,
    reason: str = "",
    cancel: bool = False,
    off: bool = False,
    json: Json = False,
) -> int:
    """Stop all spending at once, or that of threads with a label.

    No new call leaves. Calls under way finish and are charged what they cost. Threads that need a model wait, through
    restarts too, and go on after 'organism unfreeze'.

    Args:
        reason: Why; those who are refused read it.
        cancel: Close calls under way too; they are charged as calls are whose caller has gone.
        off: Let it go on again, as 'organism unfreeze' does.
    """
    client, labels = daemon.client(), labels_of(label)
    if off:
        return _unfreeze(daemon, labels, as_json=json)
    body = {"labels": labels, "reason": reason, "cancel": cancel}
    return _show(daemon, client.order(Frozen, "POST", "/v1/freeze", body), as_json=json)


def unfreeze(label: Labels = None, *, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Let spending go on that was frozen.

    Without a label it lifts the freeze of everything; freezes of labels are lifted one by one.
    """
    return _unfreeze(daemon, labels_of(label), as_json=json)


def _unfreeze(daemon: DaemonOptions, labels: dict[str, str], *, as_json: bool) -> int:
    written = [f"{name}={value}" for name, value in labels.items()]
    return _show(daemon, daemon.client().order(Frozen, "DELETE", "/v1/freeze", label=written), as_json=as_json)


def _show(daemon: DaemonOptions, frozen: Frozen, *, as_json: bool) -> int:
    if as_json:
        return print_json(frozen)
    console, held = Terminal(), frozen.held
    for each in frozen.freezes:
        console.say("[red]{}[/]", pasteable(str(each), daemon))
    if not frozen.freezes:
        console.say("nothing is frozen")
    if frozen.cancelled:
        console.say("{}", counted(frozen.cancelled, "call under way was closed", "calls under way were closed"))
    console.say(
        "held by calls under way: {} and {} in {}; {} for a freeze",
        format_usd(held.cost_nanousd),
        counted(held.tokens, "token"),
        counted(held.calls, "call"),
        counted(len(frozen.threads), "thread waits", "threads wait"),
    )
    return exit_codes.OK
