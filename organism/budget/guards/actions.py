"""What happens at a threshold beside a warning: a cheaper model, a person's word, or the end. Pure.

``warn`` tells the agents that spend, as every threshold does. ``degrade`` makes calls with the model that takes the
place of the one asked for. ``approve`` refuses calls until a person lets the account go on. ``park`` and ``refuse`` are
the end: messages wait there, or their handlers get the error, whatever the organism does elsewhere.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, get_args

from msgspec.structs import replace

from organism.amounts import Amounts, Dimension, Limits
from organism.amounts.units import amount_of, format_amount, limit_of
from organism.budget.thresholds import reached
from organism.errors import ConfigError, Refusal
from organism.ledger.account_balance import Balance
from organism.ledger.ledger import Ledger

Action = Literal["warn", "degrade", "approve", "park", "refuse"]
Actions = tuple[tuple[int, Action], ...]
"""What happens at which per cent of a limit, ascending."""

WHOLE = 100
"""Per cent at which a limit ends by itself."""

NO_THRESHOLD = "at least one threshold is needed; to warn of nothing, use [100]"


def thresholds_in(written: Sequence[int] | Mapping[int, Action] | Mapping[str, Action]) -> tuple[int, ...]:
    """Return at which per cents is warned: thresholds are written as such, or with what happens at each.

    Raises:
        ConfigError: If they are none.
    """
    if isinstance(written, Mapping):
        return warned_at(actions_in(written)) or (WHOLE,)
    if (problem := problem_with_thresholds(written)) is not None:
        raise ConfigError(problem, path="thresholds")
    return tuple(written)


def actions_in(written: Sequence[int] | Mapping[int, Action] | Mapping[str, Action]) -> Actions:
    """Return what happens at thresholds, if more than a warning is written there.

    Raises:
        ConfigError: A threshold is no per cent, or there is no such action, or not there.
    """
    if not isinstance(written, Mapping):
        return ()
    check_actions(written)
    return tuple(sorted((int(threshold), action) for threshold, action in written.items()))


def check_actions(written: Mapping[int, Action] | Mapping[str, Action]) -> None:
    """Check what a program says is to happen at thresholds.

    Raises:
        ConfigError: A threshold is no per cent, or there is no such action, or not there.
    """
    for threshold, action in written.items():
        if action not in get_args(Action):
            raise ConfigError(f"at a threshold there is no {action!r}; there are: {', '.join(get_args(Action))}")
        if (problem := problem_at(threshold, action)) is not None:
            raise ConfigError(f"{action} at {threshold} %: {problem}")
    if (problem := problem_beyond_end(written)) is not None:
        raise ConfigError(problem)


def problem_beyond_end(written: Mapping[int, Action] | Mapping[str, Action]) -> str | None:
    """Return that something is to happen beyond the per cent at which a limit is to end, if so."""
    ends = [int(threshold) for threshold, action in written.items() if action in ("park", "refuse")]
    is_beyond = bool(ends) and max(map(int, written)) > min(ends)
    return f"nothing happens beyond {min(ends)}, where it ends" if is_beyond else None


def problem_with_thresholds(written: object) -> str | None:
    """Return why these are no thresholds, whether a file or a program has written them; ``None`` if they are."""
    thresholds = written if isinstance(written, list | tuple) else (None,)
    if not all(type(each) is int and 0 < each <= WHOLE for each in thresholds) or sorted(set(thresholds)) != [
        *thresholds
    ]:
        return "thresholds are per cents from 1 to 100, ascending, each once"
    return None if thresholds else NO_THRESHOLD


def problem_at(threshold: object, action: Action) -> str | None:
    """Return why an action cannot be at a threshold, whether a file or a program has written it; ``None`` if it can."""
    percent = str(threshold)
    if not percent.isascii() or not percent.isdigit() or not 1 <= int(percent) <= WHOLE:
        return "a threshold is a per cent from 1 to 100, such as 90: degrade"
    if int(percent) == WHOLE and action in ("degrade", "approve"):
        return f"at 100 the limit itself ends; {action} before it, and park or refuse there"
    return None


def warned_at(actions: Actions) -> tuple[int, ...]:
    """Return the thresholds of actions at which is warned: those before the end, for there is nothing to do at it."""
    return tuple(threshold for threshold, _ in actions if threshold < WHOLE)


def end_of(actions: Actions) -> tuple[int, Literal["", "park", "refuse"]]:
    """Return the per cent of a limit that may be spent, and what a refusal means there; empty for the usual."""
    for threshold, action in actions:
        if action == "park" or action == "refuse":  # noqa: PLR1714 - a type checker narrows this one
            return min(threshold, WHOLE), action
    return WHOLE, ""


def up_to(limits: Limits, actions: Actions) -> Limits:
    """Return what of limits may be spent: all, unless the end comes before."""
    return part_of(limits, end_of(actions)[0])


def part_of(limits: Limits, percent: int) -> Limits:
    """Return so many per cent of limits."""
    if percent == WHOLE:
        return limits
    units = {name: getattr(limits, name) for name in Limits.__struct_fields__}
    return Limits(**{name: None if most is None else most * percent // WHOLE for name, most in units.items()})


def degrades_at(actions: Actions, own: int | None) -> int | None:
    """Return from which per cent on a cheaper model is used: that of the model, or an earlier one of the account."""
    found = [threshold for threshold, action in actions if action == "degrade"]
    return min([*found, *([] if own is None else [own])], default=None)


def to_approve(
    actions: Actions, limits: Limits, spent: Amounts, elapsed_ns: int, passed: Iterable[int]
) -> tuple[Dimension, int] | None:
    """Return what has been reached that a person must let go on, and has not; ``None`` if nothing has."""
    waiting = tuple(
        threshold for threshold, action in actions if action == "approve" and threshold > max(passed, default=0)
    )
    return next(iter(reached(limits, spent, elapsed_ns, waiting)), None) if waiting else None


class ThresholdActions:
    """Asks what holds on accounts as they are now.

    Args:
        actions_of: What happens on an account at thresholds.
        elapsed_ns: How long an account's thread has been open.
        ledger: The balances.
        now_ns: The present instant.
        shared: Whether all partitions of a cluster share an account; those ask together.
    """

    def __init__(
        self,
        actions_of: Callable[[str], Actions],
        elapsed_ns: Callable[[str], int],
        ledger: Ledger,
        now_ns: Callable[[], int],
        shared: Callable[[Balance], bool] = lambda _balance: False,
    ) -> None:
        self._actions_of = actions_of
        self._elapsed_ns = elapsed_ns
        self._ledger = ledger
        self._now_ns = now_ns
        self._shared = shared

    def approval_due(self, accounts: Iterable[str]) -> Refusal | None:
        """Return which of these accounts a person must let go on before anything more is spent there."""
        for account in accounts:
            if not (actions := self._actions_of(account)):
                continue
            if self._shared(balance := self._ledger.balance(account)):
                continue
            now_ns, elapsed_ns = self._now_ns(), self._elapsed_ns(account)
            limits, spent = balance.limits, balance.total_at(now_ns)
            due = to_approve(actions, limits, spent, elapsed_ns, balance.passed_at(now_ns))
            if due is not None:
                unit, threshold = due
                numbers = (limit_of(limits, unit) or 0, amount_of(spent, unit, elapsed_ns))
                return approval_refusal(account, unit, threshold, numbers, balance.revision)
        return None

    def ended(self, refusal: Refusal) -> Refusal:
        """Return a refusal with what it means on its scope, where that is not what it means elsewhere."""
        percent, action = end_of(self._actions_of(refusal.account))
        return replace(refusal, action=action, threshold=percent % WHOLE) if action else refusal


def approval_refusal(
    account: str, dimension: Dimension, threshold: int, numbers: tuple[int, int], revision: int
) -> Refusal:
    """Return the refusal of a call on an account that a person must let go on.

    Args:
        account: The scope.
        dimension: What of it has come so far.
        threshold: How far, in per cent of the limit.
        numbers: The limit, and what is spent.
        revision: Of which revision of the limit.
    """
    limit, spent = numbers
    used = f"{format_amount(dimension, spent)} of {format_amount(dimension, limit)}"
    note = f"{account} has used {used}, and at {threshold} % a person must let it go on"
    return Refusal(
        account, dimension, limit, spent, 0, 0, cause="approval", note=note, threshold=threshold, revision=revision
    )
