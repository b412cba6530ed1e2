"""``organism token``: API tokens for programs and people."""

from cyclopts import App

from organism.api.tokens import NewToken, TokenScope, TokenView
from organism.cli.options import DAEMON, DaemonOptions, Json, Whole
from organism.cli.output import print_answer
from organism.control.views import OrderDone

app = App(name="token")


@app.command
def make(
    name: str, *, scope: list[TokenScope], days: Whole | None = None, daemon: DaemonOptions = DAEMON, json: Json = False
) -> int:
    """Make a token and print its secret, this once.

    Args:
        name: The token's name, as audit records show it.
        scope: What it may do; may be repeated.
        days: How long it is valid; for ever unless given.
    """
    body = {"name": name, "scopes": list(scope)} | ({"days": days} if days is not None else {})
    made = daemon.client().order(NewToken, "POST", "/v1/tokens", body)
    return print_answer(made, made.secret, as_json=json)


@app.command(name="list")
def list_tokens(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """List tokens with their scopes, without their secrets."""
    found = daemon.client().ask(list[TokenView], "/v1/tokens")
    return print_answer(found, "\n".join(f"{one.name}: {', '.join(one.scopes)}" for one in found), as_json=json)


@app.command
def revoke(name: str, *, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Revoke a token from now on.

    Args:
        name: The token's name.
    """
    done = daemon.client().order(OrderDone, "DELETE", f"/v1/tokens/{name}")
    return print_answer(done, f"{name} revoked", as_json=json)
