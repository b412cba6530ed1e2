"""``organism token``: API tokens for programs and people."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated

from cyclopts import App, Parameter

from organism.amounts import BudgetState, Limits
from organism.amounts.account import Account
from organism.amounts.units import format_limits
from organism.api.tokens.token_book import NewToken, TokenScope, TokenView
from organism.cli.client import RefusedError, path_to
from organism.cli.options import DAEMON, DaemonOptions, Json, Whole, named_labels
from organism.cli.output import print_answer
from organism.control.views import OrderDone

app = App(name="token")


@dataclass(frozen=True, kw_only=True)
class MostOf:
    """The most that each thread may use that a token opens; what is left out stays as it is configured.

    Attributes:
        tokens: All tokens.
        usd: Dollars.
        seconds: Seconds that it may be open.
        calls: Model calls.
    """

    tokens: Annotated[Whole | None, Parameter(help="The most tokens of each thread it opens.")] = None
    usd: Annotated[str | None, Parameter(help="The most dollars of each.")] = None
    seconds: Annotated[Whole | None, Parameter(help="The most seconds of each.")] = None
    calls: Annotated[Whole | None, Parameter(help="The most calls of each.")] = None


TokenLabels = Annotated[
    list[str] | None,
    Parameter(name="--label", help="Of each thread it opens, as name=value; may be repeated. It cannot change them."),
]


@app.command
def make(
    name: str,
    *,
    scope: list[TokenScope],
    days: Whole | None = None,
    label: TokenLabels = None,
    most: Annotated[MostOf | None, Parameter(name="*")] = None,
    daemon: DaemonOptions = DAEMON,
    json: Json = False,
) -> int:
    """Make a token and print its secret, this once.

    Args:
        name: The token's name, as audit records show it.
        scope: What it may do; may be repeated.
        days: How long it is valid; without an end unless given.
    """
    body: dict[str, object] = {"name": name, "scopes": list(scope)} | ({"days": days} if days is not None else {})
    if (limits := _given(most)) is not None:
        body["limits"] = limits
    if label:
        body["labels"] = named_labels(label)
    made = daemon.client().order(NewToken, "POST", "/v1/tokens", body)
    return print_answer(made, made.secret, as_json=json)


@app.command(name="list")
def list_tokens(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """List tokens and the keys of the configuration with their scopes and limits, without their secrets."""
    found = daemon.client().ask(list[TokenView], "/v1/tokens")
    return print_answer(found, "\n".join(map(_line, found)), as_json=json)


@app.command
def limit(
    name: str,
    *,
    most: Annotated[MostOf | None, Parameter(name="*")] = None,
    daemon: DaemonOptions = DAEMON,
    json: Json = False,
) -> int:
    """Give a token other limits, for threads that it opens from now on. Without any, it has what is configured.

    Args:
        name: The token's name.
    """
    client = daemon.client()
    changed = client.order(TokenView, "PATCH", path_to("tokens", name), {"limits": _given(most)})
    kept = "threads that are open keep their limits"
    with suppress(RefusedError):  # where the key has called, without naming another thread
        own = Account.parse(client.ask(BudgetState, path_to("budgets", f"token-{name}")).account).thread_id
        kept += f"; to raise those of {own}: {daemon.command('budget', 'raise', own, '--percent', '25')}"
    return print_answer(changed, f"{_line(changed)}\n{kept}", as_json=json)


@app.command
def revoke(name: str, *, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Revoke a token from now on.

    Args:
        name: The token's name.
    """
    done = daemon.client().order(OrderDone, "DELETE", path_to("tokens", name))
    return print_answer(done, f"{name} revoked", as_json=json)


def _given(most: MostOf | None) -> dict[str, object] | None:
    """Return the limits that are asked for; ``None`` where none are."""
    return {unit: value for unit, value in asdict(most or MostOf()).items() if value is not None} or None


def _line(token: TokenView) -> str:
    """Say what a token may do and spend."""
    most = format_limits(token.limits or Limits())
    labels = ", ".join(f"{name}={value}" for name, value in token.labels.items())
    return (
        f"{token.name}: {', '.join(token.scopes)}"
        + (f"; each thread at most {most}" if most else "")
        + (f"; labels {labels}" if labels else "")
        + ("; in the configuration" if token.source == "configuration" else "")
    )
