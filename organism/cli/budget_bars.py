"""Budgets drawn as bars, and how their scopes and shares are written."""

from collections.abc import Iterable
from datetime import UTC, datetime

from organism.amounts import NS_PER_S, BudgetState, Dimension
from organism.amounts.account import Account
from organism.amounts.units import ADDITIVE, UNITS, amount_of, format_amount, limited_units
from organism.cli.terminal import Markup, markup
from organism.control.views import AccountState

_FULL_PERCENT = 90
_HIGH_PERCENT = 75
_BAR, _SHORT_BAR = 24, 10
_AROUND = 8
"""What stands around bar and words: spaces, and the per cent behind the bar."""

_FORMS = ((_BAR, True, True), (_SHORT_BAR, True, True), (_SHORT_BAR, False, True), (_SHORT_BAR, False, False))
"""The width of bars, whether what remains is said, and when it counts no more: the first that fits is drawn."""


def budget_lines(states: Iterable[BudgetState], columns: int = 0, width: int = _BAR) -> list[Markup]:
    """Draw a bar for each limit of each account; accounts without a limit need none.

    Args:
        states: The accounts.
        columns: How many characters fit into a line; 0 for as many as it takes. In a narrow terminal bars are shorter,
            and what can be reckoned from the rest is left out, before a line is broken.
        width: How many characters a bar has at most.
    """
    limited = [(state, *each) for state in states for each in limited_units(state.limits)]
    labels = [f"{scope_name(state.account)} {dimension}" for state, dimension, _ in limited]
    column = max(map(len, labels), default=0)
    for bar_width, with_left, with_reset in _FORMS:
        drawn = min(width, bar_width)
        said = [_said(*line, with_left=with_left, with_reset=with_reset) for line in limited]
        if not columns or all(column + drawn + _AROUND + len(text) <= columns for text in said):
            break
    return [
        markup("{:<{column}} {} {}", label, _bar_of(*line, drawn), text, column=column)
        for label, line, text in zip(labels, limited, said, strict=True)
    ]


def _bar_of(state: BudgetState, dimension: Dimension, limit: int, width: int) -> Markup:
    return bar(amount_of(state.spent, dimension, state.elapsed_ns), amount_of(state.held, dimension), limit, width)


def _said(state: BudgetState, dimension: Dimension, limit: int, *, with_left: bool, with_reset: bool) -> str:
    """Say what stands beside a bar: what is used, what remains, until when it counts, and what happens near its end."""
    spent, held = amount_of(state.spent, dimension, state.elapsed_ns), amount_of(state.held, dimension)
    text = share_text(dimension, spent, limit)
    if with_left:
        text += f", {format_amount(dimension, max(0, limit - spent - held))} left"
    if with_reset and dimension in ADDITIVE and state.resets_ns is not None:
        text += f", resets {datetime.fromtimestamp(state.resets_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M} UTC"
    return text + _rule_text(state, dimension)


def share_text(dimension: Dimension, spent: int, limit: int) -> str:
    """Say how much of a limit is used, its unit once: ``3 of 4 calls``, ``$0.10 of $1.00``."""
    used = f"{spent:,}" if UNITS[dimension].scale == 1 else format_amount(dimension, spent)
    return f"{used} of {format_amount(dimension, limit)}"


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
