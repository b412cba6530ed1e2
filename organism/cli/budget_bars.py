"""Budgets drawn as bars, and how their scopes and shares are written."""

from collections.abc import Iterable
from datetime import UTC, datetime

from organism.amounts import NS_PER_S, BudgetState, Dimension
from organism.amounts.units import ADDITIVE, DIMENSIONS, UNITS, amount_of, format_amount, limit_of
from organism.cli.terminal import Markup, markup
from organism.control.views import AccountState
from organism.ledger.account import Account

_FULL_PERCENT = 90
_HIGH_PERCENT = 75


def budget_lines(states: Iterable[BudgetState], width: int = 24) -> list[Markup]:
    """Draw a bar for each limit of each account; accounts without a limit need none."""
    limited = [
        (state, dimension, limit)
        for state in states
        for dimension in DIMENSIONS
        if (limit := limit_of(state.limits, dimension)) is not None
    ]
    labels = [f"{scope_name(state.account)} {dimension}" for state, dimension, _ in limited]
    column = max(map(len, labels), default=0)
    lines = []
    for label, (state, dimension, limit) in zip(labels, limited, strict=True):
        spent = amount_of(state.spent, state.elapsed_ns, dimension)
        held = amount_of(state.held, 0, dimension)
        drawn = bar(spent, held, limit, width)
        said = share_text(dimension, spent, limit) + _left_text(state, dimension, limit - spent - held)
        said += _rule_text(state, dimension)
        lines.append(markup("{:<{column}} {} {}", label, drawn, said, column=column))
    return lines


def share_text(dimension: Dimension, spent: int, limit: int) -> str:
    """Say how much of a limit is used, its unit once: ``3 of 4 calls``, ``$0.10 of $1.00``."""
    used = f"{spent:,}" if UNITS[dimension].scale == 1 else format_amount(dimension, spent)
    return f"{used} of {format_amount(dimension, limit)}"


def _left_text(state: BudgetState, dimension: Dimension, left: int) -> str:
    """Say what remains, and when what is spent counts no more."""
    text = f", {format_amount(dimension, max(0, left))} left"
    if dimension not in ADDITIVE or state.resets_ns is None:
        return text
    return f"{text}, resets {datetime.fromtimestamp(state.resets_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M} UTC"


def _rule_text(state: BudgetState, dimension: Dimension) -> str:
    """Say what happens on an account as a limit comes near: its mode, the warning that stands, actions."""
    if not isinstance(state, AccountState):
        return ""
    parts = [] if state.mode == "enforce" else [f"mode {state.mode}"]
    if (warning := state.warning) is not None and warning.dimension == dimension:
        ahead = "" if warning.calls_left is None else f" ahead, {warning.calls_left} more calls of that size fit"
        parts.append(f"warned{ahead or f' at {warning.threshold} %'}")
    for threshold, action in state.actions:
        if action == "approve" and threshold <= state.passed:
            parts.append(f"a person has let it pass {threshold} %")
        elif action != "warn" and (threshold, action) != (100, "park"):
            parts.append(f"at {threshold} % {action}")
    for grant in state.granted:
        if amount := {"tokens": grant.tokens, "usd": grant.cost_nanousd}.get(dimension, 0):
            until = datetime.fromtimestamp(grant.until_ns // NS_PER_S, UTC)
            parts.append(f"{format_amount(dimension, amount)} of it granted until {until:%Y-%m-%d %H:%M:%S} UTC")
    return "".join(f"; {part}" for part in parts)


def scope_name(account: str) -> str:
    """Name an account's scope for people: ``thread``, ``writer``, ``model main per day``, ``day``."""
    parsed = Account.parse(account)
    per = parsed.per
    match parsed.kind:
        case "thread":
            return "thread"
        case "organism":
            return _WINDOWS.get(per, per)
        case "agent":
            name = parsed.name
        case "label" | "pool":
            label, which = parsed.label
            name = f"{label}={which}" if parsed.kind == "label" else f"pool {which} of {label}"
        case kind:
            name = f"{kind} {parsed.name}"
    return name + ("" if per == "thread" else " in all" if per == "lifetime" else f" per {per}")


_WINDOWS = {"lifetime": "in all", "call": "each call"}


def bar(spent: int, held: int, limit: int, width: int) -> Markup:
    """Draw spent, held and free as a bar."""
    if limit <= 0:
        return markup("[dim]{}[/]", "-" * width)
    full = min(width, spent * width // limit)
    open_holds = min(width - full, -(-held * width // limit))
    percent = spent * 100 // limit
    color = "red" if percent >= _FULL_PERCENT else "yellow" if percent >= _HIGH_PERCENT else "green"
    return markup(
        "[{color}]{}[/][{color} dim]{}[/][dim]{}[/] {:>3} %",
        "█" * full,
        "░" * open_holds,
        "·" * (width - full - open_holds),
        percent,
        color=color,
    )
